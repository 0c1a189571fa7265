//! How much an endpoint is asked, how fast, and what a client does when it wants to be left alone.

mod calls;
mod fake;
mod porter;

use chain::{Call, Chain as _, Error, Genesis, Hyperparameters, Keypair, SubnetGenesis};
use fake::{Fake, ask, error, node, until};
use protocol::{Block, NetUid, Seed};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use substrate::{ClientConfig, DevNode, Rate, RateLimit, SignedCall, SubstrateChain};

const NETUID: NetUid = NetUid(1);
const TAO: u64 = 1_000_000_000;

/// Slots of a full subnet.
const N_SLOTS: u64 = 256;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn hotkey(slot: u64) -> Keypair {
    key(1_000 + slot)
}

fn genesis() -> Genesis {
    let hyperparameters = Hyperparameters {
        max_registrations_per_block: 256,
        target_registrations: 1_000,
        burn_rao: 1,
        min_burn_rao: 1,
        ..Hyperparameters::default()
    };
    Genesis {
        accounts: (0..3).map(|i| (key(i).public(), 1_000 * TAO)).collect(),
        subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
        ..Genesis::default()
    }
}

fn connect(fake: &Fake) -> SubstrateChain {
    SubstrateChain::connect(ClientConfig::new(fake.url())).unwrap()
}

/// Puts a call into the pool without asking the endpoint for anything.
fn put(node: &DevNode, call: Call, nonce: u64, signer: &Keypair) {
    let call = SignedCall::sign(call, nonce as u32, node.genesis_hash(), signer);
    let bytes = format!("0x{}", hex::encode(call.to_bytes()));
    ask(node, "author_submitExtrinsic", &json!([bytes])).unwrap();
}

/// A subnet with all slots taken, and a commitment of each, a few in each block.
fn full_subnet(node: &DevNode) {
    for slot in 0..N_SLOTS {
        let hotkey = hotkey(slot).public();
        put(node, Call::BurnedRegister { netuid: NETUID, hotkey }, slot, &key(0));
    }
    node.produce_block().unwrap();
    for slot in 0..N_SLOTS {
        let data = format!("commitment {slot}").into_bytes();
        put(node, Call::SetCommitment { netuid: NETUID, data }, 0, &hotkey(slot));
        if slot % 4 == 3 {
            node.produce_block().unwrap();
        }
    }
}

/// That what was read of a full subnet is what was put there.
fn check_full_subnet(node: &DevNode, chain: &SubstrateChain) {
    let metagraph = chain.metagraph(NETUID).unwrap();
    assert_eq!(metagraph.neurons.len() as u64, N_SLOTS);
    for (slot, neuron) in metagraph.neurons.iter().enumerate() {
        assert_eq!(neuron.uid.0 as usize, slot);
        assert_eq!(neuron.hotkey, hotkey(slot as u64).public());
        assert_eq!(neuron.coldkey, key(0).public());
        assert_eq!(neuron.block_at_registration, Block(1));
    }
    let stored = chain.commitments(NETUID, node.head().block).unwrap();
    assert_eq!(stored.len() as u64, N_SLOTS);
    for (slot, stored) in stored.iter().enumerate() {
        assert_eq!(stored.data, format!("commitment {slot}").into_bytes());
        assert_eq!(stored.block, Block(2 + slot as u64 / 4));
        assert_eq!(stored.coldkey, key(0).public());
        let hash = ask(node, "chain_getBlockHash", &json!([stored.block.0])).unwrap();
        assert_eq!(json!(stored.block_hash.to_string()), hash);
    }
}

#[test]
fn a_full_metagraph_and_all_commitments_take_few_requests() {
    let node = node(&genesis());
    full_subnet(&node);
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    eprintln!("to connect: {} requests, {:?}", fake.n_asked(), fake.counts());
    assert!(fake.n_asked() <= 12, "{:?}", fake.counts());
    fake.forget();
    check_full_subnet(&node, &chain);
    let n = fake.n_asked();
    eprintln!("metagraph and commitments of {N_SLOTS} slots: {n} requests, {:?}", fake.counts());
    assert!(n <= 40, "{:?}", fake.counts());
}

