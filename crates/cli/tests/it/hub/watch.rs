//! `agon miner watch` against a real chain and a real hub, on checkpoints that a trainer would
//! write: half of them, worse ones, better ones; killed and gone on with.

use super::submit::{Network, report};
use crate::{
    commands::workshop::{SmallModel, Workshop},
    tree,
};
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

/// The rules of `tiny` by succession, on a text in which each character but the last is followed by
/// the next one, a token each.
pub(crate) fn rules(workshop: &Workshop) -> String {
    let tiny = tree::read("testdata/scoring/competition.toml");
    let tiny = tiny.replace("rule = \"wins\"", "rule = \"succession\"");
    rules_on(workshop, tiny, (0..400).map(|number| (number % 94, 1_500 + number)))
}

/// The rules of `tiny`, by duels, on documents of such text; some 300 are for evaluation.
fn rules_of_duels(workshop: &Workshop) -> String {
    let documents = (0..3_000).map(|number| (number % 94, 130 + number / 94));
    rules_on(workshop, tree::read("competitions/tiny.toml"), documents)
}

/// Rules on documents of so many characters, each from such a place of the alphabet on.
fn rules_on(
    workshop: &Workshop,
    tiny: String,
    documents: impl Iterator<Item = (usize, usize)>,
) -> String {
    let alphabet: Vec<char> = ('!'..='~').collect();
    let mut text = String::new();
    for (first, n_characters) in documents {
        let document = alphabet.iter().cycle().skip(first).take(n_characters);
        let document: String = document.collect();
        writeln!(text, "{}", json!({ "text": document })).unwrap();
    }
    workshop.file("text.jsonl", text);
    let changes = [
        ("vocabulary = 512", "vocabulary = 257"),
        ("kind = \"generated\"\nworld = 1", "kind = \"files\"\npath = \"text.jsonl\""),
    ];
    let rules = changes.iter().fold(tiny, |rules, (from, to)| {
        assert!(rules.contains(from), "{from}");
        rules.replace(from, to)
    });
    workshop.file("rules.toml", rules)
}

/// A model that is the surer of the next character, and the better, the greater the number; up to
/// 2.
pub(crate) fn sure(number: f32) -> SmallModel {
    let mut model = SmallModel::counting(1);
    model.tensors[0].2.iter_mut().for_each(|element| *element *= number / 4.0);
    model
}

/// A watcher as a process; killed when it is dropped.
struct Watcher {
    child: Child,
    lines: BufReader<ChildStdout>,
    /// What it said when it was at work.
    ready: Value,
}

