//! Connections: how many, from whom, and how long they may take.

use super::{
    Hub, Limits,
    pace::Connection,
    refusal::Refusal,
    routes,
    seats::{Seat, Seats, at_work, keep_until_sent},
};
use axum::{
    Extension,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

/// Most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Most bytes that are read from a connection at a time.
const READ_BYTES_MAX: usize = 128 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// How long to wait when the system has no room for another connection.
const BREATH: Duration = Duration::from_millis(50);

/// Whoever is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Connections of each address, or requests under way of whom a proxy speaks for.
type Callers = Arc<Mutex<HashMap<IpAddr, u32>>>;

/// The end of a server that is told to stop.
pub(super) struct Server {
    stop: watch::Sender<bool>,
}

pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

impl Server {
    pub(super) fn spawn(runtime: &Runtime, listener: TcpListener, hub: Arc<Hub>) -> Self {
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(accept(listener, hub, stopped));
        Self { stop }
    }

    /// Takes no more requests; those that are answered already go on.
    pub(super) fn stop(&self) {
        // Nobody listens only if everything has ended.
        let _ = self.stop.send(true);
    }

    /// Waits until all connections have ended, or patience has.
    pub(super) async fn stopped(&self, patience: Duration) {
        // Whoever is still there is cut off by the end of the runtime.
        let _ = timeout(patience, self.stop.closed()).await;
    }
}

async fn accept(listener: TcpListener, hub: Arc<Hub>, mut stopped: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(hub.limits.connections_max));
    let callers = Callers::default();
    let seats = Arc::new(Seats::default());
    let router = routes::router(Arc::clone(&hub));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(BREATH).await;
            continue;
        };
        let peer = peer.ip();
        // All clients of a proxy have its address: they are told apart once a head has come.
        let is_proxy = hub.front.trusts(peer);
        let place = if is_proxy { None } else { Some(Place::take(&callers, peer, &hub.limits)) };
        // Whoever is too many is hung up on.
        if matches!(place, Some(None)) {
            continue;
        }
        let Some(permit) = room(&permits, &seats).await else { continue };
        let seat = Seat::take(&seats);
        let mut router = router.clone().layer(Extension(Peer(peer)));
        if is_proxy {
            let shared = (Arc::clone(&hub), Arc::clone(&callers), peer);
            router = router.layer(from_fn_with_state(shared, few_of_each));
        }
        let router = router.layer(from_fn_with_state(Arc::clone(&seat), at_work));
        let (hub, stopped) = (Arc::clone(&hub), stopped.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, router, &hub, stopped) => {}
                () = seat.told_to_leave() => {}
            }
            drop((place, permit));
        });
    }
}

/// Lets each client of a proxy have so many requests under way.
async fn few_of_each(
    State((hub, callers, proxy)): State<(Arc<Hub>, Callers, IpAddr)>,
    request: Request,
    next: Next,
) -> Response {
    let client = hub.front.client(proxy, request.headers());
    let Some(place) = Place::take(&callers, client, &hub.limits) else {
        return Refusal::busy(1).into_response();
    };
    keep_until_sent(next.run(request).await, place)
}

/// Room for a connection, if need be that of one that asks for nothing.
async fn room(permits: &Arc<Semaphore>, seats: &Seats) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    if !seats.free_one() {
        return None;
    }
    timeout(BREATH, Arc::clone(permits).acquire_owned()).await.ok()?.ok()
}

/// Serves one connection to its end.
async fn converse(
    stream: TcpStream,
    router: axum::Router,
    hub: &Hub,
    mut stopped: watch::Receiver<bool>,
) {
    // Without it answers wait for acknowledgements; that it may fail harms nothing else.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Connection::new(stream, &hub.limits));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(hub.limits.head_patience)
        .max_header_size(HEAD_BYTES_MAX)
        .max_buf_size(READ_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    let connection = builder.serve_connection(io, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // How a conversation ends is the stranger's affair.
        _ = connection.as_mut() => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// One connection of an address, or one request, counted while it lasts.
struct Place {
    callers: Callers,
    address: IpAddr,
}

impl Place {
    fn take(callers: &Callers, address: IpAddr, limits: &Limits) -> Option<Self> {
        let mut counts = callers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= limits.connections_per_address_max {
            return None;
        }
        *count += 1;
        Some(Self { callers: Arc::clone(callers), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
