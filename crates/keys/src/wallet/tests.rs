//! Wallets in real folders; those of btwallet were written by bittensor-wallet 4.1.1.

use super::*;
use crate::KeyError;
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
};
use tempfile::TempDir;

/// The phrase of all keys here, which is one of BIP39's own test vectors.
const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

/// Its account.
const ADDRESS: &str = "5EHgWw2Af1pnoc7f1A8bfmM97W3DAYW8xr82RfhLL9oAabAe";

/// A hotkey of [`WORDS`] by btwallet.
const HOTKEY_OF_BTWALLET: &str = r#"{"publicKey":"0x625e25364c7b68e0a83065ccb40afed43f8fe933e669b24f3d69a57eddb3b715",
    "privateKey":"0xad8a44476e667ef8eab356d1d6f09303f21ba1ac44a3f8b96210bdd603d1900bb25d15f130020fffc3261f584f84168e7a6f0009f6c3abb2f3fa460f493b0595",
    "secretPhrase":"legal winner thank year wave sausage worth useful legal winner thank yellow",
    "secretSeed":"0x6fa2796b0071cac425d8a7851038318c2c37dcebfe4bae73197ce93e75909bd2",
    "ss58Address":"5EHgWw2Af1pnoc7f1A8bfmM97W3DAYW8xr82RfhLL9oAabAe",
    "cryptoType":1,
    "accountId":"0x625e25364c7b68e0a83065ccb40afed43f8fe933e669b24f3d69a57eddb3b715"}"#;

/// A coldkey of `//Alice` by btwallet, which keeps neither words nor seed of a URI.
const ALICE_OF_BTWALLET: &str = r#"{"accountId":"0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
    "ss58Address":"5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
    "publicKey":"0xd43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d",
    "privateKey":"0x33a6f3093f158a7109f679410bef1a0c54168145e0cecb4df006c1c2fffb1f09925a225d97aa00682d6a59b95b18780c10d7032336e88f3442b42361f4a66011",
    "cryptoType":1}"#;

const ALICE: &str = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY";

/// A `coldkeypub.txt` by btwallet.
const PUBLIC_OF_BTWALLET: &str = r#"{"cryptoType":1,
    "accountId":"0x625e25364c7b68e0a83065ccb40afed43f8fe933e669b24f3d69a57eddb3b715",
    "publicKey":"0x625e25364c7b68e0a83065ccb40afed43f8fe933e669b24f3d69a57eddb3b715",
    "ss58Address":"5EHgWw2Af1pnoc7f1A8bfmM97W3DAYW8xr82RfhLL9oAabAe"}"#;

/// The password of [`COLDKEY_OF_BTWALLET`].
const PASSWORD: &str = "throwaway-1";

/// A coldkey of [`WORDS`], encrypted by btwallet, in base64.
const COLDKEY_OF_BTWALLET: &str = "\
    JE5BQ0woQZT1ICuZJaluM8X3RDcFQunoI5yF+V+aek6U0FyufloEsWi2ihuGpDT0G2UdBJhFpZX3GNxONP9awC2p\
    BW3nA+i5/Iu9UTp0Y9MqS+ky6p7FDlS+W2u00xpFpZI1o4L3Ut7M7v0pdVh1JWfyrsbJra7Fq73AukKi4w+FGUqL\
    xC681AupUCk/qkmwj2NkepHiea8vt6V7CF0KkjcftNFgxxWc0Ttolse7yqx0WUcTQm6skshW5IFOjEdcxBV2UMug\
    LvTlvpvWxafB01tur8lhDncepQ9Ekb0oScHvkP+8jlAwl3z85WZQuBvAZuuq2SgLp9bSKJ93fOeZogHpMKuwCGNc\
    uRIXZbFpzfQ9eIapg5eW2nNNTVcjeHYpwaz9NKCe061ofPUK9zXv3JUnCts5Q+Nun2T4vv1vl+4/E5Nz/y4eBeEp\
    nmT4OG22IWCl7grhK69ddkVJaRkLQiQb00Z1aeaAIZNETdAPn0nyE2sWEaJq6CLMLYT6VDQQt2xPfWhKsbfHuaMk\
    ZotZZzG2/1u4ZbTAVsOgzEM+jacIlnz9f/WvOkbILrWyIxYoJakHuB7uzdAgIWQbeFhGVgYYfLYXd84HYmlGOhLl\
    OiKsXhRjza7BCg72WnzpMhdUvIladjJLn7lnyIFET+PqR5lNpHKXSA5Wdeu7gt+FwYits+wYGjpcc+uDgX/J+wcp\
    AtELYC0vasrwV/5r/WGUreyOZUicrY+6uLriVcn9955qbmDwbcgEFcLlMR5G2CNfmFZvhYpEgyx+bbEf0wutqKrQ\
    CbK4dgnLRvIVLANtLXLT";

