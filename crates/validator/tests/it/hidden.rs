//! Weights that the chain opens later, and tells nobody whether it did.

use crate::network::{NETUID, Network};
use chain::{
    Call, CallError, CallId, CallStatus, Chain, Demands, Error, Genesis, Head, HidingRules,
    HyperparameterChange, Keypair, MemoryChain, Metagraph, Rewards, Signed, StoredCommitment,
    Voter,
};
use protocol::{AccountId, Block, BlockHash, NetUid, Uid};
use std::sync::{Arc, Mutex};
use validator::{Event, Ports, Validator};

/// What of a run is about hidden weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Submitted(u64),
    Revealed(u64),
    NotRevealed(u64),
    Unchanged(u64),
    Exposed(u64),
    /// In no block until the last that might include them.
    Late(u64),
    /// By the version key.
    Refused(u64),
}

/// A network that hides weights, in which ada has a model.
fn hiding() -> Network {
    let network = Network::new(&["ada", "ben"]);
    network.hide_weights(true);
    network.enter("ada", "first", 3.0);
    network
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
            Event::WeightsUnchanged { block } => {
                told.lock().unwrap().push(Seen::Unchanged(block.0));
            }
            Event::WeightsExposed { block, .. } => {
                told.lock().unwrap().push(Seen::Exposed(block.0));
            }
            Event::ChainTrouble(text) if text.contains("in no block in their time") => {
                told.lock().unwrap().push(Seen::Late(head.block.0));
            }
            Event::WeightsUnfit(CallError::IncorrectWeightVersionKey) => {
                told.lock().unwrap().push(Seen::Refused(head.block.0));
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
    let network = hiding();
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
    // The row was there before weights were hidden.
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Unchanged(_))), "{seen:?}");
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::NotRevealed(_))), "{seen:?}");
}

/// What an endpoint says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    Nothing,
    /// Its beacon is another.
    Beacon,
    /// Weights stay hidden for a hundred epochs.
    Period,
}

/// A chain behind an endpoint that lies, and holds calls back.
struct Misled {
    chain: Arc<dyn Chain>,
    lie: Mutex<Lie>,
    /// Calls that wait, while it does not pass them on.
    held: Mutex<Option<Vec<Signed>>>,
}

impl Misled {
    fn lies(&self, lie: Lie) {
        *self.lie.lock().unwrap() = lie;
    }

