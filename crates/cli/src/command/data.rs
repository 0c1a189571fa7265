//! `agon data`: datasets known by name, pinned by competitions, or lying on this machine.

mod array;
mod export;
mod info;
mod mirror;
mod pin;
mod sample;
mod target;

use crate::{
    args::{DataArgs, DataCommand, DataTokenizerArgs, TokenizerKind},
    competition_file::with_own_hint,
    input, terminal,
};
use dataset::tokenizer::Ranked;
use std::process::ExitCode;

/// Longest list of ranks that is read.
const RANKS_BYTES_MAX: u64 = 16 << 20;

/// Runs one command.
pub fn run(args: &DataArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        DataCommand::Export(args) => return export::run(args),
        DataCommand::Info(args) => info::run(args),
        DataCommand::Sample(args) => sample::run(args),
        DataCommand::Row(args) => sample::row(args),
        DataCommand::Pin(args) => pin::run(args),
        DataCommand::Mirror(args) => mirror::run(args),
        DataCommand::Tokenizer(args) => tokenizer(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn tokenizer(args: &DataTokenizerArgs) -> anyhow::Result<()> {
    let kind = match args.kind {
        TokenizerKind::Gpt2 => Ranked::Gpt2,
        TokenizerKind::Cl100k => Ranked::Cl100k,
    };
    let ranks = input::read(&args.ranks, RANKS_BYTES_MAX)?;
    let tokenizer = with_own_hint(kind.tokenizer(&ranks))?;
    with_own_hint(tokenizer.save(&args.file))?;
    terminal::print(&format!(
        "tokenizer = {{ kind = \"file\", path = {:?}, vocabulary = {}, end_of_text = {}, \
         sha256 = \"{}\" }}\n",
        args.file.display().to_string(),
        tokenizer.vocabulary(),
        tokenizer.end_of_text(),
        tokenizer.digest()
    ))
}
