//! A network of processes as its users run it: made, started, killed in parts and as a whole.

use crate::commands::workshop::agon;
use records::Folder;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network that runs; ended without a warning when it is dropped.
struct Up {
    child: Child,
    events: Receiver<Value>,
    /// The newest process of each name.
    pids: BTreeMap<String, i64>,
    /// Names of those that are up.
    up: BTreeSet<String>,
    is_running: bool,
}

impl Up {
    fn start(config: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["network", "up", "--json", "--config", config])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let events = events_of(child.stdout.take().unwrap());
        let (pids, up) = (BTreeMap::new(), BTreeSet::new());
        Self { child, events, pids, up, is_running: false }
    }

    /// Takes in one event, if one comes soon; false when there will be no more.
    fn hear(&mut self) -> bool {
        let event = match self.events.recv_timeout(Duration::from_millis(100)) {
            Ok(event) => event,
            Err(mpsc::RecvTimeoutError::Timeout) => return true,
            Err(mpsc::RecvTimeoutError::Disconnected) => return false,
        };
        let name = event["name"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().unwrap() {
            "started" => {
                self.pids.insert(name, event["pid"].as_i64().unwrap());
            }
            "up" => {
                self.up.insert(name);
            }
            "ended" => {
                self.up.remove(&name);
            }
            "running" => self.is_running = true,
            _ => {}
        }
        true
    }

    /// Waits for something that events tell.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let began = Instant::now();
        while !is_so(self) {
            assert!(self.hear(), "it ended before {what}");
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}: up are {:?}", self.up);
        }
    }

    /// Kills one process without a warning, and waits until another is in its place.
    fn kill_one(&mut self, name: &str) {
        let before = self.pids[name];
        kill(before);
        self.until(&format!("a second life of {name}"), |up| {
            up.pids[name] != before && up.up.contains(name)
        });
    }

    /// Tells it to end, and waits until it has.
    fn end(&mut self) {
        let supervisor = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(supervisor, Signal::TERM).unwrap();
        while self.hear() {}
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn events_of(pipe: impl Read + Send + 'static) -> Receiver<Value> {
    let (send, events) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            // The test may have ended.
            let _ = send.send(serde_json::from_str(&line).unwrap());
        }
    });
    events
}

fn kill(pid: i64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended already.
    let _ = kill_process(pid, Signal::KILL);
}

/// Makes a network; its config file.
fn new(dir: &Path, more: &[&str]) -> String {
    let made = agon(&[&["network", "new", dir.to_str().unwrap(), "--json"], more].concat());
    assert_eq!(made.code, 0, "{}", made.err);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    made["config"].as_str().unwrap().to_owned()
}

fn status(config: &str) -> (i32, Value) {
    let told = agon(&["network", "status", "--json", "--config", config]);
    (told.code, serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}", told.err)))
}

#[test]
fn a_network_outlives_the_death_of_its_processes_and_of_its_supervisor() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let few = ["--validators", "0", "--miners", "0", "--competitions", "nano"];
    let config = new(&dir, &[&few[..], &["--block-time", "100ms"]].concat());
    assert_eq!(status(&config).0, 1, "it does not run yet");
    let mut up = Up::start(&config);
    up.until("all of it", |up| up.is_running);
    let second = agon(&["network", "up", "--config", &config]);
    assert!(second.code == 2 && second.err.contains("runs already"), "{}", second.err);
    up.kill_one("node");
    let (code, told) = status(&config);
    assert_eq!((code, &told["running"]), (0, &Value::Bool(true)));

    // The supervisor alone: its processes go with it, and nothing keeps the next from starting.
    drop(up);
    let mut up = Up::start(&config);
    up.until("all of it again", |up| up.is_running);
    assert!(up.child.try_wait().unwrap().is_none());
    up.end();
    let (code, told) = status(&config);
    assert_eq!((code, &told["running"]), (1, &Value::Bool(false)));
    let log = fs::read_to_string(dir.join("logs/network.log")).unwrap();
    for part in ["node was killed by signal 9; it is started again in 1 s", "have ended"] {
        assert!(log.contains(part), "no `{part}` in {log}");
    }
    let said = fs::read_to_string(dir.join("logs/hub.log")).unwrap();
    assert!(!said.contains("hf_"), "a token stands in a log: {said}");
}

