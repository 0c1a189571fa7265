//! The engine from outside: published files in, losses or refusals out.

mod golden;
