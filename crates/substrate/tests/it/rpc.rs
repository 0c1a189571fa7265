//! Each method of the node with what is meant, what is missing and what is wrong: the answers and
//! the codes of errors that clients of Substrate know.

use chain::{Call, Genesis, Hyperparameters, Keypair, SubnetGenesis};
use parity_scale_codec::{Decode as _, Encode};
use protocol::{AccountId, BlockHash, NetUid, Seed};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr};
use substrate::{
    DevNode, SignedCall, dev,
    wire::{
        SPEC_VERSION,
        header::{Digest, Header, extrinsics_root},
        metadata::Encoded,
        primitives::{AccountId32, H256},
        storage::items,
    },
};

const TAO: u64 = 1_000_000_000;
const NETUID: NetUid = NetUid(1);
/// JSON-RPC: the parameters are wrong.
const INVALID: i64 = -32_602;
/// Substrate: the block or its state is not there.
const CLIENT: i64 = 4_003;

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn genesis() -> Genesis {
    let hyperparameters =
        Hyperparameters { max_registrations_per_block: 8, ..Hyperparameters::default() };
    Genesis {
        accounts: (0..3).map(|i| (key(i).public(), 1_000 * TAO)).collect(),
        subnets: vec![SubnetGenesis { owner: key(0).public(), hyperparameters }],
        ..Genesis::default()
    }
}

fn node() -> DevNode {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = dev::Config { listen, database: None, genesis: genesis(), block_time: None };
    DevNode::start(&config).unwrap()
}

/// The result, or code and words of the error: the message, and what is said beside it.
fn ask(node: &DevNode, method: &str, params: &Value) -> Result<Value, (i64, String)> {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    let answer: Value = serde_json::from_str(&node.answer(&request.to_string()).unwrap()).unwrap();
    match answer.get("result") {
        Some(result) => Ok(result.clone()),
        None => {
            let error = &answer["error"];
            let text = format!("{} {}", error["message"], error["data"]);
            Err((error["code"].as_i64().unwrap(), text))
        }
    }
}

fn get(node: &DevNode, method: &str, params: &Value) -> Value {
    ask(node, method, params).unwrap()
}

/// Fails unless each of the parameters is refused with this code.
fn refuses(node: &DevNode, method: &str, code: i64, params: &[Value]) {
    for params in params {
        let answer = ask(node, method, params);
        let found = answer.as_ref().err().map(|(code, _)| *code);
        assert_eq!(found, Some(code), "{method} {params}: {answer:?}");
    }
}

fn hexed(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn signed(node: &DevNode, call: Call, nonce: u32, signer: u64) -> SignedCall {
    SignedCall::sign(call, nonce, node.genesis_hash(), &key(signer))
}

fn put(node: &DevNode, call: Call, nonce: u32, signer: u64) -> Result<Value, (i64, String)> {
    let bytes = signed(node, call, nonce, signer).to_bytes();
    ask(node, "author_submitExtrinsic", &json!([hexed(&bytes)]))
}

fn pay(amount_rao: u64) -> Call {
    Call::Transfer { to: key(1).public(), amount_rao }
}

fn hash_of(node: &DevNode, number: u64) -> String {
    let hash = get(node, "chain_getBlockHash", &json!([number]));
    hash.as_str().unwrap().to_owned()
}

/// Three blocks: slots and stake, a payment, nothing.
fn lived() -> DevNode {
    let node = node();
    for (nonce, hotkey) in [(0, 100), (1, 101), (2, 102)] {
        let hotkey = key(hotkey).public();
        put(&node, Call::BurnedRegister { netuid: NETUID, hotkey }, nonce, 0).unwrap();
    }
    let hotkey = key(100).public();
    let stake = Call::AddStake { hotkey, netuid: NETUID, amount_rao: TAO };
    put(&node, stake, 3, 0).unwrap();
    node.produce_block().unwrap();
    put(&node, pay(5), 4, 0).unwrap();
    node.produce_block().unwrap();
    node.produce_block().unwrap();
    node
}

#[test]
fn hashes_of_blocks_come_one_by_one_or_as_a_list() {
    let node = lived();
    let method = "chain_getBlockHash";
    let hashes: Vec<String> = (0..4).map(|number| hash_of(&node, number)).collect();
    assert_eq!(hashes[0], node.genesis_hash().to_string());
    assert_eq!(hashes[3], node.head().hash.to_string());
    assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), 4);
    for newest in [json!([]), json!([null]), json!([3]), json!(["0x3"]), json!(["3"])] {
        assert_eq!(get(&node, method, &newest), json!(hashes[3]), "{newest}");
    }
    let list = json!([[0, "0x2", 4, 3, 0, u64::MAX]]);
    let expected = json!([hashes[0], hashes[2], null, hashes[3], hashes[0], null]);
    assert_eq!(get(&node, method, &list), expected);
    assert_eq!(get(&node, method, &json!([[]])), json!([]));
    assert_eq!(get(&node, method, &json!([4])), Value::Null);
    let many = vec![0; dev::limits::KEYS_MAX + 1];
    let wrong = [
        json!([-1]),
        json!([1.5]),
        json!([true]),
        json!(["zz"]),
        json!([""]),
        json!([{}]),
        json!([[0, null]]),
        json!([[[0]]]),
        json!([many]),
    ];
    refuses(&node, method, INVALID, &wrong);
    assert_eq!(get(&node, method, &json!([many[1..]])).as_array().unwrap().len(), 1_000);
    assert_eq!(get(&node, "chain_getHead", &json!([])), json!(hashes[3]));
    for last in ["chain_getFinalizedHead", "chain_getFinalisedHead"] {
        assert_eq!(get(&node, last, &json!([])), json!(hashes[3]), "final when it is made");
    }
}