impl Watcher {
    /// Starts it for `//Bob` and waits until it is at work.
    fn start(network: &Network, rules: &str, more: &[&str]) -> Self {
        let Network { workshop, node, hub, .. } = network;
        let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["miner", "watch", &workshop.path("runs"), "--competition", rules])
            .args(["--netuid", "1", "--json", "--wallet", "//Bob", "--interval", "50ms"])
            .args(["--network", &node.url, "--hub", &format!("http://{}", hub.address)])
            .args(["--home", &workshop.path("home"), "--threads", "1"])
            .args(more)
            .env("AGON_HUB_TOKEN", &hub.token)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut watcher = Self { child, lines, ready: Value::Null };
        watcher.ready = watcher.line();
        assert_eq!(watcher.ready["ready"], "watch", "{}", watcher.ready);
        watcher
    }

    /// What it answers at its door to whoever asks for a path.
    fn answer(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.ready["listen"].as_str().unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The next line.
    fn line(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| {
            let _ = self.child.kill();
            let mut told = String::new();
            self.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
            panic!("{error}: `{line}`: {told}")
        })
    }

    /// The next line, which must say this of this checkpoint.
    fn says(&mut self, checkpoint: &str, verdict: &str) -> Value {
        let line = self.line();
        let path = line["checkpoint"].as_str().unwrap_or_default();
        assert!(path.ends_with(checkpoint), "{checkpoint} {verdict}: {line}");
        assert_eq!(line["verdict"], verdict, "{line}");
        line
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_that_would_win_is_submitted_and_those_that_would_not_are_not() {
    let network = Network::with("100ms", "commitment_rate_limit = 0");
    let workshop = &network.workshop;
    let rules = rules(workshop);
    let write = |name: &str, model: &SmallModel| {
        workshop.model(&format!("runs/{name}"), model);
    };
    // Half of a checkpoint, which a trainer never ends; it is the best of all.
    let best = sure(2.0);
    let (config, parameters) = (best.config.to_string(), best.safetensors());
    workshop.raw_model("runs/half", &config, &parameters[..parameters.len() - 1]);

    let budget = ["--submissions-max", "2", "--submissions-window", "1000000"];
    let mut watcher = Watcher::start(&network, &rules, &budget);
    write("checkpoint-1", &sure(1.0));
    let chosen = watcher.says("checkpoint-1", "wins");
    assert_eq!((&chosen["champion"], &chosen["own"]), (&Value::Null, &Value::Null), "{chosen}");
    let first = watcher.says("checkpoint-1", "submitted");
    assert_eq!(network.commitments()[0]["text"], first["submitted"]["commitment"]);
    let of = |line: &Value, name: &str| line["submitted"][name].as_str().unwrap().to_owned();
    assert!(network.is_public(&of(&first, "repo"), &of(&first, "revision")));

    write("checkpoint-2", &sure(0.5));
    let worse = watcher.says("checkpoint-2", "loses");
    assert!(worse["own"].as_f64() < worse["perplexity"].as_f64(), "{worse}");
    assert!(worse["needed"].as_f64() < worse["own"].as_f64(), "{worse}");
    assert!(chosen["measured_on"][0].as_u64() < worse["measured_on"][0].as_u64(), "fresh text");
    write("checkpoint-3", &sure(1.5).with_config(&json!({ "rope_theta": "high" })));
    let refused = watcher.says("checkpoint-3", "refused");
    assert!(refused["detail"].as_str().unwrap().starts_with("config-refused"), "{refused}");
    write("checkpoint-4", &sure(0.5));
    watcher.says("checkpoint-4", "known");
    assert_eq!(network.commitments().len(), 1);
    assert_eq!(network.commitments()[0]["text"], first["submitted"]["commitment"]);

    // Killed on the way, and the trainer has deleted what it would go on with.
    write("checkpoint-5", &sure(1.5));
    let chosen = watcher.says("checkpoint-5", "wins");
    assert!(chosen["perplexity"].as_f64() < chosen["needed"].as_f64(), "{chosen}");
    drop(watcher);
    fs::remove_dir_all(workshop.path("runs/checkpoint-5")).unwrap();
    let mut watcher = Watcher::start(&network, &rules, &budget);
    let second = watcher.says("checkpoint-5", "submitted");
    assert_eq!(network.commitments()[0]["text"], second["submitted"]["commitment"]);
    assert_ne!(of(&second, "repo"), of(&first, "repo"), "each has a repo of its own");

    // The budget is used up, for whoever comes after a restart as well.
    workshop.raw_model("runs/half", &config, &parameters);
    let waits = watcher.says("half", "waits");
    assert!(waits["detail"].as_str().unwrap().starts_with("until block 100"), "{waits}");
    drop(watcher);
    let mut watcher = Watcher::start(&network, &rules, &budget);
    watcher.says("half", "waits");
    assert_eq!(network.commitments()[0]["text"], second["submitted"]["commitment"]);
}

#[test]
fn a_checkpoint_has_to_beat_the_champion_and_a_dry_run_submits_nothing() {
    let network = Network::with(
        "100ms",
        "tempo = 1, weights_rate_limit = 0, commitment_rate_limit = 0, target_registrations = 10",
    );
    let workshop = &network.workshop;
    let rules = rules_of_duels(workshop);
    network.register("//Alice");
    network.register("//Charlie");
    network.chain(&["stake", "--wallet", "//Alice", "--netuid", "1", "100"]);
    let hub = format!("http://{}", network.hub.address);
    let entered = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["miner", "submit", &workshop.model("theirs", &sure(1.0)), "--competition", &rules])
        .args(["--netuid", "1", "--json", "--wallet", "//Charlie"])
        .args(["--network", &network.node.url, "--hub", &hub])
        .env("AGON_HUB_TOKEN", &network.hub.token)
        .output()
        .unwrap();
    let champion = report(&entered);
    let uid = champion["uid"].as_u64().unwrap();
    let neurons = || network.chain(&["metagraph", "--netuid", "1"])["neurons"].clone();
    let wait_for = |is_so: &dyn Fn(&Value) -> bool| {
        while !is_so(&neurons()) {
            thread::sleep(Duration::from_millis(50));
        }
    };
    // The first slot is the owner's.
    wait_for(&|neurons| neurons[1]["validator_permit"] == true);
    let weights = format!("{uid}=1");
    network.chain(&["set-weights", "--wallet", "//Alice", "--netuid", "1", &weights]);
    wait_for(&|neurons| neurons[uid as usize]["incentive"].as_u64() > Some(0));

    let asked = ["--dry-run", "--listen", "127.0.0.1:0"];
    let mut watcher = Watcher::start(&network, &rules, &asked);
    while !watcher.answer("/readyz").starts_with("HTTP/1.1 200") {
        thread::sleep(Duration::from_millis(50));
    }
    assert!(watcher.answer("/healthz").starts_with("HTTP/1.1 200"));
    assert!(watcher.answer("/metrics").contains("\nagon_chain_head_block "));
    workshop.model("runs/worse", &sure(0.5));
    let worse = watcher.says("worse", "loses");
    assert!(worse["champion"].as_f64() < worse["perplexity"].as_f64(), "{worse}");
    assert_eq!(worse["duel"]["verdict"], "rejected", "{worse}");
    workshop.model("runs/better", &sure(1.5));
    let better = watcher.says("better", "would-win");
    assert!(better["perplexity"].as_f64() < better["champion"].as_f64(), "{better}");
    assert_eq!(better["duel"]["verdict"], "dethroned", "{better}");
    let texts = better["measured_on"].as_array().unwrap();
    assert!(texts.len() >= 2, "64 documents for the reference and as many for a crown: {better}");
    let metrics = watcher.answer("/metrics");
    for line in [
        "agon_watch_verdicts_total{verdict=\"loses\"} 1",
        "agon_watch_verdicts_total{verdict=\"would-win\"} 1",
        "agon_watch_verdicts_total{verdict=\"submitted\"} 0",
        "agon_watch_checkpoints 2",
    ] {
        assert!(metrics.lines().any(|found| found == line), "no `{line}` in {metrics}");
    }
    assert!(metrics.contains("\nagon_watch_newest_age_seconds "), "{metrics}");
    drop(watcher);
    let entered = || -> Vec<Value> {
        network.commitments().into_iter().map(|stored| stored["text"].clone()).collect()
    };
    assert_eq!(entered(), [champion["commitment"].clone()], "nothing was submitted");

    // What was tried is judged when it is meant, the newest first.
    let mut watcher = Watcher::start(&network, &rules, &["--repo", "agon/tried"]);
    watcher.says("better", "wins");
    let submitted = watcher.says("better", "submitted")["submitted"].clone();
    assert!(submitted["repo"].as_str().unwrap().starts_with("agon/tried-"), "{submitted}");
    let worse = watcher.says("worse", "loses");
    assert!(worse["own"].as_f64() < worse["champion"].as_f64(), "{worse}");
    assert_eq!(entered().len(), 2);
}
