//! The embedded hub, asked over the loopback as clients ask it.

mod attacks;
mod client;
mod commits;
mod desk;
mod front;
mod intake;
mod json;
#[path = "../../../../testdata/json_suite.rs"]
mod json_suite;
mod large;
mod reading;
mod repos;
