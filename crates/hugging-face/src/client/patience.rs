//! How long to wait for a hub, and how often to try again.

use super::{TICK, budget::Full, http::Http};
use hub::Error;
use reqwest::Url;
use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// How long to wait and how often to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How often something is tried before it counts as failed; what makes progress starts over.
    pub n_tries: u32,
    /// Wait after the first failure; it doubles from one to the next.
    pub wait: Duration,
    /// Time for a connection, for an answer to begin, and between two pieces of it.
    pub silence: Duration,
    /// Slowest transfer that is put up with, after a minute's grace.
    pub bytes_per_second_min: u64,
    /// Longest wait that a hub can have us keep before one request, whatever it asks for.
    pub wait_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            n_tries: 5,
            wait: Duration::from_secs(1),
            silence: Duration::from_secs(30),
            bytes_per_second_min: 64 << 10,
            // The windows in which hubs count requests, and what whole seconds hide of them.
            wait_max: Duration::from_secs(310),
        }
    }
}

impl Patience {
    /// Grace of a transfer.
    const GRACE: Duration = Duration::from_secs(60);

    /// Longest time that a transfer of so many bytes may take.
    pub(super) fn time_for(&self, n_bytes: u64) -> Duration {
        let seconds = n_bytes / self.bytes_per_second_min.max(1);
        (self.silence * 2).min(Self::GRACE) + Duration::from_secs(seconds)
    }

    /// Longest time for all pages and small files of one list.
    pub(super) fn time_for_list(&self) -> Duration {
        self.silence * 10
    }

    /// How long to wait after the failure number `n_failed`, counted from one.
    pub(super) fn wait_after(&self, n_failed: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.wait.saturating_mul(1 << (n_failed - 1).min(16));
        asked.unwrap_or(doubled).max(self.wait).min(self.wait_max)
    }
}

/// How long it is until a date, as HTTP writes dates; zero for one that is past.
///
/// By the date of the answer that names it, if there is one, as our clock may be another than the
/// server's.
pub(super) fn time_until(date: &str, said_now: Option<&str>) -> Option<Duration> {
    let until = httpdate::parse_http_date(date.trim()).ok()?;
    let now = said_now.and_then(|now| httpdate::parse_http_date(now.trim()).ok());
    Some(until.duration_since(now.unwrap_or_else(SystemTime::now)).unwrap_or_default())
}

/// A wait that a client keeps because of what a hub said, or did not.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// Why, for people.
    pub reason: &'a str,
    /// How long it still is.
    pub left: Duration,
    /// Whether it begins now; each is told again and again until it is over.
    pub begins: bool,
}

/// How time passes.
pub(super) trait Clock: Send + Sync {
    /// Time since the client began.
    fn now(&self) -> Duration;
    fn pause(&self, time: Duration);
}

/// The clock of the machine.
pub(super) struct SystemClock {
    began: Instant,
}

impl SystemClock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// When something must be over that takes several requests.
///
/// What a hub asks us to wait is not held against it, up to a limit for all of them.
pub(super) struct Term {
    until: Cell<Instant>,
    waits_left: Cell<Duration>,
}

impl Term {
    /// So long from now, and what the hub asks us to wait, but no more than `waits_max`.
    pub(super) fn after(time: Duration, waits_max: Duration) -> Self {
        Self { until: Cell::new(Instant::now() + time), waits_left: Cell::new(waits_max) }
    }

    /// Time until then; zero when it is over.
    pub(super) fn left(&self) -> Duration {
        self.until.get().saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Makes room for a wait that the hub asks for; false if there is not enough for it.
    pub(super) fn has_room_for(&self, wait: Duration) -> bool {
        let extra = wait.min(self.waits_left.get());
        self.waits_left.set(self.waits_left.get() - extra);
        self.until.set(self.until.get() + extra);
        wait < self.left()
    }
}

impl Http {
    /// Tries until it succeeds, until trying has no sense, or until patience ends.
    pub(super) fn patiently<T>(
        &self,
        attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        self.patiently_until(None, attempt)
    }

    /// The same; no try begins after `term`.
    pub(super) fn patiently_until<T>(
        &self,
        term: Option<&Term>,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let mut n_failed = 0;
        loop {
            match attempt() {
                Ok(value) => {
                    (self.on_answer)();
                    return Ok(value);
                }
                Err(failure) => {
                    n_failed += 1;
                    self.wait_or_give_up(failure, n_failed, term)?;
                }
            }
        }
    }

