//! A connection to a chain, with the keys that sign on it.

use super::{
    refusal::{self, Explanation},
    table::{hex_of, place},
};
use crate::{
    args::{EndpointArgs, NamedNetwork as Named, Network, ServiceArgs, SignArgs, WalletArgs},
    command::wallet::Keys,
    failure::{HintExt as _, Interrupted, hinted},
    terminal::{self, print, print_json, spinner},
};
use chain::{Call, CallError, CallId, CallStatus, Chain as _, Error, Handed, Keypair};
use protocol::{AccountId, Block, NetUid, Uid};
use serde::Serialize;
use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use substrate::{ClientConfig, Effects, Origin, SubstrateChain, genesis_of};

/// A call that stands in a final block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Included {
    /// Its name.
    pub id: CallId,
    /// The block.
    pub block: Block,
}

/// How often a call is made anew because other processes used its nonce, or because it was signed
/// too late.
const TRIES_MAX: usize = 64;

/// How often a call with a last block is made anew because it was in no block until then: a node
/// says the same of a call that it never takes.
const LATE_MAX: usize = 3;

/// How often the fate of a call is asked for.
const TICK: Duration = Duration::from_millis(200);

/// How long a command tries to reach an endpoint.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it tries to reach a public one, which may ask for patience.
const PATIENCE_PUBLIC: Duration = Duration::from_secs(60);

/// Bittensor's public endpoints, the better ones first.
const TEST: [&str; 1] = ["wss://test.finney.opentensor.ai:443"];
const FINNEY: [&str; 3] = [
    "wss://entrypoint-finney.opentensor.ai:443",
    "wss://lite.chain.opentensor.ai:443",
    "wss://lite.sub.latent.to:443",
];
const ARCHIVE: [&str; 2] =
    ["wss://archive.chain.opentensor.ai:443", "wss://archive.sub.latent.to:443"];

/// What `local` means where Bittensor's own programs are told so.
const LOCAL_VARIABLE: &str = "BT_CHAIN_ENDPOINT";

/// Where the chain of the options is, the better endpoints first.
fn urls(args: &EndpointArgs) -> Vec<String> {
    let known = |urls: &[&str]| urls.iter().map(|url| (*url).to_owned()).collect::<Vec<_>>();
    let mut urls = match &args.network.network {
        Network::Local => {
            let set = std::env::var(LOCAL_VARIABLE).ok().filter(|url| !url.trim().is_empty());
            vec![set.unwrap_or_else(|| "ws://127.0.0.1:9944".to_owned())]
        }
        Network::Test => known(&TEST),
        Network::Finney => known(&FINNEY),
        Network::Archive => known(&ARCHIVE),
        Network::At(url) => vec![url.clone()],
    };
    if !args.fallback_endpoints.is_empty() {
        // Whoever names others wants these and no more.
        urls.truncate(1);
        urls.extend(args.fallback_endpoints.iter().cloned());
    }
    urls
}

/// Connects to the chain of the options.
pub fn connect(args: &EndpointArgs) -> anyhow::Result<SubstrateChain> {
    let Named { network, variable } = &args.network;
    if let Some(variable) = variable {
        eprintln!("network `{}`, from {variable}", terminal::shown(&network.to_string()));
    }
    let mut urls = urls(args);
    let fallbacks = urls.split_off(1);
    let url = urls.swap_remove(0);
    anyhow::ensure!(
        url.starts_with("ws://") || url.starts_with("wss://"),
        "`{url}` is not the address of a chain: it begins with ws:// or wss://"
    );
    let is_public = matches!(network, Network::Test | Network::Finney | Network::Archive);
    let patience = if is_public { PATIENCE_PUBLIC } else { PATIENCE };
    let wanted = bittensor(network);
    // Whatever answers there now or after any lost connection, it must be that chain.
    let genesis = wanted.and_then(genesis_of);
    let is_stopping = terminal::is_stopping;
    let own = ClientConfig::new(&url);
    let config = ClientConfig { patience, fallbacks, genesis, is_stopping, ..own };
    let bar = spinner(&format!("connecting to {url}"));
    let connected = SubstrateChain::connect(config);
    bar.finish_and_clear();
    if let (Err(Error::OtherChain { .. }), Some(name)) = (&connected, wanted) {
        return Err(anyhow::anyhow!(
            "`{url}` does not lead to Bittensor's network `{name}`: its genesis is another"
        ))
        .hint(format!("--network {url} says that you mean what is there"));
    }
    let is_busy = matches!(connected, Err(Error::Busy { .. }));
    let chain = connected.hint(match network {
        _ if is_busy => "wait, or name others with --fallback-endpoints; a node of your own has no limit",
        Network::Local => "is a node up? `agon node` starts one; --network names others",
        _ => "look at the address, and at whether the endpoint is up; --fallback-endpoints names others",
    })?;
    // What answers on this machine may be a tunnel or a proxy to anywhere.
    if *network == Network::Local
        && let Some(name) = chain.bittensor()?
    {
        return Err(anyhow::anyhow!("`{url}` leads to Bittensor's network `{name}`"))
            .hint(format!("--network {name} says that you mean it; so does --network {url}"));
    }
    Ok(chain)
}

