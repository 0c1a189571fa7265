//! The commands against a hub of the real one's shapes: TLS, storage and CDNs that are other hosts,
//! small limits, and links that lead to where nobody should go.
//!
//! The way to all its hosts is a proxy of the test, which HTTPS_PROXY names; SSL_CERT_FILE names
//! the certificate that is believed. Both are what users may set, too: there is no back door.

use super::submit::{Network, numbered, own_repo};
use crate::{commands::workshop::Workshop, tree};
use real::{Quotas, RealHub, S3, TOKEN, Trouble};
use serde_json::{Value, json};
use std::{
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};
use world::{Asked, Reply, World};

mod doctor;
#[allow(dead_code, reason = "the tests of the client use more of it")]
#[path = "../../../../hugging-face/src/client/tests/real.rs"]
mod real;
#[allow(dead_code, reason = "the tests of the client use more of it")]
#[path = "../../../../hugging-face/src/client/tests/world.rs"]
mod world;

/// Whoever waits for the hub's next window is ended: no command of these needs to.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a command left.
struct Left {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Left {
    /// The document that a command which went well has printed.
    fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs a command for which the hosts of a world are all that there are.
fn agon(world: &World, args: &[&str]) -> Left {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    for name in ["HF_ENDPOINT", "HF_HOME", "HF_TOKEN_PATH", "AGON_HUB_TOKEN", "HF_HUB_OFFLINE"] {
        command.env_remove(name);
    }
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command
        .args(args)
        .env("HTTPS_PROXY", &world.proxy)
        .env("SSL_CERT_FILE", tree::root().join("testdata/tls/cert.pem"))
        .env_remove("SSL_CERT_DIR")
        .env("HF_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    while child.try_wait().unwrap().is_none() && started.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(5));
    }
    // It has ended, or will not in time.
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Left { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A hub of which each link to storage is this one, and what `elsewhere.example` answers.
fn leading(href: &'static str, answer: fn() -> Reply) -> Trouble {
    Box::new(move |asked: &Asked| {
        if asked.host == "elsewhere.example" {
            return Some(Some(answer()));
        }
        asked.path.contains("/objects/batch").then(|| {
            let mut objects = asked.json::<Value>()["objects"].clone();
            for object in objects.as_array_mut().unwrap() {
                object["actions"] = json!({ "upload": { "href": href } });
            }
            Some(Reply::json(&json!({ "objects": objects })))
        })
    })
}

/// A link to storage that nobody should follow: what there would answer, and what is said.
type Case = (&'static str, fn() -> Reply, &'static str);

const LINKS: [Case; 3] = [
    ("https://169.254.169.254/latest/meta-data", || Reply::of(200, ""), "no public host"),
    ("http://elsewhere.example/x", || Reply::of(200, ""), "encryption alone"),
    (
        "https://elsewhere.example/x",
        || Reply::to(307, "https://us.aws.cdn.hf.co/next"),
        "bytes that were sent stay there",
    ),
];

/// A folder with a config, and parameters of so many bytes.
fn folder(workshop: &Workshop, n_bytes: usize) -> (String, Vec<u8>) {
    let bytes: Vec<u8> = (0..n_bytes).map(|i| (i * 7 % 251) as u8).collect();
    workshop.file("model/config.json", "{}");
    workshop.file("model/model.safetensors", &bytes);
    (workshop.path("model"), bytes)
}

#[test]
fn a_model_goes_up_to_one_host_and_comes_down_from_another_within_small_limits() {
    const STALLED: &str = "<Error><Code>RequestTimeout</Code><Message>idle</Message></Error>";
    let n_puts = AtomicUsize::new(0);
    // Hardly more requests than it takes.
    let quotas = Quotas { api: 9, resolvers: 6, pages: 3 };
    let hub = RealHub::in_trouble(
        quotas,
        Box::new(move |asked| {
            let is_stalled = asked.host == S3 && n_puts.fetch_add(1, Ordering::SeqCst) == 1;
            is_stalled.then(|| Some(Reply::of(400, STALLED)))
        }),
    );
    let workshop = Workshop::new();
    let (dir, bytes) = folder(&workshop, 2 * real::PART_BYTES + 1);
    let sent = agon(&hub.world, &["upload", &dir, "ann/m", "--json"]);
    let report = sent.json();
    let revision = report["revision"].as_str().unwrap();
    assert_eq!(report["sent_bytes"], bytes.len());
    assert_eq!(report["url"], format!("https://huggingface.co/ann/m/tree/{revision}"));
    assert_eq!(hub.world.to(S3).len(), 4, "three parts, one of them twice");

    let copy = workshop.path("copy");
    let got = agon(&hub.world, &["download", "ann/m", &copy, "--json"]);
    assert_eq!(got.json()["revision"], revision);
    assert_eq!(std::fs::read(workshop.path("copy/model.safetensors")).unwrap(), bytes);
    assert_eq!(std::fs::read(workshop.path("copy/config.json")).unwrap(), b"{}");
    let from_cdns = [hub.world.to("us.aws.cdn"), hub.world.to("us.gcp.cdn")].concat();
    assert_eq!(from_cdns.len(), 1);
    assert_eq!(hub.n_refused(), 0);
    for told in [sent.err, got.err] {
        assert!(!told.contains("waiting"), "{told}");
    }
    hub.world.expect_secrets_kept();
}

#[test]
fn attack_links_of_a_hub_that_lead_astray_end_an_upload() {
    for (href, answer, reason) in LINKS {
        let hub = RealHub::in_trouble(Quotas::ANONYMOUS, leading(href, answer));
        let workshop = Workshop::new();
        let (dir, _) = folder(&workshop, 10);
        let left = agon(&hub.world, &["upload", &dir, "ann/m"]);
        assert_eq!(left.code, Some(2), "{href}: {}", left.err);
        assert!(left.err.contains("where we do not go"), "{href}: {}", left.err);
        assert!(left.err.contains(reason), "{href}: {}", left.err);
        let asked = hub.world.asked.lock().unwrap().clone();
        let n_puts = asked.iter().filter(|asked| asked.method == "PUT").count();
        assert_eq!(n_puts, usize::from(reason.contains("were sent")), "{href}");
        let is_after = |asked: &Asked| asked.path.contains("/commit/") || asked.path == "/next";
        assert!(!asked.iter().any(is_after), "{href}");
        hub.world.expect_secrets_kept();
    }
}

#[test]
fn attack_redirects_of_a_hub_that_lead_astray_end_a_download() {
    for (location, reason) in [
        ("https://169.254.169.254/latest/meta-data", "not among those known"),
        ("http://us.aws.cdn.hf.co/x", "without encryption"),
    ] {
        let hub = RealHub::in_trouble(
            Quotas::ANONYMOUS,
            Box::new(move |asked| {
                let is_file = asked.path.contains("/resolve/") && asked.path.ends_with("tensors");
                is_file.then(|| Some(Reply::to(302, location)))
            }),
        );
        hub.put("ann/m", &[("config.json", b"{}"), ("model.safetensors", b"0123456789")]);
        let workshop = Workshop::new();
        let left = agon(&hub.world, &["download", "ann/m", &workshop.path("copy")]);
        assert_eq!(left.code, Some(2), "{location}: {}", left.err);
        assert!(left.err.contains("where we do not go"), "{location}: {}", left.err);
        assert!(left.err.contains(reason), "{location}: {}", left.err);
        assert!(!std::path::Path::new(&workshop.path("copy/model.safetensors")).exists());
        let asked = hub.world.asked.lock().unwrap();
        assert!(asked.iter().all(|asked| asked.host == real::HUB), "{location}");
    }
}

#[test]
fn a_submission_keeps_to_the_limits_and_one_that_is_led_astray_commits_to_nothing() {
    let network = Network::with("200ms", "");
    let model = network.workshop.model("model", &numbered(1));
    let on = ["--competition", "tiny", "--netuid", "1", "--wallet", "//Bob", "--json", "--yes"];
    let submit = [&["miner", "submit", &model, "--chain", &network.node.url][..], &on].concat();
    // The others end in the same upload.
    let [(href, answer, reason), ..] = LINKS;
    let hub = RealHub::in_trouble(Quotas::ANONYMOUS, leading(href, answer));
    let left = agon(&hub.world, &submit);
    assert_eq!(left.code, Some(2), "{}", left.err);
    assert!(left.err.contains(reason), "{}", left.err);
    assert!(network.commitments().is_empty());

    let hub = RealHub::start(Quotas { api: 30, resolvers: 10, pages: 5 });
    let left = agon(&hub.world, &submit);
    let submitted = left.json();
    assert_eq!(submitted["repo"], own_repo(&model).replace("agon/", "ann/"));
    assert_eq!(network.commitments()[0]["text"], submitted["commitment"]);
    assert_eq!(hub.world.to(S3).len(), 1);
    assert_eq!(hub.n_refused(), 0);
    assert!(!left.err.contains("waiting"), "{}", left.err);
    for asked in &*hub.world.asked.lock().unwrap() {
        assert!(asked.host == real::HUB || asked.header("authorization").is_none());
    }
}
