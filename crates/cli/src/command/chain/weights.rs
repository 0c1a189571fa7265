//! `agon chain set-weights`: openly, or hidden where the subnet wants that.

use super::session::{Included, Session, Signer};
use crate::{
    args::SetWeightsArgs,
    failure::{HintExt as _, Interrupted},
    terminal::{print, print_json, spinner},
};
use chain::{Chain as _, Handed, Keypair, Opening, Reveal, Weights};
use protocol::{AccountId, Block, NetUid, Uid, weights};
use serde::Serialize;
use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

/// How often it is asked whether hidden weights are open.
const TICK: Duration = Duration::from_secs(1);

/// Blocks after which it is looked at the rules of the subnet although the time of hidden weights
/// has not come: its owner may have moved it.
const LOOK_BLOCKS: u64 = 50;

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
    /// Whether they can be read before that: the chain took them an epoch later than planned.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    exposed: bool,
    /// Block in which they were seen open.
    #[serde(skip_serializing_if = "Option::is_none")]
    revealed: Option<Block>,
}

/// What is planned for hidden weights.
#[derive(Clone, Copy)]
struct Plan {
    reveal: Reveal,
    /// Whether the chain has their row already: that it has it later tells nothing.
    repeats: bool,
}

/// What was seen of hidden weights when their time came.
enum Seen {
    Opened(Block),
    /// The row that was there before.
    Unchanged(Block),
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
    session.confirm(&format!("set {n_weights} weights on subnet {netuid}"), Signer::Hotkey)?;
    let hotkey = session.keys.hotkey()?;
    let mut plan = None;
    // Made anew at each try: hidden weights are for the epoch that takes them in.
    let mut make = || -> anyhow::Result<Handed> {
        let (handed, planned) = handed(&session, &weights, &hotkey)?;
        plan = planned;
        Ok(handed)
    };
    let Included { id, block } = session.include_made(&mut make, &hotkey)?;
    let mut did = format!("set {n_weights} weights on subnet {netuid}");
    let (mut exposed, mut revealed) = (false, None);
    if let Some(planned) = plan {
        did = hidden(&weights, planned.reveal);
        let epoch = epoch_taken(&session, netuid, block).unwrap_or(planned.reveal.epoch);
        let taken = Plan { reveal: Reveal { epoch, ..planned.reveal }, ..planned };
        exposed = epoch > planned.reveal.epoch;
        if exposed {
            did += "; it took them in a later epoch than planned: anybody can read them before \
                    they are opened";
        }
        if args.wait {
            match wait(&session, (&weights, hotkey.public()), taken)? {
                Seen::Opened(at) => {
                    did += &format!("; seen open in block {at}");
                    revealed = Some(at);
                }
                Seen::Unchanged(at) => {
                    did += &format!(
                        "; the row was the same before, so that nobody can tell in block {at} \
                         whether they are open"
                    );
                }
            }
        }
    }
    if session.is_json() {
        let (call, signer) = (super::table::hex_of(&id), hotkey.public().to_string());
        let reveal = plan.map(|plan| plan.reveal);
        let did = did.as_str();
        return print_json(&Done { call, block, signer, did, reveal, exposed, revealed });
    }
    print(&format!("{did}; in block {block}\n"))
}

/// Weights as they are handed over, and what is planned for them where they are hidden.
fn handed(
    session: &Session<'_>,
    weights: &Weights,
    hotkey: &Keypair,
) -> anyhow::Result<(Handed, Option<Plan>)> {
    let (chain, netuid) = (&session.chain, weights.netuid);
    // What is wrong with hidden weights the chain tells nobody. It is looked for before the rules
    // are read by which they are hidden: they hold for the next block.
    let repeats = match chain.hiding(netuid)? {
        Some(_) => check(session, weights, hotkey.public())?,
        None => false,
    };
    let bar = spinner("hiding the weights");
    let made: anyhow::Result<_> = loop {
        let rules = match chain.hiding(netuid) {
            Ok(rules) => rules,
            Err(error) => break Err(error.into()),
        };
        let handed = match &rules {
            Some(rules) => weights.hidden(rules, hotkey),
            None => Ok(weights.openly()),
        };
        match handed {
            Ok(handed) => break Ok(handed),
            // It may be too near the end of an epoch, and pass.
            Err(error) if error.is_transient() => bar.set_message(error.to_string()),
            Err(error) => break Err(error.into()),
        }
        if session.stop().load(Ordering::Relaxed) {
            break Err(Interrupted.into());
        }
        std::thread::sleep(TICK);
    };
    bar.finish_and_clear();
    let made = made?;
    let plan = made.reveal.map(|reveal| Plan { reveal, repeats });
    Ok((made, plan))
}

