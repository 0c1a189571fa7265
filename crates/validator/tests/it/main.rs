//! Rounds of real validators on a chain in memory, a hub on disk and models of known loss.

mod ahead;
mod crashes;
mod delayed;
mod disk;
mod duel_attacks;
mod duels;
mod fairness;
mod faults;
mod formulas;
mod hidden;
mod moody;
mod network;
mod publication;
mod roots;
mod rounds;
mod services;
mod tapped;
mod torn;
mod trouble;
mod truth;
mod withheld;
