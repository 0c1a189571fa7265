//! The root of the records under the validator's own hotkey: once a period, and in nobody's way.

use crate::{
    network::{Formula, NETUID, Network, hotkey},
    tapped::{Tap, TappedChain},
};
use chain::{Call, CallId, Chain, Error, Signed};
use journal::Journal;
use protocol::{BlockHash, Digest};
use records::{RootCommitment, Statement};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use validator::{Config, Contest, Event, Ports, Validator};

/// Blocks between two roots.
const EVERY: u64 = 20;

fn open(network: &Network) -> Validator {
    open_with(network, network.ports(&network.home()))
}

fn open_with(network: &Network, ports: Ports) -> Validator {
    let config = Config { root_blocks: EVERY, ..Config::new(NETUID, BlockHash([8; 32])) };
    let contest = Contest::new(network.competition.clone(), Arc::<Formula>::default());
    let journal = Journal::open(&network.home()).unwrap();
    Validator::open(config, ports, vec![contest], hotkey("val"), journal).unwrap()
}

/// The root of what would be published at a block.
fn root(block: u64) -> RootCommitment {
    let root = Digest::of(&block.to_le_bytes());
    RootCommitment { repo: "val/records".parse().unwrap(), root }
}

/// The text that names it on the chain.
fn text_of_root(block: u64) -> String {
    let statement = Statement { records: Some(root(block)), seen: None };
    String::from_utf8(statement.to_bytes().unwrap()).unwrap()
}

/// What the chain has of the validator's hotkey.
fn committed(network: &Network) -> Option<Vec<u8>> {
    let head = network.chain.head().unwrap();
    let all = network.chain.commitments(NETUID, head.block).unwrap();
    let own = all.into_iter().find(|stored| stored.hotkey == hotkey("val").public());
    own.map(|stored| stored.data)
}

/// Runs to a block with a new root at each; gives blocks and what was told of roots.
fn run(network: &Network, validator: &Validator, last: u64) -> Vec<(u64, Event)> {
    let told = Mutex::new(Vec::new());
    while network.chain.head().unwrap().block.0 < last {
        let head = network.chain.produce_block().unwrap();
        let watch = |event: Event| {
            let is_of_root = matches!(
                event,
                Event::RootSubmitted(_)
                    | Event::RootSet { .. }
                    | Event::RootRefused(_)
                    | Event::RootWithheld(_)
            );
            if is_of_root {
                told.lock().unwrap().push((head.block.0, event));
            }
        };
        validator.on_block(head, &watch).unwrap();
        validator.state_on_chain(head, Some(&root(head.block.0)), &watch).unwrap();
    }
    told.into_inner().unwrap()
}

/// Blocks at which roots went out.
fn submitted(told: &[(u64, Event)]) -> Vec<u64> {
    let went_out = told.iter().filter(|(_, event)| matches!(event, Event::RootSubmitted(_)));
    went_out.map(|(block, _)| *block).collect()
}

#[test]
fn a_root_is_committed_to_once_a_period_while_weights_go_on() {
    let network = Network::new(&["ada"]);
    network.enter("ada", "first", 3.0);
    let validator = open(&network);
    let told = run(&network, &validator, 90);
    let blocks = submitted(&told);
    assert!((3..=5).contains(&blocks.len()), "{told:?}");
    assert!(blocks.windows(2).all(|pair| pair[1] - pair[0] >= EVERY), "{blocks:?}");
    let last = blocks.last().copied().unwrap();
    let text = text_of_root(last);
    assert_eq!(committed(&network).unwrap(), text.as_bytes());
    assert!(told.iter().any(|(_, event)| matches!(event, Event::RootSet { .. })), "{told:?}");
    assert_eq!(validator.state().roots.set, Some(text));
    assert!(network.incentive("ada") > 0.9, "weights are set as ever");
}

#[test]
fn a_root_that_stands_already_takes_no_time_from_the_next() {
    let network = Network::new(&["ada"]);
    let validator = open(&network);
    let watch = |_: Event| {};
    let mut stood = Vec::new();
    while network.chain.head().unwrap().block.0 < 80 {
        let head = network.chain.produce_block().unwrap();
        validator.on_block(head, &watch).unwrap();
        // Nothing new is published for three periods.
        let published = if head.block.0 < 75 { 1 } else { 2 };
        validator.state_on_chain(head, Some(&root(published)), &watch).unwrap();
        let is_new = committed(&network) == Some(text_of_root(2).into_bytes());
        stood.extend(is_new.then_some(head.block.0));
    }
    assert!(stood.first().is_some_and(|block| *block <= 78), "{stood:?}");
}

#[test]
fn a_process_that_does_not_know_its_root_yet_takes_none_back() {
    let mut network = Network::new(&["ada", "ben"])
        .with_duels(protocol::duel::DuelRules::default(), crate::duels::N_DOCUMENTS);
    network.competition.evaluation.published = protocol::competition::Published::TwoThirds;
    let run = |validator: &Validator, last: u64, root: Option<RootCommitment>| {
        while network.chain.head().unwrap().block.0 < last {
            let head = network.chain.produce_block().unwrap();
            validator.on_block(head, &|_| {}).unwrap();
            validator.state_on_chain(head, root.as_ref(), &|_| {}).unwrap();
        }
    };
    network.enter("ada", "first", 3.0);
    let validator = open(&network);
    run(&validator, 35, Some(root(1)));
    let said = || Statement::parse(&committed(&network).unwrap()).unwrap();
    let before = said();
    assert_eq!(before.records, Some(root(1)));
    drop(validator);
    network.enter("ben", "better", 2.5);
    let validator = open(&network);
    run(&validator, 65, None);
    let after = said();
    assert_eq!(after.records, Some(root(1)));
    assert_eq!(before.seen.unwrap().slots.len() + 1, after.seen.unwrap().slots.len());
}

