//! What others may ask a running service over HTTP: its meters, whether it lives, and whether it is
//! ready.
//!
//! Three fixed answers to `GET`, one request a connection: so little of HTTP that it is written out
//! here, with a bound on whatever a stranger can take (decision 0019).

use super::{exposition::CONTENT_TYPE, health::Health, metrics::Metrics};
use anyhow::Context as _;
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// Most bytes of a request that are read and passed over once it is answered: with some unread, the
/// system would take the answer back.
const REST_BYTES_MAX: usize = 64 << 10;
/// Memory for the stack of a thread that answers.
const STACK_BYTES: usize = 256 << 10;
/// Pause after a connection could not be taken, as when files run out.
const BREATH: Duration = Duration::from_millis(50);
/// How long the end of the server waits for its own thread to hear of it.
const END_PATIENCE: Duration = Duration::from_secs(1);

/// What strangers may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Most connections at once. When another comes the oldest has to go: whoever asks is answered
    /// in no time, so the oldest is one that does not ask.
    connections_max: usize,
    /// From the connection to the last byte of the answer.
    patience: Duration,
    /// For what a client still sends after that.
    rest_patience: Duration,
}

const LIMITS: Limits = Limits {
    connections_max: 16,
    patience: Duration::from_secs(5),
    rest_patience: Duration::from_millis(200),
};

/// A door at which a service is asked; closed when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads of a server share.
#[derive(Debug)]
struct Shared {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    limits: Limits,
    is_ending: AtomicBool,
    seats: Mutex<Seats>,
}

/// The connections that are open, the oldest first.
#[derive(Debug, Default)]
struct Seats {
    taken: VecDeque<(u64, TcpStream)>,
    /// Number of the next.
    next: u64,
    /// Threads that answer, those of connections that had to go included.
    n_threads: usize,
}

impl Server {
    /// Listens, and answers on threads of its own; port 0 takes any that is free.
    pub fn start(
        listen: SocketAddr,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> anyhow::Result<Self> {
        Self::start_within(LIMITS, listen, metrics, health)
    }

    fn start_within(
        limits: Limits,
        listen: SocketAddr,
        metrics: Arc<Metrics>,
        health: Arc<Health>,
    ) -> anyhow::Result<Self> {
        let unheard = || format!("cannot listen on {listen} for those who ask for metrics");
        let listener = TcpListener::bind(listen).with_context(unheard)?;
        let address = listener.local_addr().with_context(unheard)?;
        let (is_ending, seats) = (AtomicBool::new(false), Mutex::default());
        let shared = Arc::new(Shared { metrics, health, limits, is_ending, seats });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new().name("metrics".to_owned());
        let thread = thread.spawn(move || accept(&listener, &own)).context("cannot serve")?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        for (_, stream) in &self.shared.seats().taken {
            // One that has ended already needs no end.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Its thread waits for a connection, and hears of the end by one.
        let mut address = self.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            IpAddr::V4(_) | IpAddr::V6(_) => {}
        }
        let is_told = TcpStream::connect_timeout(&address, END_PATIENCE).is_ok();
        if let Some(thread) = self.thread.take().filter(|_| is_told) {
            // What it may have died of was told when it did.
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_ending.load(Ordering::Relaxed) {
            return;
        }
        match stream {
            Ok(stream) => Shared::seat(shared, stream),
            Err(_) => thread::sleep(BREATH),
        }
    }
}

impl Shared {
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a connection on a thread of its own; one that finds no room is hung up on.
    fn seat(shared: &Arc<Self>, stream: TcpStream) {
        let Ok(other_end) = stream.try_clone() else { return };
        let mut seats = shared.seats();
        while seats.taken.len() >= shared.limits.connections_max {
            let Some((_, oldest)) = seats.taken.pop_front() else { break };
            let _ = oldest.shutdown(Shutdown::Both);
        }
        // Those that were told to go are on their way; where too many are, the next must wait.
        if seats.n_threads >= 2 * shared.limits.connections_max {
            return;
        }
        let number = seats.next;
        seats.next += 1;
        seats.n_threads += 1;
        seats.taken.push_back((number, other_end));
        drop(seats);
        let own = Arc::clone(shared);
        let thread = thread::Builder::new().name("answer".to_owned()).stack_size(STACK_BYTES);
        let answer = move || {
            let _seat = Seat { shared: &own, number };
            // How a conversation ends is the stranger's affair.
            let _ = converse(stream, &own);
        };
        if thread.spawn(answer).is_err() {
            drop(Seat { shared, number });
        }
    }

    fn answer(&self, target: &str) -> Reply {
        let path = target.split('?').next().unwrap_or_default();
        match path {
            "/metrics" => {
                Reply { kind: CONTENT_TYPE, ..Reply::new("200 OK", self.metrics.render()) }
            }
            "/healthz" => Reply::unless(&self.health.ailments()),
            "/readyz" => Reply::unless(&self.health.hindrances()),
            _ => Reply::new("404 Not Found", "there are /metrics, /healthz and /readyz\n"),
        }
    }
}

/// A connection's place; free again when it is dropped, however its thread ends.
struct Seat<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut seats = self.shared.seats();
        seats.taken.retain(|(number, _)| *number != self.number);
        seats.n_threads = seats.n_threads.saturating_sub(1);
    }
}