/// The network of Bittensor that is meant, if one is named.
fn bittensor(network: &Network) -> Option<&'static str> {
    match network {
        Network::At(_) | Network::Local => None,
        Network::Test => Some("test"),
        Network::Finney | Network::Archive => Some("finney"),
    }
}

/// Which key of the wallet signs, and pays where something is paid.
#[derive(Clone, Copy, Debug)]
pub enum Signer {
    Coldkey,
    Hotkey,
}

/// A connection with keys.
pub struct Session<'a> {
    is_json: bool,
    /// Whether every question is answered with yes.
    is_sure: bool,
    /// The variable that named the network, where --yes does not count for its sake.
    doubted: Option<&'a str>,
    /// Name of the wallet.
    wallet: &'a str,
    /// The chain.
    pub chain: Arc<SubstrateChain>,
    /// The keys of the wallet.
    pub keys: Keys<'a>,
    origin: Origin,
    stop: Arc<AtomicBool>,
}

/// What became of a call, as `--json` tells it.
#[derive(Serialize)]
struct Done<'a> {
    call: String,
    block: Block,
    signer: String,
    did: &'a str,
    /// Number of the subnet that it opened, or on which it bought a slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    netuid: Option<NetUid>,
    /// Number of the slot that it bought.
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<Uid>,
}

impl<'a> Session<'a> {
    /// Connects; the keys are opened when they are needed.
    pub fn open(args: &'a SignArgs) -> anyhow::Result<Self> {
        let stop = terminal::stop_on_signal()?;
        let session = Self::connected(&args.endpoint, &args.wallet, stop)?;
        let is_sure = says_yes(args, session.origin);
        if session.keys.are_for_development() {
            check_development(session.wallet, session.origin, is_sure)?;
        }
        let variable = args.endpoint.network.variable.as_deref();
        let doubted = variable.filter(|_| args.yes && !is_sure);
        Ok(Self { is_sure, doubted, ..session })
    }

    /// The same for a service, which asks nobody: its configuration has answered.
    pub fn of_service(args: &'a ServiceArgs, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let session = Self::connected(&args.endpoint, &args.wallet, stop)?;
        if session.keys.are_for_development() {
            check_development(session.wallet, session.origin, false)?;
        }
        Ok(Self { is_sure: true, ..session })
    }

    fn connected(
        endpoint: &EndpointArgs,
        wallet: &'a WalletArgs,
        stop: Arc<AtomicBool>,
    ) -> anyhow::Result<Self> {
        let (keys, is_json) = (Keys::new(wallet), endpoint.json);
        let chain = Arc::new(connect(endpoint)?);
        let (origin, wallet) = (chain.origin()?, wallet.wallet.as_str());
        Ok(Self { is_json, is_sure: false, doubted: None, wallet, chain, keys, origin, stop })
    }

    /// Whether what is signed here may be worth something: unless the chain proves to be one that
    /// an `agon node` made.
    pub fn is_public(&self) -> bool {
        self.origin != Origin::Agon
    }

