//! The node under requests of strangers: every method, with everything that is not meant.

use chain::{Call, Genesis, Keypair};
use protocol::{Seed, seed::uniform_below};
use rand_chacha::ChaCha20Rng as Random;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};
use substrate::{DevNode, SignedCall, dev};

fn key() -> Keypair {
    Keypair::from_seed(Seed::of_number(1))
}

fn node() -> DevNode {
    let genesis = Genesis { accounts: vec![(key().public(), 1_000_000_000)], ..Genesis::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    DevNode::start(&dev::Config { listen, database: None, genesis, block_time: None }).unwrap()
}

fn ask(node: &DevNode, method: &str, params: &Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    serde_json::from_str(&node.answer(&request.to_string()).unwrap()).unwrap()
}

fn methods(node: &DevNode) -> Vec<String> {
    let answer = ask(node, "rpc_methods", &json!([]));
    serde_json::from_value(answer["result"]["methods"].clone()).unwrap()
}

/// A parameter that somebody might send, and most that nobody should.
fn parameter(random: &mut Random, depth: u32) -> Value {
    let hex = |random: &mut Random, n: u64| {
        let bytes: Vec<u8> = (0..n).map(|_| uniform_below(&mut *random, 256) as u8).collect();
        format!("0x{}", hex::encode(bytes))
    };
    match uniform_below(&mut *random, if depth == 0 { 15 } else { 17 }) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(uniform_below(&mut *random, 5)),
        3 => json!(u64::MAX),
        4 => json!(-1),
        5 => json!(1e300),
        6 => json!(""),
        7 => json!("0x"),
        8 => json!("0x0"),
        9 => json!("zz\u{0}\u{1b}[2J\u{fffd}"),
        10 => json!(key().public().to_string()),
        11 => json!(hex(random, 32)),
        12 => {
            let n = uniform_below(&mut *random, 300);
            json!(hex(random, n))
        }
        13 => {
            const APIS: [&str; 5] = [
                "Core_version",
                "Metadata_metadata_at_version",
                "SubnetInfoRuntimeApi_get_metagraph",
                "AccountNonceApi_account_nonce",
                "TransactionPaymentApi_query_info",
            ];
            json!(APIS[uniform_below(&mut *random, 5) as usize])
        }
        14 => {
            let call = SignedCall::sign(
                Call::Remark { data: vec![7] },
                uniform_below(&mut *random, 3) as u32,
                protocol::BlockHash([0; 32]),
                &key(),
            );
            let mut bytes = call.to_bytes();
            let at = uniform_below(&mut *random, bytes.len() as u64) as usize;
            bytes[at] ^= uniform_below(&mut *random, 256) as u8;
            json!(format!("0x{}", hex::encode(bytes)))
        }
        15 => {
            let n = uniform_below(&mut *random, 4);
            (0..n).map(|_| parameter(random, depth - 1)).collect()
        }
        _ => json!({ "key": parameter(random, depth - 1) }),
    }
}

#[test]
fn attack_every_method_answers_every_request_with_a_result_or_one_clear_error() {
    let (node, seed) = (node(), 11);
    let mut random = Seed::of_number(seed).derive("rpc").stream();
    let methods = methods(&node);
    assert!(methods.len() > 40, "{methods:?}");
    for method in &methods {
        for _ in 0..150 {
            let n = uniform_below(&mut random, 5);
            let params: Value = (0..n).map(|_| parameter(&mut random, 3)).collect();
            let answer = ask(&node, method, &params);
            let error = answer["error"]["message"].as_str();
            let is_clear = error.is_some_and(|text| !text.is_empty() && text.len() < 1_000);
            let has_result = answer.get("result").is_some();
            assert!(is_clear != has_result, "seed {seed}: {method} {params}: {answer}");
        }
    }
    assert_eq!(ask(&node, "system_chain", &json!([]))["result"], "Agon Development");
    node.produce_block().unwrap();
}

