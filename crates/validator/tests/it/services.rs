//! Duties that wait for nothing: weights are handed over while measurements last, again before they
//! grow old, and by one validator of a key.

use crate::{
    network::{Formula, GENESIS, NETUID, Network, hotkey},
    tapped::{Tap, TappedChain},
};
use chain::{Chain as _, Error, Head, HyperparameterChange};
use journal::{Journal, Past};
use protocol::{Block, Reason, SequenceLoss};
use std::{
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use validator::{
    Ask, Config, Contest, Entry, Evaluate, Event, Ports, State, Trouble, Validator,
    WEIGHTS_AGE_MAX, Worked,
};

/// What a validator told of its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// They were handed over, at this block.
    Set(u64),
    /// Another process sets weights, and counts as alive until then.
    Another { until: u64 },
}

/// Hears what a validator tells of its weights at a block.
#[derive(Default)]
struct Ear(Mutex<Vec<Told>>);

impl Ear {
    fn hear(&self, head: Head, event: &Event) {
        let told = match event {
            Event::WeightsSubmitted(_) => Told::Set(head.block.0),
            Event::AnotherValidator { until, .. } => Told::Another { until: until.0 },
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }

    fn heard(self) -> Vec<Told> {
        self.0.into_inner().unwrap()
    }
}

/// The blocks at which weights were handed over.
fn sets(told: &[Told]) -> Vec<u64> {
    let set = |told: &Told| match told {
        Told::Set(block) => Some(*block),
        Told::Another { .. } => None,
    };
    told.iter().filter_map(set).collect()
}

fn is_refused(told: &[Told]) -> bool {
    told.iter().any(|told| matches!(told, Told::Another { .. }))
}

/// Makes blocks up to one and lets validators act on each, one after the other.
fn act<const N: usize>(
    network: &Network,
    validators: [&Validator; N],
    last: u64,
) -> [Vec<Told>; N] {
    let ears = [(); N].map(|()| Ear::default());
    while network.chain.head().unwrap().block.0 < last {
        let head = network.chain.produce_block().unwrap();
        for (validator, ear) in validators.iter().zip(&ears) {
            validator.on_block(head, &|event| ear.hear(head, &event)).unwrap();
        }
    }
    ears.map(Ear::heard)
}

/// Makes blocks up to one and lets a validator do its duties at every so many of them.
fn tend(network: &Network, validator: &Validator, last: u64, every: u64) -> Vec<Told> {
    let ear = Ear::default();
    while network.chain.head().unwrap().block.0 < last {
        let head = network.chain.produce_block().unwrap();
        if head.block.0.is_multiple_of(every) {
            validator.duties(head, &|event| ear.hear(head, &event)).unwrap();
        }
    }
    ear.heard()
}

/// A validator with the key of all of them, in a home of its own.
fn at_home(network: &Network, home: &str, config: Config) -> Validator {
    let home = network.folder.path().join(home);
    let contest = Contest::new(network.competition.clone(), Arc::new(Formula::default()));
    let (ports, journal) = (network.ports(&home), Journal::open(&home).unwrap());
    Validator::open(config, ports, vec![contest], hotkey("val"), journal).unwrap()
}

/// A gate that lets nobody pass while it is shut.
#[derive(Default)]
struct Gate {
    passing: Mutex<Passing>,
    changed: Condvar,
}

#[derive(Default)]
struct Passing {
    is_shut: bool,
    n_waiting: usize,
}

impl Gate {
    fn shut(&self) {
        self.passing.lock().unwrap().is_shut = true;
    }

    fn open(&self) {
        self.passing.lock().unwrap_or_else(PoisonError::into_inner).is_shut = false;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut passing = self.passing.lock().unwrap();
        passing.n_waiting += 1;
        self.changed.notify_all();
        while passing.is_shut {
            passing = self.changed.wait(passing).unwrap();
        }
        passing.n_waiting -= 1;
    }

    /// Waits until somebody waits before it.
    fn await_somebody(&self) {
        let (passing, patience) = (self.passing.lock().unwrap(), Duration::from_secs(60));
        let is_alone = |passing: &mut Passing| passing.n_waiting == 0;
        let (passing, waited) =
            self.changed.wait_timeout_while(passing, patience, is_alone).unwrap();
        drop(passing);
        assert!(!waited.timed_out(), "nobody came to the gate");
    }
}

/// Opens a gate at its end, however that comes.
struct Opens<'a>(&'a Gate);

