//! The embedded hub, asked over the loopback as clients ask it.

mod attacks;
mod client;
mod commits;
mod desk;
mod large;
mod reading;
mod repos;
