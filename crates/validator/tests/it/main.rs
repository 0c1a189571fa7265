//! Rounds of real validators on a chain in memory, a hub on disk and models of known loss.

mod ahead;
mod network;
mod rounds;
mod trouble;
