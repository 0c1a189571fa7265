//! Whoever asks a dashboard, in a process of its own: its memory is not the dashboard's.

use crate::{
    made::{block, key, model},
    n_rounds, number,
};
use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant, SystemTime},
};

const N_PAGES: usize = 1_000;
/// Requests of one who reads no answer, or a byte now and then.
const N_UNREAD: usize = 2_000;
/// How long whoever listens waits for all rounds.
const LISTENING: Duration = Duration::from_secs(30);
/// How long one who takes too little is waited for.
const SLOW: Duration = Duration::from_secs(60);
/// What a listener says once it hears.
pub(crate) const READY: &str = "ready";

/// Does what its name says.
pub(crate) fn run(name: &str, address: SocketAddr) {
    match name {
        "pages" => pages(address),
        "listen" => listen(address),
        "slow" => slow(address),
        _ => panic!("no client is called `{name}`"),
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// An answer, packed as a browser takes it; its bytes.
fn get(address: SocketAddr, path: &str) -> usize {
    let mut stream = connect(address);
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
    answer.len()
}

/// The value below which a share of the times lies.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times[at.min(times.len() - 1)]
}

/// Pages of all kinds, one after the other: each made, and then each as it is kept.
fn pages(address: SocketAddr) {
    let last = n_rounds();
    let root = |uid: u16| model(uid, last, 0.0).tensor_root.unwrap().hex();
    let validator = key(0).public();
    let miner = model(30, last, 0.0).hotkey;
    let kinds = [
        "/?".to_owned(),
        "/c/tiny?".to_owned(),
        format!("/c/tiny?block={}", block(last / 2).0),
        "/c/tiny?sort=board.loss&q=miner1".to_owned(),
        "/c/tiny/rounds?".to_owned(),
        format!("/c/tiny/round/{last}?"),
        "/c/tiny/crown/1?".to_owned(),
        format!("/c/tiny/compare?a={}&b={}", root(1), root(2)),
        format!("/model/{}?", root(1)),
        format!("/miner/{miner}?"),
        format!("/validator/{validator}?"),
        "/network?".to_owned(),
        "/api/v1/c/tiny?".to_owned(),
    ];
    for (what, is_made) in [("a page that is made", true), ("a page that is kept", false)] {
        let (mut times, mut largest) = (Vec::new(), 0);
        for at in 0..N_PAGES {
            // Another address of the same page is one that nobody has asked for.
            let other = if is_made { at } else { at % kinds.len() };
            let address_of = format!("{}&other={other}", kinds[at % kinds.len()]);
            let began = Instant::now();
            largest = largest.max(get(address, &address_of));
            times.push(began.elapsed());
        }
        let [half, most] =
            [0.5, 0.99].map(|share| percentile(&mut times, share).as_secs_f64() * 1e3);
        let target = if is_made { "p99 50 ms" } else { "" };
        println!("| {what}, 50th and 99th percentile | {target} | {half:.1} ms, {most:.1} ms |");
        if is_made {
            println!("| largest page, packed | 300 KiB | {:.0} KiB |", largest as f64 / 1_024.0);
        }
    }
}

/// A connection that hears of rounds.
fn listener(address: SocketAddr) -> BufReader<TcpStream> {
    let mut stream = connect(address);
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut reader = BufReader::with_capacity(1_024, stream);
    let mut line = String::new();
    while !line.starts_with("retry") {
        line.clear();
        assert!(reader.read_line(&mut line).unwrap() > 0);
    }
    reader
}

/// The number of a round, if a line tells of one.
fn told(line: &str) -> Option<u64> {
    let (_, rest) = line.strip_prefix("data: ")?.split_once("\"number\":")?;
    rest.split(',').next()?.parse().ok()
}

/// Listeners, with two among them that read nothing, or a byte now and then; prints which round
/// each heard of and when, in microseconds since 1970.
fn listen(address: SocketAddr) {
    let n_listeners = usize::try_from(number("AGON_LISTENERS", 1_000)).unwrap();
    let n_events = usize::try_from(number("AGON_EVENTS", 20)).unwrap();
    let (_unread, mut trickled) = (listener(address), listener(address).into_inner());
    let hear = |mut reader: BufReader<TcpStream>| {
        move || {
            let (began, mut heard) = (Instant::now(), Vec::new());
            let mut line = String::new();
            while heard.len() < n_events && began.elapsed() < LISTENING {
                match reader.read_line(&mut line) {
                    Ok(0) => break,
                    Ok(_) => {
                        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                        heard.extend(told(&line).map(|round| (round, now.unwrap().as_micros())));
                        line.clear();
                    }
                    // What was read of a line stays.
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            heard
        }
    };
    let readers: Vec<_> = (0..n_listeners).map(|_| listener(address)).collect();
    let small = || thread::Builder::new().stack_size(256 << 10);
    let threads: Vec<_> =
        readers.into_iter().map(|reader| small().spawn(hear(reader)).unwrap()).collect();
    thread::spawn(move || {
        while trickled.read(&mut [0]).is_ok_and(|n| n > 0) {
            thread::sleep(Duration::from_secs(1));
        }
    });
    println!("{READY}");
    for heard in threads {
        for (round, micros) in heard.join().unwrap() {
            println!("{round} {micros}");
        }
    }
}

/// Whether those are let go who ask for much, and take nothing or a byte now and then.
fn slow(address: SocketAddr) {
    for (what, is_trickling) in
        [("a reader that takes nothing", false), ("a reader of a byte each 100 ms", true)]
    {
        let mut stream = connect(address);
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let began = Instant::now();
        for _ in 0..N_UNREAD {
            if stream.write_all(b"GET /c/tiny HTTP/1.1\r\nhost: x\r\n\r\n").is_err() {
                break;
            }
        }
        let mut gone = None;
        while gone.is_none() && began.elapsed() < SLOW {
            thread::sleep(Duration::from_millis(100));
            let is_open = |result: std::io::Result<usize>| match result {
                Ok(_) => true,
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            };
            let is_read = !is_trickling || is_open(stream.read(&mut [0]));
            let is_there = is_read && is_open(stream.write(b"\r\n"));
            gone = (!is_there).then(|| began.elapsed().as_secs_f64());
        }
        let told = gone.map_or("not within 60 s".to_owned(), |seconds| format!("{seconds:.0} s"));
        println!("| {what} is let go | 30 s | {told} |");
    }
}
