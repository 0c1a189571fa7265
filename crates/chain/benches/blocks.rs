//! What a block of a chain in this process costs, with 256 slots of which 64 are validators'.
//!
//! `cargo bench -p chain --bench blocks` prints one table.

#![allow(clippy::print_stdout, reason = "a benchmark prints what it measured")]

use chain::{Call, Chain as _, Genesis, Hyperparameters, Keypair, MemoryChain, SubnetGenesis};
use protocol::{NetUid, Seed, Uid};
use std::time::{Duration, Instant};

const NETUID: NetUid = NetUid(1);
const N_SLOTS: u64 = 256;
const N_VALIDATORS: u64 = 64;
const N_BLOCKS: u64 = 2_000;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

/// A subnet whose slots are all taken, and whose validators weigh everybody.
fn chain(owner: &Keypair, keys: &[Keypair]) -> MemoryChain {
    let hyperparameters = Hyperparameters {
        max_registrations_per_block: N_SLOTS as u16,
        target_registrations: 1_000,
        weights_rate_limit: 0,
        commitment_rate_limit: 0,
        burn_rao: 1,
        min_burn_rao: 1,
        ..Hyperparameters::default()
    };
    let genesis = Genesis {
        accounts: vec![(owner.public(), 10_000_000_000_000)],
        subnets: vec![SubnetGenesis { owner: owner.public(), hyperparameters }],
        ..Genesis::default()
    };
    let chain = MemoryChain::new(&genesis).unwrap();
    for hotkey in keys.iter().map(Keypair::public) {
        chain.submit(Call::BurnedRegister { netuid: NETUID, hotkey }, owner).unwrap();
    }
    chain.produce_block().unwrap();
    for (i, validator) in keys[..N_VALIDATORS as usize].iter().enumerate() {
        let (hotkey, amount_rao) = (validator.public(), 1_000_000 + i as u64);
        chain.submit(Call::AddStake { hotkey, netuid: NETUID, amount_rao }, owner).unwrap();
    }
    for (i, miner) in keys.iter().enumerate() {
        chain.submit(commit(i as u64), miner).unwrap();
    }
    while chain.epochs(NETUID).len() < 2 {
        chain.produce_block().unwrap();
    }
    for (i, validator) in keys[..N_VALIDATORS as usize].iter().enumerate() {
        chain.submit(weigh(i as u64), validator).unwrap();
    }
    chain.produce_block().unwrap();
    chain
}

fn commit(number: u64) -> Call {
    Call::SetCommitment { netuid: NETUID, data: vec![number as u8; 120] }
}

fn weigh(number: u64) -> Call {
    let uids = (0..N_SLOTS as u16).map(Uid).collect();
    let weights = (0..N_SLOTS).map(|j| 1 + ((number * 31 + j * 17) % 9_973) as u16).collect();
    Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 }
}

/// Median time of a block for which `submit` makes the calls; those with an epoch are few.
fn measure(chain: &MemoryChain, submit: impl Fn(&MemoryChain, u64)) -> Duration {
    let block = |i| {
        let started = Instant::now();
        submit(chain, i);
        chain.produce_block().unwrap();
        started.elapsed()
    };
    let mut times: Vec<Duration> = (0..N_BLOCKS).map(block).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let keys: Vec<Keypair> = (0..N_SLOTS).map(|i| key(1_000 + i)).collect();
    let key_of = |number: u64| &keys[(number % N_SLOTS) as usize];
    let owner = key(0);
    let chain = chain(&owner, &keys);
    println!("empty block                 {:?}", measure(&chain, |_, _| ()));
    let transfers = |chain: &MemoryChain, _: u64| {
        for amount_rao in 1..5 {
            let to = key_of(amount_rao).public();
            chain.submit(Call::Transfer { to, amount_rao }, &owner).unwrap();
        }
    };
    println!("4 transfers                 {:?}", measure(&chain, transfers));
    println!(
        "1 commitment                {:?}",
        measure(&chain, |chain, i| {
            chain.submit(commit(i), key_of(i)).map(drop).unwrap();
        })
    );
    println!(
        "1 setting of 256 weights    {:?}",
        measure(&chain, |chain, i| {
            chain.submit(weigh(i), &keys[(i % N_VALIDATORS) as usize]).map(drop).unwrap();
        })
    );
}
