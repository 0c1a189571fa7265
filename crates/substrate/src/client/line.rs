//! The line to an endpoint: every request waits for its turn here, and for as long as is asked for.

use super::{
    config::ClientConfig,
    limiter::{Limiter, Patience},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use subxt::rpcs::{
    self, UserError,
    client::{JsonrpseeRpcClient, RawRpcFuture, RawRpcSubscription, RawValue, RpcClientT},
};

/// How long a request waits on its line where another endpoint may serve.
const WAIT_MAX_OF_SEVERAL: Duration = Duration::from_secs(2);

/// What sends a call: never again without a word, because what comes of it is judged by whether it
/// was sent before.
const SUBMIT: &str = "author_submitExtrinsic";

/// The line itself, which notices when it breaks.
pub(super) struct Line {
    client: JsonrpseeRpcClient,
    limiter: Arc<Limiter>,
    request_timeout: Duration,
    /// How long a request waits while the endpoint asks for patience.
    wait_max: Duration,
    is_lost: AtomicBool,
    /// Requests that the endpoint has put off for longer than they wait.
    n_put_off: AtomicU64,
}

impl Line {
    pub(super) fn new(
        client: JsonrpseeRpcClient,
        limiter: Arc<Limiter>,
        config: &ClientConfig,
    ) -> Self {
        let several = if config.fallbacks.is_empty() { Duration::MAX } else { WAIT_MAX_OF_SEVERAL };
        Self {
            client,
            limiter,
            request_timeout: config.request_timeout,
            wait_max: config.patience.min(several),
            is_lost: AtomicBool::new(false),
            n_put_off: AtomicU64::new(0),
        }
    }

    /// Whether nothing comes over it any more.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed) || !self.client.is_connected()
    }

    /// Gives the line up.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// How many requests the endpoint has put off for longer than they wait.
    pub(super) fn n_put_off(&self) -> u64 {
        self.n_put_off.load(Ordering::Relaxed)
    }

    /// Waits for the turn of a request with so much patience left.
    async fn pass(&self, patience: &mut Duration) -> Result<(), rpcs::Error> {
        self.limiter.pass(patience).await.map_err(|wait| {
            self.n_put_off.fetch_add(1, Ordering::Relaxed);
            let message = format!("the endpoint asks for patience: {} s", wait.as_secs());
            rpcs::Error::User(UserError { code: PUT_OFF, message, data: None })
        })
    }

    /// Anything but an answer means that the line is of no use any more.
    async fn within<T>(
        &self,
        answer: impl Future<Output = Result<T, rpcs::Error>>,
    ) -> Result<T, rpcs::Error> {
        let in_time = tokio::time::timeout(self.request_timeout, answer).await;
        let answer = in_time.unwrap_or_else(|_| Err(rpcs::Error::Client("not in time".into())));
        if matches!(answer, Err(rpcs::Error::Client(_))) {
            self.lose();
        }
        answer
    }

    /// Whether an answer is none but asks for patience, which is noted.
    fn is_put_off<T>(&self, answer: &Result<T, rpcs::Error>) -> bool {
        let asked = match answer {
            Err(rpcs::Error::User(said)) => Patience::asked_by(said),
            _ => None,
        };
        match asked {
            Some(Patience(told)) => self.limiter.hush(told),
            None => self.limiter.answered(),
        }
        asked.is_some()
    }

    /// Asks once, and again for as long as the endpoint asks for patience that there is.
    async fn request(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
    ) -> Result<Box<RawValue>, rpcs::Error> {
        let mut patience = self.wait_max;
        loop {
            self.pass(&mut patience).await?;
            let answer = self.within(self.client.request_raw(method, params.clone())).await;
            if !self.is_put_off(&answer) {
                return answer;
            }
            if method == SUBMIT {
                self.n_put_off.fetch_add(1, Ordering::Relaxed);
                return answer;
            }
        }
    }
}

/// Code of the error that stands for an answer which would take too long to wait for.
const PUT_OFF: i32 = -32_004;

impl RpcClientT for Line {
    fn request_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
    ) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(self.request(method, params))
    }

    fn subscribe_raw<'a>(
        &'a self,
        subscribe: &'a str,
        params: Option<Box<RawValue>>,
        unsubscribe: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move {
            let mut patience = self.wait_max;
            self.pass(&mut patience).await?;
            let subscribed = self.client.subscribe_raw(subscribe, params, unsubscribe);
            let subscribed = self.within(subscribed).await;
            self.is_put_off(&subscribed);
            subscribed
        })
    }
}
