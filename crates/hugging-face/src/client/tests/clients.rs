//! Clients of the hosts behind the proxy, by the clock of the test.

use super::{
    world::{CERTIFICATE, TestClock, World},
    *,
};
use crate::client::patience::Clock;

impl World {
    /// A client of the real hub's address.
    pub(super) fn client(&self, token: Option<&str>) -> HubClient {
        self.client_with(|options| ClientOptions { token: token.map(str::to_owned), ..options })
    }

    pub(super) fn client_with(&self, with: impl Fn(ClientOptions) -> ClientOptions) -> HubClient {
        let proxies = Proxies { https: Some(self.proxy.clone()), ..Proxies::default() };
        let patience = Patience { silence: Duration::from_secs(10), ..Patience::default() };
        let options = ClientOptions { proxies, patience, ..ClientOptions::new(HUGGING_FACE) };
        let believed = reqwest::Certificate::from_pem(CERTIFICATE).unwrap();
        let clock = Box::new(self.clock.clone());
        HubClient { http: Http::with(&with(options), clock, Some(&believed)).unwrap() }
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        self.passed()
    }

    fn pause(&self, time: Duration) {
        self.pass(time);
    }
}