/// Number of the epoch of the block that took hidden weights in, if it can be asked for.
fn epoch_taken(session: &Session<'_>, netuid: NetUid, block: Block) -> Option<u64> {
    let rules = session.chain.hiding(netuid).ok()??;
    Some(rules.epochs.number_of(block))
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

/// Refuses weights that the chain would drop without a word when it opens them; says whether it has
/// such a row already.
fn check(session: &Session<'_>, weights: &Weights, hotkey: AccountId) -> anyhow::Result<bool> {
    let metagraph = session.chain.metagraph(weights.netuid)?;
    let demands = session.chain.demands(weights.netuid)?;
    if let Some(reason) = demands.refusal(&metagraph, weights, hotkey) {
        let call = weights.openly().call;
        return Err(session.refused_beforehand(&call, hotkey, &reason));
    }
    let own = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
    let mut row = match own {
        Some(own) => session.chain.weights_of(weights.netuid, weights.mechanism, own.uid)?,
        None => Vec::new(),
    };
    row.sort_unstable();
    Ok(row == weights.row())
}

/// Waits until the chain has opened the weights, however long an endpoint is away.
fn wait(
    session: &Session<'_>,
    (weights, hotkey): (&Weights, AccountId),
    plan: Plan,
) -> anyhow::Result<Seen> {
    let from = plan.reveal.from;
    let bar = spinner(&format!("waiting for block {from}, when the chain opens them"));
    let mut looked = None;
    let seen = loop {
        if session.stop().load(Ordering::Relaxed) {
            break Err(Interrupted.into());
        }
        match look_at_head(session, (weights, hotkey), plan, &mut looked) {
            Ok(Some(seen)) => break Ok(seen),
            Ok(None) => {}
            Err(error) if is_away(&error) => {}
            Err(error) => break Err(error),
        }
        std::thread::sleep(TICK);
    };
    bar.finish_and_clear();
    seen
}

/// Whether an error is one that another try may not meet.
fn is_away(error: &anyhow::Error) -> bool {
    error.downcast_ref::<chain::Error>().is_some_and(chain::Error::is_transient)
}

/// What became of hidden weights by the newest block, if that can be seen and was not looked at
/// before.
fn look_at_head(
    session: &Session<'_>,
    weights: (&Weights, AccountId),
    plan: Plan,
    looked: &mut Option<Block>,
) -> anyhow::Result<Option<Seen>> {
    let head = session.chain.head()?.block;
    let is_time = match *looked {
        Some(looked) if head < plan.reveal.from => head.since(looked) >= LOOK_BLOCKS,
        Some(looked) => head > looked,
        None => true,
    };
    if !is_time {
        return Ok(None);
    }
    let seen = look(session, weights, plan, head)?;
    *looked = Some(head);
    Ok(seen)
}

/// What became of hidden weights by a block, if that can be seen.
fn look(
    session: &Session<'_>,
    (weights, hotkey): (&Weights, AccountId),
    plan: Plan,
    head: Block,
) -> anyhow::Result<Option<Seen>> {
    let (chain, netuid) = (&session.chain, weights.netuid);
    let rules = chain.hiding(netuid)?;
    let opening = Opening::of(plan.reveal, rules.as_ref(), head);
    if opening == Opening::Ahead {
        return Ok(None);
    }
    let uid = chain.slot(netuid, hotkey)?.ok_or(chain::Error::NoSubnet(netuid))?;
    let mut row = chain.weights_of(netuid, weights.mechanism, uid)?;
    row.sort_unstable();
    if row == weights.row() {
        return Ok(Some(if plan.repeats { Seen::Unchanged(head) } else { Seen::Opened(head) }));
    }
    if opening == Opening::Over {
        return Err(anyhow::anyhow!(
            "the chain has not opened the weights, and the epoch in which it would have is over by \
             block {head}"
        ))
        .hint(
            "the beacon's round came too late, or a rule refused the weights when they were \
             opened, which the chain tells nobody: set them again",
        );
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_lost_is_asked_for_again_and_another_error_is_the_end() {
        let lost = chain::Error::Unavailable { request: "weights" };
        assert!(is_away(&lost.into()));
        assert!(!is_away(&chain::Error::NoSubnet(NetUid(1)).into()));
        assert!(!is_away(&anyhow::anyhow!("the chain has not opened the weights")));
    }
}
