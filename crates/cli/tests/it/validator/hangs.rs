//! What a validator owes to the chain while a measurement hangs and the machine is busy.

use super::{Running, Site, wait_for};
use journal::{Journal, Past};
use protocol::Uid;
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    hint::black_box,
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use validator::{State, WEIGHTS_AGE_MAX, state::WeightsState};

/// Blocks between two epochs, less one.
const TEMPO: u64 = 19;
/// Blocks between two settings of weights: several rounds, so that weights wait for it.
const RATE_LIMIT: u64 = 40;
/// Ten rounds of the competition.
const TEN_ROUNDS: u64 = 100;
/// Blocks after which weights of the second commit have been opened: it waits for the rate limit
/// and a tempo at most, and its epoch is the next but one.
const ALL_OPENED: u64 = RATE_LIMIT + 4 * (TEMPO + 1) + 10;
/// Threads that do nothing but take time.
const N_BUSY: usize = 4;
/// How long one evaluator is lain in wait for.
const LURK: Duration = Duration::from_secs(2);
/// Time in which one that was stopped after its answer would be ended by the validator.
const LAST_MOMENTS: Duration = Duration::from_millis(300);

/// State and parent of a process, as the system tells them.
fn state_and_parent(pid: i32) -> Option<(char, u32)> {
    let told = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before may hold anything.
    let (_, rest) = told.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn is_stopped(pid: Pid) -> bool {
    state_and_parent(pid.as_raw_nonzero().get()).is_some_and(|(state, _)| state == 'T')
}

/// The evaluators of a validator that are there now.
fn evaluators_of(parent: u32) -> Vec<Pid> {
    let is_evaluator = |pid: i32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.split(|byte| *byte == 0).any(|argument| argument == b"evaluator")
    };
    let is_its = |pid: i32| state_and_parent(pid).is_some_and(|(_, of)| of == parent);
    let processes = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| is_its(*pid) && is_evaluator(*pid)).filter_map(Pid::from_raw).collect()
}

/// A process that is stopped; it goes on when this is dropped.
struct Stopped(Pid);

