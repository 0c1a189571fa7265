//! `agon validator run` as a process on a real chain and a real hub: killed, and kept waiting.

mod hangs;
mod kills;
mod published;

use crate::{
    hub::{
        submit::Network,
        watch::{rules, sure},
    },
    node::ask,
};
use chain::Keypair;
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Who validates. `//Alice` owns the subnet; `//Bob` and `//Dave` mine.
const VALIDATOR: &str = "//Charlie";
/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A chain with a validator's slot, a hub, two models, and the home of a validator.
struct Site {
    network: Network,
    /// Path of the competition file.
    rules: String,
}

impl Site {
    /// A site with this time between blocks and these rules of the subnet.
    fn new(block_time: &str, subnet: &str) -> Self {
        let always = "commitment_rate_limit = 0, target_registrations = 10";
        let network = Network::with(block_time, &format!("{always}, {subnet}"));
        let rules = rules(&network.workshop);
        let site = Self { network, rules };
        for wallet in [VALIDATOR, "//Dave"] {
            site.network.register(wallet);
        }
        site.network.chain(&["stake", "--wallet", VALIDATOR, "--netuid", "1", "1000"]);
        site.enter("//Bob", "one", 1.0);
        site.enter("//Dave", "two", 1.5);
        wait_for("a permit", || site.slot()["validator_permit"] == true);
        site
    }

    /// Submits a model that is the better the greater the number.
    fn enter(&self, wallet: &str, name: &str, number: f32) {
        let model = self.network.workshop.model(name, &sure(number));
        let submit = ["miner", "submit", &model, "--competition", &self.rules];
        let output = self.command(&submit).args(["--wallet", wallet]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A command with chain and hub.
    fn command(&self, args: &[&str]) -> Command {
        let Network { node, hub, .. } = &self.network;
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
        command
            .args(args)
            .args(["--netuid", "1", "--json", "--network", &node.url])
            .args(["--hub", &format!("http://{}", hub.address)])
            .env("AGON_HUB_TOKEN", &hub.token);
        command
    }

    /// One of the commands of the validator.
    fn of_validator(&self, name: &str) -> Command {
        let home = self.home();
        let mut command = self.command(&["validator", name, "--competitions", &self.rules]);
        command.args(["--wallet", VALIDATOR, "--threads", "1", "--home"]).arg(home);
        command
    }

    fn home(&self) -> PathBuf {
        PathBuf::from(self.network.workshop.path("validator"))
    }

    /// Where all lives of the validator log.
    fn log(&self) -> PathBuf {
        PathBuf::from(self.network.workshop.path("validator.log"))
    }

    /// What the node answers.
    fn asked(&self, method: &str, params: &Value) -> Value {
        let address = self.network.node.url.strip_prefix("ws://").unwrap();
        let answer = ask(address, method, params);
        let answer = answer.unwrap_or_else(|| panic!("the node does not answer {method}"));
        answer["result"].clone()
    }

    /// Number of the newest block.
    fn head(&self) -> u64 {
        let header = self.asked("chain_getHeader", &json!([]));
        let number = header["number"].as_str().unwrap().strip_prefix("0x").unwrap();
        u64::from_str_radix(number, 16).unwrap()
    }

    /// The slot of the validator as it is on the chain.
    fn slot(&self) -> Value {
        let metagraph = self.network.chain(&["metagraph", "--netuid", "1"]);
        let hotkey = json!(Keypair::from_uri(&format!("{VALIDATOR}//default")).unwrap().public());
        let neurons = metagraph["neurons"].as_array().unwrap();
        neurons.iter().find(|neuron| neuron["hotkey"] == hotkey).unwrap().clone()
    }
}

/// A validator at work; killed without a warning when it is dropped.
struct Running {
    child: Child,
    started: Instant,
    log: PathBuf,
}

impl Running {
    fn start(site: &Site) -> Self {
        Self::with(site, &[])
    }

    /// The same with these variables of the environment.
    fn with(site: &Site, variables: &[(&str, &str)]) -> Self {
        let log = site.log();
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let started = Instant::now();
        let mut command = site.of_validator("run");
        command.envs(variables.iter().copied());
        let child = command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        Self { child, started, log }
    }

    /// Waits until it says that it is at work.
    fn await_ready(&mut self) {
        let mut line = String::new();
        BufReader::new(self.child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("\"ready\":\"validator\""), "{line}: {}", last_words(&self.log));
    }

    /// Fails if it has ended by itself.
    fn expect_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert_eq!(ended, None, "it ended by itself: {}", last_words(&self.log));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of a log.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
