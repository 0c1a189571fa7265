//! `agon chain set-weights`: openly, or hidden where the subnet wants that.

use super::session::Session;
use crate::{
    args::SetWeightsArgs,
    failure::{HintExt as _, Interrupted},
    terminal::{print, print_json, spinner},
};
use chain::{CallError, Chain as _, Metagraph, Reveal, Weights};
use protocol::{AccountId, Block, NetUid, Uid, weights};
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

/// How often it is asked whether hidden weights are open.
const TICK: Duration = Duration::from_secs(1);

/// What was done, as `--json` tells it.
#[derive(Serialize)]
struct Done<'a> {
    call: String,
    block: Block,
    signer: String,
    did: &'a str,
    /// When the chain opens the weights, where they are hidden.
    #[serde(skip_serializing_if = "Option::is_none")]
    reveal: Option<Reveal>,
    /// Block in which they were seen open.
    #[serde(skip_serializing_if = "Option::is_none")]
    revealed: Option<Block>,
}

/// Sets weights in the way in which the subnet takes them.
pub fn set(args: &SetWeightsArgs) -> anyhow::Result<()> {
    let mut wanted: BTreeMap<Uid, f64> = BTreeMap::new();
    for (uid, weight) in &args.weights {
        anyhow::ensure!(wanted.insert(*uid, *weight).is_none(), "uid {uid} has two weights");
    }
    let quantized = weights::quantize(&wanted);
    anyhow::ensure!(!quantized.is_empty(), "all weights are zero");
    let session = Session::open(&args.sign)?;
    let (uids, values) = quantized.into_iter().unzip();
    let netuid = NetUid(args.netuid);
    let (mechanism, version_key) = (args.mechid, args.version_key);
    let weights = Weights { netuid, mechanism, uids, weights: values, version_key };
    let n_weights = weights.uids.len();
    session.confirm(&format!("set {n_weights} weights on subnet {netuid}"))?;
    let hotkey = session.keys.hotkey()?;
    let handed = session.chain.hand(&weights, &hotkey)?;
    if handed.reveal.is_some() {
        // What is wrong with hidden weights the chain tells nobody.
        check(&session, &weights, hotkey.public())?;
    }
    let (id, block) = session.include(&handed.call, &hotkey)?;
    let mut did = format!("set {n_weights} weights on subnet {netuid}");
    let mut revealed = None;
    if let Some(reveal) = handed.reveal {
        did = hidden(&weights, reveal);
        if args.wait {
            let seen = wait(&session, &weights, (hotkey.public(), reveal))?;
            did = format!("{did}; seen open in block {seen}");
            revealed = Some(seen);
        }
    }
    if session.is_json() {
        let (call, signer) = (super::session::hex_of(&id), hotkey.public().to_string());
        let reveal = handed.reveal;
        return print_json(&Done { call, block, signer, did: &did, reveal, revealed });
    }
    print(&format!("{did}; in block {block}\n"))
}

fn hidden(weights: &Weights, reveal: Reveal) -> String {
    let Reveal { round, from, until, .. } = reveal;
    format!(
        "hid {} weights on subnet {}; the chain opens them from block {from} to {until}, by round \
         {round} of its beacon",
        weights.uids.len(),
        weights.netuid
    )
}

/// Refuses weights that the chain would drop without a word when it opens them.
fn check(session: &Session<'_>, weights: &Weights, hotkey: AccountId) -> anyhow::Result<()> {
    let metagraph = session.chain.metagraph(weights.netuid)?;
    let rules = session.chain.rules(weights.netuid)?;
    let refused = refusal(&metagraph, weights, hotkey, &|name| rules.number(name));
    match refused {
        Some(reason) => {
            let call = weights.openly().call;
            Err(session.refused_beforehand(&call, hotkey, &reason))
        }
        None => Ok(()),
    }
}

/// Why the chain would not take these weights, by the checks of the pallet.
fn refusal(
    metagraph: &Metagraph,
    weights: &Weights,
    hotkey: AccountId,
    rule: &dyn Fn(&str) -> Option<u64>,
) -> Option<CallError> {
    let own = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
    let Some(own) = own else { return Some(CallError::HotKeyNotRegisteredInSubNet) };
    let n_slots = metagraph.neurons.len();
    let is_self_weight = weights.uids == [own.uid];
    if weights.uids.len() > n_slots {
        return Some(CallError::UidsLengthExceedUidsInSubNet);
    }
    if weights.uids.iter().any(|uid| usize::from(uid.0) >= n_slots) {
        return Some(CallError::UidVecContainInvalidOne);
    }
    if rule("weights_version").is_some_and(|version| weights.version_key < version) {
        return Some(CallError::IncorrectWeightVersionKey);
    }
    if is_self_weight {
        return None;
    }
    if !own.validator_permit {
        return Some(CallError::NeuronNoValidatorPermit);
    }
    let fewest = rule("min_weights").unwrap_or(0).min(n_slots as u64);
    ((weights.uids.len() as u64) < fewest).then_some(CallError::WeightVecLengthIsLow)
}

/// Waits until the chain has opened the weights; gives the block in which they were seen.
fn wait(
    session: &Session<'_>,
    weights: &Weights,
    (hotkey, reveal): (AccountId, Reveal),
) -> anyhow::Result<Block> {
    let (chain, netuid) = (&session.chain, weights.netuid);
    let uid = chain.slot(netuid, hotkey)?.ok_or(chain::Error::NoSubnet(netuid))?;
    let bar = spinner(&format!("waiting for block {}, when the chain opens them", reveal.from));
    let looked = loop {
        if session.stop().load(Ordering::Relaxed) {
            break Err(Interrupted.into());
        }
        let head = match chain.head() {
            Ok(head) => head.block,
            Err(error) if error.is_transient() => {
                std::thread::sleep(TICK);
                continue;
            }
            Err(error) => break Err(error.into()),
        };
        if head >= reveal.from {
            let mut row = chain.weights_of(netuid, weights.mechanism, uid)?;
            row.sort_unstable();
            if row == weights.row() {
                break Ok(head);
            }
        }
        if head > reveal.until {
            break Err(anyhow::anyhow!(
                "the chain has not opened the weights, and never will: block {} was the last that \
                 could",
                reveal.until
            ))
            .hint(
                "the beacon's round came too late, or a rule refused the weights when they were \
                 opened, which the chain tells nobody: set them again",
            );
        }
        std::thread::sleep(TICK);
    };
    bar.finish_and_clear();
    looked
}
