//! What a chain says of itself, its subnets and its accounts.

use super::{session::connect, table};
use crate::{
    args::{BalanceArgs, InfoArgs, MetagraphArgs, StateArgs},
    command::wallet::Keys,
    terminal::{print, print_json, shown},
};
use chain::{Chain as _, Mechanism, StoredCommitment};
use protocol::{Block, NetUid};
use serde::Serialize;
use substrate::ChainInfo;

/// `agon chain info`.
pub fn info(args: &InfoArgs) -> anyhow::Result<()> {
    let chain = connect(&args.endpoint)?;
    let info = chain.info()?;
    if args.endpoint.json {
        return print_json(&info);
    }
    let subnets = match &info.subnets[..] {
        [] => "none".to_owned(),
        subnets => {
            subnets.iter().map(|netuid| named(&info, *netuid)).collect::<Vec<_>>().join(", ")
        }
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

/// Number of a subnet, and what its owner calls it.
fn named(info: &ChainInfo, netuid: NetUid) -> String {
    match info.names.get(&netuid) {
        Some(name) => format!("{netuid} ({})", shown(name)),
        None => netuid.to_string(),
    }
}

/// `agon chain metagraph`.
pub fn metagraph(args: &MetagraphArgs) -> anyhow::Result<()> {
    let MetagraphArgs { state, mechid } = args;
    let chain = connect(&state.endpoint)?;
    let netuid = NetUid(state.netuid);
    let metagraph = chain.metagraph_of(netuid, *mechid, state.block.map(Block))?;
    if state.endpoint.json {
        return print_json(&metagraph);
    }
    let said = chain.identity(netuid)?.filter(|said| !said.name.is_empty());
    let name = said.map(|said| format!(" ({})", shown(&String::from_utf8_lossy(&said.name))));
    let mechanism = match *mechid {
        Mechanism::FIRST => String::new(),
        other => format!(", mechanism {other}"),
    };
    let which = format!("subnet {netuid}{}{mechanism}", name.unwrap_or_default());
    print(&table::metagraph(&which, &metagraph))
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
