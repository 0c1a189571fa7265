//! The endpoints of one chain: which of them is asked, and what happens when it fails.

use super::{
    config::ClientConfig,
    door::TurnedAway,
    limiter::Limiter,
    link::{Failure, Link, told},
    lock,
};
use chain::Error;
use protocol::Block;
use std::{
    pin::pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use subxt::{SubstrateConfig, rpcs, utils::H256};
use tokio::runtime::Runtime;

/// First pause before a connection is tried again; each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// How often whoever waits looks whether the process is to end.
const TICK: Duration = Duration::from_millis(50);

/// Longest era whose first block can be any: in longer ones only some can.
const ERA_BLOCKS_MAX: u32 = 4_096;

/// Most times by which the way back to an endpoint gets twice as long.
const DOUBLINGS_MAX: u32 = 4;

/// Connections that a question may lose at one endpoint before another is asked.
const LOST_MAX: u32 = 2;

/// An endpoint, and how it stands with us.
struct Endpoint {
    url: String,
    /// Holds the metadata across connections: what one endpoint says of a runtime is used for no
    /// other.
    substrate: SubstrateConfig,
    /// Its turns, across connections.
    limiter: Arc<Limiter>,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    /// Until when others are asked first.
    shunned_until: Option<Instant>,
    /// Failures in a row.
    n_failures: u32,
    /// It serves another chain, and is never asked again.
    is_other_chain: bool,
}

/// The connection of now, and whose it is.
#[derive(Clone)]
struct Current {
    place: usize,
    link: Arc<Link>,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The endpoint at this place, the best that has not failed.
    Open(usize),
    /// All have failed: the one at this place the longest ago.
    Failed(usize),
    /// All that there are want to be left alone, the one at this place for the shortest time.
    Quiet(usize, Duration),
}

/// The connection of now, and how to get the next.
pub(super) struct Links {
    config: ClientConfig,
    runtime: Runtime,
    /// In order of preference.
    endpoints: Vec<Endpoint>,
    current: Mutex<Option<Current>>,
    genesis: Mutex<Option<H256>>,
}

impl Endpoint {
    fn new(url: &str, config: &ClientConfig) -> Self {
        let limiter = Arc::new(Limiter::new(config.rate_limit.of(url)));
        let (url, substrate) = (url.to_owned(), SubstrateConfig::new());
        Self { url, substrate, limiter, standing: Mutex::default() }
    }

    /// Asks others first for a while, after a failure.
    fn shun(&self, return_after: Duration) {
        let mut standing = lock(&self.standing);
        let doublings = standing.n_failures.min(DOUBLINGS_MAX);
        standing.shunned_until = Some(Instant::now() + return_after * (1 << doublings));
        standing.n_failures = standing.n_failures.saturating_add(1);
    }
}

impl Links {
    pub(super) fn connect(config: ClientConfig) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("chain client")
            .enable_all()
            .build()
            .map_err(|source| Error::Connect { url: config.url.clone(), source: source.into() })?;
        let era_blocks = config.era_blocks.min(ERA_BLOCKS_MAX);
        let urls = std::iter::once(&config.url).chain(&config.fallbacks);
        let endpoints = urls.map(|url| Endpoint::new(url, &config)).collect();
        let genesis = config.genesis.map(|hash| H256(hash.0));
        let links = Self {
            config: ClientConfig { era_blocks, ..config },
            runtime,
            endpoints,
            current: Mutex::new(None),
            genesis: Mutex::new(genesis),
        };
        links.link(links.deadline())?;
        Ok(links)
    }

    /// The endpoint that is preferred.
    pub(super) fn url(&self) -> &str {
        &self.config.url
    }

    pub(super) fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// How many endpoints there are.
    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// When the patience with something that begins now is over.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.config.patience
    }

    /// Asks over the connection of now; over new ones while the answer gets lost.
    #[expect(clippy::needless_pass_by_value, reason = "a closure, called again and again")]
    pub(super) fn ask<T>(
        &self,
        request: &'static str,
        question: impl AsyncFn(&Link) -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let until = self.deadline();
        let mut pause = PAUSE_MIN;
        let mut n_lost = 0;
        loop {
            let Current { place, link } = self.link(until)?;
            let n_put_off = link.n_put_off();
            // Single requests have their time; how many a question takes is up to it.
            let Some(answer) = self.wait(question(&link)) else {
                return Err(Error::Unavailable { request });
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(_) if link.is_lost() => {
                    self.drop_link(&link);
                    n_lost += 1;
                    if n_lost % LOST_MAX == 0 {
                        self.shun(place);
                    }
                }
                // It said when to ask again: until then another is asked, or none.
                Err(_) if link.n_put_off() > n_put_off && Instant::now() < until => continue,
                Err(_) if link.n_put_off() > n_put_off => {
                    return Err(self.busy(place, self.quiet_for(place)));
                }
                Err(failure) => return Err(Error::Answer { request, text: told(&*failure) }),
            }
            if Instant::now() + pause > until || !self.rest(pause) {
                return Err(Error::Unavailable { request });
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Asks once, and says how it failed: with an answer, or without one.
    #[expect(clippy::needless_pass_by_value, reason = "a closure, called again and again")]
    pub(super) fn ask_once<T>(
        &self,
        until: Instant,
        question: impl AsyncFn(&Link) -> Result<T, rpcs::Error>,
    ) -> Result<Result<T, rpcs::Error>, Error> {
        let Current { link, .. } = self.link(until)?;
        let n_put_off = link.n_put_off();
        let lost = Error::Unavailable { request: "submit" };
        // What was sent may have arrived, though nobody waits for the answer.
        let Some(answer) = self.wait(question(&link)) else { return Err(lost) };
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(_) if link.is_lost() => {
                self.drop_link(&link);
                Err(lost)
            }
            // An answer, but none to what was asked.
            Err(_) if link.n_put_off() > n_put_off => Err(lost),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Gives up the endpoint that is asked now for what it says of its chain; false if there is no
    /// other that could say something better.
    pub(super) fn leave(&self) -> bool {
        let Some(Current { place, .. }) = lock(&self.current).clone() else { return false };
        self.shun(place);
        matches!(self.choose(), Some(Choice::Open(_)))
    }

    fn shun(&self, place: usize) {
        if let Some(endpoint) = self.endpoints.get(place) {
            endpoint.shun(self.config.return_after);
        }
    }

    /// Has an endpoint tried again later, as if it had not been thought of.
    fn defer(&self, place: usize) {
        if let Some(endpoint) = self.endpoints.get(place) {
            let later = Instant::now() + self.config.return_after;
            lock(&endpoint.standing).shunned_until = Some(later);
        }
    }

    fn drop_link(&self, link: &Arc<Link>) {
        let mut current = lock(&self.current);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(&current.link, link)) {
            *current = None;
        }
    }

    /// Whom to ask now; `None` if all serve other chains.
    fn choose(&self) -> Option<Choice> {
        let now = Instant::now();
        let mut failed: Option<(Instant, usize)> = None;
        let mut quiet: Option<(Duration, usize)> = None;
        for (place, endpoint) in self.endpoints.iter().enumerate() {
            let standing = lock(&endpoint.standing);
            if standing.is_other_chain {
                continue;
            }
            let wait = endpoint.limiter.quiet_for(now);
            match standing.shunned_until.filter(|until| *until > now) {
                _ if !wait.is_zero() => {
                    quiet = Some(quiet.map_or((wait, place), |other| other.min((wait, place))));
                }
                None => return Some(Choice::Open(place)),
                Some(until) => {
                    failed = Some(failed.map_or((until, place), |other| other.min((until, place))));
                }
            }
        }
        let failed = failed.map(|(_, place)| Choice::Failed(place));
        failed.or_else(|| quiet.map(|(wait, place)| Choice::Quiet(place, wait)))
    }

    /// The connection of now, or a new one to the same chain.
    fn link(&self, until: Instant) -> Result<Current, Error> {
        let mut pause = PAUSE_MIN;
        loop {
            let choice = self.choose().ok_or_else(|| self.other_chain())?;
            let current = lock(&self.current).clone().filter(|current| !current.link.is_lost());
            let place = match (choice, current) {
                (Choice::Open(place), Some(current)) if place == current.place => {
                    return Ok(current);
                }
                // As good as any other.
                (Choice::Failed(_), Some(current)) if self.quiet_for(current.place).is_zero() => {
                    return Ok(current);
                }
                (Choice::Open(place), Some(_)) => {
                    // A better one may be back. One thread tries it, and the others go on.
                    self.defer(place);
                    place
                }
                (Choice::Open(place) | Choice::Failed(place), _) => place,
                (Choice::Quiet(place, wait), _) => {
                    self.wait_for(place, wait, until)?;
                    continue;
                }
            };
            let Err(source) = self.reach(place)? else { continue };
            self.shun(place);
            if matches!(self.choose(), Some(Choice::Open(_) | Choice::Quiet(..))) {
                continue;
            }
            if Instant::now() + pause > until || !self.rest(pause) {
                return Err(Error::Connect { url: self.url_at(place), source });
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// That all endpoints serve other chains than the one that is wanted, or that was there first.
    fn other_chain(&self) -> Error {
        match self.config.genesis {
            Some(wanted) => Error::OtherChain { url: self.config.url.clone(), wanted },
            None => Error::Contradiction { block: Block(0) },
        }
    }

    fn url_at(&self, place: usize) -> String {
        self.endpoints.get(place).map(|endpoint| endpoint.url.clone()).unwrap_or_default()
    }

    /// How long an endpoint wants to be left alone.
    fn quiet_for(&self, place: usize) -> Duration {
        let endpoint = self.endpoints.get(place);
        endpoint.map(|endpoint| endpoint.limiter.quiet_for(Instant::now())).unwrap_or_default()
    }

    fn busy(&self, place: usize, wait: Duration) -> Error {
        Error::Busy { url: self.url_at(place), seconds: wait.as_secs() + 1 }
    }

    /// Waits while an endpoint wants to be left alone, if there is time.
    fn wait_for(&self, place: usize, wait: Duration, until: Instant) -> Result<(), Error> {
        if Instant::now() + wait > until || !self.rest(wait) {
            return Err(self.busy(place, wait));
        }
        Ok(())
    }

    /// What comes of something; `None` where the process is to end before that.
    fn wait<T>(&self, something: impl Future<Output = T>) -> Option<T> {
        self.runtime.block_on(async {
            let mut something = pin!(something);
            loop {
                match tokio::time::timeout(TICK, something.as_mut()).await {
                    Ok(found) => return Some(found),
                    Err(_) if (self.config.is_stopping)() => return None,
                    Err(_) => {}
                }
            }
        })
    }

    /// Lets time pass; false where the process is to end before that.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !(self.config.is_stopping)() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(TICK));
        }
        false
    }

    /// Connects to an endpoint, whose connection then is the one of now; the inner error is why it
    /// could not be reached.
    fn reach(&self, place: usize) -> Result<Result<(), Failure>, Error> {
        let Some(endpoint) = self.endpoints.get(place) else { return Ok(Ok(())) };
        // Not under a lock: threads that wait may each be patient for as long as they like.
        let with = (&endpoint.substrate, &endpoint.limiter);
        let connecting = Link::connect(&endpoint.url, &self.config, with);
        let Some(connected) = self.wait(connecting) else {
            return Ok(Err("the process is to end".into()));
        };
        let link = match connected {
            Ok(link) => link,
            Err(failure) => {
                if let Some(turned_away) = failure.downcast_ref::<TurnedAway>() {
                    endpoint.limiter.hush(turned_away.patience.0);
                }
                return Ok(Err(failure));
            }
        };
        let hash = H256(link.genesis().0);
        let mut standing = lock(&endpoint.standing);
        if *lock(&self.genesis).get_or_insert(hash) != hash {
            // It must not become another chain behind our back.
            standing.is_other_chain = true;
            return Ok(Ok(()));
        }
        *standing = Standing::default();
        *lock(&self.current) = Some(Current { place, link: Arc::new(link) });
        Ok(Ok(()))
    }
}
