//! `agon chain doctor`: what can be known before a first day, without signing anything.

use super::{
    session::connect,
    table::{swapped, tao},
};
use crate::{
    args::{AddressArgs, DoctorArgs, EndpointArgs, WalletArgs},
    command::wallet::Keys,
    findings::{Findings, State},
    hugging_face,
    terminal::{print, print_json, shown},
};
use ::hugging_face::{
    HubClient,
    client::{Access, Account, Allowance, RepoKind},
};
use chain::{Call, Chain as _, Error, Metagraph};
use protocol::{AccountId, NetUid, Repo, Uid, commitment::COMMITMENT_BYTES_MAX};
use std::process::ExitCode;
use substrate::{Fit, Origin, SubnetRules, SubstrateChain};

/// Blocks by which the newest final block may be behind the newest.
const FINALITY_BLOCKS_MAX: u64 = 10;
/// Blocks by which our clock may differ from the chain's, as for hidden weights.
const CLOCK_BLOCKS_MAX: u64 = 2;
/// The call among those looked at that a coldkey signs.
const TRANSFER: &str = "a transfer";
/// Places of a token that are named.
const N_PLACES_MAX: usize = 5;

/// What is looked at.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Where the chain is.
    pub endpoint: &'a EndpointArgs,
    /// Whose slot.
    pub wallet: &'a WalletArgs,
    /// Which subnet, if one is.
    pub netuid: Option<u16>,
    /// Which hub, if one is.
    pub hub: Option<&'a AddressArgs>,
    /// The repo that is to be written to, if one is.
    pub repo: Option<&'a Repo>,
}

