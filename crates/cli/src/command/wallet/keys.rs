//! The keys that a command line names.

use crate::{args::WalletArgs, failure::HintExt as _, private, terminal::spinner};
use anyhow::Context as _;
use chain::{Keypair, Wallet, wallet::Password};
use protocol::AccountId;
use std::{
    env,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Where a script puts the password of a coldkey.
const PASSWORD_VARIABLE: &str = "AGON_WALLET_PASSWORD";

/// The keys of a wallet, opened when they are needed.
pub struct Keys<'a> {
    args: &'a WalletArgs,
}

impl<'a> Keys<'a> {
    /// The keys that the options name.
    pub fn new(args: &'a WalletArgs) -> Self {
        Self { args }
    }

    /// Whether they are keys that everybody knows.
    pub fn are_for_development(&self) -> bool {
        self.args.wallet.starts_with("//")
    }

    /// The coldkey; asks for its password if it has one.
    pub fn coldkey(&self) -> anyhow::Result<Keypair> {
        if self.are_for_development() {
            return Ok(Keypair::from_uri(&self.args.wallet)?);
        }
        self.open(|wallet, password| wallet.load_coldkey(password))
    }

    /// The hotkey; a development key's hotkeys are derived from it by name.
    pub fn hotkey(&self) -> anyhow::Result<Keypair> {
        if self.are_for_development() {
            return Ok(Keypair::from_uri(&format!("{}//{}", self.args.wallet, self.args.hotkey))?);
        }
        self.open(|wallet, password| wallet.load_hotkey(password))
    }

    /// Account of the coldkey, for which no password is needed.
    pub fn coldkey_account(&self) -> anyhow::Result<AccountId> {
        if self.are_for_development() {
            return self.coldkey().map(|key| key.public());
        }
        wallet(self.args)?.coldkey_address().hint(MAKE_ONE)
    }

    /// Account of the hotkey, for which no password is needed.
    pub fn hotkey_account(&self) -> anyhow::Result<AccountId> {
        if self.are_for_development() {
            return self.hotkey().map(|key| key.public());
        }
        wallet(self.args)?.hotkey_address().hint(MAKE_ONE)
    }

    fn open(
        &self,
        load: impl Fn(&Wallet, Password<'_>) -> Result<Keypair, chain::wallet::WalletError>,
    ) -> anyhow::Result<Keypair> {
        let wallet = wallet(self.args)?;
        let (coldkey, hotkey) = (wallet.coldkey_path(), wallet.hotkey_path());
        let folders = [&coldkey, &hotkey].map(|path| path.parent().unwrap_or(path));
        let [folder, hotkeys] = folders;
        private::warn_of_open(&[folder, &coldkey, hotkeys, &hotkey]);
        let bar = spinner("opening the key");
        let person = |path: &Path| bar.suspend(|| ask(path));
        let environment = |variable: &str| env::var(variable).ok();
        let keys = load(&wallet, Password::Ask { environment: &environment, person: &person });
        bar.finish_and_clear();
        keys.hint(MAKE_ONE)
    }
}

const MAKE_ONE: &str = "`agon wallet list` shows the wallets, `agon wallet create` makes one; name one with --wallet and --hotkey";

/// The wallet that the options name.
pub fn wallet(args: &WalletArgs) -> anyhow::Result<Wallet> {
    Ok(Wallet::new(&root(args.wallet_path.as_deref())?, &args.wallet, &args.hotkey)?)
}

/// The folder of the wallets.
pub fn root(path: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home = home.context("there is no home folder").hint("name a folder with --wallet-path")?;
    Ok(home.join(".bittensor").join("wallets"))
}

/// The password of the key at a path, from the environment or a person.
fn ask(path: &Path) -> Option<Zeroizing<String>> {
    if let Ok(password) = env::var(PASSWORD_VARIABLE) {
        return Some(Zeroizing::new(password));
    }
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let question = format!("Password of {}: ", path.display());
    rpassword::prompt_password(question).ok().map(Zeroizing::new)
}

/// A password for a new coldkey; `None` if it shall have none.
pub fn new_password(no_password: bool) -> anyhow::Result<Option<Zeroizing<String>>> {
    if no_password {
        return Ok(None);
    }
    if let Ok(password) = env::var(PASSWORD_VARIABLE) {
        return Ok(Some(Zeroizing::new(password)));
    }
    if !std::io::stdin().is_terminal() {
        return Err(anyhow::anyhow!("a coldkey needs a password, and there is nobody to ask"))
            .hint(format!("set {PASSWORD_VARIABLE}, or keep it in the clear with --no-password"));
    }
    let ask = |question| rpassword::prompt_password(question).map(Zeroizing::new);
    let password = ask("Password for the coldkey: ").context("cannot ask for a password")?;
    let again = ask("The same again: ").context("cannot ask for a password")?;
    anyhow::ensure!(*password == *again, "the two passwords differ; nothing was written");
    Ok(Some(password))
}
