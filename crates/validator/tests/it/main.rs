//! Rounds of real validators on a chain in memory, a hub on disk and models of known loss.

mod network;
mod rounds;
mod trouble;
