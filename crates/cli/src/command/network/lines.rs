//! Lines of a process, however long: what is too long is cut, never kept.

use std::io::{self, BufRead};

/// Most bytes of a line that are kept.
pub const LINE_BYTES_MAX: usize = 8 << 10;

/// Gives each line to `take`, without its end; what a line has more than [`LINE_BYTES_MAX`] is
/// counted in its place. Ends where `from` ends.
pub fn each(mut from: impl BufRead, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut line, mut n_cut) = (Vec::new(), 0_u64);
    loop {
        let piece = match from.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if piece.is_empty() {
            break;
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let n_bytes = end.unwrap_or(piece.len());
        let n_kept = n_bytes.min(LINE_BYTES_MAX.saturating_sub(line.len()));
        line.extend(piece.iter().take(n_kept));
        n_cut = n_cut.saturating_add((n_bytes - n_kept) as u64);
        from.consume(n_bytes + usize::from(end.is_some()));
        if end.is_some() {
            give(&mut line, &mut n_cut, &mut take);
        }
    }
    if !line.is_empty() {
        give(&mut line, &mut n_cut, &mut take);
    }
    Ok(())
}

fn give(line: &mut Vec<u8>, n_cut: &mut u64, take: &mut impl FnMut(&[u8])) {
    if *n_cut > 0 {
        line.extend(format!(" … and {n_cut} bytes more").bytes());
    }
    take(line);
    line.clear();
    *n_cut = 0;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Read as _};

    fn lines(from: impl BufRead) -> Vec<String> {
        let mut lines = Vec::new();
        each(from, |line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap();
        lines
    }

    #[test]
    fn lines_are_given_without_their_ends_and_the_last_one_may_have_none() {
        for capacity in [1, 2, 3, 64] {
            let from = BufReader::with_capacity(capacity, &b"one\n\ntwo\nthree"[..]);
            assert_eq!(lines(from), ["one", "", "two", "three"], "{capacity}");
        }
        assert_eq!(lines(&b""[..]), [""; 0]);
    }

    #[test]
    fn attack_a_line_without_an_end_takes_no_memory() {
        let n_bytes = 64 << 20;
        let endless = BufReader::new(io::repeat(b'x').take(n_bytes));
        let found = lines(endless.chain(&b"\nnext\n"[..]));
        let more = n_bytes - LINE_BYTES_MAX as u64;
        assert!(found[0].ends_with(&format!("x … and {more} bytes more")));
        assert!(found[0].len() < LINE_BYTES_MAX + 64);
        assert_eq!(found[1..], ["next"]);
    }
}
