//! The rules as a whole: invariants, defects of the reference, vectors of an independent program.

mod calendar;
mod defects;
mod duel;
mod duel_rates;
mod invariants;
mod merit;
mod reign;
mod reign_attacks;
mod reign_crowds;
mod reign_records;
mod reign_strangers;
mod tournament;
mod vectors;
