//! Seasons of a whole network on virtual time: what do the rules pay for?
//!
//! Chain, ledger, journal and validators are the real ones, and every block of a season calls
//! them as the services do. What a model is, is a formula ([`model`]): a true loss, the difficulty
//! of each document, noise with a lineage. Miners are strategies ([`strategy`]), a few lines each,
//! with a stream of randomness of their own, so that a season with another strategy in one place
//! is the same season for everybody else. A season depends on scenario, rules, cast and seed alone.

pub mod cabal;
pub mod cast;
pub mod hub;
mod measure;
pub mod model;
mod names;
mod network;
mod noise;
mod ports;
pub mod report;
pub mod scenario;
pub mod season;
pub mod stats;
pub mod strategy;
pub mod svg;
mod text;
mod world;

pub use cabal::Cabal;
pub use cast::{Attack, Cast};
pub use report::{Effort, Progress, run, sweep, zoo};
pub use scenario::{Rules, Scenario};
pub use season::{Season, season};
pub use stats::Interval;
pub use strategy::Kind;
