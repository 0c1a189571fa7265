//! Competitions that the owner of a subnet publishes, and a validator that takes them.

use super::submit::{Network, report};
use crate::commands::workshop::agon;
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
};

/// A chain on which a hotkey of `//Alice`, who owns the subnet, has a slot.
fn network() -> Network {
    let network = Network::with("50ms", "commitment_rate_limit = 0");
    network.register("//Alice");
    network
}

/// The rules of `tiny` with a tokenizer in a file beside them, and this share of the reward.
fn rules(network: &Network, name: &str, share: &str) -> String {
    let [tokenizer, shown] = ["t.json", "shown.json"].map(|name| network.workshop.path(name));
    if !std::path::Path::new(&shown).exists() {
        let show = ["competition", "show", "tiny", "--tokenizer", &tokenizer, "--json"];
        network.workshop.json("shown.json", &agon(&show).json()["tokenizer"]);
    }
    let written: Value = serde_json::from_str(&std::fs::read_to_string(shown).unwrap()).unwrap();
    let (end, sha256) = (&written["end_of_text"], &written["sha256"]);
    let file = format!(
        "{{ kind = \"file\", path = \"t.json\", vocabulary = 512, end_of_text = {end}, \
         sha256 = {sha256} }}"
    );
    let text = crate::tree::read("competitions/tiny.toml");
    let line = |text: &str, key: &str| {
        let begin = format!("{key} = ");
        text.lines().find(|line| line.starts_with(&begin)).unwrap().to_owned()
    };
    let text = text.replace(&line(&text, "tokenizer"), &format!("tokenizer = {file}"));
    let text = text.replace(&line(&text, "reward_share"), &format!("reward_share = {share}"));
    network.workshop.file(name, text)
}

fn command(network: &Network, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    command
        .args(args)
        .args(["--netuid", "1", "--json", "--chain", &network.node.url])
        .args(["--hub", &format!("http://{}", network.hub.address)])
        .env("AGON_HUB_TOKEN", &network.hub.token);
    command
}

fn publish(network: &Network, file: &str, more: &[&str]) -> Output {
    let publish = ["competition", "publish", file, "--repo", "agon/rules"];
    command(network, &[&publish[..], more].concat()).output().unwrap()
}

fn by_owner(network: &Network, file: &str, more: &[&str]) -> Output {
    publish(network, file, &[&["--wallet", "//Alice"], more].concat())
}

fn status(network: &Network) -> Output {
    command(network, &["competition", "status"]).output().unwrap()
}

