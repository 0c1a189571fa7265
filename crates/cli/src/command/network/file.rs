//! The file `network.toml`, and what it says of the files beside it.

use super::log::LogLimits;
use crate::{failure::HintExt as _, input};
use anyhow::{Context as _, ensure};
use keys::{Wallet, wallet::DEFAULT_NAME};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// Name of the file in the folder of a network.
pub const FILE: &str = "network.toml";
/// Version of the file that this program reads.
pub const FORMAT: u32 = 1;
/// Locked while the network runs.
const LOCK: &str = ".network.lock";
/// Most bytes of a file.
const SIZE_BYTES_MAX: u64 = 1 << 20;
/// Most processes of a network.
const N_PARTICIPANTS_MAX: usize = 256;
/// Letters of a name.
const NAME_LETTERS_MAX: usize = 32;

/// A network of processes on this machine; relative paths start at the folder of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// [`FORMAT`].
    pub format: u32,
    /// Subnet of the competitions.
    pub netuid: u16,
    /// The chain.
    pub chain: ChainPart,
    /// The hub.
    pub hub: HubPart,
    /// Pages for spectators, where there are to be any.
    #[serde(default)]
    pub dashboard: Option<DashboardPart>,
    /// What is kept of what processes write.
    pub logs: Logs,
    /// Who measures.
    #[serde(default)]
    pub validators: Vec<Participant>,
    /// Who trains.
    #[serde(default)]
    pub miners: Vec<Participant>,
    /// The folder of the file.
    #[serde(skip)]
    folder: PathBuf,
}

/// The chain of a network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainPart {
    /// Address of the node.
    pub listen: SocketAddr,
    /// Folder of the node.
    pub home: PathBuf,
    /// What the chain starts with.
    pub spec: PathBuf,
    /// Time between blocks, as `agon node --block-time` takes it.
    pub block_time: String,
    /// Whether the node answers for the state after any block, so that every record can be replayed
    /// while the network runs.
    #[serde(default)]
    pub archive: bool,
}

/// The hub of a network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubPart {
    /// Address of the hub.
    pub listen: SocketAddr,
    /// Folder of the hub.
    pub dir: PathBuf,
}

/// The dashboard of a network.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DashboardPart {
    /// Address of its pages.
    pub listen: SocketAddr,
    /// Folder of its index.
    pub home: PathBuf,
}

/// What is kept of what processes write.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// Folder of the logs.
    pub dir: PathBuf,
    /// Bytes after which a log is put aside.
    pub size_bytes_max: u64,
    /// Files of one process that are kept.
    pub n_files_max: u32,
}

impl Logs {
    /// The limits of one log.
    pub fn limits(&self) -> LogLimits {
        LogLimits { size_bytes_max: self.size_bytes_max, n_files_max: self.n_files_max }
    }
}

/// A validator or a miner.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Name of the process and of its log.
    pub name: String,
    /// Its config file.
    pub config: PathBuf,
    /// Stake that is put behind its hotkey before it starts.
    #[serde(default)]
    pub stake_tao: u64,
}

/// What the config file of a participant says that its supervisor needs; the service itself reads
/// all of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Address of its chain.
    #[serde(alias = "chain", alias = "subtensor_network", alias = "subtensor_chain_endpoint")]
    network: Option<String>,
    /// Address of its hub.
    hub: Option<String>,
    /// Name of its wallet.
    #[serde(alias = "wallet_name", alias = "wallet-name")]
    wallet: String,
    /// Name of its hotkey.
    #[serde(alias = "wallet_hotkey", alias = "wallet-hotkey")]
    hotkey: Option<String>,
    /// Folder of its wallet.
    #[serde(alias = "wallet-path")]
    wallet_path: PathBuf,
    /// Its folder.
    pub home: PathBuf,
    /// Address of its metrics.
    listen: Option<String>,
    /// What a validator judges, in either way in which its file may say so.
    competitions: Option<toml::Value>,
}

