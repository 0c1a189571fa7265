//! What a chain says of itself, its subnets and its accounts.

use super::{session::connect, table};
use crate::{
    args::{BalanceArgs, InfoArgs, StateArgs},
    command::wallet::Keys,
    terminal::{print, print_json, shown},
};
use chain::{Chain as _, StoredCommitment};
use protocol::{Block, NetUid};
use serde::Serialize;

/// `agon chain info`.
pub fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let chain = connect(&args.endpoint)?;
    let info = chain.info()?;
    if args.endpoint.json {
        return print_json(&info);
    }
    let subnets = match &info.subnets[..] {
        [] => "none".to_owned(),
        subnets => subnets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    print(&format!(
        "chain     {}\nendpoint  {}\nnode      {}, runtime {}\nblock     {}  {}\ngenesis   {}\nsubnets   {subnets}\n",
        shown(&info.chain),
        chain.url(),
        shown(&info.node),
        info.spec_version,
        info.head.block,
        info.head.hash,
        info.genesis,
    ))
}

/// `agon chain metagraph`.
pub fn metagraph(args: &StateArgs) -> anyhow::Result<()> {
    let chain = connect(&args.endpoint)?;
    let netuid = NetUid(args.netuid);
    let metagraph = match args.block {
        Some(block) => chain.metagraph_at(netuid, Block(block))?,
        None => chain.metagraph(netuid)?,
    };
    if args.endpoint.json {
        return print_json(&metagraph);
    }
    print(&table::metagraph(&metagraph))
}

/// A commitment as `--json` tells it: text, where it is text.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    stored: &'a StoredCommitment,
    text: Option<&'a str>,
}

/// `agon chain commitments`.
pub fn commitments(args: &StateArgs) -> anyhow::Result<()> {
    let chain = connect(&args.endpoint)?;
    let at = args.block.map_or_else(|| chain.head().map(|head| head.block), |at| Ok(Block(at)))?;
    let stored = chain.commitments(NetUid(args.netuid), at)?;
    if args.endpoint.json {
        let shown = |stored| Shown { stored, text: str::from_utf8(&stored.data).ok() };
        return print_json(&stored.iter().map(shown).collect::<Vec<_>>());
    }
    print(&table::commitments(args.netuid, at, &stored))
}

/// A balance as `--json` tells it.
#[derive(Serialize)]
struct Balance {
    account: protocol::AccountId,
    balance_rao: u64,
}

/// `agon chain balance`.
pub fn balance(args: &BalanceArgs) -> anyhow::Result<()> {
    let account = match args.account {
        Some(account) => account,
        None => Keys::new(&args.wallet).coldkey_account()?,
    };
    let balance_rao = connect(&args.endpoint)?.balance(account)?;
    if args.endpoint.json {
        return print_json(&Balance { account, balance_rao });
    }
    print(&format!("{account}  {} TAO\n", table::tao(balance_rao)))
}