const NOBODY: Password<'_> = Password::Ask { environment: &|_| None, person: &|_| None };

fn phrase() -> Phrase {
    WORDS.parse().unwrap()
}

fn wallet() -> (Wallet, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Wallet::new(dir.path(), "miner", "first").unwrap(), dir)
}

/// A wallet whose hotkey is this file.
fn wallet_with_hotkey(bytes: impl AsRef<[u8]>) -> (Wallet, TempDir) {
    let (wallet, dir) = wallet();
    fs::create_dir_all(wallet.hotkeys_folder()).unwrap();
    fs::write(wallet.hotkey_path(), bytes).unwrap();
    (wallet, dir)
}

/// Why a hotkey with these bytes does not load.
fn refused(bytes: impl AsRef<[u8]>) -> WalletError {
    let (wallet, _dir) = wallet_with_hotkey(bytes);
    let error = wallet.load_hotkey(NOBODY).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&wallet.hotkey_path().display().to_string()), "{message}");
    error
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn keys_of_btwallet_are_read() {
    let (wallet, _dir) = wallet_with_hotkey(HOTKEY_OF_BTWALLET);
    let keys = wallet.load_hotkey(NOBODY).unwrap();
    assert_eq!(keys.to_string(), ADDRESS);
    assert_eq!(wallet.hotkey_address().unwrap(), keys.public());

    fs::write(wallet.coldkey_path(), ALICE_OF_BTWALLET).unwrap();
    let keys = wallet.load_coldkey(NOBODY).unwrap();
    let alice = Keypair::from_uri("//Alice").unwrap();
    assert_eq!(keys.to_string(), ALICE);
    assert_eq!(keys.sign(b"x"), alice.sign(b"x"), "the nonce key must be hers as well");
    assert_eq!(wallet.coldkey_address().unwrap(), alice.public(), "without a coldkeypub.txt");
}

#[test]
fn an_encrypted_coldkey_of_btwallet_opens_with_its_password_only() {
    let (wallet, _dir) = wallet_with_hotkey(HOTKEY_OF_BTWALLET);
    let (path, public) = (wallet.coldkey_path(), wallet.folder().join("coldkeypub.txt"));
    fs::write(&path, BASE64_STANDARD.decode(COLDKEY_OF_BTWALLET).unwrap()).unwrap();

    let unknown = wallet.coldkey_address();
    assert!(matches!(unknown, Err(WalletError::AddressUnknown { .. })), "{unknown:?}");
    fs::write(&public, PUBLIC_OF_BTWALLET).unwrap();
    assert_eq!(wallet.coldkey_address().unwrap().to_string(), ADDRESS);

    let closed = wallet.load_coldkey(NOBODY);
    assert!(matches!(closed, Err(WalletError::PasswordNeeded { .. })), "{closed:?}");
    let asked = |asked: &Path| (asked == path).then(|| Zeroizing::new(PASSWORD.to_owned()));
    let password = Password::Ask { environment: &|_| None, person: &asked };
    let keys = wallet.load_coldkey(password).unwrap();
    assert_eq!(keys.to_string(), ADDRESS);
    let wrong = wallet.load_coldkey(Password::Given("throwaway-2"));
    assert!(matches!(wrong, Err(WalletError::WrongPassword { .. })), "{wrong:?}");
}

