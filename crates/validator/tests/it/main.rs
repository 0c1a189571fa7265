//! Rounds of real validators on a chain in memory, a hub on disk and models of known loss.

mod ahead;
mod crashes;
mod disk;
mod formulas;
mod hidden;
mod moody;
mod network;
mod publication;
mod rounds;
mod trouble;