/// One answer.
struct Reply {
    status: &'static str,
    kind: &'static str,
    body: String,
}

impl Reply {
    fn new(status: &'static str, body: impl Into<String>) -> Self {
        Self { status, kind: "text/plain; charset=utf-8", body: body.into() }
    }

    /// Yes, or no and why, a line each.
    fn unless(reasons: &[String]) -> Self {
        if reasons.is_empty() {
            return Self::new("200 OK", "ok\n");
        }
        let lines = reasons.iter().map(|reason| format!("{reason}\n"));
        Self::new("503 Service Unavailable", lines.collect::<String>())
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
        let n_bytes = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {n_bytes}\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{allow}\
             Connection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// A connection that ends at a time, however slowly its other end reads or writes.
struct Line {
    stream: TcpStream,
    until: Instant,
}

impl Line {
    fn left(&self) -> io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Says that nothing more comes, and reads what the other end had still to say.
    fn hang_up(mut self, patience: Duration) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)?;
        self.until = Instant::now() + patience;
        let (mut piece, mut n_read) = ([0; 1024], 0);
        while n_read < REST_BYTES_MAX {
            match self.read(&mut piece)? {
                0 => break,
                n => n_read += n,
            }
        }
        Ok(())
    }
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.left()?))?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read,
            }
        }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Hears one request and answers it.
fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut line = Line { stream, until: Instant::now() + shared.limits.patience };
    let reply = match request(&mut line)? {
        Ok(target) => shared.answer(&target),
        Err(reply) => reply,
    };
    line.write_all(&reply.bytes())?;
    line.hang_up(shared.limits.rest_patience)
}

/// What a request asks for, or what is said to one that does not ask for anything.
fn request(line: &mut Line) -> io::Result<Result<String, Reply>> {
    const END: &[u8] = b"\r\n\r\n";
    let (mut head, mut piece) = (Vec::new(), [0; 1024]);
    loop {
        let n = line.read(&mut piece)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The end may have begun in the piece before.
        let from = head.len().saturating_sub(END.len() - 1);
        head.extend_from_slice(piece.get(..n).unwrap_or_default());
        if head.windows(END.len()).skip(from).any(|window| window == END) {
            break;
        }
        if head.len() > HEAD_BYTES_MAX {
            let why = format!("the head of a request has at most {HEAD_BYTES_MAX} bytes\n");
            return Ok(Err(Reply::new("431 Request Header Fields Too Large", why)));
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_some_and(|version| version.starts_with("HTTP/1."));
    Ok(match (method, target) {
        (Some("GET"), Some(target)) if is_http => Ok(target.to_owned()),
        (Some(_), Some(_)) if is_http => {
            Err(Reply::new("405 Method Not Allowed", "only GET is answered\n"))
        }
        _ => Err(Reply::new("400 Bad Request", "this is not HTTP/1.1\n")),
    })
}

#[cfg(test)]
mod tests;
