//! JSON-RPC over WebSocket and HTTP: the methods that Substrate's clients use.

mod calls;
mod chain;
mod hex;
mod state;
mod system;

use super::{
    archive::{Archive, NotMade},
    author::{Notice, Request, Shared, read},
    callers::{Caller, Callers},
    header::{header_value, raw},
    history::{History, StateAt},
    limits,
};
use crate::client::GENESIS_METHOD;
use ::chain::Genesis;
use jsonrpsee::{
    Extensions, Methods, RpcModule,
    server::{
        BatchRequestConfig, PendingSubscriptionSink, PingConfig, ServerBuilder, ServerConfig,
        ServerHandle, SubscriptionMessage,
        middleware::rpc::{
            Batch, Notification, Request as Asked, RpcService, RpcServiceBuilder, RpcServiceT,
        },
        serve_with_graceful_shutdown, stop_channel,
    },
    types::ErrorObjectOwned,
};
use protocol::{Block, BlockHash};
use serde_json::{json, value::RawValue};
use std::{
    net::SocketAddr,
    sync::{Arc, RwLock, RwLockReadGuard, mpsc::Sender},
    time::Duration,
};
use tokio::sync::{Semaphore, broadcast, oneshot};

/// What the methods work with.
pub(super) struct Context {
    pub(super) shared: Arc<RwLock<Shared>>,
    pub(super) requests: Sender<Request>,
    pub(super) notices: broadcast::Sender<Arc<Notice>>,
    /// For requests that the author answers besides making blocks.
    pub(super) permits: Semaphore,
    /// What the chain started with.
    pub(super) genesis: Genesis,
    /// States that are no longer held, where the node answers for all.
    archive: Option<Arc<Archive>>,
}

/// A block with a state.
struct Found {
    number: u32,
    hash: BlockHash,
    /// Where its state is, if the node does not hold it any more.
    remade: Option<Arc<History>>,
}

impl Found {
    /// The state after the block.
    fn state<'a>(&'a self, shared: &'a Shared) -> Answer<StateAt<'a>> {
        let states = self.remade.as_deref().unwrap_or(&shared.history);
        states.at(self.number).ok_or_else(|| shared.discarded(self.number))
    }
}

type Answer<T> = Result<T, ErrorObjectOwned>;

/// An error as Substrate's nodes give it.
fn error(code: i32, message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(code, message, None::<()>)
}

fn bad_parameter(message: impl Into<String>) -> ErrorObjectOwned {
    error(jsonrpsee::types::error::INVALID_PARAMS_CODE, message)
}

fn stopped() -> ErrorObjectOwned {
    error(jsonrpsee::types::error::INTERNAL_ERROR_CODE, "the node is stopping")
}

fn busy() -> ErrorObjectOwned {
    error(-32_005, "the node is busy: ask again later")
}

impl Context {
    pub(super) fn new(
        shared: Arc<RwLock<Shared>>,
        requests: Sender<Request>,
        notices: broadcast::Sender<Arc<Notice>>,
        genesis: Genesis,
    ) -> Self {
        let permits = Semaphore::new(limits::AUTHOR_REQUESTS_MAX);
        Self { shared, requests, notices, permits, genesis, archive: None }
    }

    /// The same, with states that are no longer held.
    pub(super) fn with_archive(self, archive: Option<Arc<Archive>>) -> Self {
        Self { archive, ..self }
    }

    fn read(&self) -> RwLockReadGuard<'_, Shared> {
        read(&self.shared)
    }

    /// A block with its state, which is made again if the node does not hold it and is an archive;
    /// without a hash the newest. `request` says whom it is counted with.
    async fn find(&self, at: Option<BlockHash>, request: &Extensions) -> Answer<Found> {
        let (archive, number, hash) = {
            let shared = self.read();
            let number = shared.number(at)?;
            let hash = shared.hashes.get(number as usize).copied().unwrap_or(shared.head.hash);
            let oldest = shared.history.oldest();
            // The oldest may be gone before it is read; an archive makes it again.
            let is_leaving = self.archive.is_some() && number == oldest && oldest > 0;
            if number >= oldest && !is_leaving {
                return Ok(Found { number, hash, remade: None });
            }
            let Some(archive) = &self.archive else { return Err(shared.discarded(number)) };
            (archive, number, hash)
        };
        let asker = request.get::<Caller>().copied();
        let remade = archive.states(number, asker).await.map_err(|why| match why {
            NotMade::Busy => busy(),
            NotMade::Failed => {
                let what = format!("the state after block {number} cannot be made again");
                error(4003, format!("Client error: Execution failed: {what}"))
            }
        })?;
        Ok(Found { number, hash, remade: Some(remade) })
    }

    /// Asks the author for something that can wait; an error if many others wait already.
    async fn ask_aside<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Answer<T> {
        let _permit = self.permits.try_acquire().map_err(|_| busy())?;
        self.ask(request).await
    }

    /// Asks the author and waits for the answer.
    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Answer<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}

impl Shared {
    /// Number of a block; the newest without a hash.
    fn number(&self, hash: Option<BlockHash>) -> Answer<u32> {
        match hash {
            None => Ok(self.head.block.0 as u32),
            Some(hash) => self.numbers.get(&hash).copied().ok_or_else(|| {
                error(4003, format!("Client error: UnknownBlock: Header was not found: {hash}"))
            }),
        }
    }

