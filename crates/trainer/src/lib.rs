//! Makes a model better: optimizer, schedule, checkpoints.
