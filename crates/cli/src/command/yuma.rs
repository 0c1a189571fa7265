//! `agon yuma`: one epoch of Yuma Consensus on a subnet described in JSON.

use crate::{args::YumaArgs, input, terminal::print_json};
use anyhow::Context as _;
use protocol::yuma;
use std::process::ExitCode;

/// Rows of weights and bonds of as many slots as a subnet can have, written with 10 digits a cell.
const SIZE_BYTES_MAX: u64 = 256 << 20;

/// Runs one epoch on the subnet of a file and prints what the chain would store.
pub fn run(args: &YumaArgs) -> anyhow::Result<ExitCode> {
    let subnet: yuma::Input = input::read_json(&args.file, SIZE_BYTES_MAX, "yuma")?;
    let output = yuma::epoch(&subnet).with_context(|| input::name(&args.file))?;
    print_json(&output)?;
    Ok(ExitCode::SUCCESS)
}
