//! Chains that may be worth something: nothing is signed for them before somebody says yes.

use super::Node;
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    thread,
};

/// The number that the genesis of the node is made with, and what a client is told instead.
const TOLD: [&[u8]; 2] = [b"\"seed\":7", b"\"seed\":8"];

/// Another address of a node, which tells another genesis than the one that is signed for: nobody
/// can know whose chain that is.
fn strange_address(node: &Node) -> String {
    let address = node.url.strip_prefix("ws://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, node) = (client.unwrap(), TcpStream::connect(&address).unwrap());
            let (asked, asks) = (client.try_clone().unwrap(), node.try_clone().unwrap());
            thread::spawn(move || pass(client, node));
            thread::spawn(move || tell(asks, asked));
        }
    });
    url
}

/// Passes bytes on as they come, until one of both ends: what a client sends is masked, so that any
/// byte may be the last of a message.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    // The other end may have gone already.
    let _ = to.shutdown(Shutdown::Both);
}

/// Passes a node's answers on with another genesis in them; the last bytes not before it is clear
/// what they begin. An answer ends with a brace, which begins nothing.
fn tell(mut from: TcpStream, mut to: TcpStream) {
    let (mut kept, mut chunk) = (Vec::new(), [0; 1 << 16]);
    let [old, new] = TOLD;
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        kept.extend_from_slice(&chunk[..n]);
        while let Some(at) = kept.windows(old.len()).position(|part| part == old) {
            kept[at..at + new.len()].copy_from_slice(new);
        }
        let is_begun = |n: &usize| kept.ends_with(&old[..*n]);
        let n_begun = (1..old.len()).rev().find(is_begun).unwrap_or(0);
        let ready: Vec<u8> = kept.drain(..kept.len() - n_begun).collect();
        if to.write_all(&ready).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn nothing_is_signed_for_a_chain_of_somebody_elses_before_somebody_says_yes() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let spec = "seed = 7\n[[accounts]]\naccount = \"//Alice\"\ntao = 1000\n[[subnets]]\n\
                owner = \"//Alice\"\nhyperparameters = { weights_rate_limit = 0 }\n";
    std::fs::write(path("spec.toml"), spec).unwrap();
    let options = ["--listen", "127.0.0.1:0", "--spec", &path("spec.toml")];
    let node = Node::start(&folder.path().join("home"), "100ms", &options);
    let strange = strange_address(&node);
    let agon = |args: &[&str]| -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
        command.args(args).stdin(Stdio::null()).output().unwrap()
    };
    let done = |args: &[&str]| -> String {
        let output = agon(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    done(&["chain", "register", "--netuid", "1", "--wallet", "//Alice", "--chain", &node.url]);
    let wallets = path("wallets");
    let own = ["--wallet-path", &wallets, "--wallet", "own"];
    let made = done(&[&["wallet", "create", "--no-password", "--json"][..], &own].concat());
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();

    let rules = "set tempo=9 kappa=7 on subnet 1";
    let calls = [
        (&["chain", "commit", "my words"][..], "commit to `my words` on subnet 1", "hotkey"),
        (&["chain", "set-weights", "0=1"], "set 1 weights on subnet 1", "hotkey"),
        (&["chain", "subnet", "set", "tempo=9", "kappa=7"], rules, "coldkey"),
    ];
    let on = ["--netuid", "1", "--chain", &strange];
    for (call, question, key) in calls {
        let output = agon(&[call, &on, &own].concat());
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        let address = made[key].as_str().unwrap();
        let question = format!(
            "{question}, by {key} {address} of wallet `own`, on {strange}, for good? There is \
             nobody to ask"
        );
        assert!(err.contains(&question) && err.contains("--yes"), "no `{question}` in {err}");
        done(&[call, &on, &["--wallet", "//Alice", "--yes"]].concat());
    }
    let rules = done(&["chain", "subnet", "show", "--netuid", "1", "--chain", &node.url]);
    assert!(rules.contains("tempo=9") && rules.contains("kappa=7"), "{rules}");
}
