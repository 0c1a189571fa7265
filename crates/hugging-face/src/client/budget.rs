//! How many requests a hub still allows, as it says with each answer.
//!
//! Hubs count requests by their kind and in windows of time: `RateLimit: "api";r=12;t=55` says that
//! 12 more of the kind `api` are allowed in the next 55 seconds, and
//! `RateLimit-Policy: "fixed window";"api";q=500;w=300` that 500 are in each window of 300. What
//! would be refused waits for the next window instead.

use reqwest::header::HeaderMap;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Most characters of a name that a hub gives to what it counts.
const NAME_MAX: usize = 64;
/// Most limits of one answer that are looked at.
const N_LIMITS_MAX: usize = 8;

/// Requests that hubs count apart from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Questions: lists, revisions, commits.
    Api,
    /// Files.
    Resolve,
    /// All else, such as where large files go.
    Page,
}

impl Kind {
    /// The kind of a request for a path of the hub.
    pub(super) fn of(path: &str) -> Self {
        // The real hub hands small files on to a place of its own.
        if path.contains("/resolve/") || path.starts_with("/api/resolve-cache/") {
            Self::Resolve
        } else if path.starts_with("/api/") {
            Self::Api
        } else {
            Self::Page
        }
    }

    /// What the real hub calls it.
    fn usual_name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Resolve => "resolvers",
            Self::Page => "pages",
        }
    }
}

/// What a hub has said of the requests that it allows.
#[derive(Debug)]
pub(super) struct Budgets {
    state: Mutex<State>,
    /// Longest that a hub may have us wait.
    wait_max: Duration,
    /// What is added to the time that a hub names, which is in whole seconds.
    margin: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// What the hub calls each kind, once it has said so.
    names: [Option<String>; 3],
    /// By name; of names that no kind has any more, none.
    windows: BTreeMap<String, Window>,
}

/// A window of time, and what is left of it.
#[derive(Clone, Copy, Debug)]
struct Window {
    n_left: u64,
    /// Its end, as time since the client began.
    until: Duration,
    policy: Option<Policy>,
    /// Whether the hub has said nothing of it yet.
    is_guess: bool,
}

/// What each window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    n_requests: u64,
    length: Duration,
}

/// What an answer says is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    name: String,
    pub(super) n_left: u64,
    /// How long the window still is.
    pub(super) time: Duration,
    policy: Option<Policy>,
}

/// That a request would be refused now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Full {
    /// What the hub calls its kind.
    pub(super) name: String,
    /// How long it would be.
    pub(super) wait: Duration,
}

/// Requests of one kind that a hub allows, as it has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// What the hub calls the kind.
    pub name: String,
    /// How many are left in this window of time.
    pub n_left: u64,
    /// How long the window still is.
    pub time_left: Duration,
    /// How many each window has, and how long it is, if the hub says so.
    pub each: Option<(u64, Duration)>,
}

impl Budgets {
    /// What is known of each kind; of a window that is over, nothing.
    pub(super) fn allowances(&self, now: Duration) -> Vec<Allowance> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let known = state.windows.iter().filter(|(_, window)| now < window.until);
        let allowance = |(name, window): (&String, &Window)| Allowance {
            name: name.clone(),
            n_left: window.n_left,
            time_left: window.until.saturating_sub(now),
            each: window.policy.map(|Policy { n_requests, length }| (n_requests, length)),
        };
        known.map(allowance).collect()
    }

    /// Nothing is known; no wait will be longer than `wait_max`.
    pub(super) fn new(wait_max: Duration, margin: Duration) -> Self {
        Self { state: Mutex::default(), wait_max, margin }
    }

    /// Takes a place for a request, unless there is none as far as the hub has said; `now` is the
    /// time since the client began.
    pub(super) fn take(&self, kind: Kind, now: Duration) -> Result<(), Full> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let name = state.name(kind).to_owned();
        let Some(window) = state.windows.get_mut(&name) else { return Ok(()) };
        if now >= window.until {
            match window.policy {
                // Each of several threads would think that it is the first in the new window.
                Some(policy) => *window = Window::guess(policy, now),
                None => {
                    state.windows.remove(&name);
                    return Ok(());
                }
            }
        }
        match window.n_left.checked_sub(1) {
            Some(n_left) => {
                window.n_left = n_left;
                Ok(())
            }
            None => {
                let wait = window.until.saturating_sub(now);
                Err(Full { name, wait: wait.min(self.wait_max) })
            }
        }
    }

    /// Learns from an answer to a request.
    pub(super) fn learn(&self, kind: Kind, headers: &HeaderMap, now: Duration) {
        let Some(limit) = Limit::of(headers) else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { names, windows } = &mut *state;
        let policy = limit.policy.map(|Policy { n_requests, length }| Policy {
            n_requests,
            length: length.min(self.wait_max),
        });
        let until = now.saturating_add(limit.time.saturating_add(self.margin).min(self.wait_max));
        let said = Window { n_left: limit.n_left, until, policy, is_guess: false };
        let window = match windows.get(&limit.name) {
            Some(known) => known.corrected_by(said, now),
            None => said,
        };
        windows.insert(limit.name.clone(), window);
        names[kind as usize] = Some(limit.name);
        // However many names a hub makes up, there are no more windows than kinds.
        let usual = [Kind::Api, Kind::Resolve, Kind::Page].map(Kind::usual_name);
        let is_used = |name: &String| {
            usual.contains(&name.as_str()) || names.iter().flatten().any(|used| used == name)
        };
        windows.retain(|name, _| is_used(name));
    }
}

