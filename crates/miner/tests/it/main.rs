//! Miners on a chain in memory and a hub on disk.

mod blocks;
mod champion;
mod crashes;
mod network;
mod tapped;
mod trouble;
