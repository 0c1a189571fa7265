//! How fast an endpoint is asked, and when it wants to be left alone.

use super::{config::Rate, lock};
use serde_json::Value;
use std::{
    sync::Mutex,
    time::{Duration, Instant, UNIX_EPOCH},
};
use subxt::rpcs::UserError;

/// Longest time for which an endpoint is left alone at its word.
const QUIET_MAX: Duration = Duration::from_secs(300);

/// Shortest time, however little the endpoint asks for.
const QUIET_MIN: Duration = Duration::from_millis(250);

/// First time for which an endpoint is left alone that does not say for how long; each is twice the
/// one before, while it goes on refusing.
const QUIET_USUAL: Duration = Duration::from_secs(1);

/// Codes by which an endpoint says that it has had enough: of storage, of requests, of work.
const BUSY: [i32; 3] = [-32_004, -32_005, -32_009];

/// The turn of each request at one endpoint; it outlives connections.
pub(super) struct Limiter {
    /// Held while its turn is waited for, so that whoever comes first is first.
    bucket: tokio::sync::Mutex<Option<Bucket>>,
    quiet: Mutex<Quiet>,
}

/// What an endpoint has asked for.
#[derive(Default)]
struct Quiet {
    /// Until when nothing is sent.
    until: Option<Instant>,
    /// Refusals since the last answer.
    n_refusals: u32,
}

/// The requests that may be sent at once: a bucket that fills with time.
struct Bucket {
    rate: Rate,
    /// When it is full again.
    full_at: Instant,
}

impl Bucket {
    /// How long the next request has to wait.
    fn wait(&self, now: Instant) -> Duration {
        let slack = self.rate.interval.saturating_mul(self.rate.burst.saturating_sub(1));
        self.full_at.saturating_duration_since(now).saturating_sub(slack)
    }

    /// Takes the place of a request that is sent now.
    fn take(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now) + self.rate.interval;
    }
}

impl Limiter {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        let bucket = rate.map(|rate| Bucket { rate, full_at: Instant::now() });
        Self { bucket: tokio::sync::Mutex::new(bucket), quiet: Mutex::default() }
    }

    /// Waits for the turn of one request, and for as long as the endpoint wants to be left alone,
    /// which is taken off `patience`; an error tells how long it would be where that is more.
    pub(super) async fn pass(&self, patience: &mut Duration) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock().await;
        loop {
            let now = Instant::now();
            let quiet = self.quiet_for(now);
            *patience = patience.checked_sub(quiet).ok_or(quiet)?;
            // Counted when it is sent and not when it comes: who oversleeps shortens no pause.
            let wait = bucket.as_ref().map_or(Duration::ZERO, |bucket| bucket.wait(now));
            if quiet.max(wait).is_zero() {
                if let Some(bucket) = bucket.as_mut() {
                    bucket.take(now);
                }
                return Ok(());
            }
            tokio::time::sleep(quiet.max(wait)).await;
        }
    }

    /// How long the endpoint wants to be left alone from now on.
    pub(super) fn quiet_for(&self, now: Instant) -> Duration {
        let until = lock(&self.quiet).until;
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// Leaves the endpoint alone for as long as it says, or else for longer each time.
    pub(super) fn hush(&self, told: Option<Duration>) {
        let mut quiet = lock(&self.quiet);
        let usual = QUIET_USUAL.saturating_mul(1 << quiet.n_refusals.min(6));
        let wait = told.unwrap_or(usual).clamp(QUIET_MIN, QUIET_MAX);
        let until = Instant::now() + wait;
        quiet.until = Some(quiet.until.map_or(until, |other| other.max(until)));
        quiet.n_refusals = quiet.n_refusals.saturating_add(1);
    }

    /// Notes that the endpoint has answered.
    pub(super) fn answered(&self) {
        lock(&self.quiet).n_refusals = 0;
    }
}

/// What an error that asks for patience says: for how long, if it says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Patience(pub(super) Option<Duration>);

