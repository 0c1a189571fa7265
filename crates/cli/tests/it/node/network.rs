//! A subnet over the network, from two wallets to a payout, each step a process of its own.

use super::Node;
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// Blocks between two epochs, less one.
const TEMPO: u64 = 9;

/// What the chain pays per block, less the owner's cut of 18 %, in rao.
const EMISSION_PER_BLOCK: u64 = 820_004_577;

/// A node with a folder of wallets.
struct Network {
    node: Node,
    folder: TempDir,
}

impl Network {
    fn run(&self, args: &[&str], more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(args)
            .args(more)
            .arg("--json")
            .env("AGON_WALLET_PASSWORD", "throwaway")
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed; what it prints.
    fn agon(&self, args: &[&str], more: &[&str]) -> Value {
        let output = self.run(args, more);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} {more:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn chain(&self, args: &[&str], more: &[&str]) -> Value {
        let args: Vec<&str> = [&["chain"], args, &["--chain", &self.node.url]].concat();
        self.agon(&args, more)
    }

    /// A command of `agon chain` that a wallet signs.
    fn signed(&self, args: &[&str], wallet: &str, more: &[&str]) -> Value {
        let wallets = self.wallets();
        let args = [args, &["--wallet-path", &wallets, "--wallet", wallet]].concat();
        self.chain(&args, more)
    }

    fn wallets(&self) -> String {
        self.folder.path().join("wallets").to_str().unwrap().to_owned()
    }

    /// Makes a wallet and gives it money; its coldkey and hotkey.
    fn wallet(&self, name: &str, no_password: bool, tao: &str) -> [String; 2] {
        let path = self.wallets();
        let plain: &[&str] = if no_password { &["--no-password"] } else { &[] };
        let made =
            self.agon(&["wallet", "create", "--wallet-path", &path, "--wallet", name], plain);
        let keys = ["coldkey", "hotkey"].map(|key| made[key].as_str().unwrap().to_owned());
        self.chain(&["transfer", "--wallet", "//Alice", "--to", &keys[0]], &[tao]);
        keys
    }

    fn metagraph(&self, more: &[&str]) -> Value {
        self.chain(&["metagraph", "--netuid", "1"], more)
    }

    /// Waits for the next epoch; its block.
    fn pass_epoch(&self) -> u64 {
        let before = self.metagraph(&[])["last_epoch"].as_u64();
        loop {
            let last = self.metagraph(&[])["last_epoch"].as_u64();
            if last != before {
                return last.unwrap();
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn list<'a>(metagraph: &'a Value, field: &str) -> Vec<&'a Value> {
    metagraph["neurons"].as_array().unwrap().iter().map(|neuron| &neuron[field]).collect()
}

/// What `agon yuma` is given for the epoch of a block, from the state before it.
fn yuma_input(before: &Value, block: u64, earlier_epoch: u64) -> Value {
    let n = before["neurons"].as_array().unwrap().len();
    json!({
        "n": n, "block": block, "tempo": TEMPO, "activity_cutoff": 5000, "kappa": 32767,
        "bonds_moving_average": 900_000, "max_allowed_validators": 64,
        "stake_rao": list(before, "stake_rao"),
        "validator_permit_before": list(before, "validator_permit"),
        "last_update": list(before, "last_update"),
        "block_at_registration": list(before, "block_at_registration"),
        "weights_u16": list(before, "weights"), "bonds_before_u16": list(before, "bonds"),
        "emission_rao": TEMPO * EMISSION_PER_BLOCK,
        "last_epoch": earlier_epoch, "era": "latest", "owner_uid": 0,
    })
}

#[test]
fn two_wallets_open_a_subnet_compete_and_are_paid_what_yuma_says() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(&folder.path().join("home"), "250ms", &["--listen", "127.0.0.1:0"]);
    let network = Network { node, folder };
    let [_, owner] = network.wallet("validator", true, "2000");
    let [miner_cold, miner] = network.wallet("miner", false, "10");

    network.signed(&["subnet", "create"], "validator", &[]);
    let rules =
        ["--netuid", "1", "tempo=9", "weights_rate_limit=0", "max_registrations_per_block=4"];
    network.signed(&["subnet", "set"], "validator", &rules);
    let on = ["--netuid", "1"];
    network.signed(&["register"], "miner", &on);
    // A second hotkey of the same wallet, on a competing model.
    let path = network.wallets();
    let second = network.agon(
        &["wallet", "create", "--wallet-path", &path, "--wallet", "miner", "--hotkey", "second"],
        &[],
    );
    network.signed(&["register", "--hotkey", "second"], "miner", &on);
    network.signed(&["stake"], "validator", &["--netuid", "1", "500"]);
    network.signed(&["commit"], "miner", &["--netuid", "1", "miner:model:of-no-kind"]);
    let committed = network.chain(&["commitments", "--netuid", "1"], &[]);
    assert_eq!(committed[0]["hotkey"], json!(miner));
    assert_eq!(committed[0]["text"], "miner:model:of-no-kind");

    network.pass_epoch();
    network.signed(&["set-weights"], "validator", &["--netuid", "1", "1=3", "2=1"]);
    network.pass_epoch();
    let epoch = network.pass_epoch();
    // A machine that is busy may have let more than one pass.
    let earlier = epoch - (TEMPO + 1);

    let before = network.metagraph(&["--block", &(epoch - 1).to_string()]);
    let after = network.metagraph(&["--block", &epoch.to_string()]);
    assert_eq!(list(&before, "hotkey"), [&json!(owner), &json!(miner), &second["hotkey"]]);
    let file = network.folder.path().join("epoch.json");
    std::fs::write(&file, yuma_input(&before, epoch, earlier).to_string()).unwrap();
    let yuma = yuma(&file);
    for (ours, theirs) in [
        ("incentive", "incentive"),
        ("dividends", "dividends"),
        ("consensus", "consensus"),
        ("validator_trust", "validatorTrust"),
        ("validator_permit", "validatorPermit"),
        ("emission_rao", "emission"),
        ("bonds", "bonds"),
    ] {
        assert_eq!(json!(list(&after, ours)), yuma[theirs], "{ours} after block {epoch}");
    }
    assert_eq!(json!(list(&after, "incentive")), json!([0, 49_151, 16_383]), "three to one");
    let balance = network.chain(&["balance", "--account", &miner_cold], &[]);
    assert!(balance["balance_rao"].as_u64().unwrap() < 9_000_000_000, "two slots were burned");
}

fn yuma(file: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_agon")).arg("yuma").arg(file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}