#[test]
fn an_endpoint_that_refuses_lists_and_many_keys_is_asked_for_less_at_a_time() {
    let node = node(&genesis());
    full_subnet(&node);
    let fake = Fake::start(&node);
    fake.rule(|method, params| match method {
        "chain_getBlockHash" if params[0].is_array() => Some(error(-32_602, json!("one"))),
        "state_queryStorageAt" if params[0].as_array().unwrap().len() > 50 => {
            Some(error(-32_008, json!("the answer is too big")))
        }
        _ => None,
    });
    let chain = connect(&fake);
    check_full_subnet(&node, &chain);
    let n_hashes = fake.counts()["chain_getBlockHash"];
    assert!((64..=70).contains(&n_hashes), "a list once, then one by one: {n_hashes}");
    let n_single = fake.counts().get("state_getStorage").copied().unwrap_or(0);
    assert!(n_single <= 5, "what is left of a batch may be one key: {n_single}");
    let fake = Fake::start(&node);
    fake.rule(|method, _| {
        (method == "state_queryStorageAt").then(|| error(-32_601, json!("no such method")))
    });
    let chain = connect(&fake);
    check_full_subnet(&node, &chain);
    assert_eq!(fake.counts()["state_queryStorageAt"], 1);
}

#[test]
fn values_that_an_endpoint_leaves_out_are_not_taken_for_nothing() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    let of_rule = Arc::clone(&node);
    fake.rule(move |method, params| {
        let mut answer = (method == "state_queryStorageAt").then(|| ask(&of_rule, method, params));
        if let Some(Ok(answer)) = &mut answer {
            answer[0]["changes"].as_array_mut().unwrap().pop();
        }
        answer
    });
    let error = chain.metagraph(NETUID).unwrap_err();
    assert!(error.to_string().contains("left out values"), "{error}");
}

/// What a validator does at each tick while nothing is due: looks for a block, and whether the hash
/// of the next seed is there.
fn tick(chain: &SubstrateChain) -> Block {
    let head = chain.head().unwrap();
    let seed = Block(head.block.0 / 50 * 50);
    assert!(chain.block_hash(seed).unwrap().is_some());
    let next = Block(seed.0 + 50);
    let is_there = chain.block_hash(next).unwrap().is_some();
    // The news of it may have come after the head was asked for.
    assert!(!is_there || chain.head().unwrap().block >= next, "{next} is not there yet");
    head.block
}

/// Requests of an hour of blocks, 12 seconds each, with ten ticks in each block; of which only
/// every so many-th is told of.
fn requests_of_an_hour(told_of: u64) -> usize {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    tick(&chain);
    fake.forget();
    for block in 1..=300 {
        let head = node.produce_block().unwrap();
        if block % told_of == 0 {
            fake.tell_of(head);
            until("the block is heard of", || tick(&chain) == head.block);
        }
        for _ in 0..10 {
            tick(&chain);
        }
    }
    eprintln!("an hour, told of each {told_of}. block: {} requests", fake.n_asked());
    fake.n_asked()
}

#[test]
fn an_idle_hour_takes_at_most_400_requests() {
    // Each block is told of, or each second and third, as where several become final at once.
    assert_eq!(requests_of_an_hour(1), 0);
    for told_of in [2, 3] {
        assert!(requests_of_an_hour(told_of) <= 400);
    }
}

#[test]
fn where_nobody_tells_of_blocks_they_are_asked_for_at_their_pace() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    fake.rule(|method, _| {
        (method == "chain_subscribeFinalizedHeads").then(|| error(-32_601, json!("no")))
    });
    let chain = connect(&fake);
    fake.forget();
    for _ in 0..1_000 {
        chain.head().unwrap();
    }
    // One block takes 12 seconds: this took much less.
    assert!(fake.n_asked() <= 4, "{:?}", fake.counts());
}

#[test]
fn no_span_of_time_has_more_requests_than_the_rate_allows() {
    const N_THREADS: usize = 3;
    let rate = Rate { interval: Duration::from_millis(15), burst: 4 };
    let node = node(&genesis());
    for _ in 0..100 {
        node.produce_block().unwrap();
    }
    let fake = Fake::start(&node);
    let config =
        ClientConfig { rate_limit: RateLimit::Always(rate), ..ClientConfig::new(fake.url()) };
    let start = Instant::now();
    let chain = SubstrateChain::connect(config).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..N_THREADS as u64 {
            let chain = &chain;
            scope.spawn(move || {
                for i in 0..25 {
                    chain.block_hash(Block(1 + thread * 30 + i)).unwrap();
                }
            });
        }
    });
    let asked = fake.asked();
    assert!(asked.len() > 75, "{}", asked.len());
    let allowed = |from: Instant, to: Instant| {
        f64::from(rate.burst) + (to - from).as_secs_f64() / rate.interval.as_secs_f64()
    };
    // Of each thread one request may have been on its way when a span began, and the news a head.
    let on_the_way = N_THREADS as f64 + 1.0;
    for (i, (from, _)) in asked.iter().enumerate() {
        for (n, (to, _)) in asked[i..].iter().enumerate() {
            let n = (n + 1) as f64;
            assert!(n <= allowed(*from, *to) + on_the_way, "{n} requests in {:?}", *to - *from);
        }
    }
    assert!(asked.len() as f64 <= allowed(start, Instant::now()));
}

