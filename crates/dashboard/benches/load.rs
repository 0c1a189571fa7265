//! A dashboard under load: an index from nothing, pages, memory, listeners, and who reads nothing.
//!
//! `cargo bench -p dashboard --bench load` prints one table; dashboard and clients share the
//! machine. Records are made by a formula, in a process of their own, so that memory is that of the
//! dashboard and of its clients. AGON_ROUNDS says how many rounds each of the validators has
//! published: 5,000 take some 15 GB of disk.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use dashboard::{
    Config, Limits, Place,
    index::Index,
    reader::{Reader, Rules},
    serve,
};
use keys::Keypair;
use protocol::{
    AccountId, Block, BlockHash, Competition, Digest, Loss, NetUid, Record, Seed, Uid,
    competition::{LossKind, Rule},
    record::{DocumentDigest, Finding, Model, Round},
    weights::MovingAverage,
};
use records::{Folder, Signed};
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

/// Where the process that makes records puts them.
const MAKE: &str = "AGON_MAKE";
const N_BATCHES: u64 = 8;
const N_PAGES: usize = 1_000;
const HUB: &str = "https://hub.example";
/// Requests of one who reads no answer.
const N_UNREAD: usize = 2_000;

/// A number of the environment.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(usual)
}

fn n_rounds() -> u64 {
    number("AGON_ROUNDS", 250)
}

fn n_models() -> u16 {
    u16::try_from(number("AGON_MODELS", 256)).unwrap()
}

fn n_validators() -> u64 {
    number("AGON_VALIDATORS", 20)
}

fn n_listeners() -> usize {
    usize::try_from(number("AGON_LISTENERS", 1_000)).unwrap()
}

fn rules() -> Competition {
    let toml = include_str!("../../../testdata/scoring/competition.toml");
    let mut competition = Competition::from_toml(toml).unwrap();
    competition.scoring.rule = Rule::Succession;
    competition.scoring.loss = LossKind::CrossEntropy;
    competition.evaluation.n_batches = usize::try_from(N_BATCHES).unwrap();
    competition.check().unwrap();
    competition
}

/// A number from 0 to 1 that follows from two.
fn noise(a: u64, b: u64) -> f64 {
    let mut word = a.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(b);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (word >> 11) as f64 / (1_u64 << 53) as f64
}

/// A model of round `number`: every so often a miner publishes a better one.
fn model(uid: u16, number: u64) -> Model {
    let version = (number + u64::from(uid)) / 200;
    let better = 0.001 * version as f64 * noise(u64::from(uid), version);
    let loss = |batch: u64| {
        let document = number * N_BATCHES + batch;
        let value = 3.0 + 0.2 * noise(1, document) - better + 0.01 * noise(uid.into(), document);
        Loss::new(value).unwrap()
    };
    let named = format!("model {uid} {version}");
    let revision = Digest::of(named.as_bytes()).hex();
    Model {
        uid: Uid(uid),
        hotkey: AccountId(Digest::of(&uid.to_le_bytes()).0),
        coldkey: None,
        commit_block: Block(1 + version),
        commit_block_hash: BlockHash([3; 32]),
        since: None,
        repo: Some(format!("miner{uid}/model").parse().unwrap()),
        revision: Some(revision[..40].parse().unwrap()),
        file_root: None,
        tensor_root: Some(Digest::of(named.as_bytes())),
        finding: Finding::Evaluated((0..N_BATCHES).map(loss).collect()),
    }
}

/// A validator that publishes one record after the other.
struct Judge {
    key: Keypair,
    folder: Folder,
    rules: Competition,
    average: MovingAverage,
    last: Option<(u64, Digest)>,
}

impl Judge {
    fn new(home: &Path, validator: u64) -> Self {
        let key = Keypair::from_seed(Seed::of_number(validator));
        let folder = Folder::new(path(home, validator));
        Self { key, folder, rules: rules(), average: MovingAverage::default(), last: None }
    }

