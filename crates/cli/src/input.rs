//! Files that a person names on the command line: read up to a limit, refused by name.

use crate::failure::HintExt as _;
use anyhow::Context as _;
use serde::de::DeserializeOwned;
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Most letters of what a parser says; it may quote the file.
const DETAIL_LETTERS_MAX: usize = 300;

/// The bytes of a file, or of standard input where the path is `-`.
pub fn read(path: &Path, size_bytes_max: u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = size_bytes_max.saturating_add(1);
    let read = if path == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read {}", name(path)))?;
    if bytes.len() as u64 > size_bytes_max {
        anyhow::bail!("{} has more than {size_bytes_max} bytes", name(path));
    }
    Ok(bytes)
}

/// The UTF-8 text of a file.
pub fn read_text(path: &Path, size_bytes_max: u64) -> anyhow::Result<String> {
    String::from_utf8(read(path, size_bytes_max)?).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        anyhow::anyhow!("{} is not UTF-8 text: the byte at offset {offset} is wrong", name(path))
    })
}

/// The JSON value in a file of `agon COMMAND`, whose help shows how it looks.
pub fn read_json<T: DeserializeOwned>(
    path: &Path,
    size_bytes_max: u64,
    command: &str,
) -> anyhow::Result<T> {
    parse_json(&read(path, size_bytes_max)?, &name(path), command)
}

/// The JSON value in the bytes of a file of `agon COMMAND`; `file` is how errors call it.
pub fn parse_json<T: DeserializeOwned>(
    bytes: &[u8],
    file: &str,
    command: &str,
) -> anyhow::Result<T> {
    // What some editors put in front; the readers of TOML pass over it as well.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let parsed = serde_json::from_slice(bytes).map_err(|error| {
        let mut detail: String = error.to_string().chars().take(DETAIL_LETTERS_MAX).collect();
        if let Some(word) = pythons_number(bytes, &error) {
            detail += &format!("; `{word}` is no JSON, `null` stands for an infinite loss");
        }
        anyhow::anyhow!("{file} is not what `agon {command}` reads: {detail}")
    });
    parsed.hint(format!("`agon {command} --help` shows what the file holds"))
}

/// The word at the place of an error, if it is one that Python writes for a number.
fn pythons_number(bytes: &[u8], error: &serde_json::Error) -> Option<&'static str> {
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().checked_sub(1)?)?;
    // The column is that of the first letter, of the one before it, or of the one after a sign.
    let rest = line.get(error.column().saturating_sub(2)..)?;
    let rest = rest.get(..rest.len().min(16))?;
    ["NaN", "Infinity"]
        .into_iter()
        .find(|word| rest.windows(word.len()).take(3).any(|window| window == word.as_bytes()))
}

/// How a file is called in an error.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_python_writes_them_are_named() {
        for (text, word) in [
            ("{\"losses\": [1.5,\n  NaN]}", Some("NaN")),
            ("[Infinity]", Some("Infinity")),
            ("[1, -Infinity]", Some("Infinity")),
            ("NaN", Some("NaN")),
            ("[1, nan]", None),
            ("[\"NaN\", ]", None),
            ("", None),
        ] {
            let error = serde_json::from_str::<serde_json::Value>(text).unwrap_err();
            assert_eq!(pythons_number(text.as_bytes(), &error), word, "{text}: {error}");
        }
    }

    fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.json");
        std::fs::write(&path, bytes).unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_may_have_as_many_bytes_as_are_read_and_no_more() {
        let (dir, path) = file(b"12345");
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert_eq!(read(&path, u64::MAX).unwrap(), b"12345");
        let error = read(&path, 4).unwrap_err().to_string();
        assert!(error.contains("file.json` has more than 4 bytes"), "{error}");
        assert!(read(&path, 0).is_err());
        let (_empty, path) = file(b"");
        assert_eq!(read(&path, 0).unwrap(), b"");
        for (path, part) in
            [(dir.path().join("gone"), "gone"), (dir.path().to_owned(), "cannot read")]
        {
            let error = format!("{:#}", read(&path, 5).unwrap_err());
            assert!(error.contains(part) && error.contains("cannot read `"), "{error}");
        }
        assert_eq!(name(Path::new("-")), "standard input");
        assert_eq!(name(Path::new("./-")), "`./-`", "so a file of that name can be read");
    }

    #[test]
    fn text_that_is_none_is_named_by_the_place_of_its_first_wrong_byte() {
        for (bytes, offset) in
            [(&b"\xff"[..], 0), (&b"abc\xc3"[..], 3), ("日本\u{7f}".as_bytes(), 99)]
        {
            let (_dir, path) = file(bytes);
            match read_text(&path, 100) {
                Ok(text) => assert_eq!((text.as_bytes(), offset), (bytes, 99)),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(&format!("offset {offset} is wrong")), "{error}");
                }
            }
        }
    }

    #[test]
    fn attack_what_a_parser_quotes_is_cut_and_a_mark_of_an_editor_is_passed_over() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Known {
            a: u8,
        }
        let parse = |bytes: &[u8]| parse_json::<Known>(bytes, "`f`", "score");
        assert_eq!(parse(b"\xef\xbb\xbf{\"a\": 7}").unwrap().a, 7);
        let long = format!("{{\"{}\": 1}}", "x".repeat(100_000));
        for text in [long.as_str(), "{\"a\": 256}", "{\"a\": -1}", "{\"a\": 1} {}", "[", ""] {
            let error = parse(text.as_bytes()).unwrap_err();
            let told = crate::failure::causes(&error);
            assert!(told.starts_with("`f` is not what `agon score` reads: "), "{told}");
            assert!(told.chars().count() < 400, "{} letters", told.chars().count());
            assert!(format!("{error:#?}").contains("agon score --help"), "{error:?}");
        }
        let error = parse(b"{\"a\": NaN}").unwrap_err().to_string();
        assert!(error.contains("`NaN` is no JSON, `null` stands for"), "{error}");
    }
}
