//! Trained models: how they end, and what is found of their parameters.

mod health;
mod training;