    fn publish(&mut self) {
        let number = self.last.map_or(1, |(number, _)| number + 1);
        let document = |place: u64| {
            let id = format!("generated {number} {place}");
            DocumentDigest { sha256: Digest::of(id.as_bytes()), id }
        };
        let round = Round {
            competition: self.rules.name.clone(),
            competition_digest: self.rules.digest(),
            number,
            previous: self.last.map(|(_, digest)| digest),
            block: Block(1_000 + 10 * number),
            block_hash: BlockHash([1; 32]),
            validator: self.key.public(),
            genesis: BlockHash([2; 32]),
            netuid: NetUid(1),
            engine: "a benchmark".to_owned(),
            tokenizer: Digest::of(b"tokenizer"),
            dataset: Digest::of(b"dataset"),
            documents: (0..N_BATCHES).map(document).collect(),
            batches: Digest::of(&number.to_le_bytes()),
        };
        let models = (0..n_models()).map(|uid| model(uid, number)).collect();
        let record = Record::new(round, &self.rules, models, &mut self.average);
        self.last = Some((number, record.digest()));
        let signed = Signed::sign(record, &self.key);
        // Whole or not at all, as a validator does it, but not brought to the disk each time.
        let path = self.folder.path(&self.rules.name, number);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = path.with_extension("new");
        fs::write(&beside, signed.to_json()).unwrap();
        fs::rename(beside, path).unwrap();
    }
}

fn path(home: &Path, validator: u64) -> PathBuf {
    home.join(format!("validator-{validator}"))
}

/// Makes the records of all validators, some at a time.
fn make(home: &Path) {
    let n_cores = thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    thread::scope(|scope| {
        for core in 0..n_cores {
            scope.spawn(move || {
                for validator in (core..n_validators()).step_by(n_cores as usize) {
                    let mut judge = Judge::new(home, validator);
                    (0..n_rounds()).for_each(|_| judge.publish());
                }
            });
        }
    });
}

fn places(home: &Path) -> Vec<Place> {
    let place = |validator: u64| {
        let source = Box::new(Folder::new(path(home, validator)));
        Place { name: format!("validator-{validator}"), source }
    };
    (0..n_validators()).map(place).collect()
}

fn config(home: &Path) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        home: home.join("dashboard"),
        hub: HUB.to_owned(),
        rules: vec![rules()],
        chain: None,
        places: places(home),
        limits: Limits::default(),
        pause: Duration::from_millis(20),
    }
}

/// Most memory that this process has held, in MiB.
fn peak_mebibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1_024
}

/// An answer, packed as a browser takes it; its bytes.
fn get(address: SocketAddr, path: &str) -> usize {
    let mut stream = TcpStream::connect(address).unwrap();
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
fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times[at.min(times.len() - 1)]
}

/// Index from nothing.
fn build(home: &Path) {
    let known = Arc::new(Rules::new(vec![rules()]));
    let began = Instant::now();
    let index = Index::open(&home.join("dashboard")).unwrap();
    let mut reader = Reader::new(index, known, places(home));
    reader.read(&|| false, &|_| {}).unwrap();
    let took = began.elapsed().as_secs_f64();
    let n_records = n_rounds() * n_validators();
    let n_judged = n_records * u64::from(n_models());
    let bytes = fs::metadata(home.join("dashboard").join(dashboard::index::FILE)).unwrap().len();
    let what = format!("index from nothing, {n_records} records, {n_judged} judged models");
    println!("| {what} | 60 s | {took:.1} s |");
    println!("| records per second | | {:.0} |", n_records as f64 / took);
    println!("| size of the index | | {:.0} MB |", bytes as f64 / 1e6);
}