#[test]
fn attack_a_commitment_of_the_hotkey_to_a_model_is_never_overwritten_and_told_once_a_period() {
    let network = Network::new(&["ada"]);
    let text = b"agon:1:a-model-of-its-own".to_vec();
    let call = Call::SetCommitment { netuid: NETUID, data: text.clone() };
    network.chain.submit(call, &hotkey("val")).unwrap();
    network.chain.produce_block().unwrap();
    assert_eq!(committed(&network), Some(text.clone()));
    let validator = open(&network);
    let first = network.chain.head().unwrap().block.0 + 1;
    let told = run(&network, &validator, first + EVERY - 1);
    assert!(matches!(&told[..], [(_, Event::RootWithheld(_))]), "{told:?}");
    drop(validator);
    let validator = open(&network);
    let told = run(&network, &validator, first + EVERY + 5);
    assert!(matches!(&told[..], [(_, Event::RootWithheld(_))]), "{told:?}");
    assert_eq!(committed(&network), Some(text));
    // It takes the place of its own of before.
    let call = Call::SetCommitment { netuid: NETUID, data: text_of_root(0).into() };
    network.chain.submit(call, &hotkey("val")).unwrap();
    let told = run(&network, &validator, first + 3 * EVERY);
    assert!(!submitted(&told).is_empty(), "{told:?}");
}

#[test]
fn a_validator_that_is_killed_on_the_way_follows_the_call_that_it_signed() {
    let network = Network::new(&["ada"]);
    let validator = open(&network);
    let first = network.chain.head().unwrap().block.0 + 1;
    let told = run(&network, &validator, first);
    assert_eq!(submitted(&told), [first]);
    let sent = validator.state().roots.sent.unwrap();
    drop(validator);
    let validator = open(&network);
    assert_eq!(validator.state().roots.sent.as_ref(), Some(&sent));
    let told = run(&network, &validator, first + 5);
    assert!(submitted(&told).is_empty(), "it is not signed again: {told:?}");
    assert_eq!(committed(&network).unwrap(), sent.text.as_bytes());
    assert_eq!(validator.state().roots.set, Some(sent.text));
}

#[test]
fn no_root_is_due_where_none_is_wanted() {
    let network = Network::new(&["ada"]);
    let home = network.home();
    let validator = network.validator_with(network.ports(&home), &home);
    let told = run(&network, &validator, 60);
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(committed(&network), None);
}

/// A node that drops the first root from its pool two blocks after it came: whatever was signed
/// meanwhile waits behind it in vain.
#[derive(Default)]
struct Forgetful {
    /// Block from which the root is gone; 0 before there was one.
    drops_at: AtomicU64,
    lost: Mutex<BTreeSet<CallId>>,
}

impl Tap for Forgetful {
    fn before(&self, _request: &'static str) -> Result<(), Error> {
        Ok(())
    }

    fn signed(&self, call: &Call, signed: &Signed) {
        let (now, drops_at) = (signed.from.0, self.drops_at.load(Ordering::SeqCst));
        let is_first_root = drops_at == 0 && matches!(call, Call::SetCommitment { .. });
        if is_first_root {
            self.drops_at.store(now + 2, Ordering::SeqCst);
        }
        if is_first_root || now < drops_at {
            self.lost.lock().unwrap().insert(signed.id);
        }
    }

    fn loses(&self, signed: &Signed) -> bool {
        self.lost.lock().unwrap().contains(&signed.id)
    }
}

/// The first blocks at which weights were handed over, and at which it was seen that the chain has
/// some, where a root goes out at a block.
fn first_weights(root_at: u64) -> (u64, u64) {
    let network = Network::new(&["ada"]);
    network.enter("ada", "first", 3.0);
    let chain = Arc::clone(&network.chain);
    let tap = Arc::<Forgetful>::default();
    let ports = network.ports(&network.home());
    let tapped = TappedChain { inner: Arc::clone(&ports.chain), tap };
    let validator = open_with(&network, Ports { chain: Arc::new(tapped), ..ports });
    let (sent, set) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    while chain.head().unwrap().block.0 < 60 {
        let head = chain.produce_block().unwrap();
        let watch = |event: Event| match event {
            Event::WeightsSubmitted(_) => sent.lock().unwrap().push(head.block.0),
            Event::WeightsSet { .. } => set.lock().unwrap().push(head.block.0),
            _ => {}
        };
        validator.on_block(head, &watch).unwrap();
        if head.block.0 == root_at {
            validator.state_on_chain(head, Some(&root(root_at)), &watch).unwrap();
            assert!(validator.state().roots.sent.is_some(), "it is on its way");
        }
    }
    let first = |blocks: Mutex<Vec<u64>>| blocks.into_inner().unwrap().first().copied();
    (first(sent).unwrap(), first(set).unwrap_or(u64::MAX))
}

#[test]
fn attack_a_root_that_a_node_drops_keeps_no_weights_from_being_taken_in_time() {
    let (due, taken) = first_weights(u64::MAX);
    assert_eq!(taken, due + 1);
    let (sent, taken) = first_weights(due - 1);
    assert!(sent > due, "they wait for the root a little");
    assert!(taken <= due + 7, "due at block {due}, taken by {taken}");
}