/// A header from what the node says of it.
fn header(value: &Value) -> Header {
    let hash = |name: &str| H256(bytes(&value[name]).try_into().unwrap());
    let number = value["number"].as_str().unwrap().strip_prefix("0x").unwrap().to_owned();
    assert_eq!(value["digest"], json!({ "logs": [] }));
    Header {
        parent_hash: hash("parentHash"),
        number: u32::from_str_radix(&number, 16).unwrap(),
        state_root: hash("stateRoot"),
        extrinsics_root: hash("extrinsicsRoot"),
        digest: Digest::default(),
    }
}

#[test]
fn blocks_lead_to_their_hashes_their_parents_and_their_calls() {
    let node = lived();
    let mut parent = H256::default();
    for (number, n_calls) in [(0, 0), (1, 4), (2, 1), (3, 0)] {
        let hash = hash_of(&node, number);
        let block = get(&node, "chain_getBlock", &json!([hash]));
        assert_eq!(block["justifications"], Value::Null);
        let told = &block["block"]["header"];
        assert_eq!(get(&node, "chain_getHeader", &json!([hash])), *told);
        let header = header(told);
        assert_eq!(hexed(&header.hash()), hash);
        assert_eq!((u64::from(header.number), header.parent_hash), (number, parent));
        parent = H256(header.hash());
        let calls = block["block"]["extrinsics"].as_array().unwrap();
        let calls: Vec<Vec<u8>> = calls.iter().map(bytes).collect();
        assert_eq!(calls.len(), n_calls, "block {number}");
        let parts: Vec<&[u8]> = calls.iter().map(Vec::as_slice).collect();
        assert_eq!(extrinsics_root(&parts), header.extrinsics_root);
        for call in calls {
            assert_eq!(SignedCall::from_bytes(&call).unwrap().signer, key(0).public());
        }
    }
    for method in ["chain_getBlock", "chain_getHeader"] {
        let newest = get(&node, method, &json!([]));
        assert_eq!(newest, get(&node, method, &json!([hash_of(&node, 3)])));
        assert_eq!(newest, get(&node, method, &json!([null])));
        let unknown = BlockHash([9; 32]).to_string();
        assert_eq!(get(&node, method, &json!([unknown])), Value::Null);
        let wrong =
            [json!([3]), json!(["0x03"]), json!(["0x"]), json!([[]]), json!([unknown + "0"])];
        refuses(&node, method, INVALID, &wrong);
    }
}

/// All keys in pages of so many.
fn paged(node: &DevNode, prefix: &str, count: usize, at: &Value) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let params = json!([prefix, count, keys.last(), at]);
        let page = get(node, "state_getKeysPaged", &params);
        let page: Vec<String> = serde_json::from_value(page).unwrap();
        assert!(page.len() <= count);
        let is_last = page.len() < count;
        keys.extend(page);
        if is_last {
            return keys;
        }
    }
}

