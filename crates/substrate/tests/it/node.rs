//! The node and its file: what is on disk is the chain, whatever happens to the process.

use chain::{Call, CallStatus, Chain as _, Genesis, Keypair};
use parity_scale_codec::{Decode as _, Encode as _};
use protocol::{Block, Seed};
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{cell::Cell, net::SocketAddr, path::Path, time::Duration};
use substrate::{
    ClientConfig, DevNode, SealedLedger, SubstrateChain,
    dev::{self, NodeError, Replay, States},
    wire::storage::items::{self, BeaconConfiguration, Pulse},
};

fn key(number: u64) -> Keypair {
    Keypair::from_seed(Seed::of_number(number))
}

fn genesis() -> Genesis {
    let accounts = (0..3).map(|i| (key(i).public(), 1_000_000_000_000)).collect();
    Genesis { accounts, ..Genesis::default() }
}

fn config(database: &Path) -> dev::Config {
    dev::Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        database: Some(database.to_owned()),
        genesis: genesis(),
        block_time: None,
    }
}

fn connect(node: &DevNode) -> SubstrateChain {
    SubstrateChain::connect(ClientConfig::new(node.url())).unwrap()
}

fn pay(amount_rao: u64) -> Call {
    Call::Transfer { to: key(2).public(), amount_rao }
}

fn refusal(config: &dev::Config) -> NodeError {
    match DevNode::start(config) {
        Ok(_) => panic!("the node started"),
        Err(error) => error,
    }
}

/// A chain of some blocks with a payment in each, in a file that nobody has open.
fn chain_of(n_blocks: u64, database: &Path) {
    let node = DevNode::start(&config(database)).unwrap();
    let chain = connect(&node);
    for i in 0..n_blocks {
        if i % 16 == 0 {
            chain.submit(pay(1 + i), &key(0)).unwrap();
        }
        node.produce_block().unwrap();
    }
}

fn sql(database: &Path, statement: &str) {
    let changed = Connection::open(database).unwrap().execute(statement, []).unwrap();
    assert!(changed > 0, "`{statement}` found nothing to change");
}

#[test]
fn a_node_goes_on_where_it_was_with_all_that_waited() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    let (head, waiting) = {
        let node = DevNode::start(&config(&database)).unwrap();
        let chain = connect(&node);
        chain.submit(pay(5), &key(0)).unwrap();
        node.produce_block().unwrap();
        let waiting = chain.submit(pay(7), &key(0)).unwrap();
        (node.head(), waiting)
    };
    let node = DevNode::start(&config(&database)).unwrap();
    assert_eq!(node.head(), head);
    let chain = connect(&node);
    node.produce_block().unwrap();
    assert_eq!(chain.balance(key(2).public()).unwrap(), 1_000_000_000_012);
    // Its blocks are made again while it goes on.
    let mut replay = Replay::new(database.clone(), genesis()).unwrap();
    let found = replay.advance().unwrap();
    assert_eq!((found.included.len(), found.included.last()), (2, Some(&waiting)));
    assert_eq!(found.waiting, []);
    assert_eq!(replay.ledger().balance(key(2).public()), 1_000_000_000_012);
    node.produce_block().unwrap();
    drop((chain, node));
    replay.advance().unwrap();
    assert_eq!(replay.ledger().head().block, Block(3));
    assert_eq!(dev::stored_genesis(&database).unwrap(), Some(genesis()));
}