    /// Waits before the next try, unless there is none, or none before the end of `term`.
    pub(super) fn wait_or_give_up(
        &self,
        failure: Failure,
        n_failed: u32,
        term: Option<&Term>,
    ) -> Result<(), Error> {
        let Failure { error, may_pass, asked } = failure;
        if !may_pass || n_failed >= self.patience.n_tries {
            return Err(error);
        }
        let wait = self.patience.wait_after(n_failed, asked);
        let is_in_time = term.is_none_or(|term| match asked {
            Some(_) => term.has_room_for(wait),
            None => wait < term.left(),
        });
        if !is_in_time {
            return Err(error);
        }
        self.pause(wait, &error.to_string())
    }

    /// Waits until the hub allows another request for one of its addresses, as far as it has said
    /// what it allows. A wait that is as long as patience ends in a request all the same.
    pub(super) fn wait_for_place(&self, url: &Url, term: Option<&Term>) -> Result<(), Error> {
        let mut may_wait = self.patience.wait_max;
        while let Err(Full { name, wait }) = self.budgets.take(self.kind_of(url), self.clock.now())
        {
            let wait = wait.min(may_wait);
            if wait.is_zero() {
                return Ok(());
            }
            let reason = format!("the hub allows no more requests of its kind `{name}` for now");
            if term.is_some_and(|term| !term.has_room_for(wait)) {
                return Err(Error::Unavailable(reason));
            }
            self.pause(wait, &reason)?;
            may_wait -= wait;
        }
        Ok(())
    }

    /// Lets time pass, and says so, until nobody wants that any more.
    fn pause(&self, time: Duration, reason: &str) -> Result<(), Error> {
        let (mut left, mut begins) = (time, true);
        while !left.is_zero() {
            if !(self.on_wait)(Wait { reason, left, begins }) {
                return Err(Error::Stopped);
            }
            let step = left.min(TICK);
            self.clock.pause(step);
            (left, begins) = (left - step, false);
        }
        Ok(())
    }
}

/// Why a try failed, and whether another may succeed.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) may_pass: bool,
    /// How long the hub asks us to wait.
    pub(super) asked: Option<Duration>,
}

impl Failure {
    /// Another try may succeed.
    pub(super) fn passing(error: Error) -> Self {
        Self { error, may_pass: true, asked: None }
    }
}

impl From<Error> for Failure {
    /// Another try would fail too.
    fn from(error: Error) -> Self {
        Self { error, may_pass: false, asked: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_what_a_hub_asks_for_is_heard_up_to_a_limit() {
        let patience = Patience { wait: Duration::from_millis(100), ..Patience::default() };
        let waits = [1, 2, 3, 4].map(|n| patience.wait_after(n, None).as_millis());
        assert_eq!(waits, [100, 200, 400, 800]);
        assert_eq!(patience.wait_after(90, None), patience.wait_max);
        assert_eq!(patience.wait_after(1, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(patience.wait_after(1, Some(Duration::MAX)), patience.wait_max);
        assert_eq!(patience.wait_after(1, Some(Duration::ZERO)), patience.wait);
    }

    #[test]
    fn a_date_is_as_far_away_as_the_server_that_names_it_thinks() {
        let at = |date: &str, now: &str| time_until(date, Some(now)).map(|wait| wait.as_secs());
        let now = "Wed, 21 Oct 2026 07:28:00 GMT";
        for (date, seconds) in [
            ("Wed, 21 Oct 2026 07:28:30 GMT", Some(30)),
            (" Wed, 21 Oct 2026 07:28:30 GMT ", Some(30)),
            // The two older forms of RFC 9110, 5.6.7.
            ("Wednesday, 21-Oct-26 07:29:00 GMT", Some(60)),
            ("Wed Oct 21 07:29:00 2026", Some(60)),
            ("Wed, 21 Oct 2026 07:00:00 GMT", Some(0)),
            ("Wed, 21 Oct 2026 07:28:30 CET", None),
            ("Wed, 32 Oct 2026 07:28:30 GMT", None),
            ("Wed, 21 \u{d6}ct 2026 07:28:30 GMT", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(at(date, now), seconds, "{date}");
        }
        // By our own clock, where it is all there is: the year 9999 is far away in any case.
        let far = "Fri, 31 Dec 9999 23:59:59 GMT";
        for nonsense in [None, Some("yesterday")] {
            assert!(time_until(far, nonsense).unwrap() > Duration::from_secs(1 << 32));
        }
        let patience = Patience::default();
        assert_eq!(patience.wait_after(1, time_until(far, None)), patience.wait_max);
    }

    #[test]
    fn what_a_hub_asks_to_wait_is_not_held_against_it_up_to_a_limit() {
        let seconds = Duration::from_secs;
        let term = Term::after(seconds(100), seconds(300));
        assert!(term.has_room_for(seconds(200)) && term.left() > seconds(299));
        assert!(term.has_room_for(seconds(200)), "half of it is within the limit");
        assert!(term.left() < seconds(401) && !term.has_room_for(seconds(401)));
        assert!(!term.has_room_for(Duration::MAX) && !term.is_over());
    }
}
