//! Wallets that other programs made, as `agon wallet list` shows them.

use super::workshop::{Workshop, agon};
use serde_json::json;

/// The public half of `//Alice` as an ed25519 key, in the form of btwallet.
const PUBLIC: &str = r#"{"accountId":"0x88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee",
    "publicKey":"0x88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee",
    "ss58Address":"5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu",
    "cryptoType":0}"#;

/// The whole key in that form, which everybody knows.
const SECRET: &str = r#"{"accountId":"0x88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee",
    "publicKey":"0x88dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee",
    "privateKey":"0xabf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a7690911588dc3417d5058ec4b4503e0c12ea1a0a89be200fe98922423d4334014fa6b0ee",
    "secretSeed":"0xabf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115",
    "ss58Address":"5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu",
    "cryptoType":0}"#;

const ADDRESS: &str = "5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu";

#[test]
fn an_ed25519_wallet_is_listed_with_its_address_and_why_it_cannot_sign() {
    let workshop = Workshop::new();
    let public = workshop.file("wallets/theirs/coldkeypub.txt", PUBLIC);
    workshop.file("wallets/theirs/coldkey", SECRET);
    let hotkey = workshop.file("wallets/theirs/hotkeys/first", SECRET);
    let path = workshop.path("wallets");
    let made = ["wallet", "create", "--wallet-path", &path, "--wallet", "ours", "--no-password"];
    assert_eq!(agon(&made).code, 0);
    let list = ["wallet", "list", "--wallet-path", &path];
    let why = |path: &str| {
        format!("`{path}` is not usable: it is a key of type 0, and only sr25519, type 1, is")
    };

    let shown = agon(&list);
    assert_eq!((shown.code, shown.err.as_str()), (0, ""));
    for line in [
        format!("theirs  {ADDRESS}  {}", why(&public)),
        format!("  first  {ADDRESS}  {}", why(&hotkey)),
    ] {
        assert!(shown.out.lines().any(|shown| shown == line), "no `{line}` in {}", shown.out);
    }

    let all = agon(&[&list[..], &["--json"]].concat()).json();
    let [ours, theirs] = &all.as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&ours["wallet"], &ours["trouble"]), (&json!("ours"), &json!(null)));
    assert_eq!((&theirs["coldkey"], &theirs["trouble"]), (&json!(ADDRESS), &json!(why(&public))));
    let first = json!([{ "name": "first", "address": ADDRESS, "trouble": why(&hotkey) }]);
    assert_eq!(theirs["hotkeys"], first);
}