#[test]
fn an_endpoint_that_asks_for_patience_is_waited_for_as_it_says() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    for (code, data, at_least_ms) in [
        (-32_004, json!({ "retry_after": 0.4, "reason": "storage work" }), 400),
        (-32_005, json!({ "retry_after": "0.3" }), 300),
        // It does not say for how long.
        (-32_005, json!(null), 1_000),
    ] {
        let (mut refused, until_ms) = (false, at_least_ms);
        fake.forget();
        fake.rule(move |method, _| {
            let is_refused = method == "state_queryStorageAt" && !refused;
            refused |= is_refused;
            is_refused.then(|| error(code, data.clone()))
        });
        assert_eq!(chain.metagraph(NETUID).unwrap().neurons.len(), 0);
        let asked = fake.asked();
        let at = asked.iter().position(|(_, method)| method == "state_queryStorageAt").unwrap();
        let pause = asked[at + 1].0 - asked[at].0;
        assert!(pause >= Duration::from_millis(until_ms), "{code}: {pause:?}");
        assert_eq!(asked[at + 1].1, "state_queryStorageAt", "the same is asked again");
    }
}

#[test]
fn who_has_less_patience_than_is_asked_for_is_told_so() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    let patience = Duration::from_millis(200);
    let config = ClientConfig { patience, ..ClientConfig::new(fake.url()) };
    let chain = SubstrateChain::connect(config).unwrap();
    fake.rule(|method, _| {
        (method == "state_queryStorageAt").then(|| error(-32_004, json!({ "retry_after": 100 })))
    });
    fake.forget();
    let start = Instant::now();
    for _ in 0..20 {
        let error = chain.metagraph(NETUID).unwrap_err();
        assert!(matches!(error, Error::Busy { seconds: 99..=101, .. }), "{error}");
        assert!(error.is_transient() && error.to_string().contains("patience"), "{error}");
    }
    // Nothing is asked meanwhile, and nobody waits for what takes longer than there is patience.
    assert_eq!(fake.counts()["state_queryStorageAt"], 1, "{:?}", fake.counts());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn an_endpoint_that_turns_a_client_away_is_come_back_to_when_it_says() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    fake.porter.refuse_next("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n\r\n");
    let reset = "HTTP/1.1 403 No\r\nX-RateLimit-Reason: ip\r\nX-RateLimit-Reset: 0.6\r\n\r\n";
    fake.porter.refuse_next(reset);
    let chain = connect(&fake);
    assert_eq!(chain.head().unwrap(), node.head());
    let came = fake.porter.came();
    assert_eq!(came.len(), 3, "nobody knocks meanwhile");
    assert!(came[1] - came[0] >= Duration::from_secs(1), "{:?}", came[1] - came[0]);
    assert!(came[2] - came[1] >= Duration::from_millis(600), "{:?}", came[2] - came[1]);
    fake.porter.refuse_next("HTTP/1.1 429 Too Many Requests\r\nRetry-After: 100\r\n\r\n");
    let patience = Duration::from_millis(100);
    let config = ClientConfig { patience, ..ClientConfig::new(fake.url()) };
    let error = SubstrateChain::connect(config).err().unwrap();
    assert!(matches!(error, Error::Busy { seconds: 99..=101, .. }), "{error}");
}

/// A client of several endpoints, the preferred first.
fn of_several(fakes: &[&Fake]) -> ClientConfig {
    ClientConfig {
        fallbacks: fakes[1..].iter().map(|fake| fake.url()).collect(),
        return_after: Duration::from_millis(300),
        ..ClientConfig::new(fakes[0].url())
    }
}

#[test]
fn while_the_preferred_endpoint_is_away_or_busy_another_serves() {
    let node = node(&genesis());
    let (first, second) = (Fake::start(&node), Fake::start(&node));
    let chain = SubstrateChain::connect(of_several(&[&first, &second])).unwrap();
    assert_eq!(second.n_asked(), 0);
    first.porter.shut();
    let head = node.produce_block().unwrap();
    // Until it is noticed that nobody tells of blocks any more, the last one is the newest.
    until("the block is known", || chain.head().is_ok_and(|known| known == head));
    assert_eq!(chain.metagraph(NETUID).unwrap().block, head.block);
    assert!(second.n_asked() > 0);
    first.porter.open();
    first.forget();
    until("the preferred one is asked again", || {
        chain.balance(key(0).public()).unwrap();
        first.counts().contains_key("state_getStorage")
    });
    second.forget();
    chain.balance(key(0).public()).unwrap();
    assert_eq!(second.n_asked(), 0);
    // It wants to be left alone, and is: the other one is there.
    let mut n_refused = 0;
    first.rule(move |method, _| {
        n_refused += u32::from(method == "state_queryStorageAt");
        assert!(n_refused < 2);
        (method == "state_queryStorageAt").then(|| error(-32_004, json!({ "retry_after": 60 })))
    });
    first.forget();
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(chain.metagraph(NETUID).unwrap().block, head.block);
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert_eq!(first.counts()["state_queryStorageAt"], 1);
}

