//! A validator that is killed at random moments forgets nothing, and tells the chain nothing twice.

use super::{Running, Site, VALIDATOR, last_words, wait_for};
use chain::{Call, CallId, Keypair, hash::blake2_256};
use journal::{Entry as Noted, Journal};
use protocol::{Record, Seed, seed::uniform_below};
use serde_json::json;
use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use substrate::SignedCall;
use validator::{Entry, entry::DECIDED};

/// How often it is killed where AGON_KILLS does not say.
const N_KILLS: u64 = 12;
/// Most records that a journal keeps.
const RECORDS_KEPT: usize = 1_000;
/// Longest time from a start to the first thing that is written down.
const USEFUL: Duration = Duration::from_secs(5);
/// Longest time after that to the end.
const LIFE_MS_MAX: u64 = 500;
/// Longest life of those that end on the way to it.
const START_MS_MAX: u64 = 300;
/// One life of so many ends on the way.
const UNBORN_PART: u64 = 4;
/// Time between two looks at a journal.
const POLL: Duration = Duration::from_millis(10);

/// Blocks between two epochs, less one.
const TEMPO: u64 = 9;
/// Blocks between two settings of weights: as many as an epoch has at most, so that no epoch has
/// two.
const RATE_LIMIT: u64 = TEMPO + 1;

/// What was read of journal and records, in all lives together.
#[derive(Default)]
struct Known {
    /// Place of the last entry that was read.
    seq: u64,
    /// Records that were decided, in order.
    decided: Vec<String>,
    /// Numbers of those that were seen published.
    published: BTreeSet<u64>,
    /// Names of the calls that were signed.
    signed: BTreeSet<CallId>,
    /// Those of them that the chain did not take, as when the round of the beacon had come already:
    /// they did nothing.
    refused: BTreeSet<CallId>,
    /// One that is signed and whose fate is not known.
    on_its_way: Option<CallId>,
    /// How often entries were gone, for a snapshot, before they were read.
    n_gaps: usize,
}

impl Known {
    /// Reads on; whether there was anything new.
    fn read_on(&mut self, journal: &Journal) -> bool {
        let before = self.seq;
        let snapshot = journal.snapshot().unwrap().map_or(0, |snapshot| snapshot.seq);
        if snapshot > before {
            self.n_gaps += 1;
            self.on_its_way = None;
        }
        let read = journal.after(before, |noted| {
            self.take(&noted);
            Ok::<(), journal::Error>(())
        });
        read.unwrap();
        self.seq = self.seq.max(snapshot);
        self.seq > before
    }

    fn take(&mut self, noted: &Noted) {
        assert!(noted.seq > self.seq, "entries in order: {} after {}", noted.seq, self.seq);
        self.seq = noted.seq;
        match serde_json::from_str::<Entry>(&noted.body).unwrap() {
            Entry::Decided { competition, record, .. } => {
                let record = record.as_str().to_owned();
                let round = Record::from_json(record.as_bytes()).unwrap().round;
                assert_eq!(competition, "tiny");
                let expected = self.decided.len() as u64 + 1;
                assert_eq!(round.number, expected, "each record has a number of its own");
                self.decided.push(record);
            }
            Entry::WeightsSigned { signed, .. } => {
                assert_eq!(self.on_its_way, None, "signed while another call was on its way");
                self.on_its_way = Some(signed.id);
                self.signed.insert(signed.id);
            }
            Entry::WeightsSettled { again, .. } => {
                let settled = self.on_its_way.take();
                self.refused.extend(settled.filter(|_| again));
            }
            _ => {}
        }
    }

    /// The same while it lives, when nothing may be there yet.
    fn peek(&mut self, home: &Path) -> bool {
        match Journal::look(home) {
            Ok(Some(journal)) => self.read_on(&journal),
            // It is being made.
            Ok(None) | Err(_) => false,
        }
    }

