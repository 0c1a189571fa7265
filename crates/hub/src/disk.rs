//! The disk that everything lies on, which others use too.

use std::{io, path::Path};

/// Bytes of the disk that are left to others, to logs and to databases.
pub const RESERVE_BYTES: u64 = 1 << 30;

/// Bytes that may still be written to the disk that holds `folder`.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}