    /// The error for a state that is gone.
    fn discarded(&self, number: u32) -> ErrorObjectOwned {
        let oldest = Block(self.history.oldest().into());
        let message = format!(
            "Client error: UnknownBlock: State already discarded for block {number}: only the \
             states from block {oldest} on are held"
        );
        error(4003, message)
    }
}

/// A server that listens, and what it answers with.
pub(super) struct Server {
    pub(super) handle: ServerHandle,
    pub(super) address: SocketAddr,
    pub(super) methods: Methods,
}

/// Serves whoever comes to the listener until the handle is dropped or stopped.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    context: Context,
) -> std::io::Result<Server> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let address = listener.local_addr()?;
    let config = ServerConfig::builder()
        .max_request_body_size(limits::REQUEST_BYTES_MAX)
        .max_response_body_size(limits::ANSWER_BYTES_MAX)
        // Whoever loses its place to a newcomer may take a moment to notice.
        .max_connections(2 * limits::CONNECTIONS_MAX)
        .max_subscriptions_per_connection(limits::SUBSCRIPTIONS_PER_CONNECTION_MAX)
        .set_batch_request_config(BatchRequestConfig::Limit(limits::BATCH_REQUESTS_MAX))
        .set_message_buffer_capacity(limits::MESSAGES_WAITING_MAX)
        .enable_ws_ping(
            PingConfig::new()
                .ping_interval(limits::PING_INTERVAL)
                .inactive_limit(limits::SILENCE_LIMIT),
        )
        .build();
    // Names are constants, each registered once: this is checked by every test that starts a node.
    let methods = Methods::from(module(context).map_err(std::io::Error::other)?);
    let (stop, handle) = stop_channel();
    let builder = ServerBuilder::with_config(config).to_service_builder();
    let served = methods.clone();
    tokio::spawn(async move {
        let callers = Callers::new(limits::CONNECTIONS_MAX, limits::CONNECTIONS_PER_ADDRESS_MAX);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.clone().shutdown() => return,
            };
            let Ok((stream, peer)) = accepted else {
                // Too many files are open, for example: better in a moment.
                tokio::time::sleep(limits::ACCEPT_PAUSE).await;
                continue;
            };
            // Without it answers only wait longer.
            let _ = stream.set_nodelay(true);
            let Some(stream) = callers.seat(stream, peer.ip()) else { continue };
            let caller = Caller::of(peer.ip());
            let named =
                RpcServiceBuilder::new().layer_fn(move |inner: RpcService| Named { inner, caller });
            let builder = builder.clone().set_rpc_middleware(named);
            let service = builder.build(served.clone(), stop.clone());
            let serving = serve_with_graceful_shutdown(stream, service, stop.clone().shutdown());
            // How a stranger's connection ends is nobody's trouble.
            tokio::spawn(async move { serving.await.is_ok() });
        }
    });
    Ok(Server { handle, address, methods })
}

/// Methods that are told whose request it is.
#[derive(Clone)]
struct Named<S> {
    inner: S,
    caller: Caller,
}

impl<S: RpcServiceT + Clone + Send + Sync + 'static> RpcServiceT for Named<S> {
    type MethodResponse = S::MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(
        &self,
        mut request: Asked<'a>,
    ) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        request.extensions_mut().insert(self.caller);
        self.inner.call(request)
    }

    fn batch<'a>(
        &self,
        mut batch: Batch<'a>,
    ) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        for request in batch.iter_mut().flatten() {
            request.extensions_mut().insert(self.caller);
        }
        self.inner.batch(batch)
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.inner.notification(notification)
    }
}

type Module = RpcModule<Context>;
type Registered = Result<(), jsonrpsee::core::RegisterMethodError>;

fn module(context: Context) -> Result<Module, jsonrpsee::core::RegisterMethodError> {
    let mut module = RpcModule::new(context);
    system::register(&mut module)?;
    chain::register(&mut module)?;
    state::register(&mut module)?;
    calls::register(&mut module)?;
    module.register_method(GENESIS_METHOD, |_, context, _| {
        // Numbers and texts always serialize.
        serde_json::to_value(&context.genesis).unwrap_or_default()
    })?;
    let mut names: Vec<&'static str> = module.method_names().collect();
    names.push("rpc_methods");
    names.sort_unstable();
    module.register_method("rpc_methods", move |_, _, _| json!({ "methods": names }))?;
    Ok(module)
}

/// Accepts a subscription and sends it what `next` makes of the news, from now on.
///
/// Whoever does not read is dropped; whoever comes late to some news does without them.
async fn forward(
    pending: PendingSubscriptionSink,
    first: Option<Box<RawValue>>,
    mut notices: broadcast::Receiver<Arc<Notice>>,
    mut next: impl FnMut(&Notice) -> Option<Box<RawValue>>,
) {
    let Ok(sink) = pending.accept().await else { return };
    let mut message = first;
    loop {
        if let Some(value) = message.take() {
            let message = SubscriptionMessage::from(value);
            if sink.send_timeout(message, limits::SLOW_READER_LIMIT).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sink.closed() => return,
            notice = notices.recv() => match notice {
                Ok(notice) => message = next(&notice),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
    }
}

/// A moment between a block and its being final, for clients that would merge the two.
const FINALITY_PAUSE: Duration = Duration::from_millis(250);
