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
    let parsed = serde_json::from_slice(bytes).map_err(|error| {
        let detail: String = error.to_string().chars().take(DETAIL_LETTERS_MAX).collect();
        anyhow::anyhow!("{file} is not what `agon {command}` reads: {detail}")
    });
    parsed.hint(format!("`agon {command} --help` shows what the file holds"))
}

/// How a file is called in an error.
pub fn name(path: &Path) -> String {
    if path == Path::new("-") {
        "standard input".to_owned()
    } else {
        format!("`{}`", path.display())
    }
}