/// Looks at everything, and says how it stands.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut found = Findings::default();
    let asked = Asked {
        endpoint: &args.endpoint,
        wallet: &args.wallet,
        netuid: args.netuid,
        hub: args.with_hub.then_some(&args.hub),
        repo: args.repo.as_ref(),
    };
    look(&asked, &mut found)?;
    if args.endpoint.json {
        print_json(&found)?;
    } else {
        print(&found.text())?;
    }
    Ok(if found.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Looks at what is asked for, and gives the connection that it made for it.
pub fn look(asked: &Asked<'_>, found: &mut Findings) -> anyhow::Result<SubstrateChain> {
    let chain = connect(asked.endpoint)?;
    let origin = chain.origin()?;
    of_endpoint(&chain, origin, found)?;
    of_fees(&chain, NetUid(asked.netuid.unwrap_or(1)), found);
    if let Some(netuid) = asked.netuid {
        of_subnet(&chain, NetUid(netuid), asked.wallet, found)?;
    }
    if let Some(hub) = asked.hub {
        of_hub(hub, asked.repo, found);
    }
    Ok(chain)
}

/// Endpoint, clock, finality and runtime.
fn of_endpoint(chain: &SubstrateChain, origin: Origin, found: &mut Findings) -> anyhow::Result<()> {
    let (info, fit) = (chain.info()?, chain.fit()?);
    let whose = match origin {
        Origin::Agon => "a chain of `agon node`".to_owned(),
        Origin::Bittensor(name) => format!("Bittensor's network `{name}`"),
        Origin::Unknown => "a chain that is not known here".to_owned(),
    };
    let node = shown(&info.node);
    found.add("endpoint", State::Ok, format!("{} serves {whose}; {node}", chain.url()));
    found.add("runtime", State::Ok, format!("spec version {}", fit.spec_version));
    of_fit(&fit, found);
    of_clock(&fit, origin, found);
    let behind = fit.best.map(|best| best.since(fit.finalized.block));
    match behind {
        None => found.add("finality", State::Note, "the endpoint does not tell its newest block"),
        Some(behind) => {
            let state = if behind > FINALITY_BLOCKS_MAX { State::Bad } else { State::Ok };
            let block = fit.finalized.block;
            let text = format!("block {block} is final, {behind} behind the newest");
            found.add("finality", state, text);
        }
    }
    found.add(
        "requests",
        State::Ok,
        match fit.requests_per_minute {
            Some(n) => format!(
                "at most {n} a minute, as public endpoints allow; a node of your own has no limit"
            ),
            None => "as fast as the endpoint answers: it is on this machine or near it".to_owned(),
        },
    );
    Ok(())
}

fn of_fit(fit: &Fit, found: &mut Findings) {
    match &fit.missing[..] {
        [] => {
            let text = format!("all {} calls and items that are used are there", fit.n_looked_for);
            found.add("metadata", State::Ok, text);
        }
        missing => {
            let text = format!("the runtime lacks {}", missing.join(", "));
            found.add("metadata", State::Bad, text);
        }
    }
}

fn of_clock(fit: &Fit, origin: Origin, found: &mut Findings) {
    if origin == Origin::Agon {
        let text = "of no matter here: the beacon of this chain goes by its blocks";
        return found.add("clock", State::Ok, text);
    }
    let off_ms = i128::from(fit.clock_ms) - i128::from(fit.best_ms);
    // The chain may say what it likes of its blocks. The newest may be as old as a block takes.
    let [most, block_ms] = [CLOCK_BLOCKS_MAX, fit.block_ms].map(i128::from);
    let (low, high) = (-most * block_ms, (most + 1) * block_ms);
    let seconds = off_ms as f64 / 1_000.0;
    let text = format!("{seconds:+.1} s from the chain's newest block");
    if (low..=high).contains(&off_ms) {
        found.add("clock", State::Ok, text);
    } else {
        let text = format!("{text}: hidden weights would open at the wrong time; set the clock");
        found.add("clock", State::Bad, text);
    }
}

/// What the calls cost that miners and validators make.
fn of_fees(chain: &SubstrateChain, netuid: NetUid, found: &mut Findings) {
    let (uids, weights) = (vec![Uid(0)], vec![u16::MAX]);
    let calls = [
        ("weights", Call::SetWeights { netuid, uids, weights, version_key: 0 }),
        ("a commitment", Call::SetCommitment { netuid, data: vec![0; COMMITMENT_BYTES_MAX] }),
        (TRANSFER, Call::Transfer { to: AccountId([1; 32]), amount_rao: 1 }),
    ];
    // What fails now is not told, and nothing else hangs on it.
    let fees = calls.map(|(what, call)| (what, chain.fee_rao(&call).ok().flatten()));
    let (state, text) = fees_told(&fees);
    found.add("fees", state, text);
}

/// Fees in words; hotkeys pay for all but transfers, and mostly hold nothing.
fn fees_told(fees: &[(&str, Option<u64>)]) -> (State, String) {
    let told = fees.iter().map(|(what, fee)| match fee {
        Some(0) => format!("{what} no fee"),
        Some(fee) => format!("{what} {} TAO", tao(*fee)),
        None => format!("{what} cannot be told"),
    });
    let text = told.collect::<Vec<_>>().join(", ");
    let is_hotkeys =
        |(what, fee): &(&str, Option<u64>)| *what != TRANSFER && fee.is_some_and(|fee| fee > 0);
    if fees.iter().any(is_hotkeys) {
        return (State::Note, format!("{text}: the hotkey must hold some TAO"));
    }
    let is_known = fees.iter().all(|(_, fee)| fee.is_some());
    (if is_known { State::Ok } else { State::Note }, text)
}

/// The rules of a subnet, and the slot of the wallet's hotkey.
fn of_subnet(
    chain: &SubstrateChain,
    netuid: NetUid,
    wallet: &WalletArgs,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let (rules, metagraph) = (chain.rules(netuid)?, chain.metagraph(netuid)?);
    let number = |name: &str| rules.number(name).map_or("?".to_owned(), |n| n.to_string());
    let text = format!(
        "{} of {} slots taken, tempo {}, weights every {} blocks, version {}",
        rules.slots,
        number("max_uids"),
        number("tempo"),
        number("weights_rate_limit"),
        number("weights_version"),
    );
    found.add("subnet", State::Ok, text);
    of_start(chain, netuid, found)?;
    of_hiding(chain, netuid, &rules, found);
    let keys = Keys::new(wallet);
    match keys.hotkey_account() {
        Ok(hotkey) => of_slot(chain, &metagraph, hotkey, found)?,
        Err(error) => found.add("hotkey", State::Note, format!("{error:#}")),
    }
    if let Ok(coldkey) = keys.coldkey_account() {
        found.add("balance", State::Ok, format!("{} TAO", tao(chain.balance(coldkey)?)));
    }
    Ok(())
}

/// Whether epochs of the subnet pay; runtimes of early 2025 start every subnet as it is opened.
fn of_start(chain: &SubstrateChain, netuid: NetUid, found: &mut Findings) -> anyhow::Result<()> {
    let start = match chain.subnet_start(netuid) {
        Err(Error::Incompatible { .. }) => return Ok(()),
        start => start?,
    };
    if start.first_emission.is_none() {
        let text = format!(
            "no epoch pays before the owner has started the subnet, which `agon chain subnet \
             start` does from block {} on",
            start.from
        );
        found.add("start", State::Note, text);
    }
    Ok(())
}

fn of_hiding(chain: &SubstrateChain, netuid: NetUid, rules: &SubnetRules, found: &mut Findings) {
    let period = rules.number("reveal_period").unwrap_or(1);
    match chain.hiding(netuid).and_then(|rules| rules.map(|rules| rules.reveal()).transpose()) {
        Ok(None) => found.add("weights", State::Ok, "set openly"),
        Ok(Some(reveal)) => {
            let text = format!(
                "hidden for {period} epochs: what is set now opens from block {} to {}",
                reveal.from, reveal.until
            );
            found.add("weights", State::Ok, text);
            let (tempo, immunity) = (rules.number("tempo"), rules.number("immunity_period"));
            if let (Some(tempo), Some(immunity)) = (tempo, immunity)
                && period.saturating_mul(tempo) >= immunity
            {
                let text = format!(
                    "new slots lose their immunity after {immunity} blocks, before weights for \
                     them open: the owner should raise it above {}",
                    period.saturating_mul(tempo)
                );
                found.add("immunity", State::Note, text);
            }
        }
        Err(error) => found.add("weights", State::Bad, error.to_string()),
    }
}

fn of_slot(
    chain: &SubstrateChain,
    metagraph: &Metagraph,
    hotkey: AccountId,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let Some(own) = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey) else {
        let text = format!("{hotkey} has no slot: `agon chain register` buys one");
        found.add("slot", State::Note, text);
        return Ok(());
    };
    let text = format!("{hotkey} has uid {}, last update in block {}", own.uid, own.last_update);
    found.add("slot", State::Ok, text);
    if let Some(block) = chain.swap_without_commitment(metagraph.netuid, hotkey)? {
        found.add("swap", State::Note, swapped(block));
    }
    let least = chain.stake_threshold_rao()?;
    let (state, text) = match own.validator_permit {
        true => (State::Ok, "may weigh others".to_owned()),
        false => (
            State::Note,
            format!(
                "may not weigh others: permits go to the hotkeys with the most stake, of {} TAO \
                 at least",
                tao(least)
            ),
        ),
    };
    found.add("permit", state, text);
    Ok(())
}