impl Drop for Opens<'_> {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// An evaluator behind a gate.
struct Gated {
    inner: Arc<dyn Evaluate>,
    gate: Gate,
}

impl Evaluate for Gated {
    fn engine(&self) -> &str {
        self.inner.engine()
    }
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        self.gate.pass();
        self.inner.losses(ask, learn)
    }
}

#[test]
fn an_evaluator_that_blocks_for_ever_keeps_no_weights_from_being_set() {
    const TEMPO: u16 = 1_300;
    let tempo = u64::from(TEMPO);
    let mut network = Network::new(&["ada", "ben"]);
    network.change(HyperparameterChange::Tempo(TEMPO));
    network.competition.evaluation.blocks_per_round = tempo;
    network.enter("ada", "first", 3.0);
    let home = network.home();
    let ports = network.ports(&home);
    let gated = Arc::new(Gated { inner: Arc::clone(&ports.evaluate), gate: Gate::default() });
    let ports = Ports { evaluate: gated.clone(), ..ports };
    let validator = network.validator_with(ports, &home);
    let mut told = tend(&network, &validator, tempo - 1, 10);
    let [round] = act(&network, [&validator], tempo);
    told.extend(round);
    assert_eq!(sets(&told), [tempo], "with the first round");

    // From the second on nothing is ever measured.
    gated.gate.shut();
    told.extend(tend(&network, &validator, 2 * tempo, 10));
    let head = network.chain.head().unwrap();
    thread::scope(|scope| {
        let opens = Opens(&gated.gate);
        let worker =
            scope.spawn(|| while validator.work(head, &|_| {}).unwrap() == Worked::Something {});
        gated.gate.await_somebody();
        let worked = validator.work(head, &|_| {}).unwrap();
        assert_eq!(worked, Worked::Nothing, "whoever comes second does not wait");
        told.extend(tend(&network, &validator, 12 * tempo, 10));
        assert_eq!(validator.rounds(9).unwrap().len(), 1, "it still blocks");
        drop(opens);
        worker.join().unwrap();
    });
    assert_eq!(validator.rounds(9).unwrap().len(), 2, "it goes on when it can");
    let sets = sets(&told);
    for n in 1..12 {
        let epoch = n * tempo..(n + 1) * tempo;
        assert!(sets.iter().any(|set| epoch.contains(set)), "none in {epoch:?}: {sets:?}");
    }
    let own = usize::from(network.uid("val").0);
    assert!(network.chain.metagraph(NETUID).unwrap().neurons[own].active);
}

#[test]
fn weights_are_handed_over_again_before_they_grow_old_though_no_round_was_decided() {
    for is_hiding in [false, true] {
        let network = Network::new(&["ada", "ben"]);
        network.hide_weights(is_hiding);
        network.enter("ada", "first", 3.0);
        let (text, home) = (Arc::new(Formula::default()), network.home());
        let validator = network.validator_on(text.clone(), network.ports(&home), &home);
        let [mut told] = act(&network, [&validator], 24);
        text.is_gone.store(true, Ordering::Relaxed);
        // The chain took the first at block 21.
        let again = 21 + WEIGHTS_AGE_MAX;
        let [more] = act(&network, [&validator], again + 40);
        told.extend(more);
        assert_eq!(told, [Told::Set(20), Told::Set(again)], "hidden: {is_hiding}");
        assert_eq!(validator.rounds(9).unwrap().len(), 1);
        let row = network.chain.weights(NETUID, network.uid("val")).unwrap();
        assert_eq!(row, [(network.uid("ada"), 65_535)]);
    }
}

