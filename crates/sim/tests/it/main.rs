//! Seasons as their users see them: scenarios in, figures out.

mod scenarios;
mod seasons;
mod strategies;
