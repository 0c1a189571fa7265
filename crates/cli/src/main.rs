//! `agon`: an open network for LLM pretraining competitions, as one command.

// Nothing outside can reach into a binary: `pub` says what other modules here may use.
#![allow(unreachable_pub)]

mod args;
mod command;
mod competition_file;
mod contest;
mod data_files;
mod evaluator;
mod failure;
mod findings;
mod hub_records;
mod hub_tokenizer;
mod hugging_face;
mod input;
#[cfg(test)]
mod listing;
mod llama;
mod owner_set;
mod pinning;
mod plug;
mod private;
mod rules_text;
mod service;
mod supervised;
mod terminal;
mod trained;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match args::read() {
        Ok(arguments) => arguments,
        Err(error) => return failure::report(&error),
    };
    match arguments.command.log_format() {
        Some(format) => terminal::log_as_service(arguments.verbose, format),
        None => terminal::log_to_stderr(arguments.verbose),
    }
    supervised::end_with_supervisor();
    for (option, reason) in &arguments.ignored {
        eprintln!("`{option}` is ignored: {reason}");
    }
    match command::run(arguments.command) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}
