//! How long to wait before a process that ended is started again.

use std::time::Duration;

/// Wait after the first end.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// Longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Whoever has lived so long ends for another reason than before.
const LIFE_THAT_COUNTS: Duration = Duration::from_secs(180);

/// The waits of one process: twice as long after each end that comes soon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    n_ended_soon: u32,
}

impl Backoff {
    /// How long to wait after an end that came when the process had lived for so long.
    pub fn after(&mut self, lived: Duration) -> Duration {
        if lived >= LIFE_THAT_COUNTS {
            self.n_ended_soon = 0;
        }
        let factor = 1_u32.checked_shl(self.n_ended_soon).unwrap_or(u32::MAX);
        self.n_ended_soon = self.n_ended_soon.saturating_add(1);
        WAIT_MIN.saturating_mul(factor).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_long_life() {
        let mut backoff = Backoff::default();
        let mut wait = |seconds| backoff.after(Duration::from_secs(seconds)).as_secs();
        let waits: Vec<u64> = (0..9).map(|_| wait(0)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!((wait(179), wait(180), wait(3)), (60, 1, 2));
        for _ in 0..100 {
            assert!(wait(1) <= 60, "no overflow");
        }
    }
}
