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
    let bytes = read(path, size_bytes_max)?;
    // What some editors put in front; the readers of TOML pass over it as well.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let parsed = serde_json::from_slice(bytes).map_err(|error| {
        let mut detail: String = error.to_string().chars().take(DETAIL_LETTERS_MAX).collect();
        if let Some(word) = pythons_number(bytes, &error) {
            detail += &format!("; `{word}` is no JSON, `null` stands for an infinite loss");
        }
        anyhow::anyhow!("{} is not what `agon {command}` reads: {detail}", name(path))
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
}
