//! Pages over HTTP, and news of rounds as they come.
//!
//! Pages are made on threads that may wait, each with a connection to the index of its own. News
//! go to whoever listens; whoever does not take them is let go.

mod answers;
mod patient;

use crate::{
    Config, Error,
    ask::Ask,
    feed,
    index::{self, Budget, Index},
    page::{Answer, Site},
    reader::{News, Reader, Rules, Troubles},
};
use answers::{Answers, Made, Packing, unending};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header, request::Parts},
    response::Response,
    routing::get,
};
use futures_util::stream;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use patient::{Patient, listen};
use records::signed::SIGNED_BYTES_MAX;
use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch},
    time::{sleep, timeout},
};

/// Most connections at a time.
const CONNECTIONS_MAX: usize = 2_048;
/// Most of them that listen for news.
const LISTENERS_MAX: usize = 1_536;
/// Most pages that are made at a time.
const PAGES_MAX: usize = 8;
/// News that wait for whoever listens; who is further behind is let go.
const NEWS_MAX: usize = 256;
/// Time between two signs of life to whoever listens.
const BEAT: Duration = Duration::from_secs(10);
/// How long a client may take over the head of a request, or be idle.
const HEAD_PATIENCE: Duration = Duration::from_secs(20);
/// Most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;
/// Pause after a connection could not be taken, as when files run out.
const BREATH: Duration = Duration::from_millis(50);
/// How often the reader looks whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// How long the end of the server waits for what is under way.
const END_PATIENCE: Duration = Duration::from_secs(2);
/// How long a page waits until it is its turn, and then until there is room for its records.
const PAGE_PATIENCE: Duration = Duration::from_secs(10);

/// What all requests share.
struct Shared {
    site: Site,
    folder: PathBuf,
    /// Connections to the index that no page is made with.
    idle: Mutex<Vec<Index>>,
    permits: Arc<Semaphore>,
    /// What all pages may unpack together: the largest record fits into it.
    budget: Arc<Budget>,
    answers: Answers,
    /// How often records and chain have changed what pages are made of.
    n_changes: Arc<AtomicU64>,
    listeners: Arc<Semaphore>,
    news: broadcast::Sender<Bytes>,
}

/// A dashboard at work; it ends when it is dropped.
pub struct Dashboard {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    is_ending: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
    runtime: Option<Runtime>,
}

impl Dashboard {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address for a browser.
    pub fn url(&self) -> String {
        let mut reached = self.address;
        if reached.ip().is_unspecified() {
            reached.set_ip([127, 0, 0, 1].into());
        }
        format!("http://{reached}")
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.is_ending.store(true, Ordering::Relaxed);
        // Nobody listens only if everything has ended.
        let _ = self.stop.send(true);
        if let Some(reader) = self.reader.take() {
            // A reader that panicked has told so itself.
            let _ = reader.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_PATIENCE);
        }
    }
}