#[test]
fn pages_of_keys_are_complete_and_have_no_key_twice() {
    let node = lived();
    let now = Value::Null;
    let all = paged(&node, "0x", 1_000, &now);
    assert!(all.len() > 80 && all.is_sorted(), "{}", all.len());
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    for count in [1, 7, all.len(), all.len() + 1] {
        assert_eq!(paged(&node, "", count, &now), all, "in pages of {count}");
    }
    let prefix = hexed(&items::UIDS.prefix());
    let uids = paged(&node, &prefix, 2, &now);
    let expected: Vec<&String> = all.iter().filter(|key| key.starts_with(&prefix)).collect();
    assert_eq!(uids.iter().collect::<Vec<_>>(), expected);
    assert_eq!(uids.len(), 3);
    assert_eq!(paged(&node, &prefix, 2, &json!(hash_of(&node, 0))), [""; 0], "before all");
    let aliased = get(&node, "state_getKeysPagedAt", &json!([prefix, 9]));
    assert_eq!(aliased, json!(uids));
    // A page that begins at the last key, behind it, and before the prefix.
    let page = |start: &str| get(&node, "state_getKeysPaged", &json!([prefix, 9, start]));
    assert_eq!(page(&uids[2]), json!([]));
    assert_eq!(page("0xffff"), json!([]));
    assert_eq!(page("0x00"), json!(uids));
    assert_eq!(get(&node, "state_getKeysPaged", &json!([prefix, 0])), json!([]));
}

#[test]
fn keys_are_asked_for_by_a_number_that_has_a_limit() {
    let (node, method) = (lived(), "state_getKeysPaged");
    refuses(&node, method, 4_002, &[json!(["0x", 1_001]), json!(["0x", u32::MAX])]);
    let wrong = [
        json!([]),
        json!(["0x"]),
        json!(["0x", -1]),
        json!(["0x", "5"]),
        json!(["0x", 1.5]),
        json!(["0x0", 5]),
        json!(["zz", 5]),
        json!([5, 5]),
        json!(["0x", 5, "0x0"]),
        json!(["0x", 5, null, "0x1234"]),
    ];
    refuses(&node, method, INVALID, &wrong);
    refuses(&node, method, CLIENT, &[json!(["0x", 5, null, BlockHash([9; 32]).to_string()])]);
}

#[test]
fn values_sizes_and_hashes_of_storage_agree_at_every_block() {
    let node = lived();
    let account = AccountId32::from(key(1).public());
    let slot = hexed(&items::ACCOUNT.key(&(account,)));
    for (number, paid) in [(0, 0), (1, 0), (2, 5), (3, 5)] {
        let params = json!([slot, hash_of(&node, number)]);
        let value = bytes(&get(&node, "state_getStorage", &params));
        let expected = 1_000 * TAO + paid;
        // Four counters of 32 bits, then what is free.
        assert_eq!(value[16..24], expected.to_le_bytes(), "block {number}");
        assert_eq!(bytes(&get(&node, "state_getStorageAt", &params)), value);
        assert_eq!(get(&node, "state_getStorageSize", &params), json!(value.len()));
        let hash = hexed(&chain::hash::blake2_256(&value));
        assert_eq!(get(&node, "state_getStorageHash", &params), json!(hash));
    }
    let wrong =
        [json!([]), json!([5]), json!(["0x0"]), json!(["0x00", 5]), json!(["0x00", "0x00"])];
    for method in ["state_getStorage", "state_getStorageSize", "state_getStorageHash"] {
        assert_eq!(get(&node, method, &json!(["0x00"])), Value::Null);
        refuses(&node, method, INVALID, &wrong);
        let unknown = json!(["0x00", BlockHash([9; 32]).to_string()]);
        refuses(&node, method, CLIENT, &[unknown]);
    }
}

