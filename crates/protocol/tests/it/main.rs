//! The rules as a whole: invariants, defects of the reference, vectors of an independent program.

mod calendar;
mod defects;
mod duel;
mod duel_crown;
mod duel_rates;
mod invariants;
mod merit;
mod tournament;
mod vectors;