    /// Reads what a dead process left: all that was seen before, and as it was.
    fn check(&mut self, home: &Path) {
        let journal = Journal::look(home).unwrap().unwrap();
        self.read_on(&journal);
        let kept = journal.newest(DECIDED, RECORDS_KEPT).unwrap();
        let record = |noted: &Noted| match serde_json::from_str::<Entry>(&noted.body).unwrap() {
            Entry::Decided { record, .. } => record.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        let kept: Vec<String> = kept.iter().rev().map(record).collect();
        assert_eq!(kept.len(), self.decided.len().min(RECORDS_KEPT), "decisions were lost");
        assert!(self.decided.ends_with(&kept), "decisions have changed");
        let folder = records::Folder::new(home.join("records"));
        for (number, record) in (1..).zip(&self.decided) {
            match folder.read("tiny", number).unwrap() {
                Some(signed) => {
                    let bytes = signed.record.to_json();
                    assert!(bytes == record.as_bytes(), "record {number} has other bytes");
                    assert!(signed.is_genuine(), "record {number} is not signed");
                    self.published.insert(number);
                }
                None => assert!(!self.published.contains(&number), "record {number} is gone"),
            }
        }
        let n_files = folder.list("tiny").unwrap().len();
        assert_eq!(n_files, self.published.len(), "a record that nobody decided");
    }
}

/// The calls with which the validator has set weights, openly or hidden: block and name, in order.
fn weights_calls(site: &Site) -> Vec<(u64, CallId)> {
    let signer = Keypair::from_uri(&format!("{VALIDATOR}//default")).unwrap().public();
    let mut calls = Vec::new();
    for block in 1..=site.head() {
        let hash = site.asked("chain_getBlockHash", &json!([block]));
        let found = site.asked("chain_getBlock", &json!([hash]));
        for extrinsic in found["block"]["extrinsics"].as_array().unwrap() {
            let bytes = bytes(extrinsic.as_str().unwrap());
            let Ok(signed) = SignedCall::from_bytes(&bytes) else { continue };
            let call = Call::try_from(signed.call);
            if signed.signer == signer && call.is_ok_and(|call| is_weights(&call)) {
                calls.push((block, CallId(blake2_256(&bytes))));
            }
        }
    }
    calls
}

fn is_weights(call: &Call) -> bool {
    matches!(
        call,
        Call::SetWeights { .. }
            | Call::SetMechanismWeights { .. }
            | Call::CommitTimelockedWeights { .. }
            | Call::CommitTimelockedMechanismWeights { .. }
            | Call::CommitWeights { .. }
    )
}

/// The bytes of hexadecimal digits after `0x`.
fn bytes(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("0x").unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Kills a validator again and again, and looks at what it left each time.
///
/// Guaranteed, whenever it dies:
///
/// - A decision that was seen in the journal, or as a published record, is there for ever, byte for
///   byte, and its number is that of no other. Nothing is published that was not decided.
/// - Of all calls that carry weights at most one is without a known fate, and each is in the
///   journal before it is sent: after a start the same signed bytes go on.
/// - On the chain two such calls, whatever is in them, are never closer than the rate limit, which
///   is the length of an epoch here, unless the chain refused the first: no epoch sees a second
///   submission.
/// - After each start something is written down within five seconds: a round begins, goes on or
///   ends, or weights do. One start of four is not let live so long: it is killed on its way.
fn kill_again_and_again(hiding: &str) {
    let n_kills = std::env::var("AGON_KILLS").map_or(N_KILLS, |value| value.parse().unwrap());
    let seed = 18;
    eprintln!("{n_kills} kills, seed {seed}, {hiding}");
    let mut random = Seed::of_number(seed).derive(hiding).stream();
    let rules = format!("tempo = {TEMPO}, weights_rate_limit = {RATE_LIMIT}, {hiding}");
    let site = Site::new("50ms", &rules);
    let (home, mut known, mut longest) = (site.home(), Known::default(), Duration::ZERO);
    for kill in 1..=n_kills {
        let mut running = Running::start(&site);
        let is_unborn = uniform_below(&mut random, UNBORN_PART) == 0;
        if is_unborn && kill > 1 {
            thread::sleep(Duration::from_millis(uniform_below(&mut random, START_MS_MAX)));
        } else {
            longest = longest.max(first_entry(&mut running, &mut known, &site));
            let life = Duration::from_millis(uniform_below(&mut random, LIFE_MS_MAX));
            let until = Instant::now() + life;
            while Instant::now() < until {
                known.peek(&home);
                thread::sleep(until.saturating_duration_since(Instant::now()).min(POLL));
            }
        }
        running.expect_alive();
        drop(running);
        known.check(&home);
    }
    // Whatever the last one left, the next goes on from there.
    let n_before = known.decided.len();
    let mut running = Running::start(&site);
    longest = longest.max(first_entry(&mut running, &mut known, &site));
    // It lives until there is something to look at, whatever the others came to.
    let folder = records::Folder::new(home.join("records"));
    wait_for("two more rounds, three records and two calls", || {
        known.peek(&home);
        running.expect_alive();
        known.decided.len() >= n_before + 2
            && folder.list("tiny").unwrap().len() > 2
            && weights_calls(&site).len() > 1
    });
    drop(running);
    known.check(&home);

    let exported = site.of_validator("export").output().unwrap();
    let exported = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(exported.lines().count(), known.decided.len().min(RECORDS_KEPT));
    let calls = weights_calls(&site);
    let Known { decided, published, signed, refused, n_gaps, .. } = &known;
    eprintln!(
        "{} rounds, {} records published, {} calls signed, {} in blocks, {} not taken; first useful \
         action after at most {longest:?}",
        decided.len(),
        published.len(),
        signed.len(),
        calls.len(),
        refused.len()
    );
    for pair in calls.windows(2) {
        let apart = pair[1].0 - pair[0].0;
        let is_refused = refused.contains(&pair[0].1);
        assert!(apart >= RATE_LIMIT || is_refused, "two calls in an epoch: {pair:?}, seed {seed}");
    }
    // A gap is shorter than the time between two calls, so it hides one at most.
    let n_unknown = calls.iter().filter(|(_, id)| !signed.contains(id)).count();
    assert!(n_unknown <= *n_gaps, "{n_unknown} calls that were not written down, seed {seed}");
    assert!(decided.len() > 2 && published.len() > 2 && calls.len() > 1, "what was there is gone");
}

/// Waits until a process has written something down; how long it took since its start.
fn first_entry(running: &mut Running, known: &mut Known, site: &Site) -> Duration {
    let home = site.home();
    while !known.peek(&home) {
        running.expect_alive();
        let took = running.started.elapsed();
        assert!(took < USEFUL, "nothing after {took:?}: {}", last_words(&running.log));
        thread::sleep(POLL);
    }
    running.started.elapsed()
}

/// Open weights. The long form: `AGON_KILLS=200 cargo test --release -p cli --test it
/// validator::kills -- --nocapture`; it takes some minutes.
#[test]
fn a_validator_that_is_killed_loses_no_decision_and_sets_weights_once_an_epoch() {
    kill_again_and_again("commit_reveal = false");
}

/// Hidden weights, where the same weights make other bytes each time that they are signed.
#[test]
fn a_validator_that_is_killed_hides_weights_once_an_epoch() {
    kill_again_and_again("commit_reveal = true");
}
