//! How long to wait for a hub, and how often to try again.

use hub::Error;
use std::time::Duration;

/// Longest wait between two tries, whatever a hub asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);

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
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            n_tries: 5,
            wait: Duration::from_secs(1),
            silence: Duration::from_secs(30),
            bytes_per_second_min: 64 << 10,
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
        asked.unwrap_or(doubled).max(self.wait).min(WAIT_MAX)
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
        assert_eq!(patience.wait_after(90, None), WAIT_MAX);
        assert_eq!(patience.wait_after(1, Some(Duration::from_secs(7))).as_secs(), 7);
        assert_eq!(patience.wait_after(1, Some(Duration::MAX)), WAIT_MAX);
        assert_eq!(patience.wait_after(1, Some(Duration::ZERO)), patience.wait);
    }
}
