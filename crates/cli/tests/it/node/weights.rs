//! Weights that a chain refuses, each refusal with the numbers that mend it.

use super::Node;
use serde_json::Value;
use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

const WALLETS: [&str; 4] = ["//Alice", "//Bob", "//Charlie", "//Dave"];

/// Stake without which nobody sets weights on the subnet.
const STAKE_MIN_TAO: u64 = 10;

/// A chain with one subnet, on which each of the wallets has a slot.
struct Subnet {
    node: Node,
}

impl Subnet {
    fn start(folder: &Path) -> Self {
        let mut spec = String::new();
        for wallet in WALLETS {
            write!(spec, "[[accounts]]\naccount = \"{wallet}\"\ntao = 1000\n").unwrap();
        }
        write!(
            spec,
            "[[subnets]]\nowner = \"//Alice\"\n[subnets.hyperparameters]\ntempo = 1\n\
             weights_rate_limit = 0\nmin_weights = 3\ntarget_registrations = 8\n\
             stake_threshold_rao = {}\n",
            STAKE_MIN_TAO * 1_000_000_000
        )
        .unwrap();
        let file = folder.join("spec.toml");
        std::fs::write(&file, spec).unwrap();
        let options = ["--listen", "127.0.0.1:0", "--spec", file.to_str().unwrap()];
        let subnet = Self { node: Node::start(&folder.join("home"), "50ms", &options) };
        for wallet in WALLETS {
            subnet.done(&["register", "--wallet", wallet]);
        }
        subnet
    }

