//! Where documents come from.

pub mod files;
pub mod generated;

pub use files::FilesSource;
pub use generated::GeneratedSource;
