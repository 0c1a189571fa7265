//! The validator service: sync, sample, evaluate, decide, set weights, publish the record.