impl Patience {
    /// The patience that an error asks for; `None` if it is an answer.
    pub(super) fn asked_by(error: &UserError) -> Option<Self> {
        let data: Option<Value> =
            error.data.as_ref().and_then(|data| serde_json::from_str(data.get()).ok());
        let field = |name: &str| data.as_ref().and_then(|data| data.get(name));
        let told = field("retry_after");
        let is_limit = field("policy").is_some() || told.is_some();
        (is_limit || BUSY.contains(&error.code)).then(|| Self(told.and_then(seconds)))
    }

    /// The same of a handshake that was refused, by the head of the answer to it.
    pub(super) fn asked_in(status: u16, head: &[u8], unix_seconds: u64) -> Option<Self> {
        let text = String::from_utf8_lossy(head);
        let header = |name: &str| {
            let mut fields = text.lines().skip(1).filter_map(|line| line.split_once(':'));
            fields.find(|(field, _)| field.trim().eq_ignore_ascii_case(name))
        };
        let number = |name: &str| header(name)?.1.trim().parse::<f64>().ok();
        // The server's clock says how far away its dates are, where it tells the time.
        let date = |name: &str| seconds_of_date(header(name)?.1);
        let now = date("date").unwrap_or(unix_seconds as f64);
        let told = number("retry-after");
        let told = told.or_else(|| Some(date("retry-after")? - now)).or_else(|| {
            let reset = number("x-ratelimit-reset")?;
            // A time of the clock, or a span: none is 30 years long.
            Some(if reset > 1e9 { reset - now } else { reset })
        });
        let names = ["retry-after", "x-ratelimit-policy", "x-ratelimit-reason"];
        let is_limit = names.iter().any(|name| header(name).is_some()) || told.is_some();
        let is_asked = status == 429 || ([403, 503].contains(&status) && is_limit);
        is_asked.then(|| Self(told.and_then(span)))
    }
}

/// A number of seconds, written as a number or as a text.
fn seconds(value: &Value) -> Option<Duration> {
    span(value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?)
}

