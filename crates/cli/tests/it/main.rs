//! The integration tests of `agon`: one binary, one module for each thing that is tested.

mod ages;
mod architecture;
mod arguments;
mod checks;
mod commands;
mod demo;
mod deploy;
mod docs;
mod evaluator;
mod hub;
mod layout;
mod network;
mod node;
mod replay;
mod tidy;
mod tree;
mod validator;
