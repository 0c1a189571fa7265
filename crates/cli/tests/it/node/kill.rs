//! A node that is killed at random moments under load loses nothing that it acknowledged.

use super::{Node, free_address};
use chain::{Call, CallId, Chain as _, Genesis, Hyperparameters, Keypair, SubnetGenesis};
use protocol::{NetUid, Seed, Uid, seed::uniform_below};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use substrate::{ClientConfig, SealedLedger, SignedCall, SubstrateChain, dev::Replay};

/// Chains, each of which is killed so often. A node that starts makes the last blocks of its chain
/// again, so that one long chain would spend most of the time on that.
const N_CHAINS: u64 = 4;

/// How often the node of a chain is killed.
const N_KILLS: u64 = 50;

/// Longest time between the node's being up and its end.
const LIFE_MS_MAX: u64 = 120;

/// Pause of each sender between two calls.
const PACE: Duration = Duration::from_millis(10);

const NETUID: NetUid = NetUid(1);
const TAO: u64 = 1_000_000_000;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// A subnet that takes calls as fast as they come.
fn genesis() -> Genesis {
    let hyperparameters = Hyperparameters {
        tempo: 7,
        max_uids: 32,
        immunity_period: 0,
        max_registrations_per_block: 100,
        target_registrations: 1_000,
        weights_rate_limit: 0,
        commitment_rate_limit: 0,
        ..Hyperparameters::default()
    };
    Genesis {
        seed: 1,
        accounts: (0..3).map(|i| (key(i).public(), 1_000_000 * TAO)).collect(),
        subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
        ..Genesis::default()
    }
}

/// The same genesis as a person would write it.
fn spec(path: &Path) {
    let mut text = "seed = 1\n".to_owned();
    for i in 0..3 {
        let account = key(i).public();
        writeln!(text, "[[accounts]]\naccount = \"{account}\"\ntao = 1000000").unwrap();
    }
    let owner = key(0).public();
    writeln!(
        text,
        "[[subnets]]\nowner = \"{owner}\"\nhyperparameters = {{ tempo = 7, max_uids = 32, immunity_period = 0, \
         max_registrations_per_block = 100, target_registrations = 1000, weights_rate_limit = 0, \
         commitment_rate_limit = 0 }}"
    )
    .unwrap();
    std::fs::write(path, text).unwrap();
}

/// One JSON-RPC request over a connection of its own; nothing if the node dies on it.
pub(crate) fn ask(address: &str, method: &str, params: &Value) -> Option<Value> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let body = request.to_string();
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, body) = answer.split_once("\r\n\r\n")?;
    serde_json::from_str(body).ok()
}

/// What the load has sent, and what the node has taken.
#[derive(Default)]
struct Load {
    acknowledged: Mutex<Vec<CallId>>,
    sent: AtomicU64,
    stop: AtomicBool,
}

impl Load {
    /// Sends calls of one key, each different, until it is told to stop.
    fn run(&self, address: &str, signer: &Keypair, call: impl Fn(u64) -> Call) {
        let genesis = SealedLedger::new(&genesis()).unwrap().genesis_hash();
        let account = json!([signer.public().to_string()]);
        while !self.stop.load(Ordering::Relaxed) {
            let nonce = ask(address, "system_accountNextIndex", &account);
            let Some(nonce) = nonce.and_then(|answer| answer["result"].as_u64()) else {
                // Nobody is there now.
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let number = self.sent.fetch_add(1, Ordering::Relaxed);
            let signed = SignedCall::sign(call(number), nonce as u32, genesis, signer);
            let bytes = signed.to_bytes().iter().fold("0x".to_owned(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
            let answer = ask(address, "author_submitExtrinsic", &json!([bytes]));
            // What got lost with the node, or does not fit its queue, was not acknowledged.
            if answer.is_some_and(|answer| answer["result"].is_string()) {
                self.acknowledged.lock().unwrap().push(signed.id());
            }
            // Every restart makes the last blocks again: fuller ones would only take longer.
            thread::sleep(PACE);
        }
    }
}

#[test]
fn a_node_that_is_killed_loses_nothing_that_it_acknowledged() {
    for seed in 0..N_CHAINS {
        one_chain(seed);
    }
}

fn one_chain(seed: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (home, spec_file, address) =
        (folder.path().join("home"), folder.path().join("spec.toml"), free_address());
    spec(&spec_file);
    let options = ["--spec", spec_file.to_str().unwrap(), "--listen", &address];
    let node = Node::start(&home, "20ms", &options);
    let load = Load::default();
    let setup = SubstrateChain::connect(ClientConfig::new(&node.url)).unwrap();
    for (coldkey, hotkey) in [(0, 100), (1, 101)] {
        let hotkey = key(hotkey).public();
        setup.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &key(coldkey)).unwrap();
        let stake = Call::AddStake { hotkey, netuid: NETUID, amount_rao: TAO };
        setup.submit(stake, &key(coldkey)).unwrap();
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            load.run(&address, &key(2), |number| Call::BurnedRegister {
                netuid: NETUID,
                hotkey: key(1_000 + number).public(),
            });
        });
        scope.spawn(|| {
            load.run(&address, &key(100), |number| Call::SetCommitment {
                netuid: NETUID,
                data: format!("commitment {number}").into_bytes(),
            });
        });
        scope.spawn(|| {
            load.run(&address, &key(101), |number| Call::SetWeights {
                netuid: NETUID,
                uids: vec![Uid(0), Uid(1)],
                weights: vec![number as u16, u16::MAX],
                version_key: 0,
            });
        });
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            kill_again_and_again(&load, node, (&home, &options), seed);
        }));
        load.stop.store(true, Ordering::Relaxed);
        // The load ends when it gets an answer.
        let _last = Node::start(&home, "20ms", &options);
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    });
}

fn kill_again_and_again(
    load: &Load,
    mut node: Node,
    (home, options): (&Path, &[&str]),
    seed: u64,
) {
    let mut random = Seed::of_number(seed).derive("kills").stream();
    let mut replay = Replay::new(home.join("chain.db"), genesis()).unwrap();
    let (mut included, mut n_included) = (BTreeSet::new(), 0);
    for kill in 1..=N_KILLS {
        thread::sleep(Duration::from_millis(uniform_below(&mut random, LIFE_MS_MAX)));
        let acknowledged = load.acknowledged.lock().unwrap().clone();
        node.kill();
        let found = replay.advance().unwrap();
        n_included += found.included.len();
        included.extend(found.included);
        assert_eq!(included.len(), n_included, "a call twice, kill {kill}, seed {seed}");
        let waiting: BTreeSet<CallId> = found.waiting.into_iter().collect();
        let lost = acknowledged.iter().find(|id| !included.contains(id) && !waiting.contains(id));
        assert_eq!(lost, None, "lost after kill {kill}, seed {seed}");
        assert!(waiting.is_disjoint(&included), "both in a block and waiting, kill {kill}");
        let head = replay.ledger().head().block;
        node = Node::start(home, "20ms", options);
        let chain = SubstrateChain::connect(ClientConfig::new(&node.url)).unwrap();
        let served = chain.metagraph_at(NETUID, head).unwrap();
        assert_eq!(Some(served), replay.ledger().metagraph(NETUID), "kill {kill}, seed {seed}");
    }
    let n_acknowledged = load.acknowledged.lock().unwrap().len();
    assert!(n_acknowledged as u64 > 5 * N_KILLS, "a load of {n_acknowledged} calls is none");
}
