//! Hubs of Hugging Face: a client that believes them nothing, and a hub of our own.
//!
//! [`HubClient`] is a [`Hub`](hub::Hub) behind an address; [`DevHub`] is such a hub, for a network
//! of one's own.

pub mod client;
pub mod dev;
pub mod folder;

pub use client::{ClientOptions, HubClient};
pub use dev::DevHub;
pub use folder::Folder;