    /// Asks whether to go on before something is signed for a public network.
    pub fn confirm(&self, what: &str, signer: Signer) -> anyhow::Result<()> {
        if !self.is_public() || self.is_sure {
            return Ok(());
        }
        let (key, account) = match signer {
            Signer::Coldkey => ("coldkey", self.keys.coldkey_account()?),
            Signer::Hotkey => ("hotkey", self.keys.hotkey_account()?),
        };
        let (wallet, place) = (self.wallet, place(&self.chain, self.origin));
        self.ask(&format!("{what}, by {key} {account} of wallet `{wallet}`, on {place}, for good?"))
    }

    /// Asks a question that only a person, or --yes, may answer with yes.
    pub fn ask(&self, question: &str) -> anyhow::Result<()> {
        if self.is_sure {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            let hint = match self.doubted {
                Some(variable) => format!(
                    "the network comes from {variable}: --yes counts where --network says it"
                ),
                None => "--yes answers before the question".to_owned(),
            };
            return Err(anyhow::anyhow!("{question} There is nobody to ask")).hint(hint);
        }
        eprint!("{question} [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        anyhow::ensure!(matches!(answer.trim(), "y" | "Y" | "yes"), "nothing was done");
        Ok(())
    }

    /// Submits a call, waits until it stands in a final block, and says so.
    pub fn make(&self, call: &Call, signer: &Keypair, did: &str) -> anyhow::Result<()> {
        self.make_telling(call, signer, |_| did.to_owned())
    }

    /// The same, where what was done is known from the events of the call.
    pub fn make_telling(
        &self,
        call: &Call,
        signer: &Keypair,
        did: impl Fn(&Effects) -> String,
    ) -> anyhow::Result<()> {
        let included = self.include(call, signer)?;
        let effects = self.chain.effects(included.id);
        self.tell(included, signer, &effects, &did(&effects))
    }

    /// Says what a call in a block did.
    pub fn tell(
        &self,
        included: Included,
        signer: &Keypair,
        effects: &Effects,
        did: &str,
    ) -> anyhow::Result<()> {
        let Included { id, block } = included;
        if self.is_json {
            let (call, signer) = (hex_of(&id), signer.to_string());
            let netuid = effects.netuid.or(effects.slot.map(|(netuid, _)| netuid));
            let uid = effects.slot.map(|(_, uid)| uid);
            return print_json(&Done { call, block, signer, did, netuid, uid });
        }
        print(&format!("{did}; in block {block}\n"))
    }

    /// Raised when the user wants this process to end.
    pub fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// Submits a call and waits until it stands in a final block; gives that block.
    ///
    /// Where another process was quicker with a nonce, and its call stands in a block, the call is
    /// made anew: it has surely not been included.
    pub fn include(&self, call: &Call, signer: &Keypair) -> anyhow::Result<Included> {
        self.include_made(&mut || Ok(call.clone().into()), signer)
    }

    /// The same, where what is called follows from the chain as it is at each try; it is made anew,
    /// too, a few times, where the last block that might include it has come without it.
    pub fn include_made(
        &self,
        make: &mut dyn FnMut() -> anyhow::Result<Handed>,
        signer: &Keypair,
    ) -> anyhow::Result<Included> {
        let mut n_late = 0;
        for _ in 0..TRIES_MAX {
            let Handed { call, last, .. } = make()?;
            let may_be_late = last.is_some() && n_late < LATE_MAX;
            let told = |error: Error| match error {
                Error::Refused(reason) => self.refused(&call, signer, &reason, None),
                other => other.into(),
            };
            let signed = match self.chain.sign(call.clone(), signer, last) {
                Ok(signed) => signed,
                // Over a slow line blocks pass before the signing.
                Err(Error::TooLate { .. }) => {
                    self.pause()?;
                    continue;
                }
                Err(error) => return Err(told(error)),
            };
            let fate = match self.chain.send(&signed) {
                Ok(()) => self.wait(signed.id)?,
                // What a node finds of a call whose last block has come.
                Err(Error::Refused(CallError::BadSignature)) if may_be_late => CallStatus::Expired,
                Err(error) => return Err(told(error)),
            };
            match fate {
                CallStatus::Displaced => {}
                CallStatus::Expired if may_be_late => {
                    n_late += 1;
                    eprintln!("the call was in no block until its last one: made anew");
                    self.pause()?;
                }
                fate => return self.included(signed.id, fate, &call, signer),
            }
        }
        Err(anyhow::anyhow!(
            "each time other processes that use the same key were quicker, or the line to the \
             chain was too slow"
        ))
        .hint("nothing was done; try again later, or over another line")
    }

    /// Waits a moment, unless the user wants this process to end.
    fn pause(&self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted.into());
        }
        std::thread::sleep(TICK);
        Ok(())
    }

    /// The block of a call, or what else became of it.
    fn included(
        &self,
        id: CallId,
        fate: CallStatus,
        call: &Call,
        signer: &Keypair,
    ) -> anyhow::Result<Included> {
        match fate {
            CallStatus::Applied(block) => Ok(Included { id, block }),
            CallStatus::Refused(block, reason) => {
                Err(self.refused(call, signer, &reason, Some(block)))
            }
            // The money may have moved: whoever makes the call again may pay twice.
            CallStatus::Unreadable(block) => Err(anyhow::anyhow!(
                "call {} stands in block {block}; whether it was applied cannot be read any more",
                hex_of(&id)
            ))
            .hint(
                "look at the balance, or at what the call was to change, before you make it again",
            ),
            CallStatus::Pending | CallStatus::Displaced | CallStatus::Expired => {
                Err(anyhow::anyhow!(
                    "call {} was not included in its time, and never will be: nothing was done",
                    hex_of(&id)
                ))
                .hint("the chain is busy, or another process used the key; try again")
            }
            CallStatus::Unknown => {
                Err(anyhow::anyhow!("what became of call {} is not known", hex_of(&id)))
                    .hint("look at the balance, or at what the call was to change")
            }
        }
    }

    /// Waits for the fate of a call that was sent, however long the endpoint is away.
    fn wait(&self, id: CallId) -> anyhow::Result<CallStatus> {
        let bar = spinner("waiting for the call to be in a final block");
        let sent = || format!("call {} was sent and may still be included", hex_of(&id));
        let mut is_away = false;
        loop {
            match self.chain.status(id) {
                // Whoever gives up now may make the same call again, and it may count twice.
                Err(error) if error.is_transient() => {
                    if !is_away {
                        let text = terminal::shown(&error.to_string());
                        bar.suspend(|| eprintln!("{text}; {}: waiting", sent()));
                    }
                    is_away = true;
                }
                Err(error) => {
                    bar.finish_and_clear();
                    return Err(error).hint(sent());
                }
                Ok(fate) => {
                    if std::mem::take(&mut is_away) {
                        bar.suspend(|| eprintln!("the chain answers again"));
                    }
                    if fate != CallStatus::Pending {
                        bar.finish_and_clear();
                        return Ok(fate);
                    }
                }
            }
            if self.stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                eprintln!("{}", sent());
                return Err(Interrupted.into());
            }
            std::thread::sleep(TICK);
        }
    }

    /// Whether a machine reads what is printed.
    pub fn is_json(&self) -> bool {
        self.is_json
    }

    /// Why a call that the chain would refuse is not made.
    pub fn refused_beforehand(
        &self,
        call: &Call,
        signer: AccountId,
        reason: &CallError,
    ) -> anyhow::Error {
        self.explained("the chain would refuse the call", call, signer, reason)
    }

    fn refused(
        &self,
        call: &Call,
        signer: &Keypair,
        reason: &CallError,
        block: Option<Block>,
    ) -> anyhow::Error {
        let place = block.map(|block| format!(" in block {block}")).unwrap_or_default();
        let what = format!("the chain refused the call{place}");
        self.explained(&what, call, signer.public(), reason)
    }

    /// A refusal with the numbers behind it, and what a person can do about it.
    fn explained(
        &self,
        what: &str,
        call: &Call,
        signer: AccountId,
        reason: &CallError,
    ) -> anyhow::Error {
        let Explanation { numbers, hint } = refusal::explain(&self.chain, call, signer, reason);
        let numbers = numbers.map(|numbers| format!("; {numbers}")).unwrap_or_default();
        let error = anyhow::anyhow!("{what}: {reason}{numbers}");
        match hint {
            Some(hint) => hinted(error, hint),
            None => error,
        }
    }
}