#[test]
fn states_and_blocks_from_before_a_restart_can_still_be_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    chain_of(1_400, &database);
    let node = DevNode::start(&config(&database)).unwrap();
    let chain = connect(&node);
    assert_eq!(node.head().block, Block(1_400));
    let paid = |at: u64| 1_000_000_000_000 + (0..at).step_by(16).map(|i| 1 + i).sum::<u64>();
    assert_eq!(chain.balance(key(2).public()).unwrap(), paid(1_400));
    let answer = |method: &str, params: &str| {
        let request =
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}");
        node.answer(&request).unwrap()
    };
    // An old block comes from the file; its state is gone, and the error says so.
    let first = chain.block_hash(Block(1)).unwrap().unwrap();
    assert!(answer("chain_getBlock", &format!("[\"{first}\"]")).contains("\"number\":\"0x1\""));
    let gone = answer("state_getStorage", &format!("[\"0x00\",\"{first}\"]"));
    assert!(gone.contains("State already discarded for block 1"), "{gone}");
    let oldest = 1_400 - (dev::STATE_BLOCKS as u64 - 1);
    let recent = chain.block_hash(Block(oldest)).unwrap().unwrap();
    let held = answer("state_getStorage", &format!("[\"0x00\",\"{recent}\"]"));
    assert!(held.contains("\"result\":null"), "{held}");
    // The error says what is held, not what some endpoints hold.
    let error = chain.commitments(protocol::NetUid(1), Block(oldest - 1)).unwrap_err();
    assert!(error.to_string().contains(&format!("only blocks {oldest} to 1400 are")), "{error}");
}

/// What a node answers to a request.
fn answer(node: &DevNode, method: &str, params: &Value) -> Value {
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    serde_json::from_str(&node.answer(&request.to_string()).unwrap()).unwrap()
}

/// All keys and values of the state after a block, and what an API says of it.
fn state(node: &DevNode, block: u64) -> [Value; 3] {
    let hash = answer(node, "chain_getBlockHash", &json!([block]))["result"].clone();
    let keys = answer(node, "state_getKeysPaged", &json!(["0x", 1_000, null, hash]));
    let values = answer(node, "state_queryStorageAt", &json!([keys["result"], hash]));
    let price = json!(["SubnetRegistrationRuntimeApi_get_network_registration_cost", "0x", hash]);
    let price = answer(node, "state_call", &price);
    for told in [&keys, &values, &price] {
        assert!(told["error"].is_null(), "block {block}: {told}");
    }
    [keys, values, price]
}

#[test]
fn an_archive_has_the_state_after_every_block_to_the_byte_as_it_was_then() {
    /// At both ends of stretches, and between.
    const LOOKED_AT: [u64; 8] = [0, 1, 17, 255, 256, 257, 300, 512];
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    chain_of(512, &database);
    let node = DevNode::start(&config(&database)).unwrap();
    let states = LOOKED_AT.map(|block| state(&node, block));
    drop(node);
    // The oldest state that is held is then that of a snapshot's block.
    chain_of(1_023, &database);
    // As a node leaves them that has lived for long.
    sql(&database, "DELETE FROM snapshots WHERE block <= 512");

    let node = DevNode::start(&config(&database)).unwrap();
    let first = connect(&node).block_hash(Block(300)).unwrap().unwrap();
    let gone = answer(&node, "state_getStorage", &json!(["0x00", first.to_string()]));
    assert!(gone.to_string().contains("State already discarded for block 300"), "{gone}");
    drop(node);
    let node = DevNode::start_archive(&config(&database)).unwrap();
    for (block, expected) in LOOKED_AT.into_iter().zip(&states) {
        assert_eq!(&state(&node, block), expected, "block {block}");
    }
    // It goes on as any node does, and any node goes on with its file.
    let head = node.produce_block().unwrap();
    drop(node);
    let n_snapshots = "SELECT COUNT(*) FROM snapshots";
    let file = Connection::open(&database).unwrap();
    let n_snapshots: i64 = file.query_row(n_snapshots, [], |row| row.get(0)).unwrap();
    assert_eq!(n_snapshots, (512 + 1_023 + 1) / 256);
    drop(file);
    assert_eq!(DevNode::start(&config(&database)).unwrap().head(), head);
}