/// Whether the hub answers, who it says we are and what we may do, and what its limits leave.
fn of_hub(hub: &AddressArgs, repo: Option<&Repo>, found: &mut Findings) {
    let client = match hugging_face::client(hub) {
        Ok(client) => client,
        Err(error) => return found.add("hub", State::Bad, format!("{error:#}")),
    };
    let endpoint = client.endpoint().to_owned();
    let bad = |error: hub::Error| {
        let error = hugging_face::explained(error);
        (State::Bad, format!("{endpoint}: {error:#}"))
    };
    if client.has_token() {
        match client.account() {
            Ok(account) => {
                let text = format!("{endpoint} knows us as {}", shown(&account.name));
                found.add("hub", State::Ok, text);
                let (state, text) = writing(&account, repo);
                found.add("hub token", state, text);
            }
            Err(error) => {
                let (state, text) = bad(error);
                found.add("hub", state, text);
            }
        }
    } else {
        let (state, text) = match anything(&client, repo) {
            Ok(()) => (
                State::Note,
                format!(
                    "{endpoint}, without a token: nothing can be published, and a validator of \
                     256 miners comes near the limit for strangers"
                ),
            ),
            Err(error) => bad(error),
        };
        found.add("hub", state, text);
    }
    of_allowances(&client.allowances(), found);
}