/// Whether --yes answers what a person would be asked.
///
/// A variable may be left over from something else: on Bittensor's networks it counts only where
/// the command line itself says which of them.
fn says_yes(args: &SignArgs, origin: Origin) -> bool {
    let is_bittensor = matches!(origin, Origin::Bittensor(_));
    args.yes && !(is_bittensor && args.endpoint.network.variable.is_some())
}

/// Keys that everybody knows are for chains that are worth nothing.
pub fn check_development(key: &str, origin: Origin, insists: bool) -> anyhow::Result<()> {
    match origin {
        Origin::Agon => Ok(()),
        Origin::Unknown if insists => Ok(()),
        Origin::Unknown => Err(anyhow::anyhow!(
            "`{key}` is a key that everybody knows, and this chain is not one of `agon node`"
        ))
        .hint("if it is a development chain of another program, --yes insists"),
        Origin::Bittensor(name) => anyhow::bail!(
            "`{key}` is a key that everybody knows, and this is Bittensor's network `{name}`"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::Genesis;
    use protocol::Seed;
    use std::net::SocketAddr;
    use substrate::{DevNode, dev};

    const TAO: u64 = 1_000_000_000;

    #[test]
    fn a_call_that_was_signed_too_late_is_not_sent_and_is_made_anew() {
        let key = |number| Keypair::from_seed(Seed::of_number(number));
        let (payer, payee) = (key(1), key(2).public());
        let node = DevNode::start(&dev::Config {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            database: None,
            genesis: Genesis {
                accounts: vec![(payer.public(), 1_000 * TAO)],
                ..Genesis::default()
            },
            block_time: Some(Duration::from_millis(20)),
        });
        let node = node.unwrap();
        let chain = Arc::new(SubstrateChain::connect(ClientConfig::new(node.url())).unwrap());
        while chain.head().unwrap().block == Block(0) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (wallet, hotkey) = ("me".to_owned(), "default".to_owned());
        let args = WalletArgs { wallet, hotkey, wallet_path: None };
        let session = Session {
            is_json: true,
            is_sure: true,
            doubted: None,
            wallet: &args.wallet,
            chain: Arc::clone(&chain),
            keys: Keys::new(&args),
            origin: Origin::Agon,
            stop: Arc::default(),
        };
        let mut tries = 0;
        let mut make = || -> anyhow::Result<Handed> {
            tries += 1;
            let call = Call::Transfer { to: payee, amount_rao: tries * TAO };
            let last = if tries == 1 { Some(Block(0)) } else { None };
            Ok(Handed { call, reveal: None, last })
        };
        session.include_made(&mut make, &payer).unwrap();
        assert_eq!(tries, 2);
        assert_eq!(chain.balance(payee).unwrap(), 2 * TAO, "the first one went nowhere");
    }

    #[test]
    fn on_bittensors_networks_yes_counts_where_the_command_line_names_the_network() {
        let says = |variable: Option<&str>, origin| {
            let network =
                Named { network: Network::Finney, variable: variable.map(ToOwned::to_owned) };
            let endpoint = EndpointArgs { network, fallback_endpoints: Vec::new(), json: false };
            let (name, hotkey) = ("me".to_owned(), "default".to_owned());
            let wallet = WalletArgs { wallet: name, hotkey, wallet_path: None };
            says_yes(&SignArgs { endpoint, wallet, yes: true }, origin)
        };
        assert!(says(None, Origin::Bittensor("finney")));
        assert!(!says(Some("BT_NETWORK"), Origin::Bittensor("finney")));
        assert!(says(Some("BT_NETWORK"), Origin::Unknown));
        assert!(says(Some("BT_NETWORK"), Origin::Agon));
    }

    #[test]
    fn keys_that_everybody_knows_sign_for_chains_of_nodes_of_ours_alone() {
        assert!(check_development("//Alice", Origin::Agon, false).is_ok());
        assert!(check_development("//Alice", Origin::Unknown, true).is_ok(), "somebody insists");
        for (origin, insists) in [
            (Origin::Unknown, false),
            (Origin::Bittensor("finney"), false),
            (Origin::Bittensor("test"), true),
        ] {
            assert!(check_development("//Alice", origin, insists).is_err(), "{origin:?}");
        }
    }

    #[test]
    fn whoever_names_other_endpoints_gets_these_behind_the_best_of_the_network() {
        let of = |network: Network, others: &[&str]| {
            let network = Named { network, variable: None };
            let fallback_endpoints = others.iter().map(|url| (*url).to_owned()).collect();
            urls(&EndpointArgs { network, fallback_endpoints, json: false })
        };
        assert_eq!(of(Network::Finney, &[]), FINNEY);
        assert_eq!(of(Network::Test, &[]), TEST);
        assert_eq!(of(Network::Finney, &["wss://a", "wss://b"]), [FINNEY[0], "wss://a", "wss://b"]);
        assert_eq!(of(Network::Archive, &["ws://a"]), [ARCHIVE[0], "ws://a"]);
        assert_eq!(of(Network::At("ws://x".to_owned()), &["ws://y"]), ["ws://x", "ws://y"]);
        for network in [Network::Test, Network::Finney, Network::Archive] {
            assert!(
                bittensor(&network).and_then(genesis_of).is_some(),
                "{network}: any chain would do"
            );
            assert!(of(network, &[]).iter().all(|url| url.starts_with("wss://")));
        }
    }

    #[test]
    fn what_became_of_a_call_says_whether_it_may_be_made_again() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let genesis = Genesis::default();
        let config = dev::Config { listen, database: None, genesis, block_time: None };
        let node = DevNode::start(&config).unwrap();
        let chain = Arc::new(SubstrateChain::connect(ClientConfig::new(node.url())).unwrap());
        let (wallet, hotkey) = ("me".to_owned(), "default".to_owned());
        let args = WalletArgs { wallet, hotkey, wallet_path: None };
        let session = Session {
            is_json: false,
            is_sure: false,
            doubted: None,
            wallet: &args.wallet,
            chain,
            keys: Keys::new(&args),
            origin: Origin::Agon,
            stop: Arc::default(),
        };
        let payer = Keypair::from_seed(Seed::of_number(1));
        let call = Call::Transfer { to: AccountId([2; 32]), amount_rao: 1 };
        let id = CallId([7; 32]);
        let fate = |fate| session.included(id, fate, &call, &payer);
        let included = fate(CallStatus::Applied(Block(5))).unwrap();
        assert_eq!(included, Included { id, block: Block(5) });
        let reason = CallError::from_name("SpaceLimitExceeded");
        for (status, told, advice) in [
            (CallStatus::Unreadable(Block(5)), "0x0707", "before you make it again"),
            (CallStatus::Expired, "nothing was done", "try again"),
            (CallStatus::Displaced, "nothing was done", "try again"),
            (CallStatus::Pending, "0x0707", "try again"),
            (CallStatus::Unknown, "0x0707", "look at the balance"),
            (CallStatus::Refused(Block(6), reason), "refused the call in block 6", "next epoch"),
        ] {
            let error = fate(status).unwrap_err();
            let hinted = format!("{:?}", error.downcast_ref::<crate::failure::Hinted>());
            assert!(error.to_string().contains(told), "{error}");
            assert!(hinted.contains(advice), "{error}: {hinted}");
        }
        // On a chain of ours nobody is asked; elsewhere somebody has to be there, or --yes.
        assert!(session.confirm("pay", Signer::Coldkey).is_ok());
        let elsewhere = Session { origin: Origin::Unknown, is_sure: true, ..session };
        assert!(elsewhere.confirm("pay", Signer::Coldkey).is_ok());
    }
}
