//! Several competitions on one machine: who is measured when, and by which rules a round ends.

use crate::{
    network::{Formula, GENESIS, NETUID, Network, hotkey},
    truth::{Formed, Truth},
};
use chain::{Chain as _, Head, MemoryChain};
use journal::Journal;
use protocol::{
    Competition, CompetitionId, Digest, Reason, SequenceLoss, competition::EvaluationRules,
};
use records::Signed;
use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use validator::{
    Ask, Config, Contest, Evaluate, Event, Ports, Publish, Trouble, Validator, Worked,
};

/// Measures by formulas; each measurement takes blocks of the chain.
struct Timed {
    truth: Arc<Truth>,
    chain: Arc<MemoryChain>,
    /// Blocks that a measurement takes.
    n_blocks: AtomicU64,
    /// Tokens times parameters that were measured, by competition, in order.
    done: Mutex<Vec<(String, u64)>>,
    /// How often each sequence was measured with each model.
    counts: Mutex<BTreeMap<(Digest, Digest), usize>>,
    /// Sequences after which it is told to end when it measures for a competition.
    left: Mutex<BTreeMap<String, usize>>,
}

impl Timed {
    fn n_done(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    /// Work for each competition, from the measurement at a place on.
    fn work(&self, from: usize) -> BTreeMap<String, u64> {
        let mut work = BTreeMap::new();
        for (name, done) in &self.done.lock().unwrap()[from..] {
            *work.entry(name.clone()).or_default() += done;
        }
        work
    }

    /// Whether one more sequence is measured for a competition.
    fn goes_on(&self, competition: &str) -> bool {
        let mut left = self.left.lock().unwrap();
        let Some(left) = left.get_mut(competition) else { return true };
        let goes_on = *left > 0;
        *left = left.saturating_sub(1);
        goes_on
    }

    fn is_any_twice(&self) -> bool {
        self.counts.lock().unwrap().values().any(|count| *count > 1)
    }
}

impl Evaluate for Timed {
    fn engine(&self) -> &str {
        "a formula"
    }
    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        let (name, root) = (&ask.competition.name, &ask.admission.tensor_root);
        let mut n_tokens = 0;
        for sequence in ask.sequences {
            if !self.goes_on(name) {
                return Err(Trouble::Stopped(anyhow::anyhow!("told to end")));
            }
            *self.counts.lock().unwrap().entry((*root, sequence.digest)).or_default() += 1;
            learn(&[self.truth.loss(root, sequence)]).map_err(Trouble::Own)?;
            n_tokens += sequence.tokens.len() as u64;
        }
        let work = n_tokens * ask.admission.n_parameters;
        self.done.lock().unwrap().push((name.clone(), work));
        for _ in 0..self.n_blocks.load(Ordering::SeqCst) {
            self.chain.produce_block().unwrap();
        }
        Ok(Ok(()))
    }
}

/// Records by competition and number.
#[derive(Default)]
struct Records(Mutex<BTreeMap<(String, u64), Vec<u8>>>);

impl Records {
    /// By which rules a round was decided.
    fn rules_of(&self, competition: &str, number: u64) -> Digest {
        let bytes = self.0.lock().unwrap()[&(competition.to_owned(), number)].clone();
        Signed::from_json(&bytes).unwrap().record.round.competition_digest
    }
}

impl Publish for Records {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.0.lock().unwrap().insert((competition.to_owned(), number), bytes.to_vec());
        Ok(())
    }
    fn lacks(
        &self,
        competition: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        let there = self.0.lock().unwrap();
        let is_missing = |number: &u64| !there.contains_key(&(competition.to_owned(), *number));
        Ok(numbers.filter(is_missing).map(|number| number..=number).collect())
    }
}

/// A competition and its miners' models.
#[derive(Clone, Copy)]
struct Lane {
    name: &'static str,
    share: f64,
    n_parameters: u64,
    from_block: u64,
    blocks_per_round: u64,
}

impl Lane {
    const fn new(name: &'static str, share: f64, n_parameters: u64) -> Self {
        Self { name, share, n_parameters, from_block: 11, blocks_per_round: 5 }
    }

    fn miner(&self, i: usize) -> String {
        format!("{}-{i}", self.name)
    }
}

/// A network with several competitions, and what measures for them.
struct Arena {
    network: Network,
    competitions: Vec<Competition>,
    timed: Arc<Timed>,
    records: Arc<Records>,
}

