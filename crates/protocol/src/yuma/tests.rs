//! Yuma against the chain's own numbers, and what must hold for every epoch.

mod vectors;
