//! Months of rounds of real validators, with models that are formulas: no file, no tokenizer.

use crate::{
    network::{Formula, NETUID, Network, hotkey},
    truth::{Formed, Truth, Unread},
};
use chain::{Chain as _, Head};
use journal::Journal;
use protocol::{Seed, seed::uniform_below, weights::Miner};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};
use validator::{Config, Contest, Event, Ports, Validator, Worked};

struct World {
    network: Network,
    miners: Vec<String>,
    truth: Arc<Truth>,
    random: rand_chacha::ChaCha20Rng,
    best: f64,
    n_models: u64,
}

impl World {
    fn new(validators: &[&str], n_miners: usize, seed: u64) -> Self {
        eprintln!("seed {seed}");
        let miners: Vec<String> = (0..n_miners).map(|i| format!("miner-{i}")).collect();
        let names: Vec<&str> = miners.iter().map(String::as_str).collect();
        let network = Network::with_validators(validators, &names);
        let random = Seed::of_number(seed).derive("world").stream();
        Self { network, miners, truth: Arc::default(), random, best: 4.0, n_models: 0 }
    }

    fn validator(&self, name: &str, journal: Journal) -> Validator {
        let ports = Ports {
            chain: self.network.chain.clone(),
            models: self.truth.clone(),
            evaluate: self.truth.clone(),
            publish: Arc::new(Unread),
        };
        let contest = Contest::new(self.network.competition.clone(), Arc::new(Formula::default()));
        let config = Config::new(NETUID);
        Validator::open(config, ports, vec![contest], hotkey(name), journal).unwrap()
    }

    /// Some miner commits to a new model: mostly worse than the best, now and then better.
    fn commit(&mut self) {
        let miner = uniform_below(&mut self.random, self.miners.len() as u64) as usize;
        let miner = self.miners[miner].clone();
        let gain = uniform_below(&mut self.random, 1_000) as f64 * 1e-5 - 0.008;
        let loss = (self.best - gain).max(1.0);
        self.best = self.best.min(loss);
        self.n_models += 1;
        let competition = self.network.competition.id;
        self.truth.enter(&self.network, &miner, competition, Formed { loss, n_parameters: 1 });
    }

    /// Makes a block, and commits to a new model in every so many of them.
    fn next(&mut self, every: u64) -> Head {
        let head = self.network.chain.produce_block().unwrap();
        if head.block.0.is_multiple_of(every) {
            self.commit();
        }
        head
    }

    /// Makes blocks up to one, with a new model in every so many of them.
    fn run(&mut self, validators: &mut [Validator], block: u64, every: u64) -> usize {
        let n_rounds = Mutex::new(0);
        while self.network.chain.head().unwrap().block.0 < block {
            let head = self.next(every);
            for validator in &mut *validators {
                let watch = |event: Event| match event {
                    Event::RoundEnded(_) => *n_rounds.lock().unwrap() += 1,
                    Event::RoundSuspended(error) => panic!("{error}"),
                    _ => {}
                };
                validator.on_block(head, &watch).unwrap();
            }
        }
        n_rounds.into_inner().unwrap()
    }
}

/// A number from the environment, for runs that take longer than a test should.
fn from_environment(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |value| value.parse().unwrap())
}

#[test]
fn three_validators_and_sixty_four_miners_agree_over_many_blocks() {
    let n_blocks = from_environment("AGON_BLOCKS", 300);
    let mut world = World::new(&["val", "van", "vic"], 64, 5);
    let names = ["val", "van", "vic"];
    let mut validators: Vec<Validator> =
        names.iter().map(|name| world.validator(name, Journal::memory().unwrap())).collect();
    let start = world.network.chain.head().unwrap().block.0;
    let started = Instant::now();
    let n_rounds = world.run(&mut validators, start + n_blocks, 3);
    let took = started.elapsed();
    eprintln!("{n_blocks} blocks, {n_rounds} rounds, {} models: {took:?}", world.n_models);
    let contest = |validator: &Validator| validator.contest("tiny").unwrap();
    let [first, ..] = &validators[..] else { panic!() };
    assert!(contest(first).champion.is_some());
    for other in &validators {
        assert_eq!(contest(other).champion, contest(first).champion);
        assert_eq!(contest(other).average, contest(first).average);
    }
}