impl Arena {
    /// Each competition has so many miners, who commit to one model each, and measures on so many
    /// sequences.
    fn new(lanes: &[Lane], n_miners: usize, n_sequences: usize) -> Self {
        let names: Vec<String> =
            lanes.iter().flat_map(|lane| (0..n_miners).map(move |i| lane.miner(i))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let network = Network::new(&names);
        let truth = Arc::new(Truth::default());
        let mut competitions = Vec::new();
        for (number, lane) in (1..).zip(lanes) {
            let base = network.competition.clone();
            let evaluation = EvaluationRules {
                blocks_per_round: lane.blocks_per_round,
                n_batches: n_sequences,
                sequences_per_batch: 1,
                ..base.evaluation
            };
            let competition = Competition {
                name: lane.name.to_owned(),
                id: CompetitionId(number),
                from_block: lane.from_block,
                reward_share: lane.share,
                evaluation,
                ..base
            };
            for i in 0..n_miners {
                let loss = 3.0 + 0.1 * i as f64;
                let model = Formed { loss, n_parameters: lane.n_parameters };
                truth.enter(&network, &lane.miner(i), competition.id, model);
            }
            competitions.push(competition);
        }
        network.chain.produce_block().unwrap();
        let timed = Timed {
            truth,
            chain: Arc::clone(&network.chain),
            n_blocks: AtomicU64::new(0),
            done: Mutex::default(),
            counts: Mutex::default(),
            left: Mutex::default(),
        };
        Self { network, competitions, timed: Arc::new(timed), records: Arc::default() }
    }

    /// A validator of these competitions that goes on in the folder of the network, or nowhere.
    fn validator(&self, competitions: &[Competition], home: Option<&Path>) -> Validator {
        self.validator_into(self.records.clone(), competitions, home)
    }

    /// The same with records that go elsewhere.
    fn validator_into(
        &self,
        publish: Arc<dyn Publish>,
        competitions: &[Competition],
        home: Option<&Path>,
    ) -> Validator {
        let ports = Ports {
            chain: self.network.chain.clone(),
            models: self.timed.truth.clone(),
            evaluate: self.timed.clone(),
            publish,
        };
        let text = Arc::new(Formula::default());
        let contest = |rules: &Competition| Contest::new(rules.clone(), text.clone());
        let contests = competitions.iter().map(contest).collect();
        let journal = match home {
            Some(home) => Journal::open(home).unwrap(),
            None => Journal::memory(),
        };
        Validator::open(Config::new(NETUID, GENESIS), ports, contests, hotkey("val"), journal)
            .unwrap()
    }

    fn head(&self) -> Head {
        self.network.chain.head().unwrap()
    }

    fn produce_to(&self, block: u64) -> Head {
        while self.head().block.0 < block {
            self.network.chain.produce_block().unwrap();
        }
        self.head()
    }

    /// Works until so many more measurements are done, which never leave a free moment.
    fn overload(&self, validator: &Validator, n_measurements: usize) {
        self.timed.n_blocks.store(3, Ordering::SeqCst);
        let until = self.timed.n_done() + n_measurements;
        while self.timed.n_done() < until {
            match validator.work(self.head(), &untroubled).unwrap() {
                Worked::Something => {}
                Worked::Nothing => {
                    self.network.chain.produce_block().unwrap();
                }
            }
        }
    }
}

fn untroubled(event: Event) {
    if let Event::RoundSuspended(error) | Event::ChainTrouble(error) = event {
        panic!("{error}");
    }
}

/// Works at a block as long as there is something to do.
fn work_on(validator: &Validator, head: Head) {
    while validator.work(head, &untroubled).unwrap() == Worked::Something {}
    validator.publish(&untroubled);
}

#[test]
fn two_competitions_get_work_by_their_reward_shares() {
    let lanes = [Lane::new("large", 0.75, 10), Lane::new("small", 0.25, 30)];
    let arena = Arena::new(&lanes, 4, 2);
    arena.overload(&arena.validator(&arena.competitions, None), 400);
    let work = arena.timed.work(0);
    // Tokens times parameters, so one measurement there is as much as three here.
    let ratio = work["large"] as f64 / work["small"] as f64;
    assert!((2.7..=3.3).contains(&ratio), "{work:?}");
}

#[test]
fn no_share_is_so_small_that_its_competition_starves() {
    let lanes = [Lane::new("all", 0.99, 1), Lane::new("rest", 0.01, 1)];
    let arena = Arena::new(&lanes, 2, 2);
    let validator = arena.validator(&arena.competitions, None);
    arena.overload(&validator, 800);
    let done = arena.timed.done.lock().unwrap();
    let n_rest = done.iter().filter(|(name, _)| name == "rest").count();
    assert!((6..=10).contains(&n_rest), "{n_rest} of 800, 8 expected");
    let n_decided = validator.rounds(1_000).unwrap();
    let n_decided = n_decided.iter().filter(|round| round.competition == "rest").count();
    assert!(n_decided >= 2, "{n_decided} rounds");
}

#[test]
fn who_had_nothing_to_do_saved_nothing_up() {
    let late = Lane { from_block: 300, ..Lane::new("late", 0.5, 1) };
    let arena = Arena::new(&[Lane::new("early", 0.5, 1), late], 4, 2);
    let validator = arena.validator(&arena.competitions, None);
    while arena.head().block.0 < 300 {
        arena.overload(&validator, 1);
    }
    let n_before = arena.timed.n_done();
    assert!(n_before > 80 && arena.timed.work(0).len() == 1, "one was alone: {n_before}");
    arena.overload(&validator, 40);
    let work = arena.timed.work(n_before);
    let share = work["late"] as f64 / (work["early"] + work["late"]) as f64;
    assert!((0.4..=0.6).contains(&share), "{work:?}");
}

#[test]
fn five_competitions_run_side_by_side() {
    let shares = [0.4, 0.3, 0.15, 0.1, 0.05];
    let names = ["a", "b", "c", "d", "e"];
    let lanes: Vec<Lane> = (1..)
        .zip(names.into_iter().zip(shares))
        .map(|(n_parameters, (name, share))| Lane::new(name, share, n_parameters))
        .collect();
    let arena = Arena::new(&lanes, 3, 2);
    let validator = arena.validator(&arena.competitions, None);
    arena.overload(&validator, 800);
    let work = arena.timed.work(0);
    let total: u64 = work.values().sum();
    let rounds = validator.rounds(1_000).unwrap();
    for lane in &lanes {
        let (done, due) = (work[lane.name] as f64, lane.share * total as f64);
        // One measurement is two sequences of four tokens.
        let once = (8 * lane.n_parameters) as f64;
        assert!((done - due).abs() <= 0.1 * due + once, "{}: {work:?}", lane.name);
        let n_rounds = rounds.iter().filter(|round| round.competition == lane.name).count();
        assert!(n_rounds >= 3, "{}: {n_rounds} rounds", lane.name);
    }
}

/// What becomes of a competition while one of its rounds goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Since {
    Ended,
    Changed,
}

