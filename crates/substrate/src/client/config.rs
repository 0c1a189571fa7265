//! How a chain is reached.

use protocol::BlockHash;
use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use subxt::ext::jsonrpsee::client_transport::ws::Url;

/// How a chain is reached.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Address of the endpoint, `ws://…` or `wss://…`.
    pub url: String,
    /// Other endpoints of the same chain, the better ones first: each serves while none before it
    /// does.
    pub fallbacks: Vec<String>,
    /// Hash of the genesis of the chain that is wanted: an endpoint of another is refused, when it
    /// is connected to first and whenever it is again. Without it, the chain that answers first is
    /// the one that all have to serve.
    pub genesis: Option<BlockHash>,
    /// How long one request may take, once it is sent.
    pub request_timeout: Duration,
    /// How long a request is tried again on new connections before it is given up, and how long an
    /// endpoint that asks for patience is waited for.
    pub patience: Duration,
    /// How fast each endpoint is asked.
    pub rate_limit: RateLimit,
    /// After what time an endpoint that failed is tried again while another serves; twice as long
    /// after each failure more, up to 16 times.
    pub return_after: Duration,
    /// How long the newest final block may stay the newest before the endpoint is said to stall.
    pub stall_limit: Option<Duration>,
    /// Blocks after which a call that was not included never will be.
    pub era_blocks: u32,
    /// What calls are signed with.
    pub signatures: Signatures,
    /// The clock that says when hidden weights will be opened.
    pub clock: Clock,
    /// Whether the process is to end: then nobody waits for an answer any more, and what was asked
    /// is an error that is transient.
    pub is_stopping: fn() -> bool,
}

/// A clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// That of this machine.
    Machine,
    /// One that stands still, so long after 1970: for runs that are repeated.
    Stopped(Duration),
}

/// What tells the calls of one process from equal ones of another with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signatures {
    /// Each signature is like no other: an endpoint that knows a call knows it from here.
    Unique,
    /// Equal calls have equal bytes, for runs that are repeated; a key must then be used by one
    /// process alone.
    Repeatable,
}

/// How fast an endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateLimit {
    /// As public endpoints allow it ([`Rate::PUBLIC`]); as fast as it answers where the address is
    /// on this machine or on a private network.
    ByAddress,
    /// Never faster than this.
    Always(Rate),
    /// As fast as it answers.
    Never,
}

/// Requests in time: in any span of `n` intervals at most `n` and a burst are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Time between two requests in the long run.
    pub interval: Duration,
    /// Requests that may follow one another at once after a pause; at least 1.
    pub burst: u32,
}

impl Rate {
    /// What Bittensor's public endpoints allow an address: about one request a second.
    pub const PUBLIC: Self = Self { interval: Duration::from_secs(1), burst: 3 };
}

impl RateLimit {
    /// The limit for one endpoint; `None` for none.
    pub(super) fn of(self, url: &str) -> Option<Rate> {
        match self {
            Self::ByAddress if is_near(url) => None,
            Self::ByAddress => Some(Rate::PUBLIC),
            Self::Always(rate) => Some(rate),
            Self::Never => None,
        }
    }
}

impl Clock {
    /// Milliseconds since 1970.
    pub(super) fn now_ms(self) -> u64 {
        let now = match self {
            Self::Machine => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            Self::Stopped(at) => at,
        };
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    }
}

impl ClientConfig {
    /// The usual patience with the endpoint at `url`.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            fallbacks: Vec::new(),
            genesis: None,
            request_timeout: Duration::from_secs(20),
            patience: Duration::from_secs(60),
            rate_limit: RateLimit::ByAddress,
            return_after: Duration::from_secs(300),
            stall_limit: Some(Duration::from_secs(180)),
            era_blocks: 64,
            signatures: Signatures::Unique,
            clock: Clock::Machine,
            is_stopping: || false,
        }
    }
}

/// Whether an address is of this machine or a private network, where nobody counts requests; a
/// name without a dot is what such networks call their machines.
fn is_near(url: &str) -> bool {
    let url = Url::parse(url).ok();
    let Some(host) = url.as_ref().and_then(|url| url.host_str()) else { return false };
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
        Err(_) => !host.contains('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_endpoints_are_asked_slowly_and_those_nearby_as_fast_as_they_answer() {
        for (url, is_public) in [
            ("wss://entrypoint-finney.opentensor.ai:443", true),
            ("wss://lite.sub.latent.to:443/path", true),
            ("ws://203.0.113.7:9944", true),
            ("ws://[2001:db8::1]:9944", true),
            ("not an address", true),
            ("ws://127.0.0.1:9944", false),
            ("ws://[::1]:9944", false),
            ("ws://localhost:9944", false),
            ("ws://192.168.1.20:9944", false),
            ("ws://10.0.0.3:9944", false),
            ("ws://chain:9944", false),
        ] {
            let rate = RateLimit::ByAddress.of(url);
            assert_eq!(rate, is_public.then_some(Rate::PUBLIC), "{url}");
        }
        let slow = Rate { interval: Duration::from_secs(9), burst: 1 };
        assert_eq!(RateLimit::Always(slow).of("ws://localhost"), Some(slow));
        assert_eq!(RateLimit::Never.of("wss://lite.sub.latent.to"), None);
    }
}