/// Seconds since 1970 of a date, as HTTP writes dates.
fn seconds_of_date(text: &str) -> Option<f64> {
    let date = httpdate::parse_http_date(text.trim()).ok()?;
    Some(date.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

fn span(seconds: f64) -> Option<Duration> {
    let seconds = Some(seconds).filter(|seconds| seconds.is_finite())?;
    Duration::try_from_secs_f64(seconds.clamp(0.0, QUIET_MAX.as_secs_f64())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{Seed, seed::uniform_below};

    fn error(code: i32, data: Option<&str>) -> UserError {
        let data = data.map(|data| serde_json::value::RawValue::from_string(data.into()).unwrap());
        UserError { code, message: "no".to_owned(), data }
    }

    #[test]
    fn in_no_span_of_time_are_more_requests_sent_than_the_rate_allows() {
        for seed in 0..20 {
            let mut random = Seed::of_number(seed).derive("limiter").stream();
            let (interval, burst) = (Duration::from_millis(100), 1 + seed as u32 % 5);
            let start = Instant::now();
            let mut bucket = Bucket { rate: Rate { interval, burst }, full_at: start };
            let (mut now, mut sent) = (start, Vec::new());
            for _ in 0..300 {
                // Sometimes a crowd, sometimes a pause; and whoever sleeps may oversleep.
                now += Duration::from_millis(
                    uniform_below(&mut random, 3) * uniform_below(&mut random, 150),
                );
                let wait = bucket.wait(now);
                if !wait.is_zero() {
                    now += wait + Duration::from_millis(uniform_below(&mut random, 40));
                }
                bucket.take(now);
                sent.push(now);
            }
            for (i, from) in sent.iter().enumerate() {
                for (n, to) in sent[i..].iter().enumerate() {
                    let allowed = (*to - *from).as_secs_f64() / interval.as_secs_f64();
                    let allowed = f64::from(burst) + allowed;
                    assert!((n + 1) as f64 <= allowed + 1e-9, "seed {seed}, from {i}: {n}");
                }
            }
        }
    }

    #[test]
    fn errors_that_ask_for_patience_are_told_from_answers() {
        let half = Some(Duration::from_millis(500));
        for (error, expected) in [
            (error(-32_004, Some(r#"{"retry_after":0.5}"#)), Some(Patience(half))),
            (
                error(-32_004, Some(r#"{"retry_after":"0.5","reason":"storage"}"#)),
                Some(Patience(half)),
            ),
            (error(-32_005, None), Some(Patience(None))),
            (error(-32_009, Some("\"busy\"")), Some(Patience(None))),
            (error(1, Some(r#"{"policy":"ip","reason":"rate"}"#)), Some(Patience(None))),
            (
                error(-32_004, Some(r#"{"retry_after":-1e300}"#)),
                Some(Patience(Some(Duration::ZERO))),
            ),
            (error(-32_004, Some(r#"{"retry_after":1e300}"#)), Some(Patience(Some(QUIET_MAX)))),
            (error(-32_004, Some(r#"{"retry_after":"NaN"}"#)), Some(Patience(None))),
            (error(-32_004, Some(r#"{"retry_after":{}}"#)), Some(Patience(None))),
            (error(1_010, Some("\"Transaction is outdated\"")), None),
            (error(4_003, None), None),
            (error(-32_000, Some(r#"{"reason":"of another kind"}"#)), None),
        ] {
            assert_eq!(Patience::asked_by(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn a_refused_handshake_tells_how_long_to_wait() {
        let told = |seconds| Some(Patience(Some(Duration::from_secs(seconds))));
        for (status, headers, expected) in [
            (429, "Retry-After: 7\r\n", told(7)),
            (429, "retry-after:7\r\nX-RateLimit-Reset: 99\r\n", told(7)),
            (403, "X-RateLimit-Reason: ip\r\nX-RateLimit-Reset: 12\r\n", told(12)),
            (403, "X-RateLimit-Reset: 1790000030\r\n", told(30)),
            // 1 790 000 000 is 21 September 2026, 14:13:20.
            (429, "Retry-After: Mon, 21 Sep 2026 14:13:50 GMT\r\n", told(30)),
            (429, "Retry-After: Monday, 21-Sep-26 14:13:50 GMT\r\n", told(30)),
            (429, "Retry-After: Mon, 21 Sep 2026 14:00:00 GMT\r\n", told(0)),
            (
                429,
                "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n",
                Some(Patience(Some(QUIET_MAX))),
            ),
            // The clock of the server is another than ours.
            (
                503,
                "Date: Wed, 21 Oct 2026 07:27:53 GMT\r\n\
                 Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n",
                told(7),
            ),
            (429, "Retry-After: Wed, 41 Oct 2026 07:28:00 GMT\r\n", Some(Patience(None))),
            (429, "", Some(Patience(None))),
            (503, "Retry-After: 99999999\r\n", Some(Patience(Some(QUIET_MAX)))),
            (403, "Content-Type: text/html\r\n", None),
            (404, "Retry-After: 7\r\n", None),
        ] {
            let head = format!("HTTP/1.1 {status} No\r\n{headers}\r\n");
            let asked = Patience::asked_in(status, head.as_bytes(), 1_790_000_000);
            assert_eq!(asked, expected, "{head}");
        }
    }

    #[test]
    fn an_endpoint_that_does_not_say_how_long_is_left_alone_for_longer_each_time() {
        let limiter = Limiter::new(None);
        assert_eq!(limiter.quiet_for(Instant::now()), Duration::ZERO);
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            limiter.hush(None);
            let quiet = limiter.quiet_for(Instant::now());
            assert!(quiet >= last.saturating_sub(Duration::from_secs(1)) && quiet <= QUIET_MAX);
            last = quiet;
        }
        assert!(last > Duration::from_secs(50), "{last:?}");
        // A shorter time that is told later does not end the longer one.
        limiter.hush(Some(Duration::from_secs(1)));
        assert!(limiter.quiet_for(Instant::now()) > Duration::from_secs(50));
    }
}