#[test]
fn attack_runtime_calls_with_any_arguments_are_answered_or_refused() {
    let (node, seed) = (node(), 12);
    let mut random = Seed::of_number(seed).derive("calls").stream();
    let names = [
        "Core_version",
        "Metadata_metadata",
        "Metadata_metadata_at_version",
        "Metadata_metadata_versions",
        "AccountNonceApi_account_nonce",
        "TransactionPaymentApi_query_info",
        "SubnetInfoRuntimeApi_get_metagraph",
        "SubnetInfoRuntimeApi_get_next_epoch_start_block",
        "SwapRuntimeApi_current_alpha_price",
        "SwapRuntimeApi_current_alpha_price_all",
        "SubnetRegistrationRuntimeApi_get_network_registration_cost",
        "NeuronInfoRuntimeApi_get_neurons_lite",
        "NeuronInfoRuntimeApi_get_neuron_lite",
        "StakeInfoRuntimeApi_get_stake_info_for_coldkey",
        "StakeInfoRuntimeApi_get_stake_info_for_coldkeys",
        "StakeInfoRuntimeApi_get_stake_info_for_hotkey_coldkey_netuid",
        "StakeInfoRuntimeApi_get_stake_availability_for_coldkeys",
        "SubnetInfoRuntimeApi_get_subnet_hyperparams_v3",
        "DelegateInfoRuntimeApi_get_delegates",
        "BetaBasketRuntimeApi_get_root_basket_positions",
        "BetaBasketRuntimeApi_get_basket_payout",
        "Nothing_at_all",
        "",
        "_",
        "Core_",
        "\u{0}_\u{0}",
    ];
    for name in names {
        for length in [0, 1, 2, 4, 8, 31, 32, 33, 100, 10_000] {
            for fill in [0x00, 0xff, 0x0a] {
                let mut bytes = vec![fill; length];
                bytes.iter_mut().step_by(3).for_each(|byte| {
                    *byte ^= uniform_below(&mut random, 256) as u8;
                });
                let params = json!([name, format!("0x{}", hex::encode(bytes))]);
                let answer = ask(&node, "state_call", &params);
                let is_error = answer["error"]["message"].is_string();
                assert!(is_error != answer.get("result").is_some(), "{name} {length}: {answer}");
            }
        }
    }
}

/// Sends bytes over a connection of their own; what comes back until it is closed or quiet for a
/// while.
fn send(node: &DevNode, bytes: &[u8], patience: Duration) -> String {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    // The node may hang up before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4_096];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        answer.extend_from_slice(&buffer[..n]);
        if answer.len() > 1 << 20 {
            break;
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// What stands before a body of so many bytes.
fn head(n_bytes: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Connection: close\r\nContent-Length: {n_bytes}\r\n\r\n"
    )
}

fn post(node: &DevNode, body: &str) -> String {
    send(node, (head(body.len()) + body).as_bytes(), Duration::from_secs(30))
}

#[test]
fn attack_what_is_no_request_gets_an_error_and_the_node_goes_on() {
    let node = node();
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let many: Vec<Value> = (0..101)
        .map(|id| json!({ "jsonrpc": "2.0", "id": id, "method": "system_chain", "params": [] }))
        .collect();
    for (body, said) in [
        ("", "error"),
        ("{", "Parse error"),
        ("null", "error"),
        ("[]", "error"),
        ("{\"jsonrpc\":\"2.0\",\"id\":1}", "Invalid request"),
        ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"system_chain\"}", "error"),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"no_such_method\"}", "Method not found"),
        (&deep, "error"),
        (&Value::from(many).to_string(), "batch"),
    ] {
        let answer = post(&node, body);
        let start: String = body.chars().take(60).collect();
        assert!(answer.contains(said), "`{start}`: {answer}");
    }
    // Refused by what it says of itself, before a byte of it has come.
    let giant = head(dev::limits::REQUEST_BYTES_MAX as usize + 1);
    let answer = send(&node, giant.as_bytes(), Duration::from_secs(30));
    assert!(answer.contains("413"), "a body above the limit: {answer}");
    for junk in [&b"\0\xff\xfe\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"] {
        send(&node, junk, Duration::from_millis(200));
    }
    let alive = post(&node, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"system_chain\"}");
    assert!(alive.contains("Agon Development"), "{alive}");
}