/// Fails unless the node says of the beacon after a block what the beacon itself says.
fn check_beacon(node: &DevNode, block: u64) {
    let shown = |bytes: &[u8]| format!("0x{}", hex::encode(bytes));
    let beacon = SealedLedger::new(&genesis()).unwrap().beacon_key();
    let round = 4 * block;
    let signature = beacon.sign(round).0.to_vec();
    let randomness = Sha256::digest(&signature).to_vec();
    let pulse = shown(&Pulse { round, randomness, signature }.encode());
    let hash = answer(node, "chain_getBlockHash", &json!([block]))["result"].clone();
    let key = shown(&items::PULSES.key(&(round,)));
    let prefix = shown(&items::PULSES.prefix());
    let keys = answer(node, "state_getKeysPaged", &json!([prefix, 10, null, hash]));
    assert_eq!(keys["result"], json!([key]), "block {block} has one pulse");
    // Once it is signed for the reader, and once it was.
    for _ in 0..2 {
        let told = answer(node, "state_getStorage", &json!([key, hash]));
        assert_eq!(told["result"], json!(pulse), "block {block}");
    }
    let last =
        answer(node, "state_getStorage", &json!([shown(&items::LAST_STORED_ROUND.key(&())), hash]));
    assert_eq!(last["result"], json!(shown(&round.encode())), "block {block}");
    let config =
        answer(node, "state_getStorage", &json!([shown(&items::BEACON_CONFIG.key(&())), hash]));
    let config = hex::decode(&config["result"].as_str().unwrap()[2..]).unwrap();
    let config = BeaconConfiguration::decode(&mut &config[..]).unwrap();
    assert_eq!(config.public_key, beacon.public_key().0, "block {block}");
}

#[test]
fn the_beacon_of_every_block_is_what_it_signs_itself_whoever_reads_it_and_when() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    chain_of(1_100, &database);
    // Of blocks that were made again, of new ones, and of those that an archive makes once more.
    let node = DevNode::start(&config(&database)).unwrap();
    node.produce_block().unwrap();
    for block in [90, 91, 700, 1_100, 1_101] {
        check_beacon(&node, block);
    }
    drop(node);
    let node = DevNode::start_archive(&config(&database)).unwrap();
    for block in [0, 1, 17, 1_101] {
        check_beacon(&node, block);
    }
}

#[test]
fn a_start_that_is_interrupted_ends_at_once_and_the_next_goes_on_from_its_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    chain_of(600, &database);
    sql(&database, "DELETE FROM snapshots");
    let config = config(&database);
    // How a start ends that may make so many blocks, and how many it has made.
    let start = |states: States, n_max: u64| {
        let (n_made, is_over) = (Cell::new(0), Cell::new(false));
        let watch = |done: u64, all: u64| {
            assert!(done <= all && !is_over.get(), "{done} of {all}");
            is_over.set(n_made.get() == n_max);
            n_made.set(n_made.get() + u64::from(!is_over.get()));
            !is_over.get()
        };
        let started = DevNode::open(&config, states, &watch).map(|node| node.head().block);
        (started, n_made.get())
    };
    let (error, n_made) = start(States::Newest, 0);
    assert!(matches!(error, Err(NodeError::Interrupted)) && n_made == 0);
    let (error, n_made) = start(States::All, 300);
    assert!(matches!(error, Err(NodeError::Interrupted)) && n_made == 300);
    // The first of the two snapshots that were missing is there, and the file is free.
    let (head, n_made) = start(States::All, u64::MAX);
    assert_eq!(head.unwrap(), Block(600));
    assert_eq!(n_made, 256 + 601, "the blocks to the second snapshot, then those that are held");
}

#[test]
fn attack_an_old_block_or_snapshot_that_was_changed_in_the_file_gives_no_state() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    // Long enough for a start that needs neither of what is changed.
    chain_of(1_540, &database);
    let refused = |node: &DevNode, block: u64| {
        let hash = answer(node, "chain_getBlockHash", &json!([block]))["result"].clone();
        let told = answer(node, "state_getStorage", &json!(["0x00", hash]));
        told["error"].to_string().contains("cannot be made again")
    };
    let node = DevNode::start_archive(&config(&database)).unwrap();
    assert!(!refused(&node, 257) && !refused(&node, 1));
    drop(node);
    sql(&database, "UPDATE snapshots SET state = x'0102' WHERE block = 256");
    sql(&database, "DELETE FROM extrinsics WHERE block = 17");
    let node = DevNode::start_archive(&config(&database)).unwrap();
    assert!(refused(&node, 257), "of a snapshot");
    assert!(refused(&node, 1) && refused(&node, 256), "of a block");
    drop(node);
    sql(&database, "UPDATE blocks SET header = x'00' WHERE number = 3");
    sql(&database, "UPDATE snapshots SET state = 7 WHERE block = 256");
    let node = DevNode::start_archive(&config(&database)).unwrap();
    assert!(refused(&node, 1) && refused(&node, 257), "of what cannot be read");
    assert!(!refused(&node, 513), "what is as it was is given");
}

