//! The miner service: train or take a model, check, publish, commit; rebase.
