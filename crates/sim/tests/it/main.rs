//! Seasons as their users see them: scenarios in, figures out.

mod invariants;
mod reports;
mod scenario_keys;
mod scenarios;
mod seasons;
mod strategies;
