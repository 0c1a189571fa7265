//! A dashboard under load: an index from nothing, pages, memory, listeners, and who reads little.
//!
//! `cargo bench -p dashboard --bench load` prints one table. Records are made by a formula, beside
//! a chain with a full subnet on which nothing happens; one of the validators finds other losses
//! than the others. Who makes the records, and who asks, are processes of their own on the same
//! machine, so that memory and time of the processor are those of the dashboard alone.
//!
//! AGON_ROUNDS says how many rounds each validator has published. The targets are those of 5,000,
//! which take some 15 GB of disk; without it there are 250.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

mod clients;
mod made;

use chain::Chain;
use clients::{READY, percentile};
use dashboard::{
    Config, Dashboard, Limits, Place,
    index::Index,
    reader::{Reader, Rules},
    serve,
};
use made::{Judge, NETUID, Still, make, path, rules};
use records::Folder;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Where the process that makes records puts them.
const MAKE: &str = "AGON_MAKE";
/// Which client a process is, and whom it asks.
const CLIENT: &str = "AGON_CLIENT";
const ADDRESS: &str = "AGON_ADDRESS";
/// Time between two looks, as `agon dashboard` has it; and where the time of news is measured.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(20)];
/// How long the dashboard is watched at rest.
const REST: Duration = Duration::from_secs(30);
/// Time between two rounds that listeners hear of.
const BETWEEN: Duration = Duration::from_millis(300);

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

fn places(home: &Path) -> Vec<Place> {
    let place = |validator: u64| {
        let source = Box::new(Folder::new(path(home, validator)));
        Place { name: format!("validator-{validator}"), source }
    };
    (0..n_validators()).map(place).collect()
}

fn served(home: &Path, pause: Duration) -> Dashboard {
    let chain: Arc<dyn Chain> = Arc::new(Still::new());
    serve(Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        home: home.join("dashboard"),
        hub: "https://hub.example".to_owned(),
        public_url: None,
        rules: vec![rules()],
        chain: Some((chain, NETUID)),
        places: places(home),
        limits: Limits::default(),
        pause,
    })
    .unwrap()
}

/// Most memory that this process has held, in MiB.
fn peak_mebibytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) / 1_024
}

/// Time that processors have spent on this process, where Linux tells, in its hundredths of a
/// second.
fn spent() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(10 * ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>())
}

/// Index from nothing.
fn build(home: &Path) {
    let known = Arc::new(Rules::new(vec![rules()]));
    let began = Instant::now();
    let index = Index::open(&home.join("dashboard")).unwrap();
    let chain: Arc<dyn Chain> = Arc::new(Still::new());
    let mut reader = Reader::new(index, known, places(home)).beside(chain, NETUID);
    reader.read(&|| false, &|_| {}).unwrap();
    let took = began.elapsed().as_secs_f64();
    let heads = Index::look(&home.join("dashboard")).unwrap().heads().unwrap();
    let n_read: u64 = heads.iter().map(|head| head.n_records).sum();
    let n_records = n_rounds() * n_validators();
    assert_eq!(n_read, n_records, "all were taken in");
    let bytes = fs::metadata(home.join("dashboard").join(dashboard::index::FILE)).unwrap().len();
    let what = format!("index from nothing, {n_records} records of {} models", n_models());
    println!("| {what} | 60 s for 5,000 rounds | {took:.1} s |");
    println!("| records per second | 1,667 | {:.0} |", n_records as f64 / took);
    println!("| size of the index | | {:.0} MB |", bytes as f64 / 1e6);
    println!("| memory, most while it was made | 300 MiB | {} MiB |", peak_mebibytes());
}

/// What a dashboard takes of the processors while nothing happens: what it may slow others by.
fn rest() {
    let before = spent();
    thread::sleep(REST);
    let share = (spent() - before).as_secs_f64() / REST.as_secs_f64();
    println!("| at rest, {} places | 1 % of one core | {:.2} % |", n_validators(), 100.0 * share);
}

/// A process that asks a dashboard.
fn client(name: &str, dashboard: &Dashboard, output: Stdio) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .env(CLIENT, name)
        .env(ADDRESS, dashboard.address().to_string())
        .stdout(output)
        .spawn()
        .unwrap()
}

fn wait(mut child: Child) {
    assert!(child.wait().unwrap().success(), "a client failed");
}

/// Rounds, and how long after each was there listeners hear of it; what they never hear is late.
fn news(dashboard: &Dashboard, judge: &mut Judge) {
    let mut child = client("listen", dashboard, Stdio::piped());
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some(READY));
    let n_events = number("AGON_EVENTS", 20);
    let mut there = BTreeMap::new();
    for _ in 0..n_events {
        let (number, at) = judge.publish();
        there.insert(number, at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        thread::sleep(BETWEEN);
    }
    let mut times = Vec::new();
    for line in lines {
        let (number, micros) = line.split_once(' ').unwrap();
        let at = Duration::from_micros(micros.parse().unwrap());
        let began = there.get(&number.parse().unwrap());
        times.extend(began.map(|began| at.saturating_sub(*began)));
    }
    wait(child);
    let n_listeners = number("AGON_LISTENERS", 1_000);
    let n_wanted = usize::try_from(n_listeners * n_events).unwrap();
    let n_heard = times.len();
    times.resize(n_wanted.max(n_heard), Duration::MAX);
    let most = percentile(&mut times, 0.99);
    let told = if most == Duration::MAX {
        "never".to_owned()
    } else {
        format!("{:.0} ms", most.as_secs_f64() * 1e3)
    };
    let what = format!("{n_listeners} listeners: from the file of a record to 99 % of events");
    println!("| {what} | 250 ms | {told}, {n_heard} of {n_wanted} heard |");
}

fn main() {
    if let Some(home) = std::env::var_os(MAKE) {
        return make(Path::new(&home));
    }
    if let Ok(name) = std::env::var(CLIENT) {
        return clients::run(&name, std::env::var(ADDRESS).unwrap().parse().unwrap());
    }
    let home = tempfile::tempdir().unwrap();
    let program = std::env::current_exe().unwrap();
    let made = Command::new(program).env(MAKE, home.path()).status().unwrap();
    assert!(made.success(), "no records were made");
    // What is still on its way to the disk is work of whoever made them.
    assert!(Command::new("sync").status().unwrap().success(), "the disk fails");
    println!("| what | target | measured |\n| --- | --- | --- |");
    build(home.path());
    let [usual, short] = PAUSES;
    let dashboard = served(home.path(), usual);
    // The first look after the start reads what is the newest.
    thread::sleep(2 * usual);
    rest();
    wait(client("pages", &dashboard, Stdio::inherit()));
    println!("| memory, most with pages | 300 MiB | {} MiB |", peak_mebibytes());
    wait(client("slow", &dashboard, Stdio::inherit()));
    drop(dashboard);
    let dashboard = served(home.path(), short);
    thread::sleep(2 * usual);
    news(&dashboard, &mut Judge::new(home.path(), 0));
    println!("| memory, most of all | 300 MiB | {} MiB |", peak_mebibytes());
}