#[test]
fn a_file_that_is_not_this_chain_is_refused_by_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    chain_of(3, &database);
    let other = Genesis { seed: 9, ..genesis() };
    let error = refusal(&dev::Config { genesis: other, ..config(&database) });
    assert!(matches!(error, NodeError::OtherGenesis { .. }), "{error}");

    let node = DevNode::start(&config(&database)).unwrap();
    let error = refusal(&config(&database));
    assert!(matches!(error, NodeError::InUse { .. }), "{error}");
    drop(node);

    sql(&database, "UPDATE meta SET value = '999' WHERE name = 'rules'");
    let error = refusal(&config(&database));
    assert!(matches!(error, NodeError::OtherRules { found: 999, .. }), "{error}");

    let junk = folder.path().join("junk.db");
    std::fs::write(&junk, vec![7; 10_000]).unwrap();
    let error = refusal(&config(&junk));
    assert!(matches!(error, NodeError::Database { .. }), "{error}");
    let error = refusal(&config(&folder.path().join("no/such/folder.db")));
    assert!(error.to_string().contains("no/such/folder.db"), "{error}");
}

#[test]
fn whoever_only_reads_a_file_leaves_it_as_it_is_and_says_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let [empty, foreign, junk, database, missing] =
        ["empty", "foreign", "junk", "chain", "missing"].map(|name| folder.path().join(name));
    let look = |path: &Path| Replay::new(path.to_owned(), genesis()).unwrap().advance();
    std::fs::write(&empty, b"").unwrap();
    let other = "CREATE TABLE meta (name TEXT, value TEXT); CREATE TABLE rows (number INTEGER)";
    Connection::open(&foreign).unwrap().execute_batch(other).unwrap();
    std::fs::write(&junk, vec![7; 10_000]).unwrap();
    for (path, why) in
        [(&empty, "holds no chain"), (&foreign, "holds no chain"), (&junk, "cannot be used")]
    {
        let before = std::fs::read(path).unwrap();
        let error = look(path).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains(&*path.to_string_lossy()), "{error}");
        assert_eq!(std::fs::read(path).unwrap(), before, "{error}");
    }
    assert!(matches!(look(&missing), Err(NodeError::Database { .. })));
    assert!(!missing.exists());

    chain_of(3, &database);
    let before = std::fs::read(&database).unwrap();
    assert_eq!(look(&database).unwrap().included.len(), 1);
    assert_eq!(std::fs::read(&database).unwrap(), before);
    let other = Genesis { seed: 9, ..genesis() };
    let error = Replay::new(database, other).unwrap().advance().unwrap_err();
    assert!(matches!(error, NodeError::OtherGenesis { .. }), "{error}");
}

#[test]
fn attack_a_block_that_was_changed_in_the_file_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for (name, statement) in [
        ("call", "UPDATE extrinsics SET bytes = x'00' WHERE block = 17"),
        ("missing", "DELETE FROM extrinsics WHERE block = 17"),
        ("header", "UPDATE blocks SET header = x'00' WHERE number = 17"),
    ] {
        let database = folder.path().join(name);
        chain_of(20, &database);
        sql(&database, statement);
        let error = refusal(&config(&database));
        let is_named = matches!(error, NodeError::Damaged { block: Block(17), .. });
        assert!(is_named, "{name}: {error}");
    }
}

#[test]
fn a_snapshot_that_does_not_fit_its_block_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    chain_of(1_300, &database);
    sql(&database, "UPDATE snapshots SET state = x'0102'");
    let node = DevNode::start(&config(&database)).unwrap();
    assert_eq!(node.head().block, Block(1_300));
}