impl Network {
    /// Reads and checks the file of a network.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = input::read_text(path, SIZE_BYTES_MAX).hint(
            "`agon network new DIR` makes the folder of a network; its file is network.toml",
        )?;
        let named = || format!("{} is no network", input::name(path));
        let mut network: Self = toml::from_str(&text)
            .with_context(named)
            .hint("`agon network new` writes such a file with a remark at every key")?;
        network.check().with_context(named)?;
        let whole = std::path::absolute(path).context("cannot tell where the file is")?;
        network.folder = whole.parent().unwrap_or(&whole).to_owned();
        Ok(network)
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.format == FORMAT,
            "`format` is {}, and this program reads {FORMAT}",
            self.format
        );
        let n_participants = self.participants().count();
        ensure!(
            n_participants <= N_PARTICIPANTS_MAX,
            "{n_participants} validators and miners are more than {N_PARTICIPANTS_MAX}"
        );
        let mut names = BTreeSet::from(["network", "node", "hub"]);
        if self.dashboard.is_some() {
            names.insert("dashboard");
        }
        for Participant { name, .. } in self.participants() {
            let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            let is_name =
                (1..=NAME_LETTERS_MAX).contains(&name.len()) && name.chars().all(is_plain);
            ensure!(is_name, "`name` is `{name}`: it takes letters a to z, digits and hyphens");
            ensure!(names.insert(name), "`{name}` is the name of two processes");
        }
        let mut addresses = vec![(self.chain.listen, "chain"), (self.hub.listen, "hub")];
        addresses.extend(self.dashboard.iter().map(|part| (part.listen, "dashboard")));
        for (listen, table) in addresses {
            ensure!(listen.port() != 0, "`listen` under [{table}] names no port");
        }
        ensure!(self.logs.n_files_max > 0, "`n_files_max` under [logs] must be at least 1");
        Ok(())
    }

    /// Validators and miners, in the order in which they start.
    pub fn participants(&self) -> impl Iterator<Item = &Participant> {
        self.validators.iter().chain(&self.miners)
    }

    /// Where a path of the file leads.
    pub fn path(&self, path: &Path) -> PathBuf {
        self.folder.join(path)
    }

    /// Address of the chain for its clients.
    pub fn chain_url(&self) -> String {
        format!("ws://{}", reached(self.chain.listen))
    }

    /// Address of the hub for its clients.
    pub fn hub_url(&self) -> String {
        format!("http://{}", reached(self.hub.listen))
    }

    /// The dashboard, where there is to be one and a validator whose records it can show.
    pub fn pages(&self) -> Option<&DashboardPart> {
        self.dashboard.as_ref().filter(|_| !self.validators.is_empty())
    }

    /// Address of its pages for browsers.
    pub fn dashboard_url(&self) -> Option<String> {
        self.pages().map(|part| format!("http://{}", reached(part.listen)))
    }

    /// What the config file of a participant says, which must belong to this network.
    pub fn config(&self, participant: &Participant) -> anyhow::Result<Config> {
        let path = self.path(&participant.config);
        let text = input::read_text(&path, SIZE_BYTES_MAX)?;
        let config: Config = toml::from_str(&text)
            .with_context(|| format!("{} is no config of a service", input::name(&path)))?;
        for (key, found, expected) in
            [("network", &config.network, self.chain_url()), ("hub", &config.hub, self.hub_url())]
        {
            let found = found.as_deref().unwrap_or("nothing");
            if found.trim_end_matches('/') != expected {
                let told = format!(
                    "`{key}` in {} names `{found}`, and the one of this network is at `{expected}`",
                    input::name(&path)
                );
                return Err(anyhow::anyhow!(told))
                    .hint("change it there, or `listen` in network.toml");
            }
        }
        Ok(config)
    }

    /// Makes this process the one that runs the network, for as long as the file is open.
    pub fn lock(&self) -> anyhow::Result<File> {
        let path = self.folder.join(LOCK);
        let told = || format!("cannot lock `{}`", self.folder.display());
        let file = File::options().write(true).create(true).truncate(false).open(&path);
        let file = file.with_context(told)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(anyhow::anyhow!("the network in `{}` runs already", self.folder.display()))
                    .hint("`agon network status` shows it; end it first, or make another folder")
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(told),
        }
    }

    /// Whether a process runs the network.
    pub fn is_running(&self) -> bool {
        // Shared: two who ask do not see each other.
        File::open(self.folder.join(LOCK))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}