#[test]
fn attack_old_models_that_only_veterans_know_move_no_newcomer_among_validators() {
    let mut world = World::new(&["val", "van"], 40, 6);
    let mut validators = vec![world.validator("val", Journal::memory().unwrap())];
    let start = world.network.chain.head().unwrap().block.0;
    world.run(&mut validators, start + 200, 2);
    validators.push(world.validator("van", Journal::memory().unwrap()));
    world.run(&mut validators, start + 210, 2);
    // In its first round already: the same pool, the same weights.
    let weights = |validator: &Validator| -> BTreeMap<Miner, u64> {
        let contest = validator.contest("tiny").unwrap();
        let champion = contest.champion.unwrap();
        let average = contest.average.iter();
        let mut heavy: BTreeMap<Miner, u64> = average
            .filter(|average| average.weight > 0.5)
            .map(|average| (Miner { uid: average.uid, hotkey: average.hotkey }, 1))
            .collect();
        heavy.insert(Miner { uid: champion.uid, hotkey: champion.hotkey }, 2);
        heavy
    };
    assert_eq!(weights(&validators[0]).values().max(), weights(&validators[1]).values().max());
    let champion = |v: &Validator| v.contest("tiny").unwrap().champion;
    assert_eq!(champion(&validators[0]), champion(&validators[1]));
    world.run(&mut validators, start + 300, 2);
    assert_eq!(champion(&validators[0]), champion(&validators[1]));
    // Averages of before fade: after ten rounds less than a thousandth is left of them.
    let [veteran, newcomer] = [0, 1].map(|i| &validators[i]);
    let of =
        |validator: &Validator, miner: &Miner| validator.contest("tiny").unwrap().average.of(miner);
    let veterans = veteran.contest("tiny").unwrap();
    for average in veterans.average.iter() {
        let miner = Miner { uid: average.uid, hotkey: average.hotkey };
        assert!((of(veteran, &miner) - of(newcomer, &miner)).abs() < 1e-3);
    }
}

#[test]
fn months_of_rounds_leave_a_journal_of_bounded_size_that_opens_at_once() {
    let n_blocks = from_environment("AGON_BLOCKS", 1_500);
    let mut world = World::new(&["val"], 64, 7);
    let home = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." });
    let home = home.unwrap();
    let mut validators = vec![world.validator("val", Journal::open(home.path()).unwrap())];
    let start = world.network.chain.head().unwrap().block.0;
    let size = || std::fs::metadata(home.path().join(journal::FILE)).unwrap().len();
    let mut sizes = Vec::new();
    for part in 1..=3 {
        world.run(&mut validators, start + n_blocks * part / 3, 5);
        sizes.push(size());
    }
    let before = validators[0].state();
    validators.clear();
    let started = Instant::now();
    validators.push(world.validator("val", Journal::open(home.path()).unwrap()));
    let took = started.elapsed();
    eprintln!("{n_blocks} blocks, journal of {sizes:?} bytes, opened in {took:?}");
    assert_eq!(validators[0].state(), before);
    // Records are kept up to a number of them; all else is bounded by the slots.
    let per_round = 60_000;
    let n_rounds = (n_blocks / 10).min(1_000);
    assert!(sizes[2] < per_round * n_rounds + (1 << 20), "{sizes:?}");
    assert!(took.as_secs() < 5, "{took:?}");
}

#[test]
fn the_parts_of_a_validator_one_after_the_other_come_to_the_same_as_all_at_once() {
    const N_BLOCKS: u64 = 300;
    let quiet = |event: Event| match event {
        Event::RoundSuspended(error) | Event::ChainTrouble(error) => panic!("{error}"),
        _ => {}
    };
    let mut whole = World::new(&["val"], 16, 8);
    let mut parts = World::new(&["val"], 16, 8);
    let at_once = whole.validator("val", Journal::memory().unwrap());
    let in_parts = parts.validator("val", Journal::memory().unwrap());
    let start = whole.network.chain.head().unwrap().block.0;
    for block in start + 1..=start + N_BLOCKS {
        at_once.on_block(whole.next(4), &quiet).unwrap();
        let head = parts.next(4);
        while in_parts.work(head, &quiet).unwrap() == Worked::Something {}
        in_parts.duties(head, &quiet).unwrap();
        in_parts.publish(&quiet);
        // Records are in the state by their digests, each with that of the one before.
        assert_eq!(in_parts.state(), at_once.state(), "at block {block}");
    }
    // All calls are in the hashes of the blocks.
    let head = |world: &World| world.network.chain.head().unwrap();
    assert_eq!(head(&parts), head(&whole));
    let row =
        |world: &World| world.network.chain.weights(NETUID, world.network.uid("val")).unwrap();
    assert_eq!(row(&parts), row(&whole));
    assert!(!row(&whole).is_empty());
    assert!(at_once.contest("tiny").unwrap().n_rounds >= N_BLOCKS / 10 - 2);
}
