//! Whether a service lives, and whether it is ready to do its duty.

use protocol::Block;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Block times within which a newer block must have been seen.
const HEAD_PATIENCE_BLOCKS: u32 = 10;
/// The same as a time, on chains whose blocks come faster than that.
const HEAD_PATIENCE_MIN: Duration = Duration::from_secs(30);

/// What a thread of a service promises: to say that it turns at least this often.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    /// Name of the thread.
    pub name: &'static str,
    /// Longest time between two beats.
    pub within: Duration,
}

/// What a service knows of its own state; told by its threads, asked over HTTP.
#[derive(Debug)]
pub struct Health {
    head_patience: Duration,
    /// The threads with their last beats.
    beats: Mutex<Vec<(Turns, Instant)>>,
    head: Mutex<Option<(Block, Instant)>>,
    is_journal_open: AtomicBool,
}

impl Health {
    /// Of a service with these threads on a chain with blocks of this time: none has turned yet,
    /// and each has its time from now on.
    pub fn new(block_time: Duration, threads: &[Turns]) -> Self {
        let now = Instant::now();
        Self {
            head_patience: block_time.saturating_mul(HEAD_PATIENCE_BLOCKS).max(HEAD_PATIENCE_MIN),
            beats: Mutex::new(threads.iter().map(|thread| (*thread, now)).collect()),
            head: Mutex::default(),
            is_journal_open: AtomicBool::new(false),
        }
    }

    /// The thread of this name turns. Whoever works on one thing for long says so meanwhile.
    pub fn beat(&self, name: &str) {
        let now = Instant::now();
        for (turns, last) in lock(&self.beats).iter_mut() {
            if turns.name == name {
                *last = now;
            }
        }
    }

    /// The chain told of its newest final block; the same one again is nothing new.
    pub fn head(&self, block: Block) {
        let mut head = lock(&self.head);
        if head.is_none_or(|(known, _)| known != block) {
            *head = Some((block, Instant::now()));
        }
    }

    /// The journal is open.
    pub fn journal_open(&self) {
        self.is_journal_open.store(true, Ordering::Relaxed);
    }

    /// Why the process should be ended and started again; nothing where it lives.
    pub fn ailments(&self) -> Vec<String> {
        let beats = lock(&self.beats);
        let stuck = beats.iter().filter(|(turns, last)| last.elapsed() > turns.within);
        stuck
            .map(|(Turns { name, within }, last)| {
                format!("thread `{name}` last turned {:?} ago, not within {within:?}", age(*last))
            })
            .collect()
    }

    /// Why the service cannot do its duty now; nothing where it is ready.
    pub fn hindrances(&self) -> Vec<String> {
        let mut found = self.ailments();
        if !self.is_journal_open.load(Ordering::Relaxed) {
            found.push("the journal is not open yet".to_owned());
        }
        match *lock(&self.head) {
            None => found.push("no block of the chain was seen yet".to_owned()),
            Some((block, since)) if since.elapsed() > self.head_patience => {
                let (age, patience) = (age(since), self.head_patience);
                found.push(format!(
                    "no block after {block} was seen for {age:?}, more than {patience:?}: the \
                     chain cannot be reached, or it stands still"
                ));
            }
            Some(_) => {}
        }
        found
    }
}

/// Time since, in whole seconds.
fn age(since: Instant) -> Duration {
    Duration::from_secs(since.elapsed().as_secs())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK_TIME: Duration = Duration::from_secs(12);

    /// What it was `ago`.
    fn back(ago: Duration) -> Instant {
        Instant::now().checked_sub(ago).unwrap()
    }

    #[test]
    fn a_thread_that_does_not_turn_is_an_ailment_until_it_does() {
        let duties = Turns { name: "duties", within: Duration::from_secs(60) };
        let work = Turns { name: "work", within: Duration::from_secs(3600) };
        let health = Health::new(BLOCK_TIME, &[duties, work]);
        assert!(health.ailments().is_empty(), "each has its time");
        for (_, last) in lock(&health.beats).iter_mut() {
            *last = back(Duration::from_secs(61));
        }
        let told = health.ailments();
        assert!(told.len() == 1 && told[0].contains("`duties` last turned 61s ago"), "{told:?}");
        health.beat("nobody");
        assert_eq!(health.ailments().len(), 1);
        health.beat("duties");
        assert!(health.ailments().is_empty());
    }

    #[test]
    fn a_service_is_ready_with_a_journal_and_a_chain_that_goes_on() {
        let health = Health::new(BLOCK_TIME, &[]);
        assert_eq!(health.hindrances().len(), 2, "{:?}", health.hindrances());
        health.journal_open();
        let told = health.hindrances();
        assert!(told.len() == 1 && told[0].contains("no block"), "{told:?}");
        health.head(Block(7));
        assert!(health.hindrances().is_empty());
        lock(&health.head).as_mut().unwrap().1 = back(BLOCK_TIME * 11);
        health.head(Block(7));
        let told = health.hindrances();
        assert!(told.len() == 1 && told[0].contains("no block after 7"), "{told:?}");
        assert!(health.ailments().is_empty(), "a chain that is away is no reason to start again");
        health.head(Block(8));
        assert!(health.hindrances().is_empty());
    }
}
