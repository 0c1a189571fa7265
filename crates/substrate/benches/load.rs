//! The node under load: subscriptions, paced reads of storage, and blocks on time meanwhile.
//!
//! `cargo bench -p substrate --bench load` prints one table; node and clients share the machine.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use chain::{Call, Chain as _, Genesis, Hyperparameters, Keypair, SubnetGenesis};
use futures_util::StreamExt as _;
use protocol::{NetUid, Seed, Uid};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use substrate::{ClientConfig, DevNode, SubstrateChain, dev};
use subxt::rpcs::client::{RawValue, RpcClientT as _, jsonrpsee_client};

const NETUID: NetUid = NetUid(1);
const N_VALIDATORS: u64 = 64;
const N_SLOTS: u64 = 256;
const BLOCK_TIME: Duration = Duration::from_millis(250);
const N_SUBSCRIPTIONS: usize = 1_000;
const READS_PER_SECOND: u64 = 2_000;
const N_READERS: u64 = 20;
const SECONDS: u64 = 20;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// A subnet with 64 validators on 256 slots, made block by block.
fn genesis() -> Genesis {
    let hyperparameters = Hyperparameters {
        tempo: 10,
        max_registrations_per_block: 256,
        target_registrations: 1_000,
        weights_rate_limit: 0,
        burn_rao: 1,
        min_burn_rao: 1,
        ..Hyperparameters::default()
    };
    Genesis {
        accounts: vec![(key(0).public(), 10_000_000_000_000)],
        subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
        ..Genesis::default()
    }
}

/// Registers everybody, stakes for the validators, and lets each of them weigh everybody.
fn populate(node: &DevNode) {
    let chain = SubstrateChain::connect(ClientConfig::new(node.url())).unwrap();
    for first in (0..N_SLOTS).step_by(64) {
        for i in first..first + 64 {
            let hotkey = key(1_000 + i).public();
            chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, &key(0)).unwrap();
        }
        node.produce_block().unwrap();
    }
    for i in 0..N_VALIDATORS {
        let hotkey = key(1_000 + i).public();
        let amount_rao = 1_000_000 + i;
        chain.submit(Call::AddStake { hotkey, netuid: NETUID, amount_rao }, &key(0)).unwrap();
    }
    pass(node, 20);
    for i in 0..N_VALIDATORS {
        let uids = (0..N_SLOTS as u16).map(Uid).collect();
        let weights = (0..N_SLOTS).map(|j| 1 + ((i * 31 + j * 17) % 9_973) as u16).collect();
        let call = Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 };
        chain.submit(call, &key(1_000 + i)).unwrap();
    }
    pass(node, 20);
}

fn pass(node: &DevNode, n_blocks: u64) {
    for _ in 0..n_blocks {
        node.produce_block().unwrap();
    }
}

fn params(text: &str) -> Option<Box<RawValue>> {
    Some(RawValue::from_string(text.to_owned()).unwrap())
}

/// Follows new heads until the end; counts them.
async fn subscribe(url: String, heads: Arc<AtomicU64>) {
    let client = jsonrpsee_client(&url).await.unwrap();
    let mut news = client
        .subscribe_raw("chain_subscribeNewHeads", params("[]"), "chain_unsubscribeNewHeads")
        .await
        .unwrap();
    while news.stream.next().await.is_some() {
        heads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads one key after the other at a steady pace; how long each took.
async fn read(
    url: String,
    keys: Arc<Vec<String>>,
    reader: u64,
    latencies: Arc<Mutex<Vec<Duration>>>,
) {
    let client = Arc::new(jsonrpsee_client(&url).await.unwrap());
    let n_reads = SECONDS * READS_PER_SECOND / N_READERS;
    let pace = Duration::from_secs(1) * N_READERS as u32 / READS_PER_SECOND as u32;
    let mut tick = tokio::time::interval(pace);
    let mut tasks = Vec::new();
    for i in 0..n_reads {
        tick.tick().await;
        let key =
            format!("[\"{}\"]", keys[((reader * 7_919 + i * 13) % keys.len() as u64) as usize]);
        let (client, latencies) = (Arc::clone(&client), Arc::clone(&latencies));
        tasks.push(tokio::spawn(async move {
            let started = Instant::now();
            client.request_raw("state_getStorage", params(&key)).await.unwrap();
            latencies.lock().unwrap().push(started.elapsed());
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config =
        dev::Config { listen, database: Some(database), genesis: genesis(), block_time: None };
    let node = DevNode::start(&config).unwrap();
    populate(&node);
    drop(node);
    config.block_time = Some(BLOCK_TIME);
    let started = Instant::now();
    let node = DevNode::start(&config).unwrap();
    println!("start with {} blocks: {:?}", node.head().block, started.elapsed());

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (url, heads) = (node.url(), Arc::new(AtomicU64::new(0)));
    let latencies = Arc::new(Mutex::new(Vec::new()));
    runtime.block_on(async {
        for _ in 0..N_SUBSCRIPTIONS {
            tokio::spawn(subscribe(url.clone(), Arc::clone(&heads)));
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let client = jsonrpsee_client(&url).await.unwrap();
        let keys =
            client.request_raw("state_getKeysPaged", params("[\"0x\", 1000]")).await.unwrap();
        let keys: Arc<Vec<String>> = Arc::new(serde_json::from_str(keys.get()).unwrap());
        let (block, news) = (node.head().block.0, heads.load(Ordering::Relaxed));
        let started = Instant::now();
        let readers = (0..N_READERS).map(|reader| {
            tokio::spawn(read(url.clone(), Arc::clone(&keys), reader, Arc::clone(&latencies)))
        });
        for reader in readers.collect::<Vec<_>>() {
            reader.await.unwrap();
        }
        let (seconds, blocks) = (started.elapsed().as_secs_f64(), node.head().block.0 - block);
        report(&latencies.lock().unwrap(), seconds, blocks, heads.load(Ordering::Relaxed) - news);
    });
}

fn report(latencies: &[Duration], seconds: f64, blocks: u64, news: u64) {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    println!(
        "reads        {} in {seconds:.1} s, {:.0} per second",
        sorted.len(),
        sorted.len() as f64 / seconds
    );
    println!("latency      p50 {:?}, p99 {:?}, most {:?}", at(0.5), at(0.99), at(1.0));
    println!("blocks       {blocks}, {:.1} expected", seconds / BLOCK_TIME.as_secs_f64());
    println!(
        "news         {news} heads to {N_SUBSCRIPTIONS} subscriptions, {:.3} of all",
        news as f64 / (blocks * N_SUBSCRIPTIONS as u64) as f64
    );
}