#[test]
fn a_whole_network_trains_measures_and_pays_through_kills_and_a_reboot() {
    for service in ["validator", "miner"] {
        if agon(&[service, "run", "--help"]).code != 0 {
            eprintln!("there is no `agon {service} run` in this program");
            return;
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let config = new(&dir, &["--block-time", "250ms", "--blocks-per-round", "24"]);
    let mut up = Up::start(&config);
    up.until("all of it", |up| up.is_running);
    let names: Vec<String> = up.pids.keys().cloned().collect();
    assert_eq!(names.len(), 10, "{names:?}");
    wait_for("a round of every validator", || (1..=3).all(|number| n_records(&dir, number) > 0));
    for name in &names {
        up.kill_one(name);
    }
    // All at once, as a power cut.
    let pids: Vec<i64> = up.pids.values().copied().collect();
    up.child.kill().unwrap();
    pids.into_iter().for_each(kill);
    drop(up);
    let before: Vec<usize> = (1..=3).map(|number| n_records(&dir, number)).collect();
    let mut up = Up::start(&config);
    up.until("all of it again", |up| up.is_running);
    let more = |number: usize| n_records(&dir, number) > before[number - 1];
    wait_for("a round after the reboot", || (1..=3).all(more));
    let keys = hotkeys(&dir);
    wait_for("pay in both competitions", || {
        let paid = paid(&dir, &config, &keys);
        [["miner-1", "miner-3"], ["miner-2", "miner-4"]]
            .iter()
            .all(|competitors| competitors.iter().any(|name| paid.contains(*name)))
    });
    up.end();
    every_record_is_replayed(&dir);
}

/// Derives all records of a network that has ended again, of the losses one each.
fn every_record_is_replayed(dir: &Path) {
    let ran = agon(&["replay", "--json", "--leaf", "--home", dir.to_str().unwrap()]);
    let report: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.err));
    let records = report["records"].as_array().unwrap();
    assert_eq!(records.len(), (1..=3).map(|number| n_records(dir, number)).sum::<usize>());
    let mut is_whole = true;
    for step in records.iter().flat_map(|record| record["steps"].as_array().unwrap()) {
        // Why a killed validator has nothing of a model, or saw it not published, nobody can tell.
        let is_untold = step["why"].as_str().is_some_and(|why| why.contains("nobody can tell"));
        assert!(step["outcome"] == "equal" || is_untold, "{step:#}");
        is_whole &= !is_untold;
    }
    assert_eq!(ran.code, if is_whole { 0 } else { 3 }, "{}", ran.err);
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(200));
    }
}

/// Records that a validator has published.
fn n_records(dir: &Path, number: usize) -> usize {
    let folder = Folder::new(dir.join(format!("validator-{number}/records")));
    let of = |competition: &String| folder.list(competition).unwrap().len();
    folder.competitions().unwrap_or_default().iter().map(of).sum()
}

/// Names of the wallets by the address of their hotkeys.
fn hotkeys(dir: &Path) -> BTreeMap<String, String> {
    let path = dir.join("wallets");
    let wallets = agon(&["wallet", "list", "--json", "--wallet-path", path.to_str().unwrap()]);
    let wallets = wallets.json();
    let wallets = wallets.as_array().unwrap().iter().map(|wallet| {
        let hotkey = wallet["hotkeys"][0]["address"].as_str().unwrap();
        (hotkey.to_owned(), wallet["wallet"].as_str().unwrap().to_owned())
    });
    wallets.collect()
}

/// Who has incentive now.
fn paid(dir: &Path, config: &str, names: &BTreeMap<String, String>) -> BTreeSet<String> {
    let network: toml::Table = fs::read_to_string(config).unwrap().parse().unwrap();
    let url = format!("ws://{}", network["chain"]["listen"].as_str().unwrap());
    let told = agon(&["chain", "metagraph", "--netuid", "1", "--json", "--network", &url]);
    assert_eq!(told.code, 0, "{}: {}", dir.display(), told.err);
    let metagraph: Value = serde_json::from_str(&told.out).unwrap();
    let neurons = metagraph["neurons"].as_array().unwrap().iter();
    let paid = neurons.filter(|neuron| neuron["incentive"].as_u64() > Some(0));
    paid.map(|neuron| names[neuron["hotkey"].as_str().unwrap()].clone()).collect()
}
