//! What a service last said of itself, in a file of its home: for whoever asks while it works, or
//! why it does not.

use anyhow::Context as _;
use protocol::Block;
use serde::{Deserialize, Serialize};
use std::{fs, io::ErrorKind, path::Path};

/// Name of the file.
const FILE: &str = "status.json";
/// Longest file that is read.
const SIZE_BYTES_MAX: u64 = 1 << 20;

/// What a service last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulse {
    /// Its process.
    pub process: u32,
    /// The newest block that it heard of.
    pub block: Option<Block>,
    /// What is wrong.
    pub trouble: Vec<Trouble>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// With what.
    pub what: String,
    /// The newest block when it began.
    pub since: Block,
    /// The last words of it.
    pub detail: String,
}

impl Pulse {
    /// Writes it into a home. It is of use while it is new: a disk that cannot take it is nobody's
    /// trouble but of whoever asks.
    pub fn write(&self, home: &Path) -> anyhow::Result<()> {
        disk::write(&home.join(FILE), &serde_json::to_vec(self)?)?;
        Ok(())
    }
}

/// What the service in a home last said; `None` if it never did.
pub fn read(home: &Path) -> anyhow::Result<Option<Pulse>> {
    let path = home.join(FILE);
    let in_words = || format!("`{}`", path.display());
    let size = match fs::metadata(&path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(in_words),
    };
    anyhow::ensure!(size <= SIZE_BYTES_MAX, "{} is too large", in_words());
    let bytes = fs::read(&path).with_context(in_words)?;
    Ok(Some(serde_json::from_slice(&bytes).with_context(in_words)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(read(home.path()).unwrap(), None);
        let trouble = Trouble { what: "chain".into(), since: Block(7), detail: "away".into() };
        let process = std::process::id();
        let pulse = Pulse { process, block: Some(Block(9)), trouble: vec![trouble] };
        pulse.write(home.path()).unwrap();
        assert_eq!(read(home.path()).unwrap(), Some(pulse));
        fs::write(home.path().join(FILE), "{").unwrap();
        assert!(read(home.path()).is_err());
    }
}