impl Stopped {
    /// Stops the next evaluator of a validator, if one comes soon and is caught.
    fn next_of(parent: u32) -> Option<Self> {
        let began = Instant::now();
        while began.elapsed() < LURK {
            for pid in evaluators_of(parent) {
                let stopped = kill_process(pid, Signal::STOP).is_ok().then_some(Self(pid));
                // It may have been at its end.
                for _ in 0..100 {
                    if is_stopped(pid) {
                        return stopped;
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            }
            thread::sleep(Duration::from_millis(1));
        }
        None
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It may be gone.
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// Weights and number of rounds, from the journal of a validator at work.
fn known(home: &Path) -> Option<(WeightsState, u64)> {
    let past = Past::<State>::open(Journal::look(home).ok()??).ok()?;
    let n_rounds = past.state().contest("tiny").map_or(0, |contest| contest.n_rounds);
    Some((past.state().weights.clone(), n_rounds))
}

/// A round that hangs while weights are due.
struct Hanging {
    evaluator: Stopped,
    /// When it was caught.
    since: u64,
    /// Block at which the chain last took weights before.
    set: u64,
    n_rounds: u64,
}

impl Hanging {
    /// Waits for weights that are due and not allowed yet, and stops the next evaluator.
    fn wait_for(site: &Site, parent: u32) -> Self {
        let home = site.home();
        // Those that are due at a block, if they are some blocks away from being allowed.
        let due = |margin: u64| {
            let (weights, n_rounds) = known(&home)?;
            let set = weights.set.filter(|_| weights.due && weights.sent.is_none())?.0;
            let head = site.head();
            (head + margin < set + RATE_LIMIT).then_some((set, n_rounds, head))
        };
        let mut found = None;
        wait_for("an evaluator that is stopped while weights are due", || {
            if due(15).is_none() {
                return false;
            }
            let Some(evaluator) = Stopped::next_of(parent) else { return false };
            thread::sleep(LAST_MOMENTS);
            // Catching it may have taken long: nothing may have gone out meanwhile.
            let now = due(2).filter(|_| is_stopped(evaluator.0));
            found = now.map(|(set, n_rounds, since)| Self { evaluator, since, set, n_rounds });
            found.is_some()
        });
        found.unwrap()
    }
}

/// Ends threads at its end, however that comes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes time until it is told to end.
fn be_busy(ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        black_box((0..black_box(10_000_u64)).fold(0, u64::wrapping_add));
    }
}

/// Keeps a disk busy with what must be on it.
fn write(file: &Path, ends: &AtomicBool) {
    while !ends.load(Ordering::Relaxed) {
        let mut file = File::create(file).unwrap();
        file.write_all(&[1; 1 << 20]).unwrap();
        file.sync_all().unwrap();
    }
}

/// Fails unless the chain took weights at one of the blocks from `due` on to the end of a tempo
/// after it, and opened them; the block.
fn expect_weights(site: &Site, due: u64) -> u64 {
    let (weights, _) = known(&site.home()).unwrap();
    let slot = site.slot();
    let set = slot["last_update"].as_u64().unwrap();
    assert!((due..=due + TEMPO).contains(&set), "due at {due}, set at {set}: {weights:?}");
    assert_eq!(weights.set.map(|set| set.0), Some(set), "their fate is known");
    assert!(!weights.due && weights.sent.is_none(), "nothing is left to do: {weights:?}");
    assert!(weights.hidden.is_empty(), "not seen open: {weights:?}");
    let mut row: Vec<(Uid, u16)> = serde_json::from_value(slot["weights"].clone()).unwrap();
    row.sort_unstable();
    assert_eq!(Some(row), weights.row, "the chain has opened them");
    set
}

/// Guaranteed: what a validator owes to the chain waits for no measurement. Weights that a decision
/// has made due go out as soon as the chain takes them, within a tempo; their fate is followed;
/// hidden ones are seen open in their epoch; and weights are handed over again before they grow
/// old. Here all of that happens while an evaluator hangs for ten rounds' time, four threads keep
/// the cores busy, and one the disk. Measuring itself is one thing at a time: while one model
/// hangs no other is measured, of whatever competition, no round is decided, and nothing new
/// becomes due; when its evaluator goes on, so does the round.
///
/// With `AGON_AGE=1` in the environment it hangs until weights are handed over again for their age,
/// which takes more than a minute: `AGON_AGE=1 cargo test --release -p cli --test it
/// validator::hangs -- --nocapture`.
#[test]
fn weights_are_set_and_opened_on_time_while_an_evaluator_hangs_on_a_busy_machine() {
    if !Path::new("/proc/self/stat").exists() {
        eprintln!("this system does not tell of processes");
        return;
    }
    let rules = format!("tempo = {TEMPO}, weights_rate_limit = {RATE_LIMIT}, commit_reveal = true");
    let site = Site::new("50ms", &rules);
    let mut running = Running::start(&site);
    running.await_ready();
    let Hanging { evaluator, since, set, n_rounds } = Hanging::wait_for(&site, running.child.id());
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        let _ends = Ends(&ends);
        for _ in 0..N_BUSY {
            scope.spawn(|| be_busy(&ends));
        }
        scope.spawn(|| write(Path::new(&site.network.workshop.path("busy")), &ends));
        let until = (since + TEN_ROUNDS).max(set + ALL_OPENED);
        wait_for("ten rounds' time", || site.head() >= until);
        let again = expect_weights(&site, set + RATE_LIMIT);
        eprintln!("due at {}, set at {again}; it hung from {since} to {until}", set + RATE_LIMIT);
        if std::env::var_os("AGON_AGE").is_some_and(|value| value != "0") {
            let old = again + WEIGHTS_AGE_MAX;
            for part in 1..=10 {
                let until = again + (WEIGHTS_AGE_MAX + ALL_OPENED) * part / 10;
                wait_for("weights to grow old", || site.head() >= until);
            }
            eprintln!("old at {old}, set at {}", expect_weights(&site, old));
        }
        assert!(is_stopped(evaluator.0), "it hangs no more");
        assert_eq!(known(&site.home()).unwrap().1, n_rounds, "a round was decided meanwhile");
    });
    running.expect_alive();
    drop(evaluator);
    wait_for("the round that hung", || known(&site.home()).is_some_and(|(_, now)| now > n_rounds));
}
