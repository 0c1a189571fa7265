//! Patterns of files as Git has them: what `.gitignore` leaves out, and what `.gitattributes`
//! keeps elsewhere.

use super::refusal::Refusal;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The file at the top of a repo that says what is left out.
pub(super) const IGNORE: &str = ".gitignore";
/// The file at the top of a repo that says what is large.
pub(super) const ATTRIBUTES: &str = ".gitattributes";
/// Most bytes of such a file.
pub(super) const BYTES_MAX: u64 = 64 << 10;
/// Most lines of such a file.
const LINES_MAX: usize = 1_000;

/// What counts as large, whatever its size, in a repo without a `.gitattributes`: what Hugging
/// Face writes into that of a new model or dataset. Clients count on it: some delete a file once
/// it is uploaded, before the commit that would carry a small one.
const USUAL: &str = "*.7z *.arrow *.bin *.bz2 *.ckpt *.ftz *.gguf *.gz *.h5 *.joblib *.lfs.* *.lz4 \
    *.mds *.mlmodel *.model *.msgpack *.npy *.npz *.onnx *.ot *.parquet *.pb *.pickle *.pkl *.pt \
    *.pth *.rar *.safetensors saved_model/**/* *.tar.* *.tar *.tflite *.tgz *.wasm *.xz *.zip \
    *.zst *tfevents* *.pcm *.sam *.raw *.aac *.flac *.mp3 *.ogg *.wav *.bmp *.gif *.png *.tiff \
    *.jpg *.jpeg *.webp *.mp4 *.webm";

/// A list of patterns, of which the last that fits decides.
pub(crate) struct Patterns(Gitignore);

impl Patterns {
    /// What the text of a `.gitignore` leaves out; `None` if it is longer than anybody reads.
    pub(crate) fn of_gitignore(text: &str) -> Option<Self> {
        Self::ignored(text).ok()
    }

    /// What the text of a `.gitignore` leaves out.
    pub(super) fn ignored(text: &str) -> Result<Self, Refusal> {
        if text.len() as u64 > BYTES_MAX || text.lines().count() > LINES_MAX {
            let max = format!("{BYTES_MAX} bytes and {LINES_MAX} lines");
            return Err(Refusal::too_large(format!("a `{IGNORE}` may have {max}")));
        }
        Self::of_lines(text.lines().map(str::to_owned))
    }

    /// What is large by the text of a `.gitattributes`, or as usual where there is none.
    pub(super) fn large(attributes: Option<&str>) -> Result<Self, Refusal> {
        match attributes {
            None => Self::of_lines(USUAL.split_whitespace().map(str::to_owned)),
            Some(text) => Self::of_lines(text.lines().take(LINES_MAX).filter_map(large_line)),
        }
    }

    fn of_lines(lines: impl Iterator<Item = String>) -> Result<Self, Refusal> {
        let mut builder = GitignoreBuilder::new("");
        for line in lines {
            // As Git does: what is no pattern fits nothing.
            let _ = builder.add_line(None, &without_alternatives(&line));
        }
        builder.build().map(Self).map_err(|_| Refusal::bad("the patterns cannot be read"))
    }

    /// Whether a file fits, or a folder that it is in; what is in such a folder is never let in
    /// again.
    pub(crate) fn has_path(&self, path: &str) -> bool {
        let folders = path.match_indices('/').map(|(at, _)| path.split_at(at).0);
        folders.into_iter().any(|folder| self.0.matched(folder, true).is_ignore())
            || self.has_file(path)
    }

    /// Whether a file itself fits.
    pub(super) fn has_file(&self, path: &str) -> bool {
        self.0.matched(path, false).is_ignore()
    }
}

/// A line of `.gitattributes` as a pattern of what is large, or, with `!`, of what is not; `None`
/// where it says nothing of that.
fn large_line(line: &str) -> Option<String> {
    let line = line.trim();
    let (pattern, attributes) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?,
        None => line.split_once(char::is_whitespace)?,
    };
    if pattern.starts_with(['#', '!']) || pattern.starts_with("[attr]") || pattern.is_empty() {
        return None;
    }
    let is_of_filter =
        |word: &&str| word.trim_start_matches(['-', '!']).split('=').next() == Some("filter");
    let filter = attributes.split_whitespace().rfind(is_of_filter)?;
    Some(if filter == "filter=lfs" { pattern.to_owned() } else { format!("!{pattern}") })
}

/// Braces stand for themselves with Git, and for a choice with the library.
fn without_alternatives(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let (mut is_escaped, mut in_class) = (false, false);
    for c in line.chars() {
        if matches!(c, '{' | '}') && !is_escaped && !in_class {
            out.push('\\');
        }
        in_class = (in_class || (c == '[' && !is_escaped)) && c != ']';
        is_escaped = c == '\\' && !is_escaped;
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_leaves_out_is_left_out_and_nothing_else() {
        let text = "\u{23} a comment\n\n*.log\n!keep.log\nsecret/\n!secret/k.txt\n/top.txt\n\
                    **/cache/**\na/**/z\nodd{1,2}.txt\n\\!bang\n\\#hash\nback\\ slash\nx[ab].txt\n[";
        let ignored = Patterns::ignored(text).unwrap();
        for path in [
            "a.log",
            "deep/er/b.log",
            "secret/k.txt",
            "deep/secret/more/k.txt",
            "top.txt",
            "x/cache/y",
            "a/z",
            "a/b/c/z",
            "odd{1,2}.txt",
            "!bang",
            "#hash",
            "back slash",
            "xa.txt",
        ] {
            assert!(ignored.has_path(path), "{path}");
        }
        for path in
            ["keep.log", "deep/keep.log", "secret", "deep/top.txt", "odd1.txt", "b/z", "xc.txt"]
        {
            assert!(!ignored.has_path(path), "{path}");
        }
        assert!(Patterns::ignored(&"a\n".repeat(LINES_MAX)).is_ok());
        assert!(Patterns::ignored(&"a\n".repeat(LINES_MAX + 1)).is_err());
        assert!(Patterns::ignored(&"a".repeat(BYTES_MAX as usize + 1)).is_err());
    }

    #[test]
    fn large_is_what_attributes_give_to_lfs_and_the_usual_without_them() {
        let usual = Patterns::large(None).unwrap();
        for path in
            ["a.parquet", "data/a.parquet", "model.safetensors", "saved_model/a/b", "x.tar.1"]
        {
            assert!(usual.has_file(path), "{path}");
        }
        for path in ["config.json", "README.md", "a.parquet/x", "tokenizer.json", ".gitattributes"]
        {
            assert!(!usual.has_file(path), "{path}");
        }
        let text = "# a comment\n*.csv filter=lfs diff=lfs merge=lfs -text\n*.txt text\n\
                    small.csv -filter\n\"with blank.dat\" filter=lfs\n[attr]x filter=lfs\n";
        let own = Patterns::large(Some(text)).unwrap();
        assert!(own.has_file("a/b.csv") && own.has_file("with blank.dat"));
        for path in ["small.csv", "a/small.csv", "a.txt", "a.parquet", "with"] {
            assert!(!own.has_file(path), "{path}");
        }
    }
}