/// Pages of all kinds, one after the other.
fn pages(address: SocketAddr) {
    let last = n_rounds();
    let root = |uid: u16| model(uid, last).tensor_root.unwrap().hex();
    let validator = Keypair::from_seed(Seed::of_number(0)).public();
    let miner = model(1, last).hotkey;
    let kinds = [
        "/".to_owned(),
        "/c/tiny".to_owned(),
        format!("/c/tiny?block={}", 1_000 + 5 * last),
        "/c/tiny?sort=board.loss&q=miner1".to_owned(),
        "/c/tiny/rounds".to_owned(),
        format!("/c/tiny/round/{last}"),
        "/c/tiny/crown/1".to_owned(),
        format!("/c/tiny/compare?a={}&b={}", root(1), root(2)),
        format!("/model/{}", root(1)),
        format!("/miner/{miner}"),
        format!("/validator/{validator}"),
        "/network".to_owned(),
        "/api/v1/c/tiny".to_owned(),
    ];
    let (mut times, mut largest) = (Vec::new(), 0);
    for at in 0..N_PAGES {
        let began = Instant::now();
        largest = largest.max(get(address, &kinds[at % kinds.len()]));
        times.push(began.elapsed());
    }
    let [half, most] = [0.5, 0.99].map(|share| percentile(&mut times, share).as_secs_f64() * 1e3);
    println!("| a page, 50th and 99th percentile | p99 50 ms | {half:.1} ms, {most:.1} ms |");
    println!("| largest page, packed | 300 KiB | {:.0} KiB |", largest as f64 / 1_024.0);
}

/// Listeners that hear of a round, and when.
fn listeners(address: SocketAddr, judge: &mut Judge) {
    let (tell, heard) = mpsc::channel();
    let listener = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /events HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut buffer = [0; 4_096];
        while !String::from_utf8_lossy(&buffer).contains("retry") {
            assert!(stream.read(&mut buffer).unwrap() > 0);
        }
        let tell = tell.clone();
        let listen = move || {
            let mut told = Vec::new();
            let mut buffer = [0; 4_096];
            while let Ok(n @ 1..) = stream.read(&mut buffer) {
                told.extend_from_slice(&buffer[..n]);
                if String::from_utf8_lossy(&told).contains("event: round") {
                    let _ = tell.send(Instant::now());
                    return;
                }
            }
        };
        thread::Builder::new().stack_size(128 << 10).spawn(listen).unwrap()
    };
    let threads: Vec<_> = (0..n_listeners()).map(|_| listener()).collect();
    let began = Instant::now();
    judge.publish();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    drop(tell);
    let mut at: Vec<Instant> = heard.into_iter().collect();
    at.sort_unstable();
    let first = at[0];
    let mut times: Vec<Duration> = at.iter().map(|at| at.duration_since(first)).collect();
    let (n, spread) = (times.len(), percentile(&mut times, 0.99).as_secs_f64() * 1e3);
    let whole = first.duration_since(began).as_secs_f64() * 1e3;
    println!("| {n} listeners: 99 % of events after the first of them | 250 ms | {spread:.0} ms |");
    println!("| from the file of a record to the first of them | | {whole:.0} ms |");
}

/// Whether one who asks and reads nothing is let go.
fn slow(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    let began = Instant::now();
    for _ in 0..N_UNREAD {
        if stream.write_all(b"GET /c/tiny HTTP/1.1\r\nhost: x\r\n\r\n").is_err() {
            break;
        }
    }
    let mut gone = None;
    while gone.is_none() && began.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(200));
        let is_gone = match stream.write(b"\r\n") {
            Ok(_) => false,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        };
        gone = is_gone.then(|| began.elapsed().as_secs_f64());
    }
    let told = gone.map_or("not within 60 s".to_owned(), |seconds| format!("{seconds:.0} s"));
    println!("| a reader that takes nothing is let go | 30 s | {told} |");
}

fn main() {
    if let Some(home) = std::env::var_os(MAKE) {
        return make(Path::new(&home));
    }
    let home = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let made = Command::new(program).env(MAKE, home.path()).status().unwrap();
    assert!(made.success(), "no records were made");
    println!("| what | target | measured |\n| --- | --- | --- |");
    build(home.path());
    println!("| memory, most while it was made | 300 MiB | {} MiB |", peak_mebibytes());
    let dashboard = serve(config(home.path())).unwrap();
    pages(dashboard.address());
    println!("| memory, most with pages | 300 MiB | {} MiB |", peak_mebibytes());
    let mut judge = Judge::new(home.path(), 0);
    // The same records again, up to where its folder ends.
    (0..n_rounds()).for_each(|_| judge.publish());
    listeners(dashboard.address(), &mut judge);
    slow(dashboard.address());
    println!("| memory, most of all, with the clients | | {} MiB |", peak_mebibytes());
}
