//! Every variable of the tools' own table is heard, or said not to be.

use super::*;
use std::collections::BTreeMap;

/// What a variable is to us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Here {
    /// It means what it means there.
    Heard,
    /// `docs/known-limits.md` says what happens instead.
    Not,
}

use Here::{Heard, Not};

/// The variables of `huggingface_hub` 2.4.0: those of its constants, of its tokens and of the
/// library by which it speaks HTTP.
const TABLE: [(&str, Here); 46] = [
    ("ALL_PROXY", Heard),
    ("DISABLE_TELEMETRY", Not),
    ("DO_NOT_TRACK", Not),
    ("HF_ASSETS_CACHE", Not),
    ("HF_DEBUG", Not),
    ("HF_DEVICE_CODE_OAUTH_CLIENT_ID", Not),
    ("HF_ENDPOINT", Heard),
    ("HF_HOME", Heard),
    ("HF_HUB_CACHE", Not),
    ("HF_HUB_DISABLE_EXPERIMENTAL_WARNING", Not),
    ("HF_HUB_DISABLE_IMPLICIT_TOKEN", Heard),
    ("HF_HUB_DISABLE_PROGRESS_BARS", Not),
    ("HF_HUB_DISABLE_SHARED_BLOBS", Not),
    ("HF_HUB_DISABLE_SYMLINKS", Not),
    ("HF_HUB_DISABLE_SYMLINKS_WARNING", Not),
    ("HF_HUB_DISABLE_TELEMETRY", Not),
    ("HF_HUB_DISABLE_UPDATE_CHECK", Not),
    ("HF_HUB_DISABLE_XET", Not),
    ("HF_HUB_DOWNLOAD_TIMEOUT", Heard),
    ("HF_HUB_ENABLE_HF_TRANSFER", Not),
    ("HF_HUB_ETAG_TIMEOUT", Not),
    ("HF_HUB_OFFLINE", Heard),
    ("HF_HUB_USER_AGENT_ORIGIN", Not),
    ("HF_HUB_VERBOSITY", Not),
    ("HF_INFERENCE_ENDPOINT", Not),
    ("HF_OIDC_ID_TOKEN", Not),
    ("HF_OIDC_RESOURCE", Not),
    ("HF_TOKEN", Heard),
    ("HF_TOKEN_PATH", Heard),
    ("HF_XET_CACHE", Not),
    ("HF_XET_HIGH_PERFORMANCE", Not),
    ("HTTPS_PROXY", Heard),
    ("HTTP_PROXY", Heard),
    ("HUGGINGFACE_ASSETS_CACHE", Not),
    ("HUGGINGFACE_CO_STAGING", Not),
    ("HUGGINGFACE_HUB_CACHE", Not),
    ("HUGGING_FACE_HUB_TOKEN", Heard),
    ("NO_PROXY", Heard),
    ("OAUTH_CLIENT_ID", Not),
    ("OAUTH_CLIENT_SECRET", Not),
    ("OAUTH_SCOPES", Not),
    ("OPENID_PROVIDER_URL", Not),
    ("SPACE_ID", Not),
    ("TQDM_POSITION", Not),
    ("TRANSFORMERS_OFFLINE", Heard),
    ("XDG_CACHE_HOME", Heard),
];

/// What all of it comes to, as text.
fn heard(variables: &BTreeMap<&str, String>) -> String {
    let read = |name: &str| variables.get(name).cloned();
    let environment = Environment { read: &read };
    let token = environment.token().unwrap().map(|token| (token.value, token.from));
    let silence = environment.silence().unwrap();
    format!(
        "{} {:?} {silence:?} {:?} {token:?}",
        environment.endpoint(),
        environment.offline(),
        environment.proxies()
    )
}

#[test]
fn every_variable_of_the_tools_changes_something_or_is_said_to_change_nothing() {
    let root = Path::new("../..");
    let limits = fs::read_to_string(root.join("docs/known-limits.md")).unwrap();
    let home = tempfile::tempdir().unwrap();
    let place = |path: &str| home.path().join(path).display().to_string();
    for path in [".cache/huggingface/token", "set/token", "set/huggingface/token"] {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, path.display().to_string()).unwrap();
    }
    let before = BTreeMap::from([("HOME", place(""))]);
    assert!(TABLE.map(|(name, _)| name).is_sorted());
    for (name, here) in TABLE {
        let value = match name {
            "HF_ENDPOINT" => "https://hub.example/path".to_owned(),
            "HF_HOME" | "XDG_CACHE_HOME" => place("set"),
            "HF_TOKEN_PATH" => place("set/token"),
            _ if name.ends_with("_PROXY") => "proxy.example:3128".to_owned(),
            _ => "1".to_owned(),
        };
        let mut after = before.clone();
        after.insert(name, value);
        let is_changed = heard(&before) != heard(&after);
        assert_eq!(is_changed, here == Heard, "{name}");
        let is_named = limits.contains(&format!("`{name}`"));
        assert!(is_named || here == Heard, "{name} is not in docs/known-limits.md");
    }
}