#[test]
fn an_encrypted_key_is_written_and_read() {
    let (wallet, _dir) = wallet();
    let account = wallet.create_coldkey(&phrase(), Some("pässword"), Existing::Keep).unwrap();
    let bytes = fs::read(wallet.coldkey_path()).unwrap();
    assert!(bytes.starts_with(b"$NACL"));
    assert_eq!(wallet.coldkey_address().unwrap(), account);
    let keys = wallet.load_coldkey(Password::Given("pässword")).unwrap();
    assert_eq!(keys.public(), account);
}

#[test]
fn new_keys_have_the_fields_of_btwallet() {
    let (wallet, _dir) = wallet();
    let account = wallet.create_hotkey(&phrase(), None, Existing::Keep).unwrap();
    assert_eq!(account.to_string(), ADDRESS);
    assert_eq!(wallet.create_coldkey(&phrase(), None, Existing::Keep).unwrap(), account);
    let json = |path: PathBuf| -> serde_json::Value {
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    let expected: serde_json::Value = serde_json::from_str(HOTKEY_OF_BTWALLET).unwrap();
    assert_eq!(json(wallet.hotkey_path()), expected);
    assert_eq!(json(wallet.coldkey_path()), expected);
    let expected: serde_json::Value = serde_json::from_str(PUBLIC_OF_BTWALLET).unwrap();
    assert_eq!(json(wallet.folder().join("coldkeypub.txt")), expected);
    assert_eq!(json(wallet.hotkeys_folder().join("firstpub.txt")), expected);
    assert_eq!(wallet.load_hotkey(NOBODY).unwrap().public(), account);
    assert_eq!(wallet.load_coldkey(NOBODY).unwrap().public(), account);
}

#[test]
fn the_longest_keyfile_fits_the_room_made_for_it() {
    let longest = ["abstract"; 23].join(" ");
    let words = bip39::Language::English.word_list();
    let ends = words.iter().map(|word| format!("{longest} {word}"));
    let phrase: Phrase = ends.filter_map(|text| text.parse().ok()).next().unwrap();
    let json = keyfile::encode(&phrase);
    assert!(json.len() > 600, "{}", json.len());
    assert_eq!(json.capacity(), 1024, "it grew, and growing leaves a copy behind");
}

#[test]
fn only_the_owner_may_use_what_is_written_and_nothing_is_left_over() {
    let (wallet, dir) = wallet();
    let root = dir.path().join("not/there/yet");
    let wallet = Wallet { root: root.clone(), ..wallet };
    wallet.create_coldkey(&phrase(), None, Existing::Keep).unwrap();
    wallet.create_hotkey(&phrase(), None, Existing::Keep).unwrap();
    wallet.create_hotkey(&phrase(), None, Existing::Keep).unwrap_err();
    wallet.create_hotkey(&phrase(), None, Existing::Overwrite).unwrap();
    let files = files_below(&root);
    let expected = ["coldkey", "coldkeypub.txt", "hotkeys/first", "hotkeys/firstpub.txt"];
    assert_eq!(files, expected.map(|file| wallet.folder().join(file)));
    assert!(files.iter().all(|file| mode(file) == 0o600));
    for folder in [dir.path().join("not"), root, wallet.folder(), wallet.hotkeys_folder()] {
        assert_eq!(mode(&folder), 0o700, "{folder:?}");
    }
}

#[test]
fn what_is_there_is_replaced_only_if_that_was_asked_for() {
    let (wallet, _dir) = wallet();
    let public = wallet.folder().join("coldkeypub.txt");
    let first = wallet.create_coldkey(&phrase(), None, Existing::Keep).unwrap();
    let other = Phrase::generate().unwrap();
    for _ in 0..2 {
        let kept = wallet.create_coldkey(&other, None, Existing::Keep);
        assert!(matches!(kept, Err(WalletError::Exists { .. })), "{kept:?}");
        // The address alone is worth keeping too: its secret may be on another machine.
        fs::remove_file(wallet.coldkey_path()).ok();
    }
    assert_eq!(wallet.coldkey_address().unwrap(), first);

    let second = wallet.create_coldkey(&other, None, Existing::Overwrite).unwrap();
    assert_ne!(second, first);
    assert_eq!(wallet.load_coldkey(NOBODY).unwrap().public(), second);
    assert_eq!(wallet.coldkey_address().unwrap(), second);

    fs::remove_file(&public).unwrap();
    fs::create_dir(&public).unwrap();
    let blocked = wallet.create_coldkey(&phrase(), None, Existing::Overwrite);
    assert!(matches!(blocked, Err(WalletError::NotAFile { .. })), "{blocked:?}");
    assert_eq!(wallet.load_coldkey(NOBODY).unwrap().public(), second, "nothing was lost");
}

#[test]
fn a_file_where_a_folder_should_be_is_named() {
    let (wallet, dir) = wallet();
    fs::write(dir.path().join("miner"), "no folder").unwrap();
    let error = wallet.create_hotkey(&phrase(), None, Existing::Keep).unwrap_err();
    let message = error.to_string();
    assert!(message.contains(&wallet.folder().display().to_string()), "{message}");
}

#[test]
fn an_empty_password_is_refused_before_anything_is_written() {
    let (wallet, dir) = wallet();
    let empty = wallet.create_coldkey(&phrase(), Some(""), Existing::Keep);
    assert!(matches!(empty, Err(WalletError::PasswordEmpty { .. })), "{empty:?}");
    assert!(files_below(dir.path()).is_empty());
}

#[test]
fn the_phrase_is_read_before_the_seed_and_the_seed_before_the_private_key() {
    let load = |json: String| {
        let (wallet, _dir) = wallet_with_hotkey(json);
        wallet.load_hotkey(NOBODY).unwrap().to_string()
    };
    let seed = format!("0x{}", "11".repeat(32));
    let seed_address = Keypair::from_uri(&seed).unwrap().to_string();
    let alice: serde_json::Value = serde_json::from_str(ALICE_OF_BTWALLET).unwrap();
    let private = format!(r#""privateKey":{},"unknown":[{{}}],"#, alice["privateKey"]);
    let seed = format!(r#""secretSeed":"{seed}","publicKey":7,"#);
    let words = format!(r#""secretPhrase":"{WORDS}","ss58Address":null,"#);
    let end = r#""cryptoType":"1""#;
    assert_eq!(load(format!("{{{private}{seed}{words}{end}}}")), ADDRESS);
    assert_eq!(load(format!("{{{private}{seed}{end}}}")), seed_address);
    assert_eq!(load(format!("{{{private}{end}}}\n")), ALICE);
}

#[test]
fn files_that_hold_no_usable_key_are_refused_each_with_its_reason() {
    let malformed = |bytes: &[u8]| matches!(refused(bytes), WalletError::Malformed { .. });
    for bytes in [&b""[..], b"{", b"[]", b"{}", b"\xff\xfe", b"null"] {
        assert!(malformed(bytes), "{bytes:?}");
    }
    let deep = "[".repeat(60_000);
    assert!(malformed(deep.as_bytes()));
    assert!(malformed(br#"{"secretPhrase":["a"]}"#));
    let bad_address = format!(r#"{{"secretPhrase":"{WORDS}","ss58Address":"5x"}}"#);
    assert!(malformed(bad_address.as_bytes()));
    let (wallet, _dir) = wallet_with_hotkey("$NACL and then nothing");
    let cut_short = wallet.load_hotkey(Password::Given(PASSWORD));
    assert!(matches!(cut_short, Err(WalletError::Malformed { .. })), "{cut_short:?}");
    let is_secret = |text: &str, expected: KeyError| match refused(text) {
        WalletError::Secret { source, .. } => assert_eq!(source, expected, "{text}"),
        other => panic!("{text}: {other}"),
    };
    is_secret(r#"{"secretPhrase":""}"#, KeyError::WordCount { n_words: 0 });
    is_secret(r#"{"secretSeed":"0x12"}"#, KeyError::Seed);
    is_secret(r#"{"privateKey":"0x12"}"#, KeyError::Secret);
    let public = refused(PUBLIC_OF_BTWALLET);
    assert!(matches!(public, WalletError::PublicOnly { .. }), "{public}");
    for (kind, text) in [("0", "0"), ("2", "2"), (r#""0""#, "\"0\""), ("true", "true")] {
        match refused(format!(r#"{{"secretPhrase":"{WORDS}","cryptoType":{kind}}}"#)) {
            WalletError::CryptoType { crypto_type, .. } => assert_eq!(crypto_type, text),
            other => panic!("{kind}: {other}"),
        }
    }
    let mismatch = refused(format!(r#"{{"secretPhrase":"{WORDS}","ss58Address":"{ALICE}"}}"#));
    let message = mismatch.to_string();
    assert!(message.contains(ALICE) && message.contains(ADDRESS), "{message}");
}

#[test]
fn older_ways_to_encrypt_are_named_and_their_addresses_known() {
    for (start, name) in [("$ANSIBLE_VAULT;1.1;AES256\n", "Ansible Vault"), ("gAAAAAB", "Fernet")] {
        let message = refused(start).to_string();
        assert!(message.contains(name) && message.contains("btcli"), "{message}");
        let (wallet, _dir) = wallet_with_hotkey(start);
        fs::write(wallet.hotkeys_folder().join("firstpub.txt"), PUBLIC_OF_BTWALLET).unwrap();
        assert_eq!(wallet.hotkey_address().unwrap().to_string(), ADDRESS);
    }
}

#[test]
fn no_error_repeats_a_secret() {
    let seed = "7".repeat(63);
    for json in [
        format!(r#"{{"secretPhrase":"{WORDS} zebra"}}"#),
        format!(r#"{{"secretPhrase":"{WORDS}","ss58Address":"{ALICE}"}}"#),
        format!(r#"{{"secretPhrase":"{WORDS}","cryptoType":"{WORDS}"}}"#),
        format!(r#"{{"secretSeed":"0x{seed}"}}"#),
        format!(r#"{{"secretSeed":{{"{seed}":"{WORDS}"}}}}"#),
        format!(r#"{{"privateKey":"0x{seed}"}}"#),
        format!(r#""{WORDS}""#),
        WORDS.to_owned(),
        seed.clone(),
    ] {
        let error = refused(&json);
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let printed = format!("{error} {error:?} {source:?}");
        assert!(!printed.contains("sausage") && !printed.contains(&seed), "{printed}");
    }
}

#[test]
fn what_is_no_small_file_is_not_read() {
    let (wallet, dir) = wallet_with_hotkey(vec![b' '; (64 << 10) + 1]);
    let large = wallet.load_hotkey(NOBODY);
    assert!(matches!(large, Err(WalletError::TooLarge { .. })), "{large:?}");
    // One byte less is read, and found to be nothing.
    let all_blank = refused(vec![b' '; 64 << 10]);
    assert!(matches!(all_blank, WalletError::Malformed { .. }), "{all_blank}");

    let path = wallet.hotkey_path();
    for other in [Path::new("/dev/zero"), dir.path()] {
        fs::remove_file(&path).unwrap();
        symlink(other, &path).unwrap();
        let refused = wallet.load_hotkey(NOBODY);
        assert!(matches!(refused, Err(WalletError::NotAFile { .. })), "{refused:?}");
    }
    fs::remove_file(&path).unwrap();
    symlink("first", &path).unwrap();
    let circle = wallet.load_hotkey(NOBODY).unwrap_err();
    assert!(matches!(circle, WalletError::Io { .. }), "{circle}");
    assert!(circle.to_string().contains("check"), "{circle}");
}

#[test]
fn a_link_to_a_key_is_followed_and_replaced_without_touching_the_key() {
    let (wallet, dir) = wallet_with_hotkey("");
    let secret = dir.path().join("mounted-secret");
    fs::write(&secret, HOTKEY_OF_BTWALLET).unwrap();
    fs::remove_file(wallet.hotkey_path()).unwrap();
    symlink(&secret, wallet.hotkey_path()).unwrap();
    assert_eq!(wallet.load_hotkey(NOBODY).unwrap().to_string(), ADDRESS);
    let other = Phrase::generate().unwrap();
    let account = wallet.create_hotkey(&other, None, Existing::Overwrite).unwrap();
    assert_eq!(wallet.load_hotkey(NOBODY).unwrap().public(), account);
    assert_eq!(fs::read_to_string(secret).unwrap(), HOTKEY_OF_BTWALLET);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let root = Path::new("wallets");
    for name in ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a\nb", "a\0", "xpub.txt"] {
        for (wallet, hotkey) in [(name, "first"), ("miner", name)] {
            let error = Wallet::new(root, wallet, hotkey).unwrap_err();
            assert!(matches!(error, WalletError::Name { .. }), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error}");
        }
    }
    for name in ["default", "my wallet", "Miner-1_a.b", "ключ"] {
        Wallet::new(root, name, name).unwrap();
    }
}

#[test]
fn the_address_of_a_hotkey_is_that_of_its_key_and_not_of_one_before() {
    let (wallet, _dir) = wallet_with_hotkey(HOTKEY_OF_BTWALLET);
    let public = wallet.hotkeys_folder().join("firstpub.txt");
    fs::write(&public, format!(r#"{{"ss58Address":"{ALICE}"}}"#)).unwrap();
    assert_eq!(wallet.hotkey_address().unwrap().to_string(), ADDRESS);
    fs::remove_file(wallet.hotkey_path()).unwrap();
    assert_eq!(wallet.hotkey_address().unwrap().to_string(), ALICE);
    fs::remove_file(&public).unwrap();
    let none = wallet.hotkey_address();
    assert!(matches!(none, Err(WalletError::Missing { .. })), "{none:?}");
    let none = wallet.coldkey_address();
    assert!(matches!(none, Err(WalletError::Missing { .. })), "{none:?}");
}

#[test]
fn a_list_has_all_wallets_and_says_what_cannot_be_read() {
    let (wallet, dir) = wallet_with_hotkey(HOTKEY_OF_BTWALLET);
    let account = wallet.create_coldkey(&phrase(), None, Existing::Keep).unwrap();
    let hotkeys = wallet.hotkeys_folder();
    fs::write(hotkeys.join("elsewherepub.txt"), PUBLIC_OF_BTWALLET).unwrap();
    fs::write(hotkeys.join("broken"), "{").unwrap();
    fs::create_dir(hotkeys.join("a-folder")).unwrap();
    fs::write(hotkeys.join(".tmpXYZ"), "half a key").unwrap();
    fs::create_dir(dir.path().join("empty")).unwrap();
    fs::create_dir(dir.path().join("odd")).unwrap();
    fs::write(dir.path().join("odd/hotkeys"), "no folder").unwrap();
    fs::write(dir.path().join("README"), "no wallet").unwrap();

    let found = list(dir.path()).unwrap();
    let names: Vec<&str> = found.iter().map(|wallet| wallet.name.as_str()).collect();
    assert_eq!(names, ["empty", "miner", "odd"]);
    assert!(matches!(found[0].coldkey, Err(WalletError::Missing { .. })));
    assert!(found[0].hotkeys.as_ref().unwrap().is_empty());
    assert_eq!(*found[1].coldkey.as_ref().unwrap(), account);
    assert!(matches!(found[2].hotkeys, Err(WalletError::Io { .. })));
    let hotkeys = found[1].hotkeys.as_ref().unwrap();
    let names: Vec<&str> = hotkeys.iter().map(|hotkey| hotkey.name.as_str()).collect();
    assert_eq!(names, ["a-folder", "broken", "elsewhere", "first"]);
    assert!(matches!(hotkeys[0].address, Err(WalletError::NotAFile { .. })));
    assert!(matches!(hotkeys[1].address, Err(WalletError::Malformed { .. })));
    assert_eq!(*hotkeys[2].address.as_ref().unwrap(), account);
    assert_eq!(*hotkeys[3].address.as_ref().unwrap(), account);

    let nowhere = list(&dir.path().join("nowhere"));
    assert!(matches!(nowhere, Err(WalletError::NoFolder { .. })), "{nowhere:?}");
}

#[test]
fn the_variable_of_a_password_has_the_name_that_btwallet_gives_it() {
    for (path, expected) in [
        ("/tmp/we.ird/Äb c/coldkey", "BT_PW__TMP_WE_IRD_ÄB C_COLDKEY"),
        ("rel/x/alpha/coldkey", "BT_PW_REL_X_ALPHA_COLDKEY"),
        ("/a/.bittensor/wallets/default/coldkey", "BT_PW__A__BITTENSOR_WALLETS_DEFAULT_COLDKEY"),
    ] {
        assert_eq!(password_variable(Path::new(path)), expected);
    }
    let slash = Wallet::new(Path::new("/w/scratch/"), "alpha", "h1").unwrap();
    assert_eq!(password_variable(&slash.coldkey_path()), "BT_PW__W_SCRATCH_ALPHA_COLDKEY");
}

#[test]
fn a_password_is_the_given_one_or_that_of_the_environment_or_the_one_asked_for() {
    let path = Path::new("/tmp/we.ird/Äb c/coldkey");
    // bittensor-wallet 4.1.1 writes this for `pässword1`.
    let set = |variable: &str| {
        assert_eq!(variable, "BT_PW__TMP_WE_IRD_ÄB C_COLDKEY");
        Some("Mpf7IyQoMCYpYQ==".to_owned())
    };
    let person = |_: &Path| Some(Zeroizing::new("asked".to_owned()));
    let found = |password: Password<'_>| {
        let (password, variable) = password.find(path).unwrap();
        (password.to_string(), variable.is_some())
    };
    assert_eq!(found(Password::Given("given")), ("given".to_owned(), false));
    assert_eq!(
        found(Password::Ask { environment: &set, person: &person }),
        ("pässword1".to_owned(), true)
    );
    assert_eq!(
        found(Password::Ask { environment: &set, person: &|_| None }),
        ("pässword1".to_owned(), true)
    );
    assert_eq!(
        found(Password::Ask { environment: &|_| None, person: &person }),
        ("asked".to_owned(), false)
    );
    for bad in ["not base64!", "////"] {
        let environment = |_: &str| Some(bad.to_owned());
        let error =
            Password::Ask { environment: &environment, person: &person }.find(path).unwrap_err();
        assert!(matches!(error, WalletError::VariableMalformed { .. }), "{error}");
        assert!(!error.to_string().contains(bad), "{error}");
    }
    let nobody = NOBODY.find(path).unwrap_err().to_string();
    // A variable whose name has a space in it is none that a shell could set.
    assert!(!nobody.contains("BT_PW_") && nobody.contains("nobody gave its password"), "{nobody}");
}
