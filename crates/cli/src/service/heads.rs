//! The newest final block, for threads that wait for it.

use super::{
    health::Health,
    metrics::Metrics,
    story::{Story, Subject},
};
use crate::hugging_face;
use chain::{Chain, Head};
use std::{
    path::Path,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How often the chain is asked for its newest block; it costs a request only where the chain does
/// not tell of blocks by itself.
const TICK: Duration = Duration::from_millis(100);

/// How long a thread of a service waits for a block before it says that it turns.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Who is told of each block.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The story of the service.
    pub story: &'a Story,
    /// Its meters.
    pub metrics: &'a Metrics,
    /// Its health.
    pub health: &'a Health,
    /// Its thread that fetches and sends what may take hours.
    pub worker: &'static str,
}

impl Told<'_> {
    /// Tells what came of a look at the competitions that the owner of the subnet publishes.
    pub fn of_rules(&self, looked: anyhow::Result<()>) {
        match looked {
            Ok(()) => {
                self.story.ends(Subject::Rules);
                self.metrics.rules_taken();
            }
            Err(error) => {
                self.story.trouble(Subject::Rules, &format!("{error:#}"));
                self.metrics.rules_missing();
            }
        }
    }
}

/// Does work whose panic ends the process by its flag: a service that lives with a dead thread
/// looks well and does nothing.
pub fn guarded<T>(stop: &AtomicBool, work: impl FnOnce() -> T) -> T {
    struct Ends<'a>(&'a AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                self.0.store(true, Ordering::Relaxed);
            }
        }
    }
    let _ends = Ends(stop);
    work()
}

/// The newest final block that was heard of.
pub struct Heads<'a> {
    newest: Mutex<Option<Head>>,
    changed: Condvar,
    /// The process shall end.
    stop: &'a AtomicBool,
    /// Whoever waits here shall end, and the process goes on.
    ends: AtomicBool,
}

impl<'a> Heads<'a> {
    /// Nothing was heard yet; `stop` ends all waiting.
    pub fn new(stop: &'a AtomicBool) -> Self {
        let ends = AtomicBool::new(false);
        Self { newest: Mutex::default(), changed: Condvar::new(), stop, ends }
    }

    /// Ends all waiting, and not the process.
    pub fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
    }

    /// Whether whoever waits here shall end.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.ends.load(Ordering::Relaxed)
    }

    /// The newest block.
    pub fn newest(&self) -> Option<Head> {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a block that is newer than `seen`, for so long; `None` if none comes, or when
    /// nobody shall wait any more.
    pub fn after(&self, seen: Option<Head>, patience: Duration) -> Option<Head> {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..=patience.as_millis() / TICK.as_millis() {
            if self.is_stopping() {
                return None;
            }
            if newest.is_some() && *newest != seen {
                return *newest;
            }
            let waited = self.changed.wait_timeout(newest, TICK);
            newest = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    /// Follows a chain until nobody shall wait any more, which threads may ask for, and keeps
    /// in `home` what there is to tell. A panic ends the process.
    pub fn follow(&self, chain: &dyn Chain, told: Told<'_>, home: &Path) {
        guarded(self.stop, || self.follow_on(chain, told, home));
        self.changed.notify_all();
    }

    fn follow_on(&self, chain: &dyn Chain, told: Told<'_>, home: &Path) {
        let Told { story, metrics, health, worker } = told;
        let (mut pulse, mut n_pieces) = (None, hugging_face::n_pieces());
        // Trouble that was told before, by whoever followed then, may be over.
        let mut awaited = Some(String::new());
        while !self.is_stopping() {
            // Large files take hours, in which the thread that waits for them says nothing.
            if hugging_face::n_pieces() != n_pieces {
                n_pieces = hugging_face::n_pieces();
                health.beat(worker);
            }
            tell_of_hub(story, &mut awaited);
            let now = story.pulse();
            if pulse.as_ref() != Some(&now) {
                if let Err(error) = now.write(home) {
                    tracing::debug!("cannot say how it stands: {error:#}");
                }
                pulse = Some(now);
            }
            match chain.head() {
                Ok(head) => {
                    story.ends(Subject::Head);
                    story.block(head.block);
                    metrics.head(head.block);
                    health.head(head.block);
                    let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
                    if *newest != Some(head) {
                        *newest = Some(head);
                        self.changed.notify_all();
                    }
                }
                Err(error) => story.trouble(Subject::Head, &error.to_string()),
            }
            thread::sleep(TICK);
        }
    }
}

/// Tells of a hub that is waited for, and that it has answered; `known` is what was told last.
fn tell_of_hub(story: &Story, known: &mut Option<String>) {
    let awaited = hugging_face::awaited();
    if awaited == *known {
        return;
    }
    match &awaited {
        Some(reason) => story.trouble(Subject::Hub, reason),
        None => story.ends(Subject::Hub),
    }
    *known = awaited;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    #[test]
    fn a_panic_ends_the_process_and_nothing_else_does() {
        let stop = AtomicBool::new(false);
        assert_eq!(guarded(&stop, || 7), 7);
        assert!(!stop.load(Ordering::Relaxed));
        let work = || -> u8 { panic!("a bug") };
        assert!(catch_unwind(AssertUnwindSafe(|| guarded(&stop, work))).is_err());
        assert!(stop.load(Ordering::Relaxed));
    }
}
