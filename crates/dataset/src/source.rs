//! Where documents come from.

pub mod files;
pub mod generated;
pub mod pinned;

pub use files::{FilesSource, plain_text};
pub use generated::GeneratedSource;
pub use pinned::PinnedSource;
