//! Cutting plain text into documents.

/// A document gets no further paragraph once it has this many bytes.
const DOCUMENT_BYTES_FULL: usize = 600;
/// A document has at most this many bytes.
const DOCUMENT_BYTES_MAX: usize = 4_000;
/// A cut inside a paragraph leaves at least this many bytes before it, if there is a blank at all.
const CUT_BYTES_MIN: usize = 2_000;

/// Cuts plain text into documents of about 600 to 4,000 bytes.
///
/// Paragraphs are runs of lines that are not blank. They are joined, with one blank line between
/// them, until a document has 600 bytes. What exceeds 4,000 bytes is cut at the last line end or
/// else the last blank in its second half, or else between two characters. A short rest at the
/// end joins the last document if there is room. Blanks around documents are dropped.
pub(super) fn documents(text: &str) -> Vec<String> {
    let mut documents: Vec<String> = Vec::new();
    let mut rest = String::new();
    for paragraph in paragraphs(text) {
        if !rest.is_empty() {
            rest.push_str("\n\n");
        }
        rest.push_str(paragraph);
        let mut whole = rest.as_str();
        while whole.len() > DOCUMENT_BYTES_MAX {
            let (head, tail) = whole.split_at(cut_at(whole));
            documents.extend(not_blank(head));
            whole = tail;
        }
        if whole.len() >= DOCUMENT_BYTES_FULL {
            documents.extend(not_blank(whole));
            whole = "";
        }
        rest = whole.trim_start().to_owned();
    }
    match (documents.last_mut(), not_blank(&rest)) {
        (Some(last), Some(rest)) if last.len() + 2 + rest.len() <= DOCUMENT_BYTES_MAX => {
            last.push_str("\n\n");
            last.push_str(&rest);
        }
        (_, rest) => documents.extend(rest),
    }
    documents
}

/// Runs of lines that are not blank, without the line end of the last.
fn paragraphs(text: &str) -> Vec<&str> {
    let mut paragraphs = Vec::new();
    let mut begin = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let end = offset + line.len();
        if !line.trim().is_empty() {
            begin = Some((begin.map_or(offset, |(begin, _)| begin), end));
        } else if let Some((begin, end)) = begin.take() {
            paragraphs.push(text[begin..end].trim_end());
        }
        offset = end;
    }
    paragraphs.extend(begin.map(|(begin, end): (usize, usize)| text[begin..end].trim_end()));
    paragraphs
}

/// Where to cut a text that is longer than a document.
fn cut_at(text: &str) -> usize {
    let head = &text[..text.floor_char_boundary(DOCUMENT_BYTES_MAX)];
    let second_half = |at: &usize| *at >= CUT_BYTES_MIN;
    head.rfind('\n')
        .filter(second_half)
        .or_else(|| head.rfind(char::is_whitespace).filter(second_half))
        .unwrap_or(head.len())
}

fn not_blank(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
