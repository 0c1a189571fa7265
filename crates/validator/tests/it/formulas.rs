//! Months of rounds of real validators, with models that are formulas: no file, no tokenizer.

use crate::{
    network::{Formula, GENESIS, NETUID, Network, hotkey},
    truth::{Formed, Truth, Unread},
};
use chain::{Chain as _, Head, HyperparameterChange};
use journal::Journal;
use protocol::{
    Block, Competition, CompetitionId, Seed, Uid, duel::DuelRules, seed::uniform_below,
    weights::Miner,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use validator::{Config, Contest, Event, Ports, Publish, RoundSummary, Validator, Worked};

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
        let competition = self.network.competition.clone();
        self.validator_of(name, journal, &[competition], Arc::new(Unread))
    }

    /// A validator of these competitions whose records go there.
    fn validator_of(
        &self,
        name: &str,
        journal: Journal,
        competitions: &[Competition],
        publish: Arc<dyn Publish>,
    ) -> Validator {
        let ports = Ports {
            chain: self.network.chain.clone(),
            models: self.truth.clone(),
            evaluate: self.truth.clone(),
            publish,
        };
        let text = Arc::new(Formula::default());
        let contest = |competition: &Competition| Contest::new(competition.clone(), text.clone());
        let contests = competitions.iter().map(contest).collect();
        Validator::open(Config::new(NETUID, GENESIS), ports, contests, hotkey(name), journal)
            .unwrap()
    }

    /// Some miner commits to a new model: mostly worse than the best, now and then better.
    fn commit(&mut self) {
        self.commit_in(self.network.competition.id);
    }

    fn commit_in(&mut self, competition: CompetitionId) {
        let miner = uniform_below(&mut self.random, self.miners.len() as u64) as usize;
        let miner = self.miners[miner].clone();
        let gain = uniform_below(&mut self.random, 1_000) as f64 * 1e-5 - 0.008;
        let loss = (self.best - gain).max(1.0);
        self.best = self.best.min(loss);
        self.n_models += 1;
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
        names.iter().map(|name| world.validator(name, Journal::memory())).collect();
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
fn validators_that_judge_by_duels_agree_over_many_blocks() {
    let n_blocks = from_environment("AGON_BLOCKS", 150);
    let names = ["val", "van"];
    let mut world = World::new(&names, 12, 10);
    world.network = world.network.with_duels(DuelRules::default(), 65);
    let mut validators: Vec<Validator> =
        names.iter().map(|name| world.validator(name, Journal::memory())).collect();
    let start = world.network.chain.head().unwrap().block.0;
    let n_rounds = world.run(&mut validators, start + n_blocks, 5);
    let contest = |validator: &Validator| validator.contest("tiny").unwrap();
    let [first, second] = [0, 1].map(|i| contest(&validators[i]));
    assert!(first.champion.is_some(), "{n_rounds} rounds");
    assert_eq!(first.champion.map(|holder| holder.uid), first.reign.champion().map(|c| c.uid));
    assert_eq!((&first.reign, &first.average), (&second.reign, &second.average));
}

#[test]
fn attack_old_models_that_only_veterans_know_move_no_newcomer_among_validators() {
    let mut world = World::new(&["val", "van"], 40, 6);
    let mut validators = vec![world.validator("val", Journal::memory())];
    let start = world.network.chain.head().unwrap().block.0;
    world.run(&mut validators, start + 200, 2);
    validators.push(world.validator("van", Journal::memory()));
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
    let size = || fs::metadata(home.path().join(journal::FILE)).unwrap().len();
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

/// Records that are counted and measured, and kept by nobody.
#[derive(Default)]
struct Counted {
    n_bytes: AtomicU64,
    largest: AtomicU64,
}

impl Publish for Counted {
    fn record(&self, _: &str, _: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let n = bytes.len() as u64;
        self.n_bytes.fetch_add(n, Ordering::Relaxed);
        self.largest.fetch_max(n, Ordering::Relaxed);
        Ok(())
    }
    fn lacks(
        &self,
        _: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        Ok(vec![numbers])
    }
}

/// Blocks between epochs of the subnet with five competitions.
const LONG_TEMPO: u16 = 49;

/// Five competitions of different rounds and shares between two blocks: after a third of the time
/// `d` begins, after half of it `b` gets other rules, and after two thirds `c` ends.
fn five_competitions(tiny: &Competition, start: u64, n_blocks: u64) -> Vec<Competition> {
    let competition = |name: &str, id: u16, every: u64, share: f64| {
        let mut rules = tiny.clone();
        (rules.name, rules.id) = (name.to_owned(), CompetitionId(id));
        (rules.evaluation.blocks_per_round, rules.reward_share) = (every, share);
        rules
    };
    let mut competitions = vec![
        competition("a", 101, 10, 0.4),
        competition("b", 102, 20, 0.3),
        competition("c", 103, 30, 0.1),
        competition("d", 104, 50, 0.1),
        competition("e", 105, 70, 0.1),
        competition("b", 102, 15, 0.2),
    ];
    competitions[2].until_block = Some(start + n_blocks * 2 / 3);
    competitions[3].from_block = start + n_blocks / 3;
    competitions[5].from_block = start + n_blocks / 2;
    competitions[5].evaluation.n_batches = 4;
    competitions
}

/// Most memory that this process has had so far, where the system tells.
fn most_memory_kib() -> Option<u64> {
    let told = fs::read_to_string("/proc/self/status").ok()?;
    let most = told.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    most.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Bytes of all files of a folder.
fn folder_bytes(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// What a validator takes, after each third of the time.
#[derive(Debug, Default)]
struct Takes {
    journal: Vec<u64>,
    folder: Vec<u64>,
    memory_kib: Vec<u64>,
}

/// Makes blocks up to one, with a new model in every fifth of them in one of the competitions that
/// run then; what the rounds came to, by competition: the blocks that seeded them.
fn run_five(
    world: &mut World,
    validator: &Validator,
    competitions: &[Competition],
    last: u64,
) -> BTreeMap<String, Vec<u64>> {
    let rounds: Mutex<BTreeMap<String, Vec<u64>>> = Mutex::default();
    let note = |RoundSummary { competition, seed, .. }: RoundSummary| {
        rounds.lock().unwrap().entry(competition).or_default().push(seed.block.0);
    };
    let watch = |event: Event| match event {
        Event::RoundEnded(summary) => note(summary),
        Event::RoundSuspended(error) | Event::ChainTrouble(error) => panic!("{error}"),
        _ => {}
    };
    while world.network.chain.head().unwrap().block.0 < last {
        let head = world.network.chain.produce_block().unwrap();
        if head.block.0.is_multiple_of(5) {
            let running = competitions.iter().filter(|rules| rules.runs_at(head.block));
            let ids: BTreeSet<CompetitionId> = running.map(|rules| rules.id).collect();
            let ids: Vec<CompetitionId> = ids.into_iter().collect();
            let index = uniform_below(&mut world.random, ids.len() as u64) as usize;
            world.commit_in(ids[index]);
        }
        validator.on_block(head, &watch).unwrap();
    }
    rounds.into_inner().unwrap()
}

/// Guaranteed on a full subnet with five competitions: what a validator takes of memory and disk
/// does not grow with time. Journals keep 1,000 records and what follows from all of them; the
/// records themselves go to whoever publishes them. The long form: `AGON_BLOCKS=50000 cargo test
/// --release -p validator --test it a_full_subnet -- --nocapture`, in less than three minutes.
#[test]
fn a_full_subnet_with_five_competitions_takes_bounded_memory_journal_and_files() {
    let n_blocks = from_environment("AGON_BLOCKS", 450);
    let mut world = World::new(&["val"], 255, 9);
    world.network.change(HyperparameterChange::Tempo(LONG_TEMPO));
    assert_eq!(world.network.chain.metagraph(NETUID).unwrap().neurons.len(), 256);
    let home = tempfile::tempdir_in(if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "." });
    let home = home.unwrap();
    let start = world.network.chain.head().unwrap().block.0;
    let competitions = five_competitions(&world.network.competition, start, n_blocks);
    let counted = Arc::new(Counted::default());
    let open = |world: &World| {
        let journal = Journal::open(home.path()).unwrap();
        world.validator_of("val", journal, &competitions, counted.clone())
    };
    let validator = open(&world);
    let (started, mut takes) = (Instant::now(), Takes::default());
    let mut rounds: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for part in 1..=3 {
        // The fourth block after one that may seed: weights of the last rounds are on the chain.
        let third = start + n_blocks * part / 3;
        let last = third + (9 - third % 5) % 5;
        for (name, seeds) in run_five(&mut world, &validator, &competitions, last) {
            rounds.entry(name).or_default().extend(seeds);
        }
        takes.journal.push(fs::metadata(home.path().join(journal::FILE)).unwrap().len());
        takes.folder.push(folder_bytes(home.path()));
        takes.memory_kib.push(most_memory_kib().unwrap_or_default());
    }
    let took = started.elapsed();
    let n_rounds: usize = rounds.values().map(Vec::len).sum();
    let [n_bytes, largest] =
        [&counted.n_bytes, &counted.largest].map(|counter| counter.load(Ordering::Relaxed));
    eprintln!(
        "{n_blocks} blocks, {n_rounds} rounds, {} models in {took:?}: {takes:?}; {n_bytes} bytes \
         of records, at most {largest}",
        world.n_models
    );
    expect_rounds(&rounds, &competitions);
    expect_bounded(&takes, n_blocks, n_rounds as u64);
    assert!(largest < 1 << 18, "{largest}");
    assert!(n_blocks > 50_000 || took < Duration::from_secs(180), "{took:?}");

    let before = validator.state();
    drop(validator);
    let started = Instant::now();
    assert_eq!(open(&world).state(), before);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    // Who is paid, last of all: the champions of the four that run.
    let row = world.network.chain.weights(NETUID, world.network.uid("val")).unwrap();
    let paid: BTreeSet<Uid> = row.iter().map(|(uid, _)| *uid).collect();
    for name in ["a", "b", "d", "e"] {
        let champion = before.contest(name).unwrap().champion.unwrap();
        assert!(paid.contains(&champion.uid), "champion {} of {name}: {row:?}", champion.uid);
    }
}

/// Fails unless each competition had the rounds of its rules, and no others.
fn expect_rounds(rounds: &BTreeMap<String, Vec<u64>>, competitions: &[Competition]) {
    for (name, seeds) in rounds {
        assert!(seeds.is_sorted(), "{name}: {seeds:?}");
        for seed in seeds {
            let is_by = |rules: &Competition| {
                let is_seed = seed.is_multiple_of(rules.evaluation.blocks_per_round);
                rules.name == *name && rules.runs_at(Block(*seed)) && is_seed
            };
            assert!(competitions.iter().any(is_by), "{name} at {seed}");
        }
    }
    for rules in competitions {
        let seeds = rounds.get(&rules.name).map_or(&[][..], Vec::as_slice);
        let is_by = |seed: &u64| rules.runs_at(Block(*seed));
        assert!(seeds.iter().any(is_by), "none of {} by its rules", rules.name);
    }
}

/// Fails unless what was taken is bounded: absolutely, and in the last third by what it was before
/// where the journal had as many records as it keeps by then.
fn expect_bounded(takes: &Takes, n_blocks: u64, n_rounds: u64) {
    const BYTES_PER_ROUND: u64 = 100_000;
    const MEMORY_KIB_MAX: u64 = 512 << 10;
    let Takes { journal, folder, memory_kib } = takes;
    let n_kept = n_rounds.min(1_000);
    assert!(journal[2] < BYTES_PER_ROUND * n_kept + (1 << 20), "{takes:?}");
    // Beside the journal there is what SQLite has not brought into it yet.
    assert!(folder[2] < journal[2] + (32 << 20), "{takes:?}");
    assert!(memory_kib[2] < MEMORY_KIB_MAX, "{takes:?}");
    if n_blocks >= 15_000 {
        assert!(journal[2] < journal[1] + journal[1] / 4 + (1 << 20), "{takes:?}");
        assert!(memory_kib[2] < memory_kib[1] + (64 << 10), "{takes:?}");
    }
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
    let at_once = whole.validator("val", Journal::memory());
    let in_parts = parts.validator("val", Journal::memory());
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