/// Asks a hub for something that costs it little, so that it answers.
fn anything(client: &HubClient, repo: Option<&Repo>) -> Result<(), hub::Error> {
    let Some(repo) = repo.cloned().or_else(|| "agon/agon".parse().ok()) else { return Ok(()) };
    client.is_private(RepoKind::Model, &repo).map(drop)
}

/// Whether a token may write to a repo, or to one that its user makes.
fn writing(account: &Account, repo: Option<&Repo>) -> (State, String) {
    let user = shown(&account.name);
    let own = || format!("{}/agon", account.name).parse().ok();
    let (place, wanted) = match repo {
        Some(repo) => (format!("`{repo}`"), Some(repo.clone())),
        None => (format!("new repos of {user}"), own()),
    };
    match wanted.and_then(|repo| account.may_write(&repo)) {
        None => {
            let text = format!("the hub does not tell whether the token may write to {place}");
            (State::Note, text)
        }
        Some(true) if account.access == Access::Write => {
            (State::Ok, format!("the token may write wherever {user} may, to {place} too"))
        }
        Some(true) => (State::Ok, format!("the token may write to {place}")),
        Some(false) => {
            let places: Vec<&str> = account.written().into_iter().take(N_PLACES_MAX).collect();
            let only = match &places[..] {
                [] => "it writes nowhere".to_owned(),
                places => format!("it writes to {}", places.join(", ")),
            };
            let text = format!("the token may not write to {place}: {only}");
            match repo {
                Some(_) => (State::Bad, text),
                None => (State::Note, format!("{text}; a validator needs no more")),
            }
        }
    }
}

