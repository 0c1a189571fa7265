//! `agon chain doctor`: what can be known before a first day, without signing anything.

use super::{session::connect, table::tao};
use crate::{
    args::DoctorArgs,
    command::wallet::Keys,
    hugging_face,
    terminal::{print, print_json, shown},
};
use chain::{Chain as _, Metagraph};
use protocol::{AccountId, NetUid};
use serde::Serialize;
use std::process::ExitCode;
use substrate::{Fit, Origin, SubnetRules, SubstrateChain};

/// Blocks by which the newest final block may be behind the newest.
const FINALITY_BLOCKS_MAX: u64 = 10;
/// Blocks by which our clock may differ from the chain's, as for hidden weights.
const CLOCK_BLOCKS_MAX: u64 = 2;

/// What was found of one thing.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    what: &'static str,
    /// How it stands.
    state: State,
    /// What was seen, and what can be done.
    text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Ok,
    /// Worth knowing.
    Note,
    /// Nothing will work like this.
    Bad,
}

/// All findings, as `--json` tells them.
#[derive(Serialize)]
struct Findings {
    findings: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, what: &'static str, state: State, text: impl Into<String>) {
        self.findings.push(Finding { what, state, text: text.into() });
    }
}

/// Looks at everything, and says how it stands.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let mut found = Findings { findings: Vec::new() };
    let chain = connect(&args.endpoint)?;
    let origin = chain.origin()?;
    of_endpoint(&chain, origin, &mut found)?;
    if let Some(netuid) = args.netuid {
        of_subnet(&chain, NetUid(netuid), args, &mut found)?;
    }
    if args.with_hub {
        of_hub(args, &mut found);
    }
    let is_bad = found.findings.iter().any(|finding| finding.state == State::Bad);
    if args.endpoint.json {
        print_json(&found)?;
    } else {
        print(&text(&found))?;
    }
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(found: &Findings) -> String {
    let line = |finding: &Finding| {
        let state = match finding.state {
            State::Ok => "ok  ",
            State::Note => "note",
            State::Bad => "BAD ",
        };
        format!("{state}  {:<14}{}\n", finding.what, finding.text)
    };
    found.findings.iter().map(line).collect()
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

/// The rules of a subnet, and the slot of the wallet's hotkey.
fn of_subnet(
    chain: &SubstrateChain,
    netuid: NetUid,
    args: &DoctorArgs,
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
    of_hiding(chain, netuid, &rules, found);
    let keys = Keys::new(&args.wallet);
    match keys.hotkey_account() {
        Ok(hotkey) => of_slot(chain, &metagraph, hotkey, found)?,
        Err(error) => found.add("hotkey", State::Note, format!("{error:#}")),
    }
    if let Ok(coldkey) = keys.coldkey_account() {
        let text =
            format!("{} TAO; weights and commitments cost no fee", tao(chain.balance(coldkey)?));
        found.add("balance", State::Ok, text);
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

/// Whether the hub answers, and who it says we are.
fn of_hub(args: &DoctorArgs, found: &mut Findings) {
    let client = match hugging_face::client(&args.hub) {
        Ok(client) => client,
        Err(error) => return found.add("hub", State::Bad, format!("{error:#}")),
    };
    let endpoint = client.endpoint().to_owned();
    if !client.has_token() {
        let text = format!(
            "{endpoint}, without a token: nothing can be published, and a validator of 256 miners \
             comes near the limit for strangers"
        );
        return found.add("hub", State::Note, text);
    }
    match client.user() {
        Ok(user) => {
            found.add("hub", State::Ok, format!("{endpoint} knows us as {}", shown(&user)));
        }
        Err(error) => {
            let error = hugging_face::explained(error);
            found.add("hub", State::Bad, format!("{endpoint}: {error:#}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::Head;
    use protocol::{Block, BlockHash};

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
        let mut found = Findings { findings: Vec::new() };
        judge(&mut found);
        found.findings.iter().map(|finding| finding.state).collect()
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
        let mut found = Findings { findings: Vec::new() };
        of_fit(&fit(0, &["Drand.BeaconConfig", "Balances.transfer_all"]), &mut found);
        let text = text(&found);
        assert!(text.starts_with("BAD   metadata"), "{text}");
        assert!(text.contains("Drand.BeaconConfig, Balances.transfer_all"), "{text}");
        assert_eq!(states(|found| of_fit(&fit(0, &[]), found)), [State::Ok]);
    }
}
