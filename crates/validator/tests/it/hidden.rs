//! Weights that the chain opens later, and tells nobody whether it did.

use crate::network::{NETUID, Network};
use chain::{
    Call, CallId, CallStatus, Chain, Error, Genesis, Head, HidingRules, Keypair, MemoryChain,
    Metagraph, Rewards, Signed, StoredCommitment,
};
use protocol::{AccountId, Block, BlockHash, NetUid, Uid};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};
use validator::{Event, Ports, Validator};

/// What of a run is about hidden weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Submitted(u64),
    Revealed(u64),
    NotRevealed(u64),
}

/// Runs a validator to block `last`; gives what it told of its weights.
fn run(network: &Network, validator: &mut Validator, last: u64) -> Vec<Seen> {
    let mut seen = Vec::new();
    while network.chain.head().unwrap().block < Block(last) {
        let head = network.chain.produce_block().unwrap();
        let told = Mutex::new(Vec::new());
        let watch = |event: Event| match event {
            Event::WeightsSubmitted(_) => told.lock().unwrap().push(Seen::Submitted(head.block.0)),
            Event::WeightsRevealed { block } => told.lock().unwrap().push(Seen::Revealed(block.0)),
            Event::WeightsNotRevealed { .. } => {
                told.lock().unwrap().push(Seen::NotRevealed(head.block.0));
            }
            _ => {}
        };
        validator.on_block(head, &watch).unwrap();
        seen.extend(told.into_inner().unwrap());
    }
    seen
}

fn row(network: &Network) -> Vec<(Uid, u16)> {
    network.chain.weights(NETUID, network.uid("val")).unwrap()
}

#[test]
fn hidden_weights_are_committed_looked_for_and_paid_by() {
    let network = Network::new(&["ada", "ben"]);
    network.hide_weights(true);
    network.enter("ada", "first", 3.0);
    let mut validator = network.validator();
    let seen = run(&network, &mut validator, 39);
    assert_eq!(seen[0], Seen::Submitted(20), "with the round of block 20");
    let revealed = seen.iter().find(|seen| matches!(seen, Seen::Revealed(_)));
    assert_eq!(revealed, Some(&Seen::Revealed(33)), "three blocks into the epoch after: {seen:?}");
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::NotRevealed(_))), "{seen:?}");
    assert_eq!(row(&network), [(network.uid("ada"), 65_535)]);
    let incentive = |network: &Network| {
        let ada = usize::from(network.uid("ada").0);
        network.chain.metagraph(NETUID).unwrap().neurons[ada].incentive
    };
    assert_eq!(incentive(&network), 0, "nothing is counted before the end of that epoch");
    run(&network, &mut validator, 41);
    assert_eq!(incentive(&network), 65_535);
}

#[test]
fn a_subnet_may_turn_hiding_on_and_off_at_any_block() {
    let network = Network::new(&["ada", "ben"]);
    network.enter("ada", "first", 3.0);
    let mut validator = network.validator();
    let mut seen = Vec::new();
    for (last, is_hiding) in [(24, true), (57, false), (85, true)] {
        seen.extend(run(&network, &mut validator, last));
        assert_eq!(row(&network), [(network.uid("ada"), 65_535)], "by block {last}");
        network.hide_weights(is_hiding);
    }
    seen.extend(run(&network, &mut validator, 130));
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Revealed(_))), "{seen:?}");
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::NotRevealed(_))), "{seen:?}");
}

/// A chain whose beacon is not the one that the endpoint says.
struct Misled {
    chain: Arc<dyn Chain>,
    is_misled: AtomicBool,
}

impl Chain for Misled {
    fn head(&self) -> Result<Head, Error> {
        self.chain.head()
    }
    fn block_hash(&self, block: Block) -> Result<Option<BlockHash>, Error> {
        self.chain.block_hash(block)
    }
    fn metagraph(&self, netuid: NetUid) -> Result<Metagraph, Error> {
        self.chain.metagraph(netuid)
    }
    fn commitments(&self, netuid: NetUid, at: Block) -> Result<Vec<StoredCommitment>, Error> {
        self.chain.commitments(netuid, at)
    }
    fn rewards(&self, netuid: NetUid, at: Block) -> Result<Rewards, Error> {
        self.chain.rewards(netuid, at)
    }
    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.chain.balance(coldkey)
    }
    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.chain.weights(netuid, uid)
    }
    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        let mut rules = self.chain.hiding(netuid)?;
        if let (Some(rules), true) = (&mut rules, self.is_misled.load(Ordering::SeqCst)) {
            let elsewhere = Genesis { seed: 9, ..Genesis::default() };
            rules.beacon = MemoryChain::new(&elsewhere).unwrap().ledger().beacon();
        }
        Ok(rules)
    }
    fn sign(&self, call: Call, signer: &Keypair) -> Result<Signed, Error> {
        self.chain.sign(call, signer)
    }
    fn send(&self, signed: &Signed) -> Result<(), Error> {
        self.chain.send(signed)
    }
    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.chain.resume(signed)
    }
    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        self.chain.status(id)
    }
}

#[test]
fn weights_that_the_chain_could_not_open_are_told_and_handed_over_again() {
    let network = Network::new(&["ada", "ben"]);
    network.hide_weights(true);
    network.enter("ada", "first", 3.0);
    let home = network.home();
    let ports = network.ports(&home);
    let misled =
        Arc::new(Misled { chain: Arc::clone(&ports.chain), is_misled: AtomicBool::new(true) });
    let mut validator = network.validator_with(Ports { chain: misled.clone(), ..ports }, &home);
    // The chain takes what it cannot open, and says nothing.
    let seen = run(&network, &mut validator, 39);
    assert!(seen.iter().all(|seen| matches!(seen, Seen::Submitted(_))), "{seen:?}");
    assert_eq!(row(&network), []);
    misled.is_misled.store(false, Ordering::SeqCst);
    let seen = run(&network, &mut validator, 42);
    assert_eq!(seen[0], Seen::NotRevealed(40), "when the epoch is over: {seen:?}");
    let seen = run(&network, &mut validator, 60);
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Revealed(_))), "{seen:?}");
    assert_eq!(row(&network), [(network.uid("ada"), 65_535)]);
}

#[test]
fn a_validator_that_was_away_when_its_weights_were_opened_raises_no_alarm() {
    let network = Network::new(&["ada", "ben"]);
    network.hide_weights(true);
    network.enter("ada", "first", 3.0);
    let mut validator = network.validator();
    run(&network, &mut validator, 22);
    drop(validator);
    while network.chain.head().unwrap().block < Block(58) {
        network.chain.produce_block().unwrap();
    }
    let mut validator = network.validator();
    let seen = run(&network, &mut validator, 59);
    assert_eq!(seen.first(), Some(&Seen::Revealed(59)), "{seen:?}");
}
