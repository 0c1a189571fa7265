//! Reads a published model and measures it: runs parameters, never code.