impl Config {
    /// The keys of the participant.
    pub fn wallet(&self) -> anyhow::Result<Wallet> {
        let hotkey = self.hotkey.as_deref().unwrap_or(DEFAULT_NAME);
        Ok(Wallet::new(&self.wallet_path, &self.wallet, hotkey)?)
    }

    /// Competition files that a validator judges by.
    pub fn competition_files(&self) -> Vec<&str> {
        let named: Vec<&str> = match &self.competitions {
            Some(toml::Value::Array(named)) => {
                named.iter().filter_map(toml::Value::as_str).collect()
            }
            Some(toml::Value::String(named)) => named.split(',').collect(),
            _ => Vec::new(),
        };
        named.into_iter().map(str::trim).filter(|name| name.ends_with(".toml")).collect()
    }

    /// Address of its metrics, if it has one.
    pub fn listen(&self) -> Option<SocketAddr> {
        self.listen.as_ref()?.parse().ok()
    }
}

/// How clients on this machine reach what listens at an address.
fn reached(listen: SocketAddr) -> SocketAddr {
    match listen.ip().is_unspecified() {
        true => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), listen.port()),
        false => listen,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "format = 1\nnetuid = 1\n\
        [chain]\nlisten = \"127.0.0.1:9\"\nhome = \"node\"\nspec = \"chain.toml\"\nblock_time = \"1s\"\n\
        [hub]\nlisten = \"0.0.0.0:8\"\ndir = \"hub\"\n\
        [logs]\ndir = \"logs\"\nsize_bytes_max = 9\nn_files_max = 2\n\
        [[validators]]\nname = \"v\"\nconfig = \"v.toml\"\n";

    fn read(text: &str) -> anyhow::Result<Network> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, text).unwrap();
        Network::read(&path)
    }

    #[test]
    fn a_network_is_read_with_its_folder_and_reached_on_this_machine() {
        let network = read(TEXT).unwrap();
        assert_eq!(network.chain_url(), "ws://127.0.0.1:9");
        assert_eq!(network.hub_url(), "http://127.0.0.1:8");
        assert!(network.path(Path::new("node")).is_absolute());
        assert_eq!(network.participants().count(), 1);
        assert!(!network.chain.archive, "files of before say nothing of it");
    }

    #[test]
    fn what_is_wrong_with_a_network_is_named() {
        for (from, to, part) in [
            ("format = 1", "format = 2", "`format` is 2"),
            ("home", "hom", "unknown field `hom`"),
            ("\"v\"", "\"../v\"", "letters a to z"),
            ("\"v\"", "\"node\"", "two processes"),
            (":9\"", ":0\"", "under [chain]"),
            ("n_files_max = 2", "n_files_max = 0", "n_files_max"),
            (
                "[logs]",
                "[dashboard]\nlisten = \"127.0.0.1:0\"\nhome = \"d\"\n[logs]",
                "under [dashboard]",
            ),
            (
                "[logs]",
                "[dashboard]\nlisten = \"127.0.0.1:7\"\nhome = \"d\"\nport = 1\n[logs]",
                "unknown field `port`",
            ),
        ] {
            let error = format!("{:#}", read(&TEXT.replace(from, to)).unwrap_err());
            assert!(error.contains(part), "{to}: {error}");
        }
    }

    #[test]
    fn one_process_runs_a_network_and_others_see_that_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, TEXT).unwrap();
        let network = Network::read(&path).unwrap();
        assert!(!network.is_running());
        let lock = network.lock().unwrap();
        assert!(network.is_running());
        let error = network.lock().unwrap_err().to_string();
        assert!(error.contains("runs already"), "{error}");
        drop(lock);
        assert!(!network.is_running());
        network.lock().unwrap();
    }

    /// The config of the validator of a network, which says this.
    fn config(text: &str) -> anyhow::Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(&path, TEXT).unwrap();
        std::fs::write(folder.path().join("v.toml"), text).unwrap();
        let network = Network::read(&path)?;
        network.config(&network.validators[0])
    }

    const CONFIG: &str = "network = \"ws://127.0.0.1:9\"\nhub = \"http://127.0.0.1:8\"\n\
        wallet = \"me\"\nhotkey = \"two\"\nwallet_path = \"w\"\nhome = \"h\"\n";

    #[test]
    fn a_config_belongs_to_its_network_by_whatever_names_its_keys_have() {
        let plain = config(CONFIG).unwrap();
        assert_eq!(plain.wallet().unwrap().hotkey_path(), Path::new("w/me/hotkeys/two"));
        for (from, to) in [
            ("127.0.0.1:9\"", "127.0.0.1:9/\""),
            ("network", "chain"),
            ("network", "subtensor_chain_endpoint"),
            ("wallet =", "wallet_name ="),
            ("hotkey =", "wallet-hotkey ="),
            ("wallet_path", "wallet-path"),
            ("home", "threads = 4\nhome"),
        ] {
            let found = config(&CONFIG.replace(from, to)).unwrap_or_else(|e| panic!("{to}: {e:#}"));
            assert_eq!(
                found.wallet().unwrap().hotkey_path(),
                plain.wallet().unwrap().hotkey_path()
            );
        }
        let unnamed = config(&CONFIG.replace("hotkey = \"two\"\n", "")).unwrap();
        let hotkeys = Path::new("w/me/hotkeys");
        assert_eq!(unnamed.wallet().unwrap().hotkey_path(), hotkeys.join(DEFAULT_NAME));
        for (from, to, parts) in [
            ("ws://127.0.0.1:9", "local", ["`network`", "`local`", "`ws://127.0.0.1:9`"]),
            ("ws://127.0.0.1:9", "ws://127.0.0.1:99", ["`network`", ":99`", "v.toml"]),
            ("hub =", "hob =", ["`hub`", "`nothing`", "`http://127.0.0.1:8`"]),
            ("wallet =", "walet =", ["v.toml", "no config of a service", "wallet"]),
            ("home = \"h\"", "home = 7", ["v.toml", "no config of a service", "string"]),
        ] {
            let error = format!("{:#}", config(&CONFIG.replace(from, to)).unwrap_err());
            for part in parts {
                assert!(error.contains(part), "{to}: no {part} in {error}");
            }
        }
    }

    #[test]
    fn competition_files_are_found_in_either_way_in_which_a_config_names_them() {
        for (named, expected) in [
            ("", &[][..]),
            ("competitions = []", &[]),
            ("competitions = \"owner\"", &[]),
            ("competitions = 7", &[]),
            ("competitions = [\"tiny\", \"a.toml\", \"sub/b.toml\"]", &["a.toml", "sub/b.toml"]),
            ("competitions = \"a.toml, tiny ,sub/b.toml\"", &["a.toml", "sub/b.toml"]),
            ("competitions = [\"a.toml\", 7]", &["a.toml"]),
        ] {
            assert_eq!(config(&format!("{CONFIG}{named}")).unwrap().competition_files(), expected);
        }
        for (listen, expected) in [("127.0.0.1:7", Some(7)), ("nowhere", None), ("127.0.0.1", None)]
        {
            let config = config(&format!("{CONFIG}listen = \"{listen}\"")).unwrap();
            assert_eq!(config.listen().map(|listen| listen.port()), expected, "{listen}");
        }
    }

    #[test]
    fn names_of_processes_are_names_of_files_of_some_length() {
        let named = |name: &str| read(&TEXT.replace("name = \"v\"", &format!("name = \"{name}\"")));
        let longest = "v".repeat(NAME_LETTERS_MAX);
        for name in ["v", "validator-1", longest.as_str()] {
            named(name).unwrap();
        }
        let longer = format!("{longest}v");
        for name in ["", "V", "v.log", "v/w", "..", "vé", "v w", "network", "hub", longer.as_str()]
        {
            let error = format!("{:#}", named(name).unwrap_err());
            assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
        }
    }
}
