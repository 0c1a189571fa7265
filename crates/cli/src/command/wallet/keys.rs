//! The keys that a command line names.

use crate::{
    args::WalletArgs,
    failure::{HintExt as _, hinted},
    private,
    terminal::spinner,
};
use anyhow::Context as _;
use chain::Keypair;
use keys::{
    Wallet,
    wallet::{Password, WalletError},
};
use protocol::AccountId;
use std::{
    env,
    io::IsTerminal as _,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Where a script puts the password of a coldkey: ours, and the one that `btcli` reads.
const PASSWORD_VARIABLES: [&str; 2] = ["AGON_WALLET_PASSWORD", "BT_WALLET_PASSWORD"];

/// How often a person is asked for a password.
const ASKED_MAX: usize = 3;

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
        wallet(self.args)?.coldkey_address().map_err(|error| advised(error, self.args))
    }

    /// Account of the hotkey, for which no password is needed.
    pub fn hotkey_account(&self) -> anyhow::Result<AccountId> {
        if self.are_for_development() {
            return self.hotkey().map(|key| key.public());
        }
        wallet(self.args)?.hotkey_address().map_err(|error| advised(error, self.args))
    }

    fn open(
        &self,
        load: impl Fn(&Wallet, Password<'_>) -> Result<Keypair, WalletError>,
    ) -> anyhow::Result<Keypair> {
        let wallet = wallet(self.args)?;
        let (coldkey, hotkey) = (wallet.coldkey_path(), wallet.hotkey_path());
        let folders = [&coldkey, &hotkey].map(|path| path.parent().unwrap_or(path));
        let [folder, hotkeys] = folders;
        private::warn_of_open(&[folder, &coldkey, hotkeys, &hotkey]);
        let mut asked = 0;
        loop {
            let bar = spinner("opening the key");
            let person = |path: &Path| bar.suspend(|| ask(path));
            let environment = |variable: &str| env::var(variable).ok();
            let password = Password::Ask { environment: &environment, person: &person };
            let keys = load(&wallet, password);
            bar.finish_and_clear();
            asked += 1;
            match keys {
                Err(WalletError::WrongPassword { path }) if can_ask() && asked < ASKED_MAX => {
                    eprintln!("wrong password for `{}`", path.display());
                }
                keys => return keys.map_err(|error| advised(error, self.args)),
            }
        }
    }
}

/// A failure to open a key, with what mends this failure and no other.
pub fn advised(error: WalletError, args: &WalletArgs) -> anyhow::Error {
    let [ours, theirs] = PASSWORD_VARIABLES;
    let name = &args.wallet;
    let hint = match &error {
        WalletError::NoFolder { .. } => {
            "`agon wallet create` makes a wallet, --wallet-path names another folder".to_owned()
        }
        WalletError::Missing { path } if path.ends_with("coldkey") => format!(
            "the coldkey signs what costs money: run this where it is kept, or bring it here with \
             `agon wallet import --wallet {name}`; `agon wallet list` shows what is here"
        ),
        WalletError::Missing { .. } => format!(
            "`agon wallet list` shows what is here; name another with --wallet and --hotkey, or \
             make it with `agon wallet create --wallet {name} --hotkey {}`",
            args.hotkey
        ),
        WalletError::PasswordNeeded { .. } => {
            format!("there is nobody to ask: set {ours}, or {theirs} as for `btcli`")
        }
        WalletError::WrongPassword { .. } => match variable() {
            Some((variable, _)) => format!("the password came from {variable}"),
            None => {
                format!("`agon wallet import --wallet {name}` makes the key again from its words")
            }
        },
        _ => return error.into(),
    };
    hinted(error, hint)
}

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

/// The first of the variables with a password that is set, and its value.
fn variable() -> Option<(&'static str, Zeroizing<String>)> {
    PASSWORD_VARIABLES.into_iter().find_map(|variable| {
        env::var(variable).ok().map(|password| (variable, Zeroizing::new(password)))
    })
}