impl State {
    fn name(&self, kind: Kind) -> &str {
        self.names[kind as usize].as_deref().unwrap_or(kind.usual_name())
    }
}

impl Window {
    /// The window that has begun after one that is over.
    fn guess(policy: Policy, now: Duration) -> Self {
        let Policy { n_requests, length } = policy;
        Self {
            n_left: n_requests,
            until: now.saturating_add(length),
            policy: Some(policy),
            is_guess: true,
        }
    }

    /// What is known when the hub says something newer. Answers overtake each other, and requests
    /// that are on their way count already: within one window, the lower number is the right one.
    fn corrected_by(self, said: Self, now: Duration) -> Self {
        let policy = said.policy.or(self.policy);
        let half = policy.map_or(Duration::ZERO, |policy| policy.length / 2);
        let is_over = now >= self.until;
        let is_later = !self.is_guess
            && said.until > self.until.saturating_add(half.max(Duration::from_secs(1)));
        if is_over || is_later {
            return Self { policy, ..said };
        }
        // Of a window that was a guess, only now is it known when it ends; of another, the hub does
        // not put the end off.
        let until = if self.is_guess { said.until } else { said.until.min(self.until) };
        Self { n_left: said.n_left.min(self.n_left), until, policy, is_guess: false }
    }
}

impl Limit {
    /// What the headers of an answer say; `None` if they do not, or it is no such text.
    ///
    /// Of several limits the one counts that leaves least.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let policies: Vec<(Vec<String>, Policy)> =
            items(headers, "ratelimit-policy").filter_map(|item| item.policy()).collect();
        let limit = |item: Item<'_>| {
            let name = item.names.first()?.clone();
            let mut policies = policies.iter();
            let policy =
                policies.find(|(names, _)| names.contains(&name)).map(|(_, policy)| *policy);
            let time = match item.number("t") {
                Some(seconds) => Duration::from_secs(seconds),
                None => policy?.length,
            };
            Some(Self { name, n_left: item.number("r")?, time, policy })
        };
        let limits = items(headers, "ratelimit").filter_map(limit);
        limits.min_by_key(|limit| limit.n_left)
    }
}

/// `"a";"b";c=1`, one of a list with commas.
struct Item<'a> {
    names: Vec<String>,
    fields: Vec<&'a str>,
}

impl Item<'_> {
    /// The number of a field, which is digits and nothing else.
    fn number(&self, key: &str) -> Option<u64> {
        let mut values = self.fields.iter().filter_map(|field| {
            let (found, value) = field.split_once('=')?;
            (found == key).then_some(value)
        });
        let value = values.next().filter(|value| value.bytes().all(|b| b.is_ascii_digit()))?;
        value.parse().ok()
    }

    /// What the windows of some names have.
    fn policy(self) -> Option<(Vec<String>, Policy)> {
        let n_requests = self.number("q").filter(|n| *n > 0)?;
        let length = self.number("w").filter(|seconds| *seconds > 0)?;
        Some((self.names, Policy { n_requests, length: Duration::from_secs(length) }))
    }
}

/// The items of a header.
fn items<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = Item<'a>> {
    let texts = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let items = texts.flat_map(|text| text.split(',')).take(N_LIMITS_MAX);
    items.map(|item| {
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for part in item.split(';').map(str::trim).take(N_LIMITS_MAX) {
            let quoted = part.strip_prefix('"').and_then(|part| part.strip_suffix('"'));
            match quoted {
                Some(name) if is_name(name) => names.push(name.to_owned()),
                Some(_) => {}
                None => fields.push(part),
            }
        }
        Item { names, fields }
    })
}

