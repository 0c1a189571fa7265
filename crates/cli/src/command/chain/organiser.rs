//! What owners of subnets do: open one, start it, say what it is.

use super::{
    session::{Session, Signer, connect},
    table::tao,
};
use crate::{
    args::{CreateArgs, IdentityArgs, StartArgs},
    failure::{HintExt as _, Interrupted},
    terminal::{print, print_json, shown, spinner},
};
use chain::{Call, CallError, Chain as _, Error, SubnetIdentity};
use protocol::{AccountId, NetUid};
use std::{collections::BTreeMap, fmt::Write as _, sync::atomic::Ordering, time::Duration};

/// How often it is asked whether there is a new block.
const TICK: Duration = Duration::from_secs(1);

/// What opening a subnet costs now, and who waits for a place.
struct Offer {
    price_rao: u64,
    queue: Vec<AccountId>,
}

/// `agon chain subnet create`.
pub fn create(args: &CreateArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let (hotkey, owner) = (session.keys.hotkey_account()?, session.keys.coldkey_account()?);
    let call = Call::RegisterNetwork { hotkey };
    let Offer { price_rao, queue } = offer(&session, args, (&call, owner))?;
    let before = if args.wait { session.chain.owned_subnets(owner)? } else { Vec::new() };
    let waiting = match queue.len() {
        0 => String::new(),
        n => format!(", behind {n} who wait for a place"),
    };
    let what = format!("lock {} TAO to open a subnet{waiting}", tao(price_rao));
    session.confirm(&what, Signer::Coldkey)?;
    let coldkey = session.keys.coldkey()?;
    // No limit is sent along: until the call is included the price falls, and after another has
    // opened a subnet, which raises it, the chain refuses the next for a while.
    let included = session.include(&call, &coldkey)?;
    let mut effects = session.chain.effects(included.id);
    if effects.netuid.is_none() && args.wait {
        // Whoever gives up the waiting must not pay again.
        eprintln!("paid for a subnet in block {}", included.block);
        effects.netuid = Some(placed(&session, owner, &before)?);
    }
    let did = match effects.netuid {
        Some(netuid) => format!("opened subnet {netuid}"),
        // Where it waits for another to be dissolved, its number comes later.
        None => "paid for a subnet, whose number the chain has not given yet".to_owned(),
    };
    session.tell(included, &coldkey, &effects, &did)
}

/// What the chain asks for a subnet, once it takes another at a price that is not too high.
fn offer(
    session: &Session<'_>,
    args: &CreateArgs,
    (call, signer): (&Call, AccountId),
) -> anyhow::Result<Offer> {
    let chain = &session.chain;
    let (price_rao, opening) = (chain.network_price_rao()?, chain.opening()?);
    let is_dear = |price_rao| args.limit.is_some_and(|limit| limit < price_rao);
    if opening.is_open() && !is_dear(price_rao) {
        return Ok(Offer { price_rao, queue: opening.queue });
    }
    if !args.wait {
        if !opening.is_open() {
            let reason = CallError::NetworkTxRateLimitExceeded;
            return Err(session.refused_beforehand(call, signer, &reason));
        }
        let limit = args.limit.unwrap_or_default();
        let (price, limit) = (tao(price_rao), tao(limit));
        return Err(anyhow::anyhow!("a subnet costs {price} TAO now, more than {limit}"))
            .hint("the price falls while nobody opens one; raise --limit, or wait with --wait");
    }
    let price = tao(price_rao);
    let what = format!("waiting: a subnet costs {price} TAO, from block {} on", opening.from);
    each_block(session, &what, || {
        let (price_rao, opening) = (chain.network_price_rao()?, chain.opening()?);
        let is_there = opening.is_open() && !is_dear(price_rao);
        Ok(is_there.then_some(Offer { price_rao, queue: opening.queue }))
    })
}

/// The subnet that was paid for, once it has its place.
fn placed(session: &Session<'_>, owner: AccountId, before: &[NetUid]) -> anyhow::Result<NetUid> {
    let chain = &session.chain;
    let what = "waiting for a place: another subnet is dissolved first";
    let placed = each_block(session, what, || {
        // Asked for first: whoever leaves the queue meanwhile has a subnet.
        let is_queued = chain.opening()?.queue.contains(&owner);
        let owned = chain.owned_subnets(owner)?;
        Ok(match owned.into_iter().find(|netuid| !before.contains(netuid)) {
            Some(netuid) => Some(Some(netuid)),
            None if is_queued => None,
            None => Some(None),
        })
    })?;
    let gone = || anyhow::anyhow!("the chain took the subnet off its queue, and did not open it");
    placed.ok_or_else(gone).hint("look at the balance, and at the subnets, before you pay again")
}