/// Reads records and chain into the index, and serves pages of it, until what is returned is
/// dropped.
pub fn serve(config: Config) -> Result<Dashboard, Error> {
    let index = Index::open(&config.home)?;
    let rules = Arc::new(Rules::new(config.rules));
    let mut reader = Reader::new(index, Arc::clone(&rules), config.places).within(config.limits);
    if let Some((chain, netuid)) = config.chain {
        reader = reader.beside(chain, netuid);
    }
    let (clock, troubles, n_changes) = (reader.clock(), reader.troubles(), reader.n_changes());
    let hub = config.hub.trim_end_matches('/').to_owned();
    let public_url = config.public_url.map(|url| url.trim_end_matches('/').to_owned());
    let (told, kinships) = (Arc::clone(&troubles), Arc::default());
    let site = Site { rules, clock, troubles: told, hub, public_url, kinships };
    let (news, _) = broadcast::channel(NEWS_MAX);
    let shared = Arc::new(Shared {
        site,
        folder: config.home,
        idle: Mutex::default(),
        permits: Arc::new(Semaphore::new(PAGES_MAX)),
        budget: Arc::new(Budget::new(SIGNED_BYTES_MAX, PAGE_PATIENCE)),
        answers: Answers::default(),
        n_changes,
        listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
        news: news.clone(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(PAGES_MAX)
        .thread_name("dashboard")
        .enable_all()
        .build()
        .map_err(Error::System)?;
    let address = config.listen;
    let listener = runtime
        .block_on(async { listen(address) })
        .map_err(|source| Error::Listen { address, source })?;
    let address = listener.local_addr().map_err(Error::System)?;
    let (stop, stopped) = watch::channel(false);
    runtime.spawn(accept(listener, shared, stopped));
    let is_ending = Arc::new(AtomicBool::new(false));
    let ending = Arc::clone(&is_ending);
    let pause = config.pause;
    let read = move || read_on(reader, &ending, &news, (&*troubles, pause));
    let reader = thread::Builder::new().name("dashboard-reader".to_owned()).spawn(read);
    let reader = Some(reader.map_err(Error::System)?);
    Ok(Dashboard { address, stop, is_ending, reader, runtime: Some(runtime) })
}

/// Reads until told to end, with a pause after each time.
fn read_on(
    mut reader: Reader,
    is_ending: &AtomicBool,
    news: &broadcast::Sender<Bytes>,
    (troubles, pause): (&Troubles, Duration),
) {
    let stop = || is_ending.load(Ordering::Relaxed);
    let tell = |round: News| {
        let data = serde_json::to_string(&round).unwrap_or_default();
        // Nobody may be listening.
        let _ = news.send(Bytes::from(format!("event: round\ndata: {data}\n\n")));
    };
    while !stop() {
        let read = reader.read(&stop, &tell);
        troubles.of_index(read.err().map(|error| error.to_string()));
        let mut left = pause;
        while !stop() && !left.is_zero() {
            let step = left.min(TICK);
            thread::sleep(step);
            left -= step;
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let news = get(events).fallback(respond);
    let router = Router::new().route("/events", news).fallback(respond).with_state(shared);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = accepted else {
            sleep(BREATH).await;
            continue;
        };
        // Whoever is too many is hung up on.
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let (router, mut stopped) = (router.clone(), stopped.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = converse(stream, router) => {}
                _ = stopped.changed() => {}
            }
            drop(permit);
        });
    }
}

/// Serves one connection to its end.
async fn converse(stream: TcpStream, router: Router) {
    // Without it answers wait for acknowledgements; that it may fail harms nothing else.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Patient::new(stream));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    // How a conversation ends is the stranger's affair.
    let _ = builder.serve_connection(io, TowerToHyperService::new(router)).await;
}

/// News as server-sent events.
async fn events(State(shared): State<Arc<Shared>>) -> Response {
    let Ok(seat) = Arc::clone(&shared.listeners).try_acquire_owned() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many listen\n");
    };
    let state = (shared.news.subscribe(), seat, true);
    unending("text/event-stream", Body::from_stream(stream::unfold(state, next_news)))
}

/// What is said to whoever asked for nothing that can be made.
fn refused(status: StatusCode, said: &str) -> Response {
    Made::refusal(status, said).response(&HeaderMap::new())
}

type Listening = (broadcast::Receiver<Bytes>, OwnedSemaphorePermit, bool);

/// The next of what whoever listens is told: a greeting, news, or a sign of life. Nothing more
/// where news were missed.
async fn next_news(
    (mut news, seat, is_first): Listening,
) -> Option<(Result<Bytes, Infallible>, Listening)> {
    let said = if is_first {
        Bytes::from_static(b"retry: 5000\n\n")
    } else {
        match timeout(BEAT, news.recv()).await {
            Err(_) => Bytes::from_static(b": still here\n\n"),
            Ok(Ok(said)) => said,
            Ok(Err(_)) => return None,
        }
    };
    Some((Ok(said), (news, seat, false)))
}

/// Everything else.
async fn respond(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (Parts { method, uri, headers, .. }, _) = request.into_parts();
    if ![Method::GET, Method::HEAD].contains(&method) {
        return refused(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    let packing = match preference(&headers, header::ACCEPT_ENCODING, "gzip") > 0.0 {
        true => Packing::Gzip,
        false => Packing::None,
    };
    let [json, html] =
        ["application/json", "text/html"].map(|kind| preference(&headers, header::ACCEPT, kind));
    let is_json = json > 0.0 && json >= html;
    let accept = if is_json { "application/json" } else { "" };
    let (path, query) = (uri.path(), uri.query().unwrap_or_default());
    let Some(ask) = Ask::read(path, query, accept) else {
        return refused(StatusCode::BAD_REQUEST, "this address cannot be read\n");
    };
    let asked = format!("{packing:?} {accept} {path}?{query}");
    let slot = shared.answers.slot(shared.version(), &asked);
    // Begun by the first who asks; where it hangs up, the next begins anew.
    let made = async {
        let made = make(Arc::clone(&shared), path.to_owned(), ask, packing).await;
        let made = Arc::new(made);
        if made.is_refusal() {
            return Err(made);
        }
        shared.answers.count(&asked, &slot, &made);
        Ok(made)
    };
    match slot.get_or_try_init(|| made).await {
        Ok(made) => made.response(&headers),
        Err(refused) => refused.response(&headers),
    }
}

/// Makes an answer, when it is its turn.
async fn make(shared: Arc<Shared>, path: String, ask: Ask, packing: Packing) -> Made {
    let permit = Arc::clone(&shared.permits).acquire_owned();
    let Ok(Ok(permit)) = timeout(PAGE_PATIENCE, permit).await else {
        return Made::refusal(StatusCode::SERVICE_UNAVAILABLE, "too many pages are asked for\n");
    };
    let work = move || {
        let answer = feed::file(&path).unwrap_or_else(|| shared.answered(&ask));
        let made = Made::new(answer, packing);
        // Held to here even where nobody waits any more.
        drop(permit);
        made
    };
    let made = tokio::task::spawn_blocking(work).await;
    made.unwrap_or_else(|_| Made::refusal(StatusCode::INTERNAL_SERVER_ERROR, "no page\n"))
}

/// How much of something a client would have, from 0 to 1, by a header that lists what it takes
/// (RFC 9110, section 12.4.2); 0 of what is not named.
fn preference(headers: &HeaderMap, name: HeaderName, wanted: &str) -> f64 {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let quality = |item: &str| {
        let mut parts = item.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(wanted) {
            return None;
        }
        let weight = parts.find_map(|part| part.strip_prefix(['q', 'Q'])?.strip_prefix('='));
        Some(weight.map_or(1.0, |weight| weight.parse::<f64>().unwrap_or(0.0)))
    };
    lists.flat_map(|list| list.split(',')).find_map(quality).unwrap_or(0.0)
}

impl Shared {
    /// The answer to what is asked for, by a connection to the index that nobody else uses.
    fn answered(&self, ask: &Ask) -> Answer {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let look = || Index::look(&self.folder).map(|it| it.within(Arc::clone(&self.budget)));
        let index = match idle.map_or_else(look, Ok) {
            Ok(index) => index,
            Err(error) => return unreadable(&error),
        };
        let answer = self.site.answer(&index, ask);
        index.release();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(index);
        answer
    }

    /// How often anything has changed that pages show.
    fn version(&self) -> u64 {
        self.n_changes.load(Ordering::Acquire) + self.site.troubles.n_changes()
    }
}

fn unreadable(error: &index::Error) -> Answer {
    Answer {
        status: 503,
        kind: "text/plain; charset=utf-8",
        body: format!("{error}\n").into_bytes(),
    }
}

#[cfg(test)]
mod tests;