#[test]
fn an_endpoint_that_stalls_or_lags_far_behind_gives_way_to_another() {
    let node = node(&genesis());
    let (first, second) = (Fake::start(&node), Fake::start(&node));
    let stall_limit = Some(Duration::from_millis(300));
    let config = ClientConfig { stall_limit, ..of_several(&[&first, &second]) };
    let chain = SubstrateChain::connect(config).unwrap();
    let old = chain.head().unwrap();
    let frozen = json!(old.hash.to_string());
    let is_head = |method: &str| method == "chain_getFinalizedHead";
    first.rule(move |method, _| is_head(method).then(|| Ok(frozen.clone())));
    for _ in 0..10 {
        second.produce_block();
    }
    until("the other one is asked", || chain.head().is_ok_and(|head| head == node.head()));
    // The preferred one is tried again, and is ten blocks behind.
    until("the preferred one was tried", || {
        let head = second.produce_block();
        until("the block is heard of", || chain.head().is_ok_and(|now| now == head));
        first.porter.came().len() > 1
    });
    assert_eq!(chain.head().unwrap(), node.head());
}

#[test]
fn an_endpoint_of_another_chain_is_never_asked_again() {
    let (ours, theirs) = (node(&genesis()), node(&Genesis { seed: 9, ..genesis() }));
    let (first, other, last) = (Fake::start(&ours), Fake::start(&theirs), Fake::start(&ours));
    let chain = SubstrateChain::connect(of_several(&[&first, &other, &last])).unwrap();
    first.porter.shut();
    let head = ours.produce_block().unwrap();
    until("the block is known", || chain.head().is_ok_and(|known| known == head));
    assert_eq!(chain.metagraph(NETUID).unwrap().block, head.block);
    assert_eq!(other.porter.came().len(), 1, "it was looked at once");
    last.porter.shut();
    first.porter.open();
    assert_eq!(chain.metagraph(NETUID).unwrap().block, head.block);
    assert_eq!(other.porter.came().len(), 1);
    let of_other: Vec<String> = other.counts().into_keys().collect();
    assert_eq!(of_other, ["chain_getBlockHash"], "its genesis");
}

#[test]
fn attack_an_endpoint_that_tells_of_blocks_which_do_not_follow_is_not_believed() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    let other = fake::node(&Genesis { seed: 9, ..genesis() });
    other.produce_block().unwrap();
    // The next block by its number, and not by the one before it.
    let header = ask(&other, "chain_getHeader", &json!([])).unwrap();
    fake.tell(&header);
    let start = Instant::now();
    let error = loop {
        match chain.head() {
            Ok(_) => assert!(start.elapsed() < Duration::from_secs(30)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Contradiction { block: Block(0) }), "{error}");
}

#[test]
fn what_no_header_is_ends_the_news_and_nothing_else() {
    let node = node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    for junk in [json!(null), json!([]), json!({ "number": "0x1" }), json!("0x")] {
        fake.tell(&junk);
        fake.produce_block();
    }
    let _: Value = json!(chain.head().unwrap().block);
    assert_eq!(chain.metagraph(NETUID).unwrap().neurons.len(), 0);
}

#[test]
fn attack_a_false_height_does_not_make_honest_endpoints_lag_for_ever() {
    let node = node(&genesis());
    let (liar, second, third) = (Fake::start(&node), Fake::start(&node), Fake::start(&node));
    let chain = SubstrateChain::connect(of_several(&[&liar, &second, &third])).unwrap();
    let mut header = ask(&node, "chain_getHeader", &json!([])).unwrap();
    header["number"] = json!("0xf4240");
    liar.tell(&header);
    until("the false height is believed", || {
        chain.head().is_ok_and(|head| head.block == Block(1_000_000))
    });
    liar.porter.shut();
    until("the others are believed again", || {
        let head = node.produce_block().unwrap();
        chain.head().is_ok_and(|said| said == head)
    });
    assert_eq!(chain.metagraph(NETUID).unwrap().block, node.head().block);
}