#[test]
fn the_token_is_the_one_that_the_tools_would_take() {
    let home = tempfile::tempdir().unwrap();
    let token = |more: &[(&str, &str)]| {
        let own = ("HOME", home.path().to_str().unwrap());
        let variables: BTreeMap<String, String> = [own]
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let read = |name: &str| variables.get(name).cloned();
        Environment { read: &read }.token().unwrap().map(|token| token.value)
    };
    assert_eq!(token(&[]), None);
    fs::create_dir_all(home.path().join("my/huggingface")).unwrap();
    fs::write(home.path().join("my/token"), "hf_stored\r\n").unwrap();
    fs::write(home.path().join("my/huggingface/token"), "hf_cached\n").unwrap();
    let stored = Some("hf_stored".to_owned());
    assert_eq!(token(&[("HF_HOME", "~/my")]), stored);
    assert_eq!(token(&[("HF_TOKEN_PATH", "~/my/token"), ("HF_HOME", "/nowhere")]), stored);
    assert_eq!(token(&[("XDG_CACHE_HOME", "~/my")]).as_deref(), Some("hf_cached"));
    assert_eq!(token(&[("HF_HOME", "~/my"), ("HF_TOKEN", " ")]), stored, "empty is not set");
    let both = [("HF_TOKEN", " hf_one\n"), ("HUGGING_FACE_HUB_TOKEN", "hf_old")];
    assert_eq!(token(&both).as_deref(), Some("hf_one"));
    assert_eq!(token(&both[1..]).as_deref(), Some("hf_old"));
    let never = [both[0], ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "YES")];
    assert_eq!(token(&never), None);
}

#[test]
fn proxies_are_written_as_everywhere_and_times_are_seconds() {
    let with = |name: &'static str, value: &'static str| {
        let read = move |asked: &str| (asked == name).then(|| value.to_owned());
        let environment = Environment { read: &read };
        (environment.proxies(), environment.silence().map_err(|error| error.to_string()))
    };
    let both = Some("http://proxy.example:3128".to_owned());
    let (all, _) = with("all_proxy", "proxy.example:3128");
    assert_eq!((&all.http, &all.https), (&both, &both));
    let (https, _) = with("HTTPS_PROXY", "http://proxy.example:3128");
    assert_eq!((https.http, https.https), (None, both));
    assert_eq!(with("no_proxy", "a,b").0.except.as_deref(), Some("a,b"));
    let silence = |value| with("HF_HUB_DOWNLOAD_TIMEOUT", value).1;
    assert_eq!(silence("7").unwrap(), Some(Duration::from_secs(7)));
    for wrong in ["0", "-1", "x", "1.5", "99999"] {
        assert!(silence(wrong).unwrap_err().contains("HF_HUB_DOWNLOAD_TIMEOUT"), "{wrong}");
    }
}

#[test]
fn attack_the_beginning_of_another_file_is_never_sent_as_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    let token = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let found = token_of(&path).map(|token| token.unwrap().value);
        found.map_err(|error| format!("{error:#}"))
    };
    let longest = "h".repeat(4 << 10);
    for (bytes, expected) in [
        ("hf_secret", "hf_secret"),
        (" \n hf_secret\r\n\n", "hf_secret"),
        ("", ""),
        ("\n", ""),
        (longest.as_str(), longest.as_str()),
    ] {
        assert_eq!(token(bytes.as_bytes()).as_deref(), Ok(expected));
    }
    let key = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n";
    let too_long = longest + "h";
    for wrong in [key, &too_long, "hf_one\nhf_two", "hf_one hf_two", "hf_\u{202e}x", "hf_\u{1b}[2J"]
    {
        let error = token(wrong.as_bytes()).unwrap_err();
        assert!(error.contains("holds no token") && error.contains("token`"), "{error}");
        let secret: String = wrong.chars().take(12).collect();
        assert!(!error.contains(&secret), "what is in the file is told to nobody: {error}");
    }
    assert!(token(b"hf_\xff").unwrap_err().contains("cannot read"), "no text");
    // Blanks up to the limit hide nothing behind it.
    let hidden = " ".repeat(4 << 10) + "hf_secret";
    assert!(token(hidden.as_bytes()).is_err());
    assert!(token_of(&dir.path().join("none")).unwrap().is_none());
    assert!(token_of(dir.path()).is_err(), "a folder is no token");
}

#[test]
fn addresses_and_switches_are_taken_as_people_write_them() {
    let with = |name: &'static str, value: &'static str| {
        move |asked: &str| (asked == name).then(|| value.to_owned())
    };
    for (value, expected) in [
        (" https://hub.example/ \n", "https://hub.example/"),
        ("   ", HUGGING_FACE),
        ("", HUGGING_FACE),
    ] {
        let read = with("HF_ENDPOINT", value);
        assert_eq!(Environment { read: &read }.endpoint(), expected, "{value:?}");
    }
    for (value, is_on) in
        [("1", true), (" Yes ", true), ("TRUE", true), ("on", true), ("0", false), ("2", false)]
    {
        for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
            let read = with(name, value);
            let offline = Environment { read: &read }.offline();
            assert_eq!(offline, Some(name).filter(|_| is_on), "{name}={value:?}");
        }
    }
    let read = with("HTTP_PROXY", " socks5://proxy.example:1080 ");
    let http = Environment { read: &read }.proxies().http;
    assert_eq!(http.as_deref(), Some("socks5://proxy.example:1080"));
    for seconds in ["1", " 3600 "] {
        let read = with("HF_HUB_DOWNLOAD_TIMEOUT", seconds);
        assert!(Environment { read: &read }.silence().unwrap().is_some(), "{seconds}");
    }
    let read = with("HF_HUB_DOWNLOAD_TIMEOUT", "7\u{1b}[2J");
    let error = Environment { read: &read }.silence().unwrap_err().to_string();
    assert!(!error.contains('\u{1b}') && error.contains("HF_HUB_DOWNLOAD_TIMEOUT"), "{error}");
}
