//! Where documents come from.

pub mod files;
pub mod generated;
pub mod pinned;

pub use files::FilesSource;
pub use generated::GeneratedSource;
pub use pinned::PinnedSource;
