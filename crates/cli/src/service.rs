//! What a standing service has besides its work: meters, and the door at which they are read.

mod exposition;
pub mod health;
pub mod metrics;
pub mod serve;
