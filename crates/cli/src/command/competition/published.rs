//! `agon competition status`: what the owner of a subnet has published, and what changes when.

use crate::{
    args::PublishedCompetitionsArgs,
    command::chain::connect,
    hugging_face,
    owner_set::{Bounds, Fetched, Store, owner_hotkey, published},
    terminal::{self, print_json},
};
use anyhow::Context as _;
use chain::Chain as _;
use protocol::{AccountId, Block, CompetitionId, CompetitionSet, Digest, NetUid};
use serde::Serialize;
use std::fmt::Write as _;

/// What is printed.
#[derive(Serialize)]
struct Status {
    netuid: NetUid,
    /// The newest final block.
    block: Block,
    /// Whose commitment counts.
    hotkey: AccountId,
    /// Nothing if none is to competitions.
    commitment: Option<String>,
    /// Block of the commitment.
    committed: Option<Block>,
    /// Why nobody takes what is published.
    refused: Option<String>,
    competitions: Vec<Row>,
    /// Next block at which a competition begins, ends or has other rules.
    next_change: Option<Block>,
}

/// A version of a competition.
#[derive(Serialize)]
struct Row {
    name: String,
    id: CompetitionId,
    from_block: u64,
    until_block: Option<u64>,
    /// Share of the reward at the newest block, of 1; nothing if it does not hold.
    share: Option<f64>,
    rules: Digest,
}

/// Prints it.
pub fn run(args: &PublishedCompetitionsArgs) -> anyhow::Result<()> {
    let status = status(args)?;
    if args.endpoint.json { print_json(&status) } else { terminal::print(&for_people(&status)?) }
}

fn status(args: &PublishedCompetitionsArgs) -> anyhow::Result<Status> {
    let (chain, netuid) = (connect(&args.endpoint)?, NetUid(args.netuid));
    let block = chain.head()?.block;
    let hotkey = owner_hotkey(&chain, netuid)?;
    let mut status = Status {
        netuid,
        block,
        hotkey,
        commitment: None,
        committed: None,
        refused: None,
        competitions: Vec::new(),
        next_change: None,
    };
    let Some(found) = published(&chain, netuid)? else { return Ok(status) };
    status.commitment = Some(found.commitment.to_text()?);
    status.committed = Some(found.block);
    let folder = tempfile::tempdir().context("cannot make a folder for what is published")?;
    let client = hugging_face::client(&args.address)?;
    let store = Store::new(folder.path().to_owned());
    match store.fetch(&client, &found.commitment, Bounds::none())? {
        Fetched::Set(_, set) => {
            status.competitions = rows(&set, block);
            status.next_change = set.schedule().next_turn(block);
        }
        Fetched::Refused(reason) => status.refused = Some(reason),
    }
    Ok(status)
}

fn rows(set: &CompetitionSet, block: Block) -> Vec<Row> {
    let shares = set.schedule().shares(block);
    let versions = set.schedule().versions();
    let row = versions.map(|rules| {
        let now = shares.iter().find(|(running, _)| *running == rules);
        Row {
            name: rules.name.clone(),
            id: rules.id,
            from_block: rules.from_block,
            until_block: rules.until_block,
            share: now.map(|(_, share)| *share),
            rules: rules.digest(),
        }
    });
    row.collect()
}

fn for_people(status: &Status) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let Status { netuid, block, hotkey, .. } = status;
    writeln!(text, "subnet {netuid} at block {block}, published by {hotkey}")?;
    let (Some(commitment), Some(committed)) = (&status.commitment, status.committed) else {
        writeln!(text, "no competitions are published")?;
        return Ok(text);
    };
    writeln!(text, "{commitment}, in block {committed}\n")?;
    if let Some(reason) = &status.refused {
        writeln!(text, "nobody takes this: {reason}")?;
        return Ok(text);
    }
    writeln!(text, "competition   number    share  from block  until block")?;
    for row in &status.competitions {
        let Row { name, id, from_block, until_block, share, .. } = row;
        let share = share.map_or("-".to_owned(), |share| format!("{:.2} %", 100.0 * share));
        let until = until_block.map_or("-".to_owned(), |until| until.to_string());
        let id = id.to_string();
        writeln!(text, "{name:<13} {id:>6} {share:>8} {from_block:>11} {until:>12}")?;
    }
    if let Some(block) = status.next_change {
        writeln!(text, "\nnext change at block {block}")?;
    }
    Ok(text)
}