/// Whether a name is one that can be kept and shown.
fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b" -_./:".contains(&b);
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    const MARGIN: Duration = Duration::from_secs(1);
    const WAIT_MAX: Duration = Duration::from_secs(310);

    fn headers(limit: &str, policy: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("ratelimit", limit), ("ratelimit-policy", policy)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        headers
    }

    fn limit(limit: &str, policy: &str) -> Option<Limit> {
        Limit::of(&headers(limit, policy))
    }

    fn said(name: &str, n_left: u64, time: u64, policy: Option<Policy>) -> Option<Limit> {
        Some(Limit { name: name.to_owned(), n_left, time: seconds(time), policy })
    }

    fn policy(n_requests: u64, length: u64) -> Option<Policy> {
        Some(Policy { n_requests, length: seconds(length) })
    }

    fn budgets() -> (Budgets, Duration) {
        (Budgets::new(WAIT_MAX, MARGIN), seconds(1))
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// How long a request would have to wait.
    fn wait(budgets: &Budgets, kind: Kind, now: Duration) -> u64 {
        budgets.take(kind, now).err().map_or(0, |full| full.wait.as_secs())
    }

    #[test]
    fn limits_are_read_as_the_real_hub_and_the_draft_write_them() {
        let real = limit("\"api\";r=12;t=55", "\"fixed window\";\"api\";q=500;w=300");
        assert_eq!(real, said("api", 12, 55, policy(500, 300)));
        let draft = limit("\"api\"; t=55; r=12", "\"x\";q=1;w=2, \"api\";q=500;w=300;qu=\"a\"");
        assert_eq!(draft, real);
        let several = limit("\"a\";r=9;t=1, \"b\";r=3;t=2", "\"a\";q=1;w=2");
        assert_eq!(several, said("b", 3, 2, None), "the one that leaves least");
        let rest = limit("\"a\";r=0", "\"a\";q=1;w=20");
        assert_eq!(rest, said("a", 0, 20, policy(1, 20)));
    }

    #[test]
    fn attack_limits_that_are_no_such_text_say_nothing() {
        let name = "n".repeat(NAME_MAX + 1);
        for text in [
            "",
            ";",
            ",,,",
            "\"\";r=0;t=1",
            "api;r=0;t=1",
            "\"api;r=0;t=1",
            "\"api\"",
            "\"api\";r;t",
            "\"api\";r=;t=1",
            "\"api\";r=0;t=",
            "\"api\";r=-1;t=1",
            "\"api\";r=+1;t=1",
            "\"api\";r=0;t=1.5",
            "\"api\";r=0x0;t=1",
            "\"api\";r=18446744073709551616;t=1",
            "\"api\";r=0",
            "\"a\u{7}\";r=0;t=1",
            "\"a`b\";r=0;t=1",
            "\"a\\\"b\";r=0;t=1",
            &format!("\"{name}\";r=0;t=1"),
        ] {
            assert_eq!(limit(text, ""), None, "{text}");
        }
    }

    #[test]
    fn a_request_that_would_be_refused_waits_for_the_next_window() {
        let (budgets, now) = budgets();
        let policy = "\"fixed window\";\"api\";q=3;w=300";
        assert_eq!(wait(&budgets, Kind::Api, now), 0, "nothing is known");
        budgets.learn(Kind::Api, &headers("\"api\";r=1;t=55", policy), now);
        assert_eq!(wait(&budgets, Kind::Api, now), 0);
        assert_eq!(wait(&budgets, Kind::Api, now), 56);
        assert_eq!(wait(&budgets, Kind::Api, now + seconds(50)), 6);
        assert_eq!(wait(&budgets, Kind::Resolve, now), 0, "another kind");
        // In the next window there are as many as in each, and no more.
        let next = now + seconds(56);
        let waits = [0, 0, 0, 300].map(|_| wait(&budgets, Kind::Api, next));
        assert_eq!(waits, [0, 0, 0, 300]);
        // The hub says when it really ends; those on their way count.
        budgets.learn(Kind::Api, &headers("\"api\";r=2;t=200", policy), next);
        assert_eq!(wait(&budgets, Kind::Api, next), 201);
    }

    #[test]
    fn what_is_left_is_told_until_the_window_is_over() {
        let (budgets, now) = budgets();
        assert_eq!(budgets.allowances(now), []);
        let policy = "\"fixed window\";\"api\";q=500;w=300";
        budgets.learn(Kind::Api, &headers("\"api\";r=12;t=55", policy), now);
        budgets.learn(Kind::Resolve, &headers("\"resolvers\";r=7;t=9", ""), now);
        let told = |name: &str, n_left, time, each| Allowance {
            name: name.to_owned(),
            n_left,
            time_left: seconds(time),
            each,
        };
        let api = told("api", 12, 56, Some((500, seconds(300))));
        assert_eq!(budgets.allowances(now), [api, told("resolvers", 7, 10, None)]);
        let later = budgets.allowances(now + seconds(10));
        assert_eq!(later, [told("api", 12, 46, Some((500, seconds(300))))]);
        assert_eq!(budgets.allowances(now + seconds(56)), []);
    }

    #[test]
    fn answers_that_overtake_each_other_and_those_of_a_later_window_are_told_apart() {
        let (budgets, now) = budgets();
        let policy = "\"api\";q=9;w=300";
        let learn = |r: u64, t: u64, at| {
            budgets.learn(Kind::Api, &headers(&format!("\"api\";r={r};t={t}"), policy), at);
        };
        learn(1, 100, now);
        learn(7, 101, now + seconds(1));
        assert_eq!(wait(&budgets, Kind::Api, now + seconds(1)), 0);
        assert_eq!(wait(&budgets, Kind::Api, now + seconds(1)), 100);
        learn(7, 299, now + seconds(99));
        assert_eq!(wait(&budgets, Kind::Api, now + seconds(99)), 0, "a new window has begun");
    }

    #[test]
    fn a_window_of_which_no_more_is_known_holds_nobody_up_when_it_is_over() {
        let (budgets, now) = budgets();
        budgets.learn(Kind::Api, &headers("\"api\";r=0;t=9", ""), now);
        assert_eq!(wait(&budgets, Kind::Api, now), 10);
        for _ in 0..1000 {
            assert_eq!(wait(&budgets, Kind::Api, now + seconds(10)), 0);
        }
    }

    #[test]
    fn kinds_that_a_hub_counts_together_share_what_is_left() {
        let (budgets, now) = budgets();
        budgets.learn(Kind::Page, &headers("\"api\";r=1;t=9", ""), now);
        assert_eq!(wait(&budgets, Kind::Page, now), 0);
        assert_eq!((wait(&budgets, Kind::Page, now), wait(&budgets, Kind::Api, now)), (10, 10));
        for (path, kind) in [
            ("/api/models/a/b/tree/x", Kind::Api),
            ("/a/b/resolve/x/config.json", Kind::Resolve),
            ("/datasets/a/b/resolve/x/y.parquet", Kind::Resolve),
            ("/api/resolve-cache/models/a/b/x/config.json", Kind::Resolve),
            ("/a/b.git/info/lfs/objects/batch", Kind::Page),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    #[test]
    fn attack_names_without_end_take_no_memory_and_numbers_without_end_no_time() {
        let (budgets, now) = budgets();
        for i in 0..1000 {
            for kind in [Kind::Api, Kind::Resolve, Kind::Page] {
                let text = format!("\"{i}\";r=0;t={}", u64::MAX);
                budgets.learn(kind, &headers(&text, &format!("\"{i}\";q=1;w={}", u64::MAX)), now);
                assert_eq!(wait(&budgets, kind, now), WAIT_MAX.as_secs());
            }
        }
        assert!(budgets.state.lock().unwrap().windows.len() <= 6);
        let many = vec!["\"a\";r=5;t=5"; 10_000].join(",");
        budgets.learn(Kind::Api, &headers(&many, &many), now);
    }

    proptest! {
        #[test]
        fn attack_no_text_of_a_limit_makes_anybody_wait_too_long(
            limit in "(\"[a-c]{0,2}\"|[ ;,=rtqw0-9\"-]){0,12}",
            policy in "(\"[a-c]{0,2}\"|[ ;,=rtqw0-9\"-]){0,12}",
            later in 0_u64..1000,
        ) {
            let (budgets, now) = budgets();
            for at in [now, now + seconds(later)] {
                budgets.learn(Kind::Api, &headers(&limit, &policy), at);
                prop_assert!(wait(&budgets, Kind::Api, at) <= WAIT_MAX.as_secs());
            }
        }
    }
}
