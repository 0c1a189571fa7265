//! A reserve on this machine for the days when a hub cannot be reached.
//!
//! Which rows a round needs is known only when its block is, so a reserve that loses no round holds
//! all that any round could read: the footers, and the text of the row groups for evaluation. That
//! is less than a tenth of the files, and it lasts as long as the competition.

use crate::{Error, PinnedSource, RangeRead, table::Extent};
use protocol::Digest;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Pieces that one file may have in a mirror.
const PIECES_MAX: usize = 1 << 20;

/// Pieces of the files of one revision of a repo, kept in a folder.
///
/// Each piece is a file `OFFSET-SIZE-SHA256` in a folder named like the file that it is of; it
/// is there whole or not at all, and its digest is checked whenever it is read.
pub struct Mirror {
    root: PathBuf,
}

/// What filling a mirror came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// Pieces that the mirror holds now.
    pub n_pieces: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// Bytes that were read for it this time.
    pub read_bytes: u64,
}

/// One piece as its name tells it.
struct Piece {
    extent: Extent,
    sha256: Digest,
    path: PathBuf,
}

impl Mirror {
    /// The mirror in a folder, which need not exist yet.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Copies what is missing of all that rounds read of `source`; stops at the first failure, and
    /// goes on from there when called again.
    ///
    /// Pieces that are there are read and checked; broken ones are copied again. `progress` is
    /// told after each file how many are done, and of how many.
    pub fn fill(
        &self,
        source: &PinnedSource,
        progress: &dyn Fn(u64, u64),
    ) -> Result<Filled, Error> {
        let n_files = source.files().count();
        let mut filled = Filled::default();
        for (index, file) in source.files().enumerate() {
            for extent in source.extents(index)? {
                let mut bytes = vec![0; usize::try_from(extent.size_bytes).unwrap_or(usize::MAX)];
                if self.read_at(&file.path, extent.offset, &mut bytes).is_err() {
                    source.place().read_at(&file.path, extent.offset, &mut bytes)?;
                    filled.read_bytes += extent.size_bytes;
                    self.keep(&file.path, extent, &bytes)?;
                }
                filled.n_pieces += 1;
                filled.size_bytes += extent.size_bytes;
            }
            progress(index as u64 + 1, n_files as u64);
        }
        Ok(filled)
    }

    /// Keeps a piece, instead of one that may be there with another digest.
    fn keep(&self, path: &str, extent: Extent, bytes: &[u8]) -> Result<(), Error> {
        if let Some(broken) = self.piece(path, extent.offset, extent.size_bytes)? {
            fs::remove_file(&broken.path).map_err(|source| {
                let path = broken.path.clone();
                Error::Io { action: "remove", path, source }
            })?;
        }
        let Extent { offset, size_bytes } = extent;
        let name = format!("{offset}-{size_bytes}-{}", Digest::of(bytes).hex());
        let path = self.folder(path)?.join(name);
        disk::write(&path, bytes).map_err(Error::written(&path))
    }

    fn folder(&self, path: &str) -> Result<PathBuf, Error> {
        let is_part = |part: &str| !part.is_empty() && part != "." && part != "..";
        if path.split('/').all(is_part) && !path.contains(['\\', '\0']) {
            return Ok(self.root.join(path));
        }
        Err(self.lacks(format!("a file `{}`", path.escape_debug())))
    }

    fn pieces(&self, path: &str) -> Result<Vec<Piece>, Error> {
        let folder = self.folder(path)?;
        let fail = |source| Error::Io { action: "list", path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(fail(error)),
        };
        let mut pieces = Vec::new();
        for entry in entries.take(PIECES_MAX) {
            pieces.extend(Piece::named(entry.map_err(fail)?.path()));
        }
        Ok(pieces)
    }

    fn piece(&self, path: &str, offset: u64, size_bytes: u64) -> Result<Option<Piece>, Error> {
        let wanted = Extent { offset, size_bytes };
        Ok(self.pieces(path)?.into_iter().find(|piece| piece.extent == wanted))
    }

    fn lacks(&self, what: String) -> Error {
        Error::NotMirrored { path: self.root.clone(), what }
    }
}

impl Piece {
    fn named(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let mut parts = name.splitn(3, '-');
        let offset = parts.next()?.parse().ok()?;
        let size_bytes = parts.next()?.parse().ok()?;
        let sha256 = format!("sha256:{}", parts.next()?).parse().ok()?;
        Some(Self { extent: Extent { offset, size_bytes }, sha256, path })
    }
}

impl RangeRead for Mirror {
    /// Where the last piece ends: every file of a mirror has its footer.
    fn size_bytes(&self, path: &str) -> Result<u64, Error> {
        let pieces = self.pieces(path)?;
        let ends =
            pieces.iter().map(|piece| piece.extent.offset.saturating_add(piece.extent.size_bytes));
        ends.max().ok_or_else(|| self.lacks(format!("a piece of `{path}`")))
    }

    /// None: a mirror holds no whole files.
    fn sha256(&self, _path: &str) -> Result<Option<Digest>, Error> {
        Ok(None)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let size_bytes = buffer.len() as u64;
        let Some(piece) = self.piece(path, offset, size_bytes)? else {
            return Err(self.lacks(format!("the {size_bytes} bytes at {offset} of `{path}`")));
        };
        let bytes = fs::read(&piece.path).map_err(|source| Error::Io {
            action: "read",
            path: piece.path.clone(),
            source,
        })?;
        let (found, expected) = (Digest::of(&bytes), piece.sha256);
        if found != expected || bytes.len() != buffer.len() {
            let name = piece.path.display().to_string();
            return Err(Error::DigestMismatch { name, expected, found });
        }
        buffer.copy_from_slice(&bytes);
        Ok(())
    }
}