/// Asks after each block, until there is an answer.
fn each_block<T>(
    session: &Session<'_>,
    what: &str,
    question: impl Fn() -> Result<Option<T>, Error>,
) -> anyhow::Result<T> {
    let bar = spinner(what);
    let mut asked = None;
    let found = loop {
        if session.stop().load(Ordering::Relaxed) {
            break Err(Interrupted.into());
        }
        let answer = session.chain.head().and_then(|head| {
            let is_new = asked.replace(head.block) != Some(head.block);
            if is_new { question() } else { Ok(None) }
        });
        match answer {
            Ok(Some(found)) => break Ok(found),
            Ok(None) => {}
            Err(error) if error.is_transient() => {}
            Err(error) => break Err(error.into()),
        }
        std::thread::sleep(TICK);
    };
    bar.finish_and_clear();
    found
}

/// `agon chain subnet start`.
pub fn start(args: &StartArgs) -> anyhow::Result<()> {
    let session = Session::open(&args.sign)?;
    let netuid = NetUid(args.netuid);
    let call = Call::StartSubnet { netuid };
    let owner = session.keys.coldkey_account()?;
    if let Some(reason) = session.chain.subnet_start(netuid)?.refusal(owner) {
        return Err(session.refused_beforehand(&call, owner, &reason));
    }
    session.confirm(&format!("start subnet {netuid}"), Signer::Coldkey)?;
    let coldkey = session.keys.coldkey()?;
    session.make(&call, &coldkey, &format!("started subnet {netuid}: its epochs pay from now on"))
}

/// `agon chain subnet identity`: shows it, or changes it.
pub fn identity(args: &IdentityArgs) -> anyhow::Result<()> {
    let netuid = NetUid(args.netuid);
    let mut nothing = SubnetIdentity::default();
    if change(&mut nothing, args) == 0 {
        return show(netuid, args);
    }
    let session = Session::open(&args.sign)?;
    let owner = session.keys.coldkey_account()?;
    let mut identity = session.chain.identity(netuid)?.unwrap_or_default();
    let n_changes = change(&mut identity, args);
    if let Some((part, most)) = identity.too_long() {
        anyhow::bail!("--{part} is longer than the {most} bytes that the chain takes");
    }
    let call = Call::SetSubnetIdentity { netuid, identity };
    if session.chain.rules(netuid)?.owner != owner {
        return Err(session.refused_beforehand(&call, owner, &CallError::NotSubnetOwner));
    }
    session.confirm(&format!("change what is said of subnet {netuid}"), Signer::Coldkey)?;
    let coldkey = session.keys.coldkey()?;
    let parts = if n_changes == 1 { "part" } else { "parts" };
    let did = format!("changed {n_changes} {parts} of what is said of subnet {netuid}");
    session.make(&call, &coldkey, &did)
}

/// Puts the parts that are given into an identity; gives how many they are.
fn change(identity: &mut SubnetIdentity, args: &IdentityArgs) -> usize {
    let parts = [
        (&mut identity.name, &args.name),
        (&mut identity.github, &args.github),
        (&mut identity.contact, &args.contact),
        (&mut identity.url, &args.url),
        (&mut identity.discord, &args.discord),
        (&mut identity.description, &args.description),
        (&mut identity.logo_url, &args.logo_url),
        (&mut identity.additional, &args.additional),
    ];
    let mut n_changes = 0;
    for (part, given) in parts {
        if let Some(text) = given {
            *part = text.clone().into_bytes();
            n_changes += 1;
        }
    }
    n_changes
}

fn show(netuid: NetUid, args: &IdentityArgs) -> anyhow::Result<()> {
    let said = connect(&args.sign.endpoint)?.identity(netuid)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if args.sign.endpoint.json {
        let parts = said.as_ref().map(|said| {
            let parts = said.parts().into_iter().map(|(name, bytes, _)| (name, text(bytes)));
            parts.collect::<BTreeMap<_, _>>()
        });
        return print_json(&parts);
    }
    let Some(said) = said else {
        return print(&format!("nobody has said what subnet {netuid} is\n"));
    };
    let mut lines = format!("subnet {netuid}, as its owner says\n");
    for (name, bytes, _) in said.parts().into_iter().filter(|(_, bytes, _)| !bytes.is_empty()) {
        // Writing to a String never fails.
        let _ = writeln!(lines, "  {name:<12}{}", shown(&text(bytes)));
    }
    print(&lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: IdentityArgs,
    }

    #[test]
    fn what_is_not_given_stays_and_an_empty_text_takes_away() {
        let words = ["agon", "--netuid", "1", "--name", "new", "--url", ""];
        let args = Only::parse_from(words).args;
        let mut identity = SubnetIdentity {
            name: b"old".to_vec(),
            url: b"https://example.com".to_vec(),
            github: b"https://example.com/agon".to_vec(),
            ..SubnetIdentity::default()
        };
        assert_eq!(change(&mut identity, &args), 2);
        assert_eq!((&identity.name[..], &identity.url[..]), (&b"new"[..], &b""[..]));
        assert_eq!(identity.github, b"https://example.com/agon");
        let nothing = Only::parse_from(["agon", "--netuid", "1"]).args;
        assert_eq!(change(&mut identity, &nothing), 0);
    }
}
