//! `agon wallet`: keys on this machine, in the files of Bittensor's wallets.

mod keys;

pub use keys::Keys;

use crate::{
    args::{CreateWalletArgs, ImportWalletArgs, ListWalletsArgs, WalletCommand, WalletCommandArgs},
    failure::HintExt as _,
    terminal::{print, print_json, shown, spinner},
};
use ::keys::{
    Phrase, Wallet,
    wallet::{self, Existing, WalletError},
};
use anyhow::Context as _;
use protocol::AccountId;
use serde::Serialize;
use std::{
    io::{BufRead as _, IsTerminal as _},
    process::ExitCode,
};
use zeroize::Zeroizing;

/// Longest line of words that is read.
const WORDS_BYTES_MAX: u64 = 1_024;

/// Runs one command on the wallets of this machine.
pub fn run(args: &WalletCommandArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        WalletCommand::Create(args) => create(args),
        WalletCommand::Import(args) => import(args),
        WalletCommand::List(args) => list(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What was written, as `--json` tells it; no secrets.
#[derive(Serialize)]
struct Written<'a> {
    wallet: &'a str,
    hotkey_name: &'a str,
    coldkey: Option<AccountId>,
    hotkey: Option<AccountId>,
}

fn create(args: &CreateWalletArgs) -> anyhow::Result<()> {
    let wallet = keys::wallet(&args.wallet)?;
    let has_coldkey = match wallet.coldkey_address() {
        Ok(_) => true,
        Err(WalletError::Missing { .. }) => false,
        Err(other) => return Err(other.into()),
    };
    anyhow::ensure!(
        !wallet.hotkey_path().exists(),
        "the hotkey `{}` of wallet `{}` is there already: name another one with --hotkey",
        args.wallet.hotkey,
        args.wallet.wallet
    );
    let coldkey = if has_coldkey {
        wallet.coldkey_address()?
    } else {
        let phrase = Phrase::generate()?;
        let password = keys::new_password(args.no_password)?;
        let coldkey = seal(&wallet, &phrase, password.as_ref())?;
        tell("coldkey", &phrase);
        coldkey
    };
    let phrase = Phrase::generate()?;
    let hotkey = wallet.create_hotkey(&phrase, None, Existing::Keep)?;
    tell("hotkey", &phrase);
    written(args.json, &args.wallet.wallet, &args.wallet.hotkey, (Some(coldkey), Some(hotkey)))
}

/// Writes the coldkey, which takes seconds if it is encrypted.
fn seal(
    wallet: &Wallet,
    phrase: &Phrase,
    password: Option<&Zeroizing<String>>,
) -> anyhow::Result<AccountId> {
    let bar = spinner("encrypting the coldkey");
    let password = password.map(|password| password.as_str());
    let account = wallet.create_coldkey(phrase, password, Existing::Keep);
    bar.finish_and_clear();
    Ok(account?)
}

/// Shows the words once, to a person at a terminal: a file or a log would keep them.
fn tell(what: &str, phrase: &Phrase) {
    if !std::io::stderr().is_terminal() {
        eprintln!(
            "The words of the new {what} are not shown, because this is no terminal; the key holds them."
        );
        return;
    }
    let words = phrase.words();
    eprintln!(
        "Words of the new {what}; whoever has them has the key, and without them and the file \
         nobody can get it back:"
    );
    eprintln!("  {}", words.as_str());
}

fn written(
    json: bool,
    wallet: &str,
    hotkey_name: &str,
    (coldkey, hotkey): (Option<AccountId>, Option<AccountId>),
) -> anyhow::Result<()> {
    if json {
        return print_json(&Written { wallet, hotkey_name, coldkey, hotkey });
    }
    let mut text = format!("wallet `{wallet}`\n");
    if let Some(coldkey) = coldkey {
        text += &format!("  coldkey  {coldkey}\n");
    }
    if let Some(hotkey) = hotkey {
        text += &format!("  hotkey   {hotkey}  ({hotkey_name})\n");
    }
    print(&text)
}

fn import(args: &ImportWalletArgs) -> anyhow::Result<()> {
    let wallet = keys::wallet(&args.wallet)?;
    let phrase = read_words()?;
    let (name, hotkey_name) = (&args.wallet.wallet, &args.wallet.hotkey);
    if args.as_hotkey {
        let hotkey = wallet.create_hotkey(&phrase, None, Existing::Keep)?;
        return written(args.json, name, hotkey_name, (None, Some(hotkey)));
    }
    let password = keys::new_password(args.no_password)?;
    let coldkey = seal(&wallet, &phrase, password.as_ref())?;
    written(args.json, name, hotkey_name, (Some(coldkey), None))
}

/// The words of a key, from a person without an echo, or from standard input.
fn read_words() -> anyhow::Result<Phrase> {
    let mut words = Zeroizing::new(String::new());
    if std::io::stdin().is_terminal() {
        words = Zeroizing::new(
            rpassword::prompt_password("Words: ").context("cannot ask for the words")?,
        );
    } else {
        use std::io::Read as _;
        let mut input = std::io::stdin().lock().take(WORDS_BYTES_MAX);
        input.read_line(&mut words).context("cannot read the words")?;
    }
    words.trim().parse().hint("the words stand in one line, with a space between them")
}

/// A wallet as `--json` tells it.
#[derive(Serialize)]
struct ListedWallet {
    wallet: String,
    coldkey: Option<AccountId>,
    hotkeys: Vec<ListedHotkey>,
    /// Why something cannot be read.
    trouble: Option<String>,
}

#[derive(Serialize)]
struct ListedHotkey {
    name: String,
    address: Option<AccountId>,
    trouble: Option<String>,
}

fn list(args: &ListWalletsArgs) -> anyhow::Result<()> {
    let root = keys::root(args.wallet_path.as_deref())?;
    let wallets = wallet::list(&root).hint("`agon wallet create` makes a wallet")?;
    let wallets: Vec<ListedWallet> = wallets.into_iter().map(listed).collect();
    if args.json {
        return print_json(&wallets);
    }
    print(&format!("wallets in {}\n{}", root.display(), table(&wallets)))
}

/// A line for each key; names of folders and files are whatever somebody gave them.
fn table(wallets: &[ListedWallet]) -> String {
    let key = |name: &str, address: Option<AccountId>, trouble: &Option<String>| {
        let address = address.map(|address| address.to_string());
        let parts = [address.as_ref(), trouble.as_ref()].into_iter().flatten();
        let parts: Vec<&str> = parts.map(String::as_str).collect();
        shown(&format!("{name}  {}", parts.join("  ")))
    };
    let mut text = String::new();
    for ListedWallet { wallet, coldkey, hotkeys, trouble } in wallets {
        text += &(key(wallet, *coldkey, trouble) + "\n");
        for ListedHotkey { name, address, trouble } in hotkeys {
            text += &format!("  {}\n", key(name, *address, trouble));
        }
    }
    text
}

fn listed(wallet: wallet::Listed) -> ListedWallet {
    let (coldkey, mut trouble) = addressed(wallet.coldkey);
    let (hotkeys, more) = split(wallet.hotkeys);
    trouble = trouble.or(more);
    let hotkeys = hotkeys.unwrap_or_default().into_iter().map(|hotkey| {
        let (address, trouble) = addressed(hotkey.address);
        ListedHotkey { name: hotkey.name, address, trouble }
    });
    ListedWallet { wallet: wallet.name, coldkey, hotkeys: hotkeys.collect(), trouble }
}

fn split<T>(result: Result<T, WalletError>) -> (Option<T>, Option<String>) {
    match result {
        Ok(value) => (Some(value), None),
        Err(error) => (None, Some(error.to_string())),
    }
}

/// An address and what is wrong with its key; a key of another kind has both.
fn addressed(result: Result<AccountId, WalletError>) -> (Option<AccountId>, Option<String>) {
    let known = match &result {
        Err(WalletError::CryptoType { address, .. }) => *address,
        _ => None,
    };
    let (address, trouble) = split(result);
    (address.or(known), trouble)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::text::is_plain;

    #[test]
    fn attack_names_of_folders_and_files_make_no_lines_of_their_own() {
        let account = AccountId([1; 32]);
        let hotkey = |name: &str, trouble: Option<&str>| ListedHotkey {
            name: name.to_owned(),
            address: trouble.is_none().then_some(account),
            trouble: trouble.map(str::to_owned),
        };
        let wallet = ListedWallet {
            wallet: "a\nb  5Forged".to_owned(),
            coldkey: Some(account),
            hotkeys: vec![hotkey("h\u{202e}\t", None), hotkey("\u{1b}[2J", Some("one\r\ntwo"))],
            trouble: Some("a key of another kind".to_owned()),
        };
        let text = table(&[wallet]);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.chars().all(|letter| letter == '\n' || is_plain(letter)), "{text:?}");
        assert_eq!(text.matches(&account.to_string()).count(), 2, "{text}");
        assert!(text.contains("a key of another kind"), "{text}");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn a_key_that_cannot_be_used_is_listed_with_what_is_known_of_it() {
        let account = AccountId([1; 32]);
        assert_eq!(addressed(Ok(account)), (Some(account), None));
        let path = || std::path::PathBuf::from("w/me/coldkey");
        let of_type =
            |address| WalletError::CryptoType { path: path(), crypto_type: "2".into(), address };
        for (error, address) in [
            (of_type(Some(account)), Some(account)),
            (of_type(None), None),
            (WalletError::Missing { path: path() }, None),
        ] {
            let (found, trouble) = addressed(Err(error));
            assert_eq!(found, address);
            assert!(trouble.is_some_and(|trouble| trouble.contains("w/me/coldkey")));
        }
        let missing = || WalletError::Missing { path: path() };
        let (name, hotkeys) = ("me".to_owned(), Err(missing()));
        let found = listed(wallet::Listed { name, coldkey: Err(missing()), hotkeys });
        let json = serde_json::to_value(&found).unwrap();
        assert_eq!(
            (&json["coldkey"], &json["hotkeys"]),
            (&serde_json::json!(null), &serde_json::json!([]))
        );
        assert!(json["trouble"].as_str().unwrap().contains("w/me/coldkey"), "{json}");
    }
}