#[test]
fn many_values_come_together_in_the_order_of_their_keys_each_once() {
    let (node, method) = (lived(), "state_queryStorageAt");
    let number = hexed(&items::NUMBER.key(&()));
    let count = hexed(&items::SUBNETWORK_N.key(&(1,)));
    let keys = json!([count, number, "0x00", count]);
    for (block, n_slots) in [(0_u32, 0_u16), (3, 3)] {
        let hash = hash_of(&node, block.into());
        let told = get(&node, method, &json!([keys, hash]));
        let changes = json!([
            [count, hexed(&n_slots.encode())],
            [number, hexed(&block.encode())],
            ["0x00", null],
        ]);
        assert_eq!(told, json!([{ "block": hash, "changes": changes }]));
    }
    let newest = get(&node, method, &json!([keys]));
    assert_eq!(newest[0]["block"], json!(node.head().hash.to_string()));
    assert_eq!(get(&node, method, &json!([[]]))[0]["changes"], json!([]));
    let many = vec!["0x00"; dev::limits::KEYS_MAX + 1];
    let wrong =
        [json!([]), json!(["0x00"]), json!([["0x0"]]), json!([[5]]), json!([many]), json!([[], 5])];
    refuses(&node, method, INVALID, &wrong);
    refuses(&node, method, CLIENT, &[json!([[], BlockHash([9; 32]).to_string()])]);
}

#[test]
fn runtime_calls_are_refused_by_what_is_wrong_with_them() {
    let (node, method) = (lived(), "state_call");
    let version = get(&node, method, &json!(["Core_version", "0x"]));
    let expected = substrate::wire::api::runtime_version().encode();
    assert_eq!(bytes(&version), expected);
    let nonce = |at: &Value| {
        let account = AccountId32::from(key(0).public());
        let params = json!(["AccountNonceApi_account_nonce", hexed(&account.0), at]);
        u32::decode(&mut &bytes(&get(&node, method, &params))[..]).unwrap()
    };
    let at: Vec<u32> = (0..4).map(|number| nonce(&json!(hash_of(&node, number)))).collect();
    assert_eq!((at, nonce(&Value::Null)), (vec![0, 4, 5, 5], 5));
    let wrong = [
        json!([]),
        json!(["Core_version"]),
        json!(["Core_version", 5]),
        json!([5, "0x"]),
        json!(["Core_version", "0x0"]),
        json!(["Core_version", "0x", "0x1234"]),
        json!(["AccountNonceApi_account_nonce", "0x1234"]),
        json!(["SubnetInfoRuntimeApi_get_metagraph", "0x01"]),
    ];
    refuses(&node, method, INVALID, &wrong);
    let unknown = BlockHash([9; 32]).to_string();
    refuses(
        &node,
        method,
        CLIENT,
        &[json!(["No_such", "0x"]), json!(["Core_version", "0x", unknown])],
    );
    let (_, text) = ask(&node, method, &json!(["No_such", "0x"])).unwrap_err();
    assert!(text.contains("Exported method No_such is not found"), "{text}");
}

#[test]
fn metadata_and_version_are_the_same_by_both_ways() {
    let node = node();
    let by_method = bytes(&get(&node, "state_getMetadata", &json!([])));
    assert_eq!(by_method, Encoded::usual().version_14);
    let by_call = bytes(&get(&node, "state_call", &json!(["Metadata_metadata", "0x"])));
    assert_eq!(by_call, by_method.encode(), "with its length in front");
    let version = get(&node, "state_getRuntimeVersion", &json!([]));
    assert_eq!(version, get(&node, "chain_getRuntimeVersion", &json!([])));
    assert_eq!(version["specName"], "node-subtensor");
    assert_eq!(
        (&version["specVersion"], &version["transactionVersion"]),
        (&json!(SPEC_VERSION), &json!(1))
    );
    let core = hexed(&sp_crypto_hashing::blake2_64(b"Core"));
    assert!(version["apis"].as_array().unwrap().contains(&json!([core, 5])), "{version}");
}

#[test]
fn the_node_says_what_it_is() {
    let node = node();
    for (method, expected) in [
        ("system_chain", json!("Agon Development")),
        ("system_name", json!("agon")),
        ("system_version", json!(env!("CARGO_PKG_VERSION"))),
        ("system_chainType", json!("Development")),
        (
            "system_properties",
            json!({ "ss58Format": 42, "tokenDecimals": 9, "tokenSymbol": "TAO" }),
        ),
        ("system_health", json!({ "peers": 0, "isSyncing": false, "shouldHavePeers": false })),
    ] {
        // What is not asked for changes nothing.
        for params in [json!([]), json!([1, "x", null]), json!({ "a": 1 })] {
            assert_eq!(get(&node, method, &params), expected, "{method} {params}");
        }
    }
    let told: Genesis = serde_json::from_value(get(&node, "agon_genesis", &json!([]))).unwrap();
    assert_eq!(told, genesis());
    let methods = get(&node, "rpc_methods", &json!([]));
    let methods: Vec<String> = serde_json::from_value(methods["methods"].clone()).unwrap();
    assert!(methods.is_sorted() && methods.contains(&"rpc_methods".to_owned()));
    let (code, _) = ask(&node, "system_peers", &json!([])).unwrap_err();
    assert_eq!(code, -32_601, "a method that is not there");
}