/// What a command that fails says.
fn told(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn the_owner_publishes_competitions_once_and_changes_them_a_day_ahead() {
    let network = network();
    let file = rules(&network, "one.toml", "1.0");
    let stranger = told(&publish(&network, &file, &["--wallet", "//Bob"]));
    assert!(stranger.contains("are published by"), "{stranger}");
    let unpinned = told(&by_owner(&network, "7b", &[]));
    assert!(unpinned.contains("not pinned"), "{unpinned}");

    let first = report(&by_owner(&network, &file, &[]));
    assert_eq!(
        (&first["already_published"], &first["repo"]),
        (&json!(false), &json!("agon/rules"))
    );
    let again = report(&by_owner(&network, &file, &[]));
    assert_eq!(again["already_published"], json!(true));
    assert_eq!((&again["block"], &again["digest"]), (&first["block"], &first["digest"]));
    let now = report(&status(&network));
    assert_eq!((&now["commitment"], &now["committed"]), (&first["commitment"], &first["block"]));
    assert_eq!(
        (&now["competitions"][0]["share"], &now["next_change"]),
        (&json!(1.0), &Value::Null)
    );

    let other = rules(&network, "other.toml", "0.5");
    let early = told(&by_owner(&network, &other, &[]));
    assert!(early.contains("stays as it is") && early.contains("--from-block"), "{early}");
    let near = (network.head() + 100).to_string();
    told(&by_owner(&network, &other, &["--from-block", &near]));
    let from = network.head() + 8_000;
    let changed = report(&by_owner(&network, &other, &["--from-block", &from.to_string()]));
    assert_eq!(changed["changes_from"], json!(from));
    let now = report(&status(&network));
    assert_eq!(
        (now["competitions"].as_array().unwrap().len(), &now["next_change"]),
        (2, &json!(from))
    );
    let at_once = report(&by_owner(&network, &other, &["--now"]));
    assert_eq!(at_once["competitions"][0]["reward_share"], json!(0.5));

    // A hub gives what it gives: nobody takes what has another digest.
    let text = at_once["commitment"].as_str().unwrap();
    let (place, _) = text.rsplit_once(':').unwrap();
    let lie = format!("{place}:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
    network.chain(&["commit", "--wallet", "//Alice", "--netuid", "1", &lie]);
    let lie = told(&status(&network));
    assert!(lie.contains("has the digest"), "{lie}");
    let lost = told(&by_owner(&network, &file, &[]));
    assert!(lost.contains("--lost"), "{lost}");
    let mended = report(&by_owner(&network, &file, &["--lost"]));
    assert_eq!(mended["digest"], first["digest"]);
}

/// A validator in a process of its own; killed when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a validator of the owner's competitions, and waits until it is at work.
fn validator(network: &Network, home: &str) -> Running {
    let run = ["validator", "run", "--competitions", "owner", "--home", home, "--wallet", "//Bob"];
    let mut child = command(network, &[&run[..], &["--owner-notice", "0"]].concat())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("\"ready\":\"validator\""), "{line}: {:?}", child.wait());
    Running(child)
}

/// What a validator says of the owner's competitions.
fn followed(network: &Network, home: &str) -> Value {
    let status = ["validator", "status", "--competitions", "owner", "--home", home];
    let output =
        command(network, &[&status[..], &["--wallet", "//Bob"]].concat()).output().unwrap();
    report(&output)["owner"].clone()
}

/// What is kept of them in its home.
fn followed_file(home: &str) -> Value {
    let kept = std::fs::read(format!("{home}/owner/followed.json")).unwrap();
    serde_json::from_slice(&kept).unwrap()
}

#[test]
fn a_validator_takes_the_competitions_of_the_owner_while_it_runs_and_keeps_them() {
    let network = network();
    let home = network.workshop.path("validator");
    let first = report(&by_owner(&network, &rules(&network, "one.toml", "1.0"), &[]));
    // What a narrower bound has refused is no matter of the next start.
    let narrow = ["validator", "run", "--competitions", "owner", "--home", &home];
    let narrow = [&narrow[..], &["--wallet", "//Bob", "--owner-competitions-max", "0"]].concat();
    let refused = told(&command(&network, &narrow).output().unwrap());
    assert!(refused.contains("(owner_competitions_max)"), "{refused}");
    assert_eq!(followed_file(&home)["refused"]["commitment"], first["commitment"]);
    let running = validator(&network, &home);
    assert_eq!(followed(&network, &home)["held"]["commitment"], first["commitment"]);

    let second = by_owner(&network, &rules(&network, "two.toml", "0.5"), &["--now"]);
    let second = report(&second);
    let takes_it = |_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        followed(&network, &home)["held"]["commitment"] == second["commitment"]
    };
    assert!((0..200).any(takes_it), "{}", followed(&network, &home));
    let held = followed(&network, &home)["held"].clone();
    drop(running);
    // What is kept will do: the hub is gone.
    let Network { workshop, node, hub, .. } = network;
    let address = hub.address.clone();
    drop(hub);
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["validator", "run", "--competitions", "owner", "--home", &home, "--json"])
        .args(["--wallet", "//Bob", "--netuid", "1", "--chain", &node.url])
        .args(["--hub", &format!("http://{address}")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _running = Running(child);
    assert!(line.contains("\"ready\":\"validator\""), "{line}");
    assert_eq!(followed_file(&home)["held"], held);
    drop(workshop);
}

/// An offer of `//Bob` for a competition of its own.
fn propose(network: &Network, more: &[&str]) -> Output {
    let text = std::fs::read_to_string(rules(network, "wanted.toml", "1.0")).unwrap();
    let text = text
        .replace("name = \"tiny\"", "name = \"wanted\"")
        .replace("id = 100", "id = 200")
        .replace("from_block = 0", "from_block = 0\nuntil_block = 90000");
    let file = network.workshop.file("wanted.toml", text);
    let fixed = ["competition", "propose", &file, "--repo", "agon/wanted", "--wallet", "//Bob"];
    command(network, &[&fixed[..], &["--tao-per-day", "100"], more].concat()).output().unwrap()
}

#[test]
fn whoever_pays_has_a_competition_for_as_long_as_the_payments_reach() {
    let network = network();
    let own = rules(&network, "one.toml", "1.0");
    let ledger = network.workshop.path("ledger.json");
    let from = network.head() + 2_000;
    let accept = |price: &str| {
        let from = from.to_string();
        let more = ["--from-block", &from, "--accept", "agon/wanted", "--price", price];
        by_owner(&network, &own, &[&more[..], &["--ledger", &ledger]].concat())
    };
    let offered = report(&propose(&network, &[]));
    assert_eq!(offered["payments"], json!([]));
    let unpaid = told(&accept("1000"));
    assert!(unpaid.contains("0 TAO were paid"), "{unpaid}");

    let paid = report(&propose(&network, &["--pay", "300"]));
    assert_eq!(paid["payments"].as_array().unwrap().len(), 1);
    assert_eq!(paid["offer"], offered["offer"]);
    let all = told(&accept("100"));
    assert!(all.contains("would be sold"), "{all}");
    let noted = || std::fs::read_to_string(&ledger).unwrap();
    assert!(noted().contains("\"first_block\": null"), "nothing is published: {}", noted());
    let published = report(&accept("1000"));
    let [tiny, wanted] = &published["competitions"].as_array().unwrap()[..] else {
        panic!("{published}")
    };
    assert_eq!((&tiny["name"], &wanted["name"]), (&json!("tiny"), &json!("wanted")));
    assert_eq!(wanted["from_block"], json!(from));
    assert_eq!(wanted["until_block"], json!(from + 3 * 7_200), "300 TAO at 100 a day");
    let share = wanted["reward_share"].as_f64().unwrap();
    assert!((share / (1.0 + share) - 0.1).abs() < 1e-9, "a tenth of the price: {share}");
    assert!(noted().contains("300000000000"));
    assert!(noted().contains(&format!("\"first_block\": {from}")), "{}", noted());

    // The owner's own competition of that name stays the owner's.
    let (own, from) = (network.workshop.path("wanted.toml"), (from + 9_000).to_string());
    let more = ["--from-block", &from, "--accept", "agon/wanted", "--price", "1000"];
    let taking = told(&by_owner(&network, &own, &[&more[..], &["--ledger", &ledger]].concat()));
    assert!(taking.contains("would take the place of `wanted`"), "{taking}");
}