/// What a hub has said of its limits.
fn of_allowances(allowances: &[Allowance], found: &mut Findings) {
    if allowances.is_empty() {
        let text = "cannot be told: the hub says nothing of the requests that it allows";
        return found.add("hub limits", State::Note, text);
    }
    for Allowance { name, n_left, time_left, each } in allowances {
        let of = each.map_or(String::new(), |(n_requests, length)| {
            format!(" of {n_requests} in each {} s", length.as_secs())
        });
        let seconds = time_left.as_secs();
        let text = format!("{n_left}{of} are left of the kind `{name}`, for {seconds} s");
        let state = if *n_left == 0 { State::Note } else { State::Ok };
        found.add("hub limits", state, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::hugging_face::client::Scope;
    use chain::Head;
    use protocol::{Block, BlockHash};
    use std::time::Duration;

    fn fit(clock_ms: u64, missing: &[&str]) -> Fit {
        Fit {
            spec_version: 461,
            finalized: Head { block: Block(5), hash: BlockHash([1; 32]) },
            best: Some(Block(7)),
            best_ms: 1_000_000,
            clock_ms,
            block_ms: 12_000,
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
            n_looked_for: 37,
            requests_per_minute: Some(60),
        }
    }

    fn states(judge: impl Fn(&mut Findings)) -> Vec<State> {
        let mut found = Findings::default();
        judge(&mut found);
        found.states()
    }

    #[test]
    fn a_clock_is_held_against_the_newest_block_where_the_chain_goes_by_it() {
        for (clock_ms, origin, state) in [
            (1_000_000, Origin::Unknown, State::Ok),
            (1_036_000, Origin::Bittensor("finney"), State::Ok),
            (1_036_001, Origin::Bittensor("finney"), State::Bad),
            (976_000, Origin::Unknown, State::Ok),
            (975_999, Origin::Unknown, State::Bad),
            (0, Origin::Agon, State::Ok),
        ] {
            let seen = states(|found| of_clock(&fit(clock_ms, &[]), origin, found));
            assert_eq!(seen, [state], "{clock_ms}");
        }
    }

    #[test]
    fn a_chain_may_say_anything_of_its_blocks() {
        let absurd = Fit { block_ms: u64::MAX, best_ms: u64::MAX, ..fit(0, &[]) };
        let seen = states(|found| of_clock(&absurd, Origin::Unknown, found));
        assert_eq!(seen, [State::Ok]);
    }

    #[test]
    fn what_a_runtime_lacks_is_named() {
        let mut found = Findings::default();
        of_fit(&fit(0, &["Drand.BeaconConfig", "Balances.transfer_all"]), &mut found);
        let text = found.text();
        assert!(text.starts_with("BAD   metadata"), "{text}");
        assert!(text.contains("Drand.BeaconConfig, Balances.transfer_all"), "{text}");
        assert_eq!(states(|found| of_fit(&fit(0, &[]), found)), [State::Ok]);
    }

    #[test]
    fn fees_are_told_and_who_has_to_hold_money_for_them() {
        let told = |weights, transfer| {
            fees_told(&[("weights", weights), ("a commitment", Some(0)), ("a transfer", transfer)])
        };
        let (state, text) = told(Some(0), Some(124_700));
        let expected = "weights no fee, a commitment no fee, a transfer 0.0001247 TAO";
        assert_eq!((state, text.as_str()), (State::Ok, expected));
        let (state, text) = told(Some(5), Some(0));
        assert!(state == State::Note && text.contains("hotkey must hold"), "{text}");
        let (state, text) = told(None, Some(0));
        assert!(state == State::Note && text.contains("weights cannot be told"), "{text}");
    }

    #[test]
    fn a_token_is_held_against_the_repo_that_is_named_or_to_be_made() {
        let place = |kind: &str, name: &str, may_write| Scope {
            kind: kind.to_owned(),
            name: name.to_owned(),
            may_write,
        };
        let fine = Access::FineGrained(vec![
            place("user", "ann", false),
            place("org", "lab\u{202e}", true),
            place("model", "ann/m", true),
        ]);
        let [own, other]: [Repo; 2] = ["ann/m", "ann/other"].map(|name| name.parse().unwrap());
        for (access, repo, state, words) in [
            (Access::Write, None, State::Ok, "wherever ann may"),
            (Access::Write, Some(&own), State::Ok, "`ann/m`"),
            (Access::Read, None, State::Note, "it writes nowhere; a validator needs no more"),
            (Access::Read, Some(&own), State::Bad, "may not write to `ann/m`: it writes nowhere"),
            (fine.clone(), Some(&own), State::Ok, "may write to `ann/m`"),
            (fine.clone(), Some(&other), State::Bad, "ann/m"),
            (fine, None, State::Note, "may not write to new repos of ann"),
            (Access::Other("god".to_owned()), Some(&own), State::Note, "does not tell"),
        ] {
            let account = Account { name: "ann".to_owned(), access };
            let (found, text) = writing(&account, repo);
            assert!(found == state && text.contains(words), "{found:?}: {text}");
        }
    }

    #[test]
    fn what_a_hub_says_of_its_limits_is_told_and_silence_too() {
        let mut found = Findings::default();
        let each = Some((500, Duration::from_secs(300)));
        let allowance = |n_left, each| Allowance {
            name: "api".to_owned(),
            n_left,
            time_left: Duration::from_millis(55_900),
            each,
        };
        of_allowances(&[allowance(12, each), allowance(0, None)], &mut found);
        of_allowances(&[], &mut found);
        let text = found.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "ok    hub limits    12 of 500 in each 300 s are left of the kind `api`, for 55 s",
                "note  hub limits    0 are left of the kind `api`, for 55 s",
                "note  hub limits    cannot be told: the hub says nothing of the requests that it \
                 allows",
            ]
        );
    }
}
