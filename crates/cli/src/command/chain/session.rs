//! A connection to a chain, with the keys that sign on it.

use crate::{
    args::{EndpointArgs, Network, SignArgs},
    command::wallet::Keys,
    failure::{HintExt as _, Interrupted, hinted},
    terminal::{self, print, print_json, spinner},
};
use chain::{
    Call, CallError, CallId, CallStatus, Chain as _, ClientConfig, Keypair, SubstrateChain,
};
use protocol::Block;
use serde::Serialize;
use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often the fate of a call is asked for.
const TICK: Duration = Duration::from_millis(200);

/// How long a command tries to reach an endpoint.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where the chain of the options is.
fn url(args: &EndpointArgs) -> &str {
    if let Some(url) = &args.chain {
        return url;
    }
    match args.network {
        Network::Local => "ws://127.0.0.1:9944",
        Network::Test => "wss://test.finney.opentensor.ai:443",
        Network::Finney => "wss://entrypoint-finney.opentensor.ai:443",
    }
}

/// Connects to the chain of the options.
pub fn connect(args: &EndpointArgs) -> anyhow::Result<SubstrateChain> {
    let url = url(args);
    anyhow::ensure!(
        url.starts_with("ws://") || url.starts_with("wss://"),
        "`{url}` is not the address of a chain: it begins with ws:// or wss://"
    );
    let config = ClientConfig { patience: PATIENCE, ..ClientConfig::new(url) };
    let bar = spinner(&format!("connecting to {url}"));
    let connected = SubstrateChain::connect(config);
    bar.finish_and_clear();
    connected.hint(if args.chain.is_none() && args.network == Network::Local {
        "is a node up? `agon node` starts one; --network and --chain name others"
    } else {
        "look at the address, and at whether the endpoint is up"
    })
}

/// A connection with keys.
pub struct Session<'a> {
    args: &'a SignArgs,
    /// The chain.
    pub chain: SubstrateChain,
    /// The keys of the wallet.
    pub keys: Keys<'a>,
    stop: Arc<AtomicBool>,
}

/// What became of a call, as `--json` tells it.
#[derive(Serialize)]
struct Done<'a> {
    call: String,
    block: Block,
    signer: String,
    did: &'a str,
}

impl<'a> Session<'a> {
    /// Connects; the keys are opened when they are needed.
    pub fn open(args: &'a SignArgs) -> anyhow::Result<Self> {
        let stop = terminal::stop_on_signal()?;
        let keys = Keys::new(&args.wallet);
        anyhow::ensure!(
            !keys.are_for_development() || !is_public(&args.endpoint),
            "`{}` is a key that everybody knows; it is for chains on this machine",
            args.wallet.wallet
        );
        Ok(Self { args, chain: connect(&args.endpoint)?, keys, stop })
    }

    /// Asks whether to go on before money is spent on a public network.
    pub fn confirm(&self, what: &str) -> anyhow::Result<()> {
        if !is_public(&self.args.endpoint) || self.args.yes {
            return Ok(());
        }
        let question = format!("{what} on {}, for good?", self.chain.url());
        if !std::io::stdin().is_terminal() {
            return Err(anyhow::anyhow!("{question} There is nobody to ask"))
                .hint("--yes answers before the question");
        }
        eprint!("{question} [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        anyhow::ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was done");
        Ok(())
    }

    /// Submits a call, waits until it stands in a final block, and says so.
    pub fn make(&self, call: Call, signer: &Keypair, did: &str) -> anyhow::Result<()> {
        let (id, block) = self.include(call, signer)?;
        if self.args.endpoint.json {
            let call = hex_of(&id);
            return print_json(&Done { call, block, signer: signer.to_string(), did });
        }
        print(&format!("{did}; in block {block}\n"))
    }

    /// Raised when the user wants this process to end.
    pub fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Submits a call and waits until it stands in a final block; gives that block.
    pub fn include(&self, call: Call, signer: &Keypair) -> anyhow::Result<(CallId, Block)> {
        let id = self.chain.submit(call, signer)?;
        let bar = spinner("waiting for the call to be in a final block");
        let fate = loop {
            match self.chain.status(id) {
                Ok(CallStatus::Pending) => {}
                Ok(fate) => break fate,
                // Whoever gives up now may make the same call again, and it may count twice.
                Err(error) if error.is_transient() => {}
                Err(error) => {
                    bar.finish_and_clear();
                    let sent = format!("call {} was sent and may still be included", hex_of(&id));
                    return Err(error).hint(sent);
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                eprintln!("call {} was sent and may still be included", hex_of(&id));
                return Err(Interrupted.into());
            }
            std::thread::sleep(TICK);
        };
        bar.finish_and_clear();
        match fate {
            CallStatus::Applied(block) => Ok((id, block)),
            CallStatus::Refused(block, reason) => {
                let refused =
                    anyhow::anyhow!("the chain refused the call in block {block}: {reason}");
                Err(match hint_on(&reason) {
                    Some(hint) => hinted(refused, hint),
                    None => refused,
                })
            }
            CallStatus::Pending | CallStatus::Unknown => {
                Err(anyhow::anyhow!("the call was not included in time, and never will be"))
                    .hint("the chain is busy; try again")
            }
        }
    }
}

/// What a person can do about a refusal, where its text does not say so.
fn hint_on(reason: &CallError) -> Option<&'static str> {
    match reason {
        CallError::NeuronNoValidatorPermit => Some(
            "permits come with an epoch, to the hotkeys with the most stake: stake, then wait for one",
        ),
        CallError::CommitRevealEnabled => Some(
            "`agon chain subnet set commit_reveal=false` lets weights be set at once, if the subnet is yours",
        ),
        CallError::SettingWeightsTooFast | CallError::CommitmentSetRateLimitExceeded => {
            Some("wait some blocks; a registration counts as an update, too")
        }
        CallError::HotKeyNotRegisteredInSubNet | CallError::AccountNotAllowedCommit => {
            Some("`agon chain register` buys a slot")
        }
        CallError::HotKeyAccountNotExists => Some("register the hotkey first"),
        CallError::BadOrigin => Some("sign with the wallet that opened the subnet"),
        _ => None,
    }
}

fn hex_of(id: &CallId) -> String {
    id.0.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Whether what is spent there is worth something: everywhere but on this machine.
fn is_public(args: &EndpointArgs) -> bool {
    let url = url(args);
    let host = url.split("://").nth(1).unwrap_or(url);
    !["127.0.0.1", "localhost", "[::1]"].iter().any(|local| {
        host.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_not_public() {
        let at = |url: &str| EndpointArgs {
            network: Network::Local,
            chain: Some(url.to_owned()),
            json: false,
        };
        for local in ["ws://127.0.0.1:9944", "ws://localhost", "ws://localhost/x", "ws://[::1]:1"] {
            assert!(!is_public(&at(local)), "{local}");
        }
        for public in ["ws://localhost.example.com", "ws://127.0.0.10:1", "wss://example.com"] {
            assert!(is_public(&at(public)), "{public}");
        }
    }
}