#[test]
fn a_second_validator_of_a_key_sets_no_weights_while_the_first_is_alive() {
    let network = Network::new(&["ada", "ben"]);
    network.enter("ada", "first", 3.0);
    let first = at_home(&network, "first", Config::new(NETUID, GENESIS));
    let [told] = act(&network, [&first], 29);
    assert_eq!(told, [Told::Set(20)]);
    let second = at_home(&network, "second", Config::new(NETUID, GENESIS));
    let [of_first, of_second] = act(&network, [&first, &second], 59);
    assert_eq!(of_first, [Told::Set(30), Told::Set(40), Told::Set(50)]);
    assert!(sets(&of_second).is_empty(), "{of_second:?}");
    assert_eq!(of_second.len(), 30, "at each block, allowed to set weights or not: {of_second:?}");
    // The first is silent from here on: the chain took its last weights at block 51.
    drop(first);
    let Some(Told::Another { until }) = of_second.last().copied() else { panic!("{of_second:?}") };
    let silent = until - 51;
    assert!(silent > WEIGHTS_AGE_MAX, "one that lives sets weights more often: {silent}");
    let told = tend(&network, &second, until + 3, 1);
    assert_eq!(sets(&told), [until]);
    assert_eq!(told.last(), Some(&Told::Set(until)));
}

#[test]
fn a_validator_that_lost_its_home_waits_unless_it_is_told_to_take_over() {
    let network = Network::new(&["ada", "ben"]);
    network.enter("ada", "first", 3.0);
    let before = at_home(&network, "before", Config::new(NETUID, GENESIS));
    act(&network, [&before], 29);
    drop(before);
    let lost = at_home(&network, "lost", Config::new(NETUID, GENESIS));
    let [told] = act(&network, [&lost], 39);
    assert!(is_refused(&told) && sets(&told).is_empty(), "{told:?}");
    drop(lost);
    let config = Config { takes_over: true, ..Config::new(NETUID, GENESIS) };
    let heir = at_home(&network, "heir", config);
    let [told] = act(&network, [&heir], 59);
    assert_eq!(told, [Told::Set(40), Told::Set(50)]);

    // It took over once. Whoever comes after that is another.
    assert!(!heir.takes_over());
    let later = at_home(&network, "later", config);
    let [told] = act(&network, [&later], 69);
    assert_eq!(told, [Told::Set(60)]);
    drop(later);
    let [told] = act(&network, [&heir], 79);
    assert!(is_refused(&told) && sets(&told).is_empty(), "{told:?}");
}

#[test]
fn the_weights_of_an_earlier_version_are_ours_though_it_did_not_note_when_it_set_them() {
    let network = Network::new(&["ada", "ben"]);
    network.enter("ada", "first", 3.0);
    let before = at_home(&network, "before", Config::new(NETUID, GENESIS));
    act(&network, [&before], 29);
    let mut state = before.state();
    assert!(state.weights.set.take().is_some() && !state.weights.due);
    drop(before);
    let home = network.folder.path().join("upgraded");
    let mut past = Past::<State>::open(Journal::open(&home).unwrap()).unwrap();
    past.learn(&Entry::TakenOver(Box::new(state)), Block(29)).unwrap();
    drop(past);
    let upgraded = at_home(&network, "upgraded", Config::new(NETUID, GENESIS));
    let [told] = act(&network, [&upgraded], 49);
    assert_eq!(told, [Told::Set(30), Told::Set(40)]);
}

#[test]
fn a_validator_never_takes_itself_for_another() {
    for is_hiding in [false, true] {
        let network = Network::new(&["ada", "ben"]);
        network.hide_weights(is_hiding);
        network.enter("ada", "first", 3.0);
        // Dead after each block: what it sent was never seen to arrive by the same process.
        let mut told = Vec::new();
        for block in 13..=59 {
            let validator = at_home(&network, "val", Config::new(NETUID, GENESIS));
            let [more] = act(&network, [&validator], block);
            told.extend(more);
        }
        let expected = [20, 30, 40, 50].map(Told::Set);
        assert_eq!(told, expected, "hidden: {is_hiding}");
    }
}

#[test]
fn weights_that_are_opened_when_a_subnet_hides_none_any_more_are_no_others() {
    let network = Network::new(&["ada", "ben"]);
    network.hide_weights(true);
    network.enter("ada", "first", 3.0);
    let validator = at_home(&network, "val", Config::new(NETUID, GENESIS));
    let [told] = act(&network, [&validator], 57);
    assert_eq!(sets(&told), [20, 30, 40, 50]);
    network.hide_weights(false);
    let [told] = act(&network, [&validator], 99);
    assert_eq!(told, [60, 70, 80, 90].map(Told::Set));
}

/// What happens once.
type Then = Box<dyn FnOnce() + Send>;

