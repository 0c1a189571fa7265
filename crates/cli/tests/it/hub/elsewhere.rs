//! A chain of one's own and a hub of everybody's: `agon miner submit` asks before anything is sent.

use super::{
    submit::{Network, numbered, own_repo, report},
    tokens::Listener,
};
use std::{
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

const HUGGING_FACE: &str = "https://huggingface.co";

/// Submits a model of `//Bob` to the hub that these variables name, with nobody to ask.
fn submission(network: &Network, dir: &str, variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    for name in ["HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "AGON_HUB_TOKEN", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .args(["miner", "submit", dir, "--competition", "tiny", "--netuid", "1", "--json"])
        .args(["--wallet", "//Bob", "--chain", &network.node.url])
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    command
}

/// What a submission asks of other machines, at which it is stopped, and what it says if it ends.
fn outcome(mut submission: Command, listener: &Listener) -> (Vec<String>, Output) {
    let mut child = submission.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut heard = listener.heard();
    while heard.is_empty() && child.try_wait().unwrap().is_none() {
        thread::sleep(Duration::from_millis(10));
        heard = listener.heard();
    }
    // It would ask again and again.
    child.kill().unwrap();
    (heard, child.wait_with_output().unwrap())
}

#[test]
fn a_model_for_a_chain_of_ones_own_goes_to_a_hub_of_everybodys_only_if_one_says_so() {
    let network = Network::with("200ms", "");
    let model = network.workshop.model("model", &numbered(1));
    let listener = Listener::start();
    // All ways to other machines lead to the listener.
    let outside = [("HTTPS_PROXY", listener.address.as_str()), ("HF_TOKEN", "hf_of_the_miner")];
    for endpoint in [HUGGING_FACE, "https://hub.example.com"] {
        let there = [("HF_ENDPOINT", endpoint)];
        // Where nobody names a hub, it is Hugging Face.
        let named = if endpoint == HUGGING_FACE { &[][..] } else { &there[..] };
        let submission = submission(&network, &model, &[&outside[..], named].concat());
        let (heard, output) = outcome(submission, &listener);
        assert_eq!(heard, [""; 0], "nothing leaves this machine before the answer");
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{err}");
        let question = format!(
            "publish on `{endpoint}` what is entered on a chain of your own, `{}`?",
            network.node.url
        );
        for told in [&question, "--hub or HF_ENDPOINT names a hub of your own", "--yes"] {
            assert!(err.contains(told), "expected `{told}` in `{err}`");
        }
    }
    assert_eq!(listener.heard(), [""; 0], "nothing was on its way when it ended");

    let mut insisting = submission(&network, &model, &outside);
    insisting.arg("--yes");
    let (heard, _) = outcome(insisting, &listener);
    let asked = format!("CONNECT {}:443 HTTP/1.1", HUGGING_FACE.strip_prefix("https://").unwrap());
    assert_eq!(heard.first(), Some(&asked));
}

#[test]
fn a_hub_of_ones_own_is_not_asked_about() {
    let network = Network::with("200ms", "");
    let model = network.workshop.model("model", &numbered(1));
    let hub = format!("http://{}", network.hub.address);
    let own = [("HF_ENDPOINT", hub.as_str()), ("HF_TOKEN", network.hub.token.as_str())];
    let output = submission(&network, &model, &own).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report(&output)["repo"], own_repo(&model));
}