    /// Passes no call on from now on.
    fn hold(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Passes on what waits, and what the chain does not take any more is gone.
    fn release(&self) {
        for signed in self.held.lock().unwrap().take().unwrap() {
            match self.chain.send(&signed) {
                Ok(()) | Err(Error::Refused(CallError::BadSignature)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A validator whose endpoint lies.
fn misled(network: &Network, lie: Lie) -> (Arc<Misled>, Validator) {
    let home = network.home();
    let ports = network.ports(&home);
    let (chain, held) = (Arc::clone(&ports.chain), Mutex::default());
    let misled = Arc::new(Misled { chain, lie: Mutex::new(lie), held });
    let validator = network.validator_with(Ports { chain: misled.clone(), ..ports }, &home);
    (misled, validator)
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
    fn voters(&self, netuid: NetUid, at: Block) -> Result<Vec<Voter>, Error> {
        self.chain.voters(netuid, at)
    }
    fn balance(&self, coldkey: AccountId) -> Result<u64, Error> {
        self.chain.balance(coldkey)
    }
    fn weights(&self, netuid: NetUid, uid: Uid) -> Result<Vec<(Uid, u16)>, Error> {
        self.chain.weights(netuid, uid)
    }
    fn hiding(&self, netuid: NetUid) -> Result<Option<HidingRules>, Error> {
        let mut rules = self.chain.hiding(netuid)?;
        match (&mut rules, *self.lie.lock().unwrap()) {
            (Some(rules), Lie::Beacon) => {
                let elsewhere = Genesis { seed: 9, ..Genesis::default() };
                rules.beacon = MemoryChain::new(&elsewhere).unwrap().ledger().beacon();
            }
            (Some(rules), Lie::Period) => rules.reveal_period = 100,
            _ => {}
        }
        Ok(rules)
    }
    fn demands(&self, netuid: NetUid) -> Result<Demands, Error> {
        self.chain.demands(netuid)
    }
    fn sign(&self, call: Call, signer: &Keypair, last: Option<Block>) -> Result<Signed, Error> {
        self.chain.sign(call, signer, last)
    }
    fn send(&self, signed: &Signed) -> Result<(), Error> {
        match &mut *self.held.lock().unwrap() {
            Some(held) => held.push(signed.clone()),
            None => self.chain.send(signed)?,
        }
        Ok(())
    }
    fn resume(&self, signed: &Signed) -> Result<(), Error> {
        self.chain.resume(signed)
    }
    fn status(&self, id: CallId) -> Result<CallStatus, Error> {
        let held = self.held.lock().unwrap();
        if held.iter().flatten().any(|signed| signed.id == id) {
            return Ok(CallStatus::Pending);
        }
        self.chain.status(id)
    }
}

#[test]
fn weights_that_the_chain_could_not_open_are_told_and_handed_over_again() {
    let network = hiding();
    let (misled, mut validator) = misled(&network, Lie::Beacon);
    // The chain takes what it cannot open, and says nothing.
    let seen = run(&network, &mut validator, 39);
    assert!(seen.iter().all(|seen| matches!(seen, Seen::Submitted(_))), "{seen:?}");
    assert_eq!(row(&network), []);
    misled.lies(Lie::Nothing);
    let seen = run(&network, &mut validator, 42);
    assert_eq!(seen[0], Seen::NotRevealed(40), "when the epoch is over: {seen:?}");
    let seen = run(&network, &mut validator, 60);
    assert!(seen.iter().any(|seen| matches!(seen, Seen::Revealed(_))), "{seen:?}");
    assert_eq!(row(&network), [(network.uid("ada"), 65_535)]);
}

#[test]
fn a_validator_that_was_away_when_its_weights_were_opened_raises_no_alarm() {
    let network = hiding();
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

#[test]
fn old_weights_that_open_after_newer_ones_were_set_openly_are_set_right_again() {
    let network = hiding();
    let mut validator = network.validator();
    assert_eq!(run(&network, &mut validator, 22), [Seen::Submitted(20)]);
    network.hide_weights(false);
    network.enter("ben", "better", 2.5);
    assert_eq!(run(&network, &mut validator, 32), [Seen::Submitted(30)]);
    let (newer, old) = (row(&network), [(network.uid("ada"), 65_535)]);
    assert_ne!(newer, old);
    // What opens late counts as an update, and must not pass for another validator's.
    assert_eq!(run(&network, &mut validator, 34), [Seen::Revealed(33)]);
    assert_eq!(row(&network), old);
    assert_eq!(run(&network, &mut validator, 36), [Seen::Submitted(35)]);
    assert_eq!(row(&network), newer);
}

#[test]
fn weights_that_open_far_away_keep_nobody_from_looking_for_later_ones() {
    let network = hiding();
    let (misled, mut validator) = misled(&network, Lie::Period);
    assert_eq!(run(&network, &mut validator, 23), [Seen::Submitted(20)]);
    misled.lies(Lie::Nothing);
    network.enter("ben", "better", 2.5);
    let seen = run(&network, &mut validator, 45);
    // The first were to open after a hundred epochs; by the chain's own period they are gone.
    for expected in [Seen::NotRevealed(40), Seen::Revealed(43)] {
        assert!(seen.contains(&expected), "no {expected:?} in {seen:?}");
    }
}

#[test]
fn a_period_that_is_raised_meanwhile_is_no_loss() {
    let network = hiding();
    let mut validator = network.validator();
    run(&network, &mut validator, 22);
    network.change(HyperparameterChange::RevealPeriod(3));
    let seen = run(&network, &mut validator, 60);
    let told = seen.iter().find(|seen| !matches!(seen, Seen::Submitted(_)));
    assert_eq!(told, Some(&Seen::Revealed(50)), "{seen:?}");
    assert!(!seen.iter().any(|seen| matches!(seen, Seen::NotRevealed(_))), "{seen:?}");
}

#[test]
fn a_row_that_was_there_before_is_not_said_to_be_revealed_and_what_would_be_dropped_is_told() {
    let network = hiding();
    let mut validator = network.validator();
    let seen = run(&network, &mut validator, 39);
    assert_eq!(seen, [Seen::Submitted(20), Seen::Submitted(30), Seen::Revealed(33)]);
    // The chain drops the second without a word, and keeps the equal row of the first.
    network.change(HyperparameterChange::WeightsVersion(7));
    let seen = run(&network, &mut validator, 52);
    let refused = |block| seen.contains(&Seen::Refused(block));
    assert!(refused(41) && refused(52), "{seen:?}");
    let told: Vec<&Seen> = seen.iter().filter(|seen| !matches!(seen, Seen::Refused(_))).collect();
    assert_eq!(told, [&Seen::Unchanged(50)], "nothing is hidden in vain: {seen:?}");
}

#[test]
fn attack_weights_that_an_endpoint_holds_back_are_taken_in_no_later_epoch() {
    let network = hiding();
    let (misled, mut validator) = misled(&network, Lie::Nothing);
    misled.hold();
    assert_eq!(run(&network, &mut validator, 29), [Seen::Submitted(20)]);
    misled.release();
    // From the epoch's first block on their round is near: they are hidden anew, to a later one.
    let seen = run(&network, &mut validator, 45);
    let anew = [Seen::Late(30), Seen::Submitted(30), Seen::Submitted(40), Seen::Revealed(43)];
    assert_eq!(seen[..4], anew, "{seen:?}");
}

#[test]
fn weights_that_are_taken_in_a_later_epoch_than_planned_are_told() {
    let network = hiding();
    let (misled, mut validator) = misled(&network, Lie::Nothing);
    misled.hold();
    assert_eq!(run(&network, &mut validator, 22), [Seen::Submitted(20)]);
    // The owner makes epochs shorter while an endpoint holds them back.
    network.change(HyperparameterChange::Tempo(4));
    run(&network, &mut validator, 27);
    misled.release();
    let seen = run(&network, &mut validator, 42);
    assert_eq!(seen[0], Seen::Exposed(28), "{seen:?}");
}

#[test]
fn lost_weights_are_not_handed_over_again_while_newer_ones_are_on_their_way() {
    let network = hiding();
    let (misled, mut validator) = misled(&network, Lie::Beacon);
    run(&network, &mut validator, 22);
    misled.hold();
    assert_eq!(run(&network, &mut validator, 39), [Seen::Submitted(30)]);
    let head = network.chain.produce_block().unwrap();
    let is_told = Mutex::new(false);
    let watch = |event: Event| {
        *is_told.lock().unwrap() |= matches!(event, Event::WeightsNotRevealed { .. });
    };
    validator.duties(head, &watch).unwrap();
    assert!(*is_told.lock().unwrap(), "they are lost");
    assert!(!validator.state().weights.due, "newer ones are on their way");
}