/// What becomes of its validator.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Process {
    Lives,
    Restarts,
}

#[test]
fn a_round_that_was_partly_measured_ends_by_the_rules_that_held_at_its_seed() {
    for (since, process) in [
        (Since::Ended, Process::Lives),
        (Since::Ended, Process::Restarts),
        (Since::Changed, Process::Lives),
        (Since::Changed, Process::Restarts),
    ] {
        let lane = Lane { blocks_per_round: 10, ..Lane::new("tiny", 1.0, 1) };
        let arena = Arena::new(&[lane], 2, 8);
        let mut before = arena.competitions[0].clone();
        let mut after = before.clone();
        (after.from_block, after.evaluation.n_batches) = (25, 4);
        let rules = match since {
            Since::Ended => {
                before.until_block = Some(25);
                vec![before.clone()]
            }
            Since::Changed => vec![before.clone(), after.clone()],
        };
        let home = arena.network.home();
        let mut validator = arena.validator(&rules, Some(&home));
        let seed = arena.produce_to(20);
        while arena.timed.n_done() < 1 {
            assert_eq!(validator.work(seed, &untroubled).unwrap(), Worked::Something);
        }
        let head = arena.produce_to(26);
        if process == Process::Restarts {
            drop(validator);
            validator = arena.validator(&rules, Some(&home));
        }
        work_on(&validator, head);
        let rounds = validator.rounds(9).unwrap();
        assert_eq!(rounds.len(), 1, "{since:?}, {process:?}");
        assert_eq!(rounds[0].seed, seed);
        assert_eq!(arena.records.rules_of("tiny", 1), before.digest());
        assert_eq!(arena.timed.n_done(), 2, "each model once: {since:?}, {process:?}");
        assert!(!arena.timed.is_any_twice());
        work_on(&validator, arena.produce_to(41));
        let rounds = validator.rounds(9).unwrap();
        assert_eq!(rounds.len(), if since == Since::Ended { 1 } else { 2 });
        if since == Since::Changed {
            assert_eq!(rounds[1].seed.block.0, 40);
            assert_eq!(arena.records.rules_of("tiny", 2), after.digest());
        }
    }
}