    fn chain(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_agon"))
            .arg("chain")
            .args(args)
            .args(["--netuid", "1", "--json", "--chain", &self.node.url])
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a command prints that must succeed.
    fn done(&self, args: &[&str]) -> Value {
        let output = self.chain(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Weights of `//Alice` that must be refused with these words.
    fn refuses(&self, weights: &[&str], words: &[&str]) {
        let output = self.chain(&[&["set-weights", "--wallet", "//Alice"], weights].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{weights:?}: {error}");
        for word in words {
            assert!(error.contains(word), "{weights:?}: no `{word}` in {error}");
        }
    }

    /// A command that must be refused with these words.
    fn fails(&self, args: &[&str], words: &[&str]) {
        let output = self.chain(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        for word in words {
            assert!(error.contains(word), "{args:?}: no `{word}` in {error}");
        }
    }

    /// Waits until an epoch has given `//Alice` a permit.
    fn wait_for_permit(&self) {
        while self.done(&["metagraph"])["neurons"][0]["validator_permit"] != true {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn weights_are_refused_with_the_uid_that_has_no_slot_and_the_numbers_of_the_rule() {
    let folder = tempfile::tempdir().unwrap();
    let subnet = Subnet::start(folder.path());
    let least = format!("the least is {STAKE_MIN_TAO} TAO");
    subnet.refuses(&["1=1", "2=1", "3=1"], &["NotEnoughStakeToSetWeights", &least]);
    subnet.done(&["stake", "--wallet", "//Alice", "100"]);
    subnet.wait_for_permit();

    let (invalid, many) = ("UidVecContainInvalidOne", "UidsLengthExceedUidsInSubNet");
    subnet.refuses(&["1=1", "9=0.5", "8=0.1"], &[invalid, "no slot: 8, 9; there are 4, 0 to 3"]);
    subnet.refuses(&["1=1", "2=1", "4=1"], &[invalid, "no slot: 4; there are 4, 0 to 3"]);
    let five = ["0=1", "1=1", "2=1", "3=1", "65535=1"];
    subnet.refuses(&five, &[many, "no slot: 65535; there are 4, 0 to 3"]);
    subnet.refuses(&["1=1", "2=1"], &["WeightVecLengthIsLow", "2 are given, min_weights=3"]);

    let rule = |rule| subnet.done(&["subnet", "set", "--wallet", "//Alice", rule]);
    rule("weights_version=7");
    let given = "the version key is 6, weights_version=7";
    let weights = ["1=1", "2=1", "3=1"];
    let of_version = |version| [&["--version-key", version][..], &weights].concat();
    let wrong = ["IncorrectWeightVersionKey", given, "--version-key"];
    subnet.refuses(&of_version("6"), &wrong);

    let set = [&["set-weights", "--wallet", "//Alice"][..], &of_version("7")].concat();
    let set = subnet.done(&set);
    assert_eq!(set["did"], "set 3 weights on subnet 1");
    rule("weights_rate_limit=5000");
    let block = set["block"].as_u64().unwrap();
    let wait = format!(
        "weights_rate_limit=5000 and the last update was in block {block}: the next goes from \
         block {} on",
        block + 5_000
    );
    subnet.refuses(&of_version("7"), &["SettingWeightsTooFast", &wait]);
}

/// A subnet that hides weights, on which `//Alice` may weigh others.
fn hiding(folder: &Path) -> Subnet {
    let subnet = Subnet::start(folder);
    subnet.done(&["stake", "--wallet", "//Alice", "100"]);
    subnet.wait_for_permit();
    for rule in ["tempo=10", "commit_reveal=true"] {
        subnet.done(&["subnet", "set", "--wallet", "//Alice", rule]);
    }
    subnet
}

#[test]
fn hidden_weights_are_waited_for_and_what_the_chain_would_drop_is_refused_beforehand() {
    let folder = tempfile::tempdir().unwrap();
    let subnet = hiding(folder.path());
    // The chain would take these, and drop them without a word when it opens them.
    subnet.refuses(&["1=1", "2=1", "9=1"], &["UidVecContainInvalidOne", "no slot: 9"]);
    subnet.refuses(&["1=1", "2=1"], &["WeightVecLengthIsLow", "min_weights=3"]);
    let waiting = subnet.done(&["metagraph"])["neurons"][0]["last_update"].clone();
    let words = ["set-weights", "--wallet", "//Alice", "--wait", "1=2", "2=1", "3=1"];
    let set = subnet.done(&words);
    let (did, reveal) = (set["did"].as_str().unwrap(), &set["reveal"]);
    assert!(did.starts_with("hid 3 weights on subnet 1; the chain opens them from block"), "{did}");
    let number = |value: &Value| value.as_u64().unwrap();
    let (from, until) = (number(&reveal["from"]), number(&reveal["until"]));
    assert!(number(&set["block"]) < from && until == from + 9, "{set}");
    // Blocks go by while nobody looks.
    assert!(number(&set["revealed"]) >= from, "{set}");
    let own = &subnet.done(&["metagraph"])["neurons"][0];
    assert_eq!(own["weights"], serde_json::json!([[1, 65_535], [2, 32_768], [3, 32_768]]));
    assert_eq!(own["last_update"], set["block"], "weights are as old as their commit");
    assert!(number(&waiting) < number(&set["block"]), "nothing was committed in vain");
    // Of the same once more nobody can tell whether the chain has opened it.
    let again = subnet.done(&words);
    let did = again["did"].as_str().unwrap();
    assert!(did.contains("the row was the same before"), "{did}");
    assert_eq!(again["revealed"], Value::Null);
}

#[test]
fn a_doctor_tells_endpoint_subnet_and_keys_and_ends_with_1_where_one_is_bad() {
    let folder = tempfile::tempdir().unwrap();
    let subnet = hiding(folder.path());
    let found = subnet.done(&["doctor", "--wallet", "//Alice"]);
    let findings = found["findings"].as_array().unwrap();
    let of = |what: &str| {
        let finding = findings.iter().find(|finding| finding["what"] == what);
        let finding = finding.unwrap_or_else(|| panic!("nothing is said of {what}: {found}"));
        (finding["state"].as_str().unwrap(), finding["text"].as_str().unwrap())
    };
    for (what, words) in [
        ("endpoint", "a chain of `agon node`"),
        ("metadata", "all 4"),
        ("fees", "weights no fee, a commitment no fee, a transfer no fee"),
        ("finality", "0 behind the newest"),
        ("subnet", "4 of 256 slots taken, tempo 10"),
        ("weights", "hidden for 1 epochs"),
        ("slot", "has uid 0"),
        ("permit", "may weigh others"),
        ("balance", "TAO"),
    ] {
        let (state, text) = of(what);
        assert!(state == "ok" && text.contains(words), "{what} is {state}: {text}");
    }
    // A hub that nobody can reach, with a token for it.
    let output = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["chain", "doctor", "--network", &subnet.node.url, "--with-hub"])
        .args(["--hub", "http://127.0.0.1:1"])
        .env("AGON_HUB_TOKEN", "hf_token")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("BAD   hub") && text.contains("http://127.0.0.1:1"), "{text}");
}

/// What is said of the subnet, by the words of its owner.
fn identity<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["subnet", "identity", "--wallet", "//Alice"][..], more].concat()
}

#[test]
fn owners_say_what_a_subnet_is_and_what_a_chain_lacks_is_refused_before_it_is_signed() {
    let folder = tempfile::tempdir().unwrap();
    let subnet = Subnet::start(folder.path());
    assert_eq!(subnet.done(&identity(&[])), Value::Null, "nobody has said anything");
    subnet.done(&identity(&["--name", "agon", "--url", "https://example.com"]));
    let done = subnet.done(&identity(&["--url", "", "--contact", "somebody@example.com"]));
    assert_eq!(done["did"], "changed 2 parts of what is said of subnet 1");
    let said = subnet.done(&identity(&[]));
    let parts = ["name", "url", "contact", "github"].map(|part| said[part].as_str().unwrap());
    assert_eq!(parts, ["agon", "", "somebody@example.com", ""]);
    let long = "x".repeat(257);
    subnet.fails(&identity(&["--name", &long]), &["--name", "256 bytes"]);
    let bobs = ["subnet", "identity", "--wallet", "//Bob", "--name", "mine"];
    subnet.fails(&bobs, &["NotSubnetOwner", "the owner is 5G"]);

    let start = |wallet| ["subnet", "start", "--wallet", wallet];
    let paid = "its epochs pay since block 1";
    subnet.fails(&start("//Alice"), &["FirstEmissionBlockNumberAlreadySet", paid]);
    subnet.fails(&start("//Bob"), &["BadOrigin", "the owner is 5G"]);

    let weigh = ["set-weights", "--wallet", "//Alice", "--mechid", "1", "0=1"];
    subnet.fails(&weigh, &["MechanismDoesNotExist", "it has 1, numbered from 0"]);
    subnet.fails(&["metagraph", "--mechid", "1"], &["no mechanism `1`: it has 1"]);

    let info = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["chain", "info", "--chain", &subnet.node.url])
        .output()
        .unwrap();
    let info = String::from_utf8(info.stdout).unwrap();
    assert!(info.contains("subnets   1 (agon)"), "{info}");
}