#[test]
fn the_next_nonce_counts_the_calls_that_wait_in_a_row() {
    let node = lived();
    let next = |account: AccountId| {
        let told = get(&node, "system_accountNextIndex", &json!([account.to_string()]));
        let again = get(&node, "account_nextIndex", &json!([account.to_string()]));
        assert_eq!(told, again);
        assert_eq!(told, json!(node.next_nonce(account)));
        told.as_u64().unwrap()
    };
    let (payer, stranger) = (key(0).public(), key(77).public());
    assert_eq!((next(payer), next(stranger)), (5, 0));
    for (nonce, expected) in [(5, 6), (7, 6), (6, 8)] {
        put(&node, pay(1), nonce, 0).unwrap();
        assert_eq!(next(payer), expected, "with {nonce}");
    }
    node.produce_block().unwrap();
    assert_eq!(next(payer), 8);
    let hex = hexed(&payer.0);
    let wrong =
        [json!([]), json!([5]), json!([""]), json!([hex]), json!([payer.to_string() + "1"])];
    refuses(&node, "system_accountNextIndex", INVALID, &wrong);
}

#[test]
fn calls_are_turned_away_with_the_codes_that_clients_know() {
    let node = lived();
    let next = 5;
    let refused = |answer: Result<Value, (i64, String)>, expected: i64, words: &str| {
        let (code, text) = answer.unwrap_err();
        assert_eq!(code, expected, "{text}");
        assert!(text.contains(words), "{text}");
    };
    let id = put(&node, pay(1), next, 0).unwrap();
    assert_eq!(id, json!(hexed(&signed(&node, pay(1), next, 0).id().0)));
    refused(put(&node, pay(1), next, 0), 1_013, "Already Imported");
    refused(put(&node, pay(2), next, 0), 1_014, "Priority is too low");
    refused(put(&node, pay(1), next + 256, 0), 1_016, "256 ahead");
    refused(put(&node, pay(1), next - 1, 0), 1_010, "outdated");
    refused(put(&node, pay(1), 0, 77), 1_010, "Inability to pay");
    let mut bent = signed(&node, pay(1), next + 1, 0);
    bent.signature.0[9] ^= 1;
    let bent = json!([hexed(&bent.to_bytes())]);
    refused(ask(&node, "author_submitExtrinsic", &bent), 1_010, "bad signature");
    let large = Call::Remark { data: vec![0; 33_000] };
    refused(put(&node, large, next + 1, 0), 1_001, "more than the 32768");
    let mut cut = signed(&node, pay(1), next + 1, 0).to_bytes();
    cut.pop();
    let cut = json!([hexed(&cut)]);
    refused(ask(&node, "author_submitExtrinsic", &cut), 1_001, "invalid format");
    let wrong = [json!([]), json!([5]), json!([null]), json!(["0x0"]), json!(["zz"])];
    refuses(&node, "author_submitExtrinsic", INVALID, &wrong);
    // Only the first of them waits, and is in the next block.
    let waiting = get(&node, "author_pendingExtrinsics", &json!([]));
    assert_eq!(waiting, json!([hexed(&signed(&node, pay(1), next, 0).to_bytes())]));
    node.produce_block().unwrap();
    assert_eq!(get(&node, "author_pendingExtrinsics", &json!([])), json!([]));
}

#[test]
fn attack_one_key_named_many_times_is_one_value() {
    let node = node();
    let key = hexed(&items::BEACON_CONFIG.key(&()));
    let keys = vec![key; dev::limits::KEYS_MAX];
    let told = get(&node, "state_queryStorageAt", &json!([keys]));
    assert_eq!(told[0]["changes"].as_array().unwrap().len(), 1);
}