#[test]
fn a_fast_competition_takes_nothing_from_the_round_of_a_slow_one() {
    for process in [Process::Lives, Process::Restarts] {
        let fast = Lane { blocks_per_round: 10, ..Lane::new("fast", 0.5, 1) };
        let slow = Lane { blocks_per_round: 40, ..Lane::new("slow", 0.5, 1) };
        let mut arena = Arena::new(&[fast, slow], 2, 8);
        // It is over before its round is.
        arena.competitions[1].until_block = Some(55);
        let home = arena.network.home();
        let mut validator = arena.validator(&arena.competitions, Some(&home));
        // One model, and three sequences of the other.
        arena.timed.left.lock().unwrap().insert("slow".to_owned(), 11);
        while arena.head().block.0 < 84 {
            let head = arena.network.chain.produce_block().unwrap();
            if head.block.0 == 75 {
                arena.timed.left.lock().unwrap().clear();
                if process == Process::Restarts {
                    drop(validator);
                    validator = arena.validator(&arena.competitions, Some(&home));
                }
            }
            validator.on_block(head, &|_| {}).unwrap();
        }
        let rounds = validator.rounds(99).unwrap();
        let of = |name: &str| -> Vec<u64> {
            let of = rounds.iter().filter(|round| round.competition == name);
            of.map(|round| round.seed.block.0).collect()
        };
        assert_eq!(of("fast"), [20, 30, 40, 50, 60, 70, 80], "{process:?}");
        assert_eq!(of("slow"), [40], "{process:?}");
        assert!(!arena.timed.is_any_twice(), "{process:?}: losses were forgotten");
        // One model at once, and what was missing of the other, of four tokens each.
        assert_eq!(arena.timed.work(0)["slow"], (8 + 5) * 4, "{process:?}");
    }
}

#[test]
fn a_round_of_which_the_chain_tells_nothing_any_more_stops_no_later_one() {
    let lane = Lane { blocks_per_round: 10, ..Lane::new("tiny", 1.0, 1) };
    let arena = Arena::new(&[lane], 2, 8);
    let home = arena.network.home();
    let validator = arena.validator(&arena.competitions, Some(&home));
    arena.timed.left.lock().unwrap().insert("tiny".to_owned(), 3);
    validator.on_block(arena.produce_to(20), &|_| {}).unwrap();
    assert_eq!(arena.timed.counts.lock().unwrap().len(), 3, "a part was measured");
    drop(validator);
    arena.timed.left.lock().unwrap().clear();
    // Long enough for the chain to let go of what stood there at block 19.
    let gone = chain::memory::HISTORY_BLOCKS as u64 + 25;
    let validator = arena.validator(&arena.competitions, Some(&home));
    let seed = gone.next_multiple_of(10);
    validator.on_block(arena.produce_to(seed + 1), &|_| {}).unwrap();
    validator.on_block(arena.produce_to(seed + 2), &untroubled).unwrap();
    let rounds = validator.rounds(9).unwrap();
    let seeds: Vec<u64> = rounds.iter().map(|round| round.seed.block.0).collect();
    assert_eq!(seeds, [seed]);
}

/// Takes no records of one competition.
struct Refusing {
    records: Arc<Records>,
    refused: &'static str,
}

impl Publish for Refusing {
    fn record(&self, competition: &str, number: u64, bytes: &[u8]) -> anyhow::Result<()> {
        anyhow::ensure!(competition != self.refused, "another record is there");
        self.records.record(competition, number, bytes)
    }

    fn lacks(
        &self,
        competition: &str,
        numbers: RangeInclusive<u64>,
    ) -> anyhow::Result<Vec<RangeInclusive<u64>>> {
        self.records.lacks(competition, numbers)
    }
}

#[test]
fn records_of_one_competition_that_are_refused_keep_no_other_from_being_published() {
    let lanes = [Lane::new("bad", 0.5, 1), Lane::new("good", 0.5, 1)];
    let lanes = lanes.map(|lane| Lane { blocks_per_round: 10, ..lane });
    let arena = Arena::new(&lanes, 2, 2);
    let refusing = Refusing { records: arena.records.clone(), refused: "bad" };
    let validator = arena.validator_into(Arc::new(refusing), &arena.competitions, None);
    for block in [20, 30, 40] {
        work_on(&validator, arena.produce_to(block));
    }
    let n_rounds = |name: &str| validator.contest(name).unwrap().n_rounds;
    assert!(n_rounds("bad") > 1 && n_rounds("good") > 1);
    let published: Vec<(String, u64)> = arena.records.0.lock().unwrap().keys().cloned().collect();
    let good = (1..=n_rounds("good")).map(|number| ("good".to_owned(), number));
    assert_eq!(published, good.collect::<Vec<_>>());
    assert_eq!(validator.n_unpublished() as u64, n_rounds("bad"));
}
