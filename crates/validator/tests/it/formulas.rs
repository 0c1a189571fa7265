//! Months of rounds of real validators, with models that are formulas: no file, no tokenizer.

use crate::network::{Formula, NETUID, Network, hotkey};
use chain::{Chain as _, Head};
use journal::Journal;
use protocol::{
    Commitment, Competition, Digest, Loss, Reason, Seed, SequenceLoss, content,
    seed::uniform_below, weights::Miner,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Instant,
};
use validator::{
    Admission, Ask, Committed, Config, Contest, Evaluate, Event, Had, Models, Ports, Publish,
    Sight, Terms, Trouble, Validator,
};

/// Models by the root of files that there are not: what each loses on average.
#[derive(Default)]
struct Truth(Mutex<BTreeMap<Digest, f64>>);

impl Truth {
    fn root(committed: &Committed) -> Digest {
        Digest::of(committed.commitment.revision.to_string().as_bytes())
    }
}

impl Models for Truth {
    fn look(&self, _: &Competition, committed: &Committed) -> Result<Sight, Trouble> {
        Ok(Sight::Published { file_root: Self::root(committed), size_bytes: 1 })
    }
    fn is_up(&self) -> bool {
        true
    }
    fn delivers(&self, _: &Committed, _: &Admission) -> bool {
        true
    }
    fn have(&self, _: &Competition, by: &Committed, _: Terms<'_>) -> Result<Had, Trouble> {
        let root = Self::root(by);
        let admission = Admission { file_root: root, tensor_root: root, n_parameters: 1 };
        Ok(Had::Here { admission, n_fetched: 0 })
    }
    fn keep(&self, _: &[Digest], _: u64) -> anyhow::Result<()> {
        Ok(())
    }
    fn retain(&self, _: &BTreeSet<Digest>) -> anyhow::Result<()> {
        Ok(())
    }
}

impl Evaluate for Truth {
    fn engine(&self) -> &str {
        "a formula"
    }
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        let root = ask.admission.tensor_root;
        let truth = self.0.lock().unwrap()[&root];
        let loss = |sequence: &&validator::Sequence| {
            // The text is as hard for everybody; what a model makes of it is its own.
            let difficulty = f64::from(sequence.tokens[0]) * 1e-4;
            let own = Digest::of_fields("noise", &[&root.0, &sequence.digest.0]).0;
            let noise = (f64::from(own[0]) - 127.5) * 1e-5;
            let cross_entropy = Loss::new(truth + difficulty + noise).unwrap();
            SequenceLoss { n_tokens: 3, cross_entropy }
        };
        let losses: Vec<SequenceLoss> = ask.sequences.iter().map(loss).collect();
        learn(&losses).map_err(Trouble::Own)?;
        Ok(Ok(()))
    }
}

/// Records that nobody reads.
struct Unread;

impl Publish for Unread {
    fn record(&self, _: &str, _: u64, _: &[u8]) -> anyhow::Result<()> {
        Ok(())
    }
}

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
        let truth = (self.best - gain).max(1.0);
        self.best = self.best.min(truth);
        self.n_models += 1;
        let revision = format!("{:040x}", self.n_models);
        let root = Digest::of(revision.as_bytes());
        self.truth.0.lock().unwrap().insert(root, truth);
        let competition = self.network.competition.id;
        let secure_hash = content::bound_hash(&root, &hotkey(&miner).public(), competition);
        let repo = format!("{miner}/model").parse().unwrap();
        let revision = revision.parse().unwrap();
        self.network.commit(&miner, &Commitment { repo, revision, secure_hash, competition });
    }

    /// Makes blocks up to one, with a new model in every so many of them.
    fn run(&mut self, validators: &mut [Validator], block: u64, every: u64) -> usize {
        let n_rounds = Mutex::new(0);
        while self.network.chain.head().unwrap().block.0 < block {
            let head: Head = self.network.chain.produce_block().unwrap();
            if head.block.0.is_multiple_of(every) {
                self.commit();
            }
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
    let contest = |validator: &Validator| validator.contest("tiny").unwrap().clone();
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
    let averages = veteran.contest("tiny").unwrap().average.iter();
    for average in averages {
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