/// Does something once, at one request to the chain.
struct Interrupts {
    /// The request before which it does.
    at: &'static str,
    then: Mutex<Option<Then>>,
    n_requests: AtomicUsize,
}

impl Tap for Interrupts {
    fn before(&self, request: &'static str) -> Result<(), Error> {
        if request == self.at {
            self.n_requests.fetch_add(1, Ordering::SeqCst);
            let then = self.then.lock().unwrap().take();
            if let Some(then) = then {
                then();
            }
        }
        Ok(())
    }
}

#[test]
fn a_decision_between_the_merging_of_weights_and_their_signing_is_handed_over_next() {
    for at in ["hiding", "sign"] {
        let network = Network::new(&["ada", "ben"]);
        let home = network.home();
        let tap = Arc::new(Interrupts { at, then: Mutex::default(), n_requests: 0.into() });
        let ports = network.ports(&home);
        let tapped = TappedChain { inner: Arc::clone(&ports.chain), tap: Arc::clone(&tap) };
        let ports = Ports { chain: Arc::new(tapped), ..ports };
        let validator = Arc::new(network.validator_with(ports, &home));
        let produce_to = |block: u64| loop {
            let head = network.chain.head().unwrap();
            if head.block.0 >= block {
                return head;
            }
            network.chain.produce_block().unwrap();
        };
        let decide = |validator: &Validator, head: Head| {
            while validator.work(head, &|_| {}).unwrap() == Worked::Something {}
        };
        network.enter("ada", "first", 3.0);
        decide(&validator, produce_to(20));
        network.enter("ben", "better", 2.5);
        let head = produce_to(30);
        let other = Arc::clone(&validator);
        let round = move || {
            while other.work(head, &|_| {}).unwrap() == Worked::Something {}
        };
        *tap.then.lock().unwrap() = Some(Box::new(round));
        let ear = Ear::default();
        validator.duties(head, &|event| ear.hear(head, &event)).unwrap();
        assert_eq!(validator.rounds(9).unwrap().len(), 2, "{at}");
        assert_eq!(ear.heard(), [], "{at}: those of the first round are of no use any more");
        let weights = validator.state().weights;
        assert!(weights.due && weights.sent.is_none(), "{at}: {weights:?}");
        let told = tend(&network, &validator, 33, 1);
        assert_eq!(told, [Told::Set(31)], "{at}");
        let row = network.chain.weights(NETUID, network.uid("val")).unwrap();
        let weighs = |miner: &str| row.iter().any(|(uid, _)| *uid == network.uid(miner));
        assert!(weighs("ada") && weighs("ben"), "{at}: both rounds count: {row:?}");
        assert_eq!(tap.n_requests.load(Ordering::SeqCst), 2, "{at}");
    }
}

#[test]
fn hidden_weights_that_were_signed_too_late_for_their_epoch_are_hidden_anew() {
    let network = Network::new(&["ada", "ben"]);
    network.hide_weights(true);
    network.enter("ada", "first", 3.0);
    let home = network.home();
    let tap = Arc::new(Interrupts { at: "sign", then: Mutex::default(), n_requests: 0.into() });
    let ports = network.ports(&home);
    let tapped = TappedChain { inner: Arc::clone(&ports.chain), tap: Arc::clone(&tap) };
    let ports = Ports { chain: Arc::new(tapped), ..ports };
    let validator = network.validator_with(ports, &home);
    let mut head = network.chain.head().unwrap();
    while head.block < Block(20) {
        head = network.chain.produce_block().unwrap();
    }
    while validator.work(head, &|_| {}).unwrap() == Worked::Something {}
    // The line is so slow that an epoch ends before the signing.
    let chain = Arc::clone(&network.chain);
    let slowly = move || {
        for _ in 0..12 {
            chain.produce_block().unwrap();
        }
    };
    *tap.then.lock().unwrap() = Some(Box::new(slowly));
    let ear = Ear::default();
    validator.duties(head, &|event| ear.hear(head, &event)).unwrap();
    assert_eq!(ear.heard(), [], "nothing is sent");
    let weights = validator.state().weights;
    assert!(weights.due && weights.sent.is_none(), "{weights:?}");
    assert_eq!(tend(&network, &validator, 35, 1), [Told::Set(33)]);
    assert_eq!(tap.n_requests.load(Ordering::SeqCst), 2);
}