#[test]
fn rows_are_read_by_any_tool_while_the_node_runs_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    let node = DevNode::start(&config(&database)).unwrap();
    let tool = Connection::open(&database).unwrap();
    let newest = |tool: &Connection| {
        tool.query_row("SELECT MAX(number) FROM blocks", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    for number in 1..=3 {
        node.produce_block().unwrap();
        assert_eq!(newest(&tool), number);
    }
    // A tool that reads and does not finish keeps no block from being made.
    tool.execute_batch("BEGIN").unwrap();
    assert_eq!(newest(&tool), 3);
    node.produce_block().unwrap();
    assert_eq!(newest(&tool), 3, "it sees the state that it began with");
    drop(tool);
    drop(node);
    assert_eq!(DevNode::start(&config(&database)).unwrap().head().block, Block(4));
}

#[test]
fn a_start_that_fails_ties_no_file_to_its_genesis() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    let twice = vec![(key(0).public(), 1), (key(0).public(), 2)];
    let wrong = Genesis { accounts: twice, ..genesis() };
    let error = refusal(&dev::Config { genesis: wrong, ..config(&database) });
    assert!(matches!(error, NodeError::Genesis(_)), "{error}");
    assert!(!database.exists());
    let other = DevNode::start(&dev::Config { database: None, ..config(&database) }).unwrap();
    let taken = Genesis { seed: 9, ..genesis() };
    let config_on = dev::Config { genesis: taken, listen: other.address(), ..config(&database) };
    assert!(matches!(refusal(&config_on), NodeError::Listen { .. }));
    DevNode::start(&config(&database)).unwrap();
}

#[test]
fn the_time_between_blocks_is_kept_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("chain.db");
    assert_eq!(dev::stored_block_time(&database).unwrap(), None);
    let block_time = Some(Duration::from_millis(250));
    let node = DevNode::start(&dev::Config { block_time, ..config(&database) }).unwrap();
    let request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"state_getMetadata\",\"params\":[]}";
    let metadata = node.answer(request).unwrap();
    // The constant: its name, the type, eight bytes of value.
    let name: String = b"SlotDuration".iter().map(|byte| format!("{byte:02x}")).collect();
    let (_, rest) = metadata.split_once(&name).unwrap();
    assert!(rest[..40].contains("fa00000000000000"), "{}", &rest[..40]);
    drop(node);
    assert_eq!(dev::stored_block_time(&database).unwrap(), block_time);
}

#[test]
fn attack_idle_connections_of_one_address_keep_nobody_out() {
    let node = DevNode::start(&dev::Config { database: None, ..config(Path::new("")) }).unwrap();
    let idle: Vec<_> = (0..dev::limits::CONNECTIONS_PER_ADDRESS_MAX)
        .map(|_| std::net::TcpStream::connect(node.address()).unwrap())
        .collect();
    std::thread::sleep(dev::limits::IDLE_MIN + Duration::from_millis(300));
    let chain = connect(&node);
    chain.submit(pay(5), &key(0)).unwrap();
    node.produce_block().unwrap();
    assert_eq!(chain.balance(key(2).public()).unwrap(), 1_000_000_000_005);
    drop(idle);
}

#[test]
fn an_address_that_is_taken_is_named() {
    let node = DevNode::start(&dev::Config { database: None, ..config(Path::new("")) }).unwrap();
    let config = dev::Config { database: None, listen: node.address(), ..config(Path::new("")) };
    let error = refusal(&config);
    assert!(error.to_string().contains(&node.address().to_string()), "{error}");
}

#[test]
fn a_clock_makes_blocks_by_itself() {
    let block_time = Some(Duration::from_millis(20));
    let config = dev::Config { database: None, block_time, ..config(Path::new("")) };
    let node = DevNode::start(&config).unwrap();
    let chain = connect(&node);
    let call = chain.submit(pay(5), &key(0)).unwrap();
    let included = loop {
        match chain.status(call).unwrap() {
            CallStatus::Pending => std::thread::sleep(Duration::from_millis(5)),
            CallStatus::Applied(block) => break block,
            other => panic!("{other:?}"),
        }
    };
    while node.head().block <= included {
        std::thread::sleep(Duration::from_millis(5));
    }
    node.check().unwrap();
}
