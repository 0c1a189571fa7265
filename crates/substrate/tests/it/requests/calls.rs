//! What a call takes that is sent, waited for, and looked for.

use super::{
    TAO, connect,
    fake::{self, Fake, ask, error, until},
    genesis, key, of_several,
};
use chain::{Call, CallStatus, Chain as _, Signed};
use serde_json::json;
use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use substrate::{ClientConfig, DevNode, SubstrateChain};

/// A payment of one TAO that may wait for 128 blocks, signed by a client of this endpoint.
fn signed(fake: &Fake) -> Signed {
    let config = ClientConfig { era_blocks: 128, ..ClientConfig::new(fake.url()) };
    let pay = Call::Transfer { to: key(1).public(), amount_rao: TAO };
    SubstrateChain::connect(config).unwrap().sign(pay, &key(0), None).unwrap()
}

/// A node, and a call that was signed a hundred blocks ago and never sent.
fn of_a_hundred_blocks_ago() -> (Arc<DevNode>, Signed) {
    let node = fake::node(&genesis());
    let signed = signed(&Fake::start(&node));
    for _ in 0..100 {
        node.produce_block().unwrap();
    }
    (node, signed)
}

#[test]
fn a_call_of_a_hundred_blocks_ago_takes_one_request_for_their_hashes_and_one_for_each() {
    let (node, signed) = of_a_hundred_blocks_ago();
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    chain.resume(&signed).unwrap();
    fake.forget();
    assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Pending);
    let counts = fake.counts();
    assert_eq!(counts["chain_getBlock"], 100, "{counts:?}");
    assert_eq!(counts["chain_getBlockHash"], 1, "{counts:?}");
    fake.forget();
    assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Pending);
    assert_eq!(fake.n_asked(), 0, "no block is looked through twice: {:?}", fake.counts());
    let head = fake.produce_block();
    until("the call is in a block", || chain.status(signed.id).unwrap() != CallStatus::Pending);
    assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Applied(head.block));
}

#[test]
fn over_a_slow_line_blocks_are_not_waited_for_one_after_the_other() {
    const ANSWER: Duration = Duration::from_millis(50);
    let (node, signed) = of_a_hundred_blocks_ago();
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    chain.resume(&signed).unwrap();
    fake.delay("chain_getBlock", ANSWER);
    let start = Instant::now();
    assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Pending);
    assert!(start.elapsed() < ANSWER * 50, "half of one by one: {:?}", start.elapsed());
}

#[test]
fn what_an_endpoint_gave_before_it_failed_is_not_asked_for_again() {
    let (node, signed) = of_a_hundred_blocks_ago();
    let hash = ask(&node, "chain_getBlockHash", &json!([5])).unwrap();
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    chain.resume(&signed).unwrap();
    fake.rule(move |method, params| {
        let is_it = method == "chain_getBlock" && params[0] == hash;
        is_it.then(|| error(-32_603, json!("not now")))
    });
    assert!(chain.status(signed.id).is_err());
    fake.rule(|_, _| None);
    fake.forget();
    assert_eq!(chain.status(signed.id).unwrap(), CallStatus::Pending);
    assert_eq!(fake.counts()["chain_getBlock"], 96, "blocks 5 to 100: {:?}", fake.counts());
}

#[test]
fn a_process_that_is_to_end_waits_for_no_answer() {
    static IS_STOPPING: AtomicBool = AtomicBool::new(false);
    // Somebody who takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let is_stopping = || IS_STOPPING.load(Ordering::Relaxed);
    let config = ClientConfig { is_stopping, ..ClientConfig::new(url) };
    let connecting = thread::spawn(move || SubstrateChain::connect(config).err());
    let _unanswered = silent.accept().unwrap();
    let start = Instant::now();
    IS_STOPPING.store(true, Ordering::Relaxed);
    let error = connecting.join().unwrap().unwrap();
    assert!(error.is_transient(), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn waiting_for_a_call_is_waiting_for_blocks() {
    let node = fake::node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    let pay = Call::Transfer { to: key(1).public(), amount_rao: TAO };
    let id = chain.submit(pay, &key(0)).unwrap();
    fake.forget();
    for _ in 0..100 {
        assert_eq!(chain.status(id).unwrap(), CallStatus::Pending);
    }
    assert_eq!(fake.n_asked(), 0, "{:?}", fake.counts());
    let head = fake.produce_block();
    until("the call is in a block", || chain.status(id).unwrap() != CallStatus::Pending);
    assert_eq!(chain.status(id).unwrap(), CallStatus::Applied(head.block));
    // The block, the version of its runtime, its events.
    assert!(fake.n_asked() <= 3, "{:?}", fake.counts());
}

#[test]
fn a_call_that_an_endpoint_puts_off_is_made_once() {
    let node = fake::node(&genesis());
    let fake = Fake::start(&node);
    let chain = connect(&fake);
    let (of_rule, mut n_sent) = (Arc::clone(&node), 0);
    fake.rule(move |method, params| {
        if method != "author_submitExtrinsic" {
            return None;
        }
        n_sent += 1;
        // It passes the call on, whatever it says.
        let answer = ask(&of_rule, method, params);
        Some(if n_sent == 1 { error(-32_004, json!({ "retry_after": 0.3 })) } else { answer })
    });
    fake.forget();
    let pay = Call::Transfer { to: key(1).public(), amount_rao: TAO };
    let id = chain.submit(pay, &key(0)).unwrap();
    let head = fake.produce_block();
    until("the call is in a block", || chain.status(id).unwrap() != CallStatus::Pending);
    assert_eq!(chain.status(id).unwrap(), CallStatus::Applied(head.block));
    fake.produce_block();
    fake.rule(|_, _| None);
    assert_eq!(connect(&fake).balance(key(1).public()).unwrap(), 1_001 * TAO);
    let sent = fake.asked().into_iter().filter(|(_, method)| method == "author_submitExtrinsic");
    let sent: Vec<Instant> = sent.map(|(at, _)| at).collect();
    assert_eq!(sent.len(), 2);
    assert!(sent[1] - sent[0] >= Duration::from_millis(300));
}

#[test]
fn a_call_that_goes_to_two_endpoints_is_made_once() {
    let node = fake::node(&genesis());
    let (first, second) = (Fake::start(&node), Fake::start(&node));
    let chain = SubstrateChain::connect(of_several(&[&first, &second])).unwrap();
    let of_rule = Arc::clone(&node);
    first.rule(move |method, params| {
        let is_call = method == "author_submitExtrinsic";
        is_call.then(|| {
            // It has the call, and says that it has enough.
            ask(&of_rule, method, params).unwrap();
            error(-32_004, json!({ "retry_after": 60 }))
        })
    });
    let pay = Call::Transfer { to: key(1).public(), amount_rao: TAO };
    let id = chain.submit(pay, &key(0)).unwrap();
    assert_eq!(second.counts()["author_submitExtrinsic"], 1);
    let head = second.produce_block();
    until("the call is in a block", || chain.status(id).unwrap() != CallStatus::Pending);
    assert_eq!(chain.status(id).unwrap(), CallStatus::Applied(head.block));
    second.produce_block();
    assert_eq!(connect(&second).balance(key(1).public()).unwrap(), 1_001 * TAO);
}