/// Whether there is a person who can be asked for a password, and nothing that answers instead.
fn can_ask() -> bool {
    variable().is_none() && std::io::stdin().is_terminal()
}

/// The password of the key at a path, from the environment or a person.
fn ask(path: &Path) -> Option<Zeroizing<String>> {
    if let Some((_, password)) = variable() {
        return Some(password);
    }
    if !can_ask() {
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
    if let Some((_, password)) = variable() {
        return Ok(Some(password));
    }
    if !std::io::stdin().is_terminal() {
        return Err(anyhow::anyhow!("a coldkey needs a password, and there is nobody to ask"))
            .hint(format!(
                "set {}, or keep it in the clear with --no-password",
                PASSWORD_VARIABLES[0]
            ));
    }
    let ask = |question| rpassword::prompt_password(question).map(Zeroizing::new);
    let password = ask("Password for the coldkey: ").context("cannot ask for a password")?;
    let again = ask("The same again: ").context("cannot ask for a password")?;
    anyhow::ensure!(*password == *again, "the two passwords differ; nothing was written");
    Ok(Some(password))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Hinted;

    fn args(wallet: &str, hotkey: &str) -> WalletArgs {
        WalletArgs { wallet: wallet.to_owned(), hotkey: hotkey.to_owned(), wallet_path: None }
    }

    #[test]
    fn each_failure_to_open_a_key_has_its_own_advice() {
        let args = args("me", "two");
        for (error, parts) in [
            (
                WalletError::NoFolder { path: "w".into() },
                &["agon wallet create", "--wallet-path"][..],
            ),
            (
                WalletError::Missing { path: "w/me/coldkey".into() },
                &["agon wallet import --wallet me", "agon wallet list"],
            ),
            (
                WalletError::Missing { path: "w/me/hotkeys/two".into() },
                &["agon wallet create --wallet me --hotkey two", "agon wallet list"],
            ),
            (WalletError::PasswordNeeded { path: "w".into() }, &PASSWORD_VARIABLES),
        ] {
            let told = error.to_string();
            let advised = advised(error, &args);
            assert_eq!(advised.to_string(), told);
            let hint = format!("{:?}", advised.downcast_ref::<Hinted>());
            for part in parts {
                assert!(hint.contains(part), "{told}: no `{part}` in {hint}");
            }
        }
        let other = advised(WalletError::NotAFile { path: "w".into() }, &args);
        assert!(other.downcast_ref::<Hinted>().is_none() && other.is::<WalletError>());
    }

    #[test]
    fn keys_of_development_are_those_that_everybody_knows() {
        let alice = args("//Alice", "default");
        let keys = Keys::new(&alice);
        assert!(keys.are_for_development());
        let coldkey = keys.coldkey_account().unwrap();
        assert_eq!(coldkey.to_string(), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
        assert_eq!(keys.coldkey().unwrap().public(), coldkey);
        let hotkey = keys.hotkey_account().unwrap();
        assert_eq!(hotkey, Keypair::from_uri("//Alice//default").unwrap().public());
        let other = args("//Alice", "other");
        assert_ne!(Keys::new(&other).hotkey_account().unwrap(), hotkey);
        for name in ["Alice", "/Alice", "default"] {
            assert!(!Keys::new(&args(name, "default")).are_for_development(), "{name}");
        }
    }

    #[test]
    fn a_wallet_is_looked_for_where_the_options_say_and_never_outside_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(root(Some(folder.path())).unwrap(), folder.path());
        for (name, hotkey) in [
            ("../me", "default"),
            ("me", "../../x"),
            ("", "default"),
            ("me", ""),
            ("a\nb", "default"),
        ] {
            let odd =
                WalletArgs { wallet_path: Some(folder.path().to_owned()), ..args(name, hotkey) };
            let error = Keys::new(&odd).hotkey_account().unwrap_err().to_string();
            assert!(error.contains("cannot be the name of a"), "{name} {hotkey}: {error}");
        }
        let none =
            WalletArgs { wallet_path: Some(folder.path().join("none")), ..args("me", "two") };
        let error = Keys::new(&none).coldkey_account().unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
