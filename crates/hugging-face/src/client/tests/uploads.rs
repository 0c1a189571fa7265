//! Uploads to a hub of the real one's shapes, and to hubs that would have our bytes elsewhere.

use super::{
    real::{HUB, PART_BYTES, Quotas, RealHub, S3, TOKEN},
    world::{Asked, Reply, TestClock, World},
    *,
};
use serde_json::json;
use std::sync::atomic::AtomicBool;

/// A folder with a config, an empty file, a large file of one part and one of three.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    write("config.json", b"{}");
    write("empty.safetensors", b"");
    write("a.safetensors", &bytes(PART_BYTES / 2));
    write("b.safetensors", &bytes(2 * PART_BYTES + 1));
    dir
}

fn upload(client: &HubClient, dir: &tempfile::TempDir) -> Result<Uploaded, Error> {
    let folder = Folder::of_everything(dir.path()).unwrap();
    let repo = repo();
    client.upload(&Upload { is_private: true, ..Upload::new(RepoKind::Model, &repo, &folder) })
}

fn puts(asked: &[Asked]) -> Vec<(String, usize)> {
    let number = |path: &str| {
        path.split_once("partNumber=").map_or(0, |(_, rest)| rest[..1].parse().unwrap())
    };
    asked.iter().map(|put| (put.method.clone(), number(&put.path))).collect()
}

#[test]
fn large_files_reach_the_storage_that_the_hub_names_and_come_back_from_its_cdns() {
    let hub = RealHub::start(Quotas::ANONYMOUS);
    let (dir, client) = (folder(), hub.world.client(Some(TOKEN)));
    let uploaded = upload(&client, &dir).unwrap();
    let sent = hub.world.to(S3);
    let put = |number| ("PUT".to_owned(), number);
    assert_eq!(puts(&sent), [put(0), put(1), put(2), put(3)]);
    assert_eq!(sent.iter().map(|put| put.body.len()).sum::<usize>(), PART_BYTES * 5 / 2 + 1);
    let of_batch = |put: &Asked| put.header("x-amz-storage-class").is_some();
    assert!(of_batch(&sent[0]) && !hub.world.to(HUB).iter().any(of_batch));

    let (repo, down) = (repo(), tempfile::tempdir().unwrap());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &uploaded.revision };
    for listed in client.files(pinned).unwrap().unwrap() {
        let there = std::fs::read(dir.path().join(&listed.path));
        let to = down.path().join(&listed.path);
        match listed.sha256 {
            Some(sha256) => {
                let Listed { path, size_bytes, .. } = listed;
                let file = FileEntry { path, size_bytes, sha256 };
                client.download(pinned, &file, &to, &|_| true).unwrap();
                assert_eq!(std::fs::read(to).unwrap(), there.unwrap());
            }
            None if listed.path == ".gitattributes" => {}
            None => assert_eq!(client.read(pinned, &listed).unwrap(), there.unwrap()),
        }
    }
    let cdns = [hub.world.to("us.aws.cdn"), hub.world.to("us.gcp.cdn")];
    assert!(cdns.iter().all(|asked| !asked.is_empty()), "{cdns:?}");
    hub.world.expect_secrets_kept();
}

#[test]
fn nothing_is_sent_twice_to_storage() {
    let hub = RealHub::start(Quotas::ANONYMOUS);
    let (dir, client) = (folder(), hub.world.client(Some(TOKEN)));
    let first = upload(&client, &dir).unwrap();
    hub.world.forget();
    assert_eq!(upload(&client, &dir).unwrap(), first, "the same files are the same revision");
    assert!(hub.world.to(S3).is_empty());
    assert!(!hub.world.to(HUB).iter().any(|asked| asked.path.contains("/commit/")));
}

#[test]
fn an_upload_that_was_stopped_goes_on_with_the_file_that_is_missing() {
    let hub = RealHub::start(Quotas::ANONYMOUS);
    let (dir, client, repo) = (folder(), hub.world.client(Some(TOKEN)), repo());
    let folder = Folder::of_everything(dir.path()).unwrap();
    // The first file is there, and one part of the other.
    let progress = |step, done, _| step == Step::Hash || done < (PART_BYTES * 3 / 2) as u64;
    let stopped = Upload { progress: &progress, ..Upload::new(RepoKind::Model, &repo, &folder) };
    assert!(matches!(client.upload(&stopped), Err(Error::Stopped)));
    assert_eq!(puts(&hub.world.to(S3))[..2], [("PUT".to_owned(), 0), ("PUT".to_owned(), 1)]);
    hub.world.forget();
    upload(&client, &dir).unwrap();
    let put = |number| ("PUT".to_owned(), number);
    assert_eq!(puts(&hub.world.to(S3)), [put(1), put(2), put(3)]);
}

#[test]
fn storage_that_stalls_breaks_off_or_is_busy_is_tried_again_part_by_part() {
    let timeout = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>RequestTimeout</Code>\
                   <Message>Your socket connection was not read from in time</Message></Error>";
    let n_puts = AtomicUsize::new(0);
    let hub = RealHub::in_trouble(
        Quotas::ANONYMOUS,
        Box::new(move |asked| {
            if asked.host != S3 {
                return None;
            }
            match n_puts.fetch_add(1, Ordering::SeqCst) {
                0 | 3 => Some(Some(Reply::of(400, timeout))),
                4 => Some(None),
                5 => Some(Some(Reply::of(503, "<Error><Code>SlowDown</Code></Error>"))),
                _ => None,
            }
        }),
    );
    upload(&hub.world.client(Some(TOKEN)), &folder()).unwrap();
    let put = |number| ("PUT".to_owned(), number);
    let numbers = [0, 0, 1, 2, 2, 2, 2, 3].map(put);
    assert_eq!(puts(&hub.world.to(S3)), numbers);
}

#[test]
fn parts_that_were_put_together_are_not_sent_again_when_the_answer_is_lost() {
    // How often the hub's answer to the completion is lost, at most as often as there are tries.
    for n_lost in [1, 4, 99] {
        let n_completed = AtomicUsize::new(0);
        let hub = RealHub::losing(
            Quotas::ANONYMOUS,
            Box::new(move |asked| {
                asked.path.starts_with("/api/complete_multipart")
                    && n_completed.fetch_add(1, Ordering::SeqCst) < n_lost
            }),
        );
        let (dir, client) = (folder(), hub.world.client(Some(TOKEN)));
        let uploaded = upload(&client, &dir).unwrap();
        let put = |number| ("PUT".to_owned(), number);
        assert_eq!(puts(&hub.world.to(S3)), [put(0), put(1), put(2), put(3)], "{n_lost}");
        let asked = hub.world.to(HUB);
        let n_asked = |step: &str| asked.iter().filter(|asked| asked.path.contains(step)).count();
        // Of the file in parts, and of the other.
        assert_eq!((n_asked("/objects/verify"), n_asked("/commit/")), (2, 1), "{n_lost}");
        let repo = repo();
        let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &uploaded.revision };
        let files = client.files(pinned).unwrap().unwrap();
        let there = files.iter().find(|file| file.path == "b.safetensors").unwrap();
        assert_eq!(there.size_bytes, 2 * PART_BYTES as u64 + 1, "{n_lost}");
    }
}

#[test]
fn parts_that_a_hub_will_not_put_together_are_no_upload() {
    // With a way to ask whether the file is there, and without.
    for verify in [true, false] {
        let link = "https://elsewhere.example/x";
        let mut actions = json!({ "upload": {
            "href": "https://huggingface.co/api/complete_multipart",
            "header": { "chunk_size": 10, "1": link },
        } });
        if verify {
            actions["verify"] = json!({ "href": "https://huggingface.co/verify" });
        }
        let (done, world) = outcome(actions, |asked: &Asked| match &*asked.path {
            "/x" => Some(Reply::of(200, "").with("etag", "\"x\"")),
            "/api/complete_multipart" => Some(Reply::of(400, r#"{"error":"InvalidPart"}"#)),
            "/verify" => Some(Reply::of(404, "")),
            _ => None,
        });
        let error = done.unwrap_err();
        assert!(error.to_string().contains("InvalidPart"), "{error}");
        assert_eq!(world.to("elsewhere").len(), 1);
        assert!(!world.to(HUB).iter().any(|asked| asked.path.contains("/commit/")));
    }
}

#[test]
fn what_storage_refuses_is_not_tried_again_and_says_why() {
    let said = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
    let trouble = move |asked: &Asked| (asked.host == S3).then(|| Some(Reply::of(403, said)));
    let hub = RealHub::in_trouble(Quotas::ANONYMOUS, Box::new(trouble));
    let error = upload(&hub.world.client(Some(TOKEN)), &folder()).unwrap_err();
    assert!(matches!(error, Error::Refused { status: 403, .. }), "{error:?}");
    assert!(error.to_string().ends_with("AccessDenied Request has expired"), "{error}");
    assert_eq!(hub.world.to(S3).len(), 1);
}

/// What becomes of an upload of one file of ten bytes to a hub that answers the batch so, and to
/// all hosts and paths but its own as `elsewhere` does.
fn outcome(
    actions: serde_json::Value,
    elsewhere: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static,
) -> (Result<Uploaded, Error>, World) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.safetensors"), bytes(10)).unwrap();
    let oid = Digest::of(&bytes(10)).hex();
    let world = World::start(TestClock::new(), move |asked| {
        if let Some(reply) = elsewhere(asked) {
            return Some(reply);
        }
        assert_eq!(asked.host, HUB, "something went to {}{}", asked.host, asked.path);
        let is_at = |step: &str| asked.path.contains(step);
        Some(match () {
            () if is_at("/repos/create") => Reply::json(&json!({})),
            () if is_at("/preupload/") => Reply::json(&json!({
                "files": [{ "path": "model.safetensors", "uploadMode": "lfs" }]
            })),
            () if is_at("/objects/batch") => Reply::json(&json!({
                "objects": [{ "oid": oid, "size": 10, "actions": actions }]
            })),
            () if is_at("/commit/") => Reply::json(&json!({ "commitOid": "a".repeat(40) })),
            () if is_at("/verify") || is_at("/complete") => Reply::json(&json!({})),
            () => Reply::of(404, ""),
        })
    });
    let done = upload(&world.client(Some(TOKEN)), &dir);
    world.expect_secrets_kept();
    (done, world)
}

#[test]
fn attack_links_of_an_upload_that_lead_into_a_network_or_out_of_encryption_are_refused() {
    for href in [
        "http://elsewhere.example/x",
        "http://huggingface.co/x",
        "https://elsewhere.example:8443/x",
        "https://ann:secret@elsewhere.example/x",
        "https://10.1.2.3/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://metadata.google.internal/x",
        "https://localhost/x",
        "https://vault/x",
        "file:///etc/passwd",
        "//169.254.169.254/x",
    ] {
        let whole = json!({ "upload": { "href": href } });
        let part = json!({ "upload": {
            "href": "https://huggingface.co/api/complete_multipart",
            "header": { "chunk_size": 10, "1": href },
        } });
        for actions in [whole, part] {
            let (done, world) = outcome(actions, |_| None);
            assert!(matches!(done, Err(Error::Redirect { .. })), "{href}: {done:?}");
            assert!(!world.asked.lock().unwrap().iter().any(|asked| asked.method == "PUT"));
        }
    }
}

#[test]
fn attack_what_was_uploaded_is_told_to_the_hub_alone() {
    let took = |asked: &Asked| {
        let is_put = asked.method == "PUT" && asked.host == "elsewhere.example";
        is_put.then(|| Reply::of(200, "").with("etag", "\"x\""))
    };
    let storage = "https://elsewhere.example/x";
    for told in [
        "https://elsewhere.example/told",
        "https://us.aws.cdn.hf.co/told",
        "http://huggingface.co/told",
        "https://huggingface.co:8443/told",
        "https://169.254.169.254/told",
    ] {
        let verify = json!({ "upload": { "href": storage }, "verify": { "href": told } });
        let complete =
            json!({ "upload": { "href": told, "header": { "chunk_size": "10", "1": storage } } });
        for actions in [verify, complete] {
            let (done, world) = outcome(actions, took);
            assert!(matches!(done, Err(Error::Redirect { .. })), "{told}: {done:?}");
            let asked = world.asked.lock().unwrap();
            assert!(!asked.iter().any(|asked| asked.path.contains("told")), "{told}");
        }
    }
    let own = json!({
        "upload": { "href": storage, "header": { "x-a": "b" } },
        "verify": { "href": "https://huggingface.co/ann/m.git/info/lfs/objects/verify" },
    });
    outcome(own, took).0.unwrap();
}

#[test]
fn attack_bytes_that_were_sent_are_not_sent_on() {
    for status in [301, 302, 303, 307, 308] {
        for next in ["https://us.aws.cdn.hf.co/next", "https://huggingface.co/next", "/next"] {
            let href = "https://elsewhere.example/x";
            let (done, world) =
                outcome(json!({ "upload": { "href": href } }), move |asked: &Asked| {
                    (asked.host == "elsewhere.example").then(|| Reply::to(status, next))
                });
            assert!(matches!(done, Err(Error::Redirect { .. })), "{status} {next}: {done:?}");
            let asked = world.asked.lock().unwrap();
            assert!(!asked.iter().any(|asked| asked.path == "/next"), "{status} {next}");
        }
        // Nor what the hub itself is told, which holds the small files.
        for step in ["/preupload/", "/commit/"] {
            let (done, world) = outcome(json!({}), move |asked: &Asked| {
                let is_it = asked.path.contains(step);
                is_it.then(|| Reply::to(status, "https://us.aws.cdn.hf.co/next"))
            });
            assert!(matches!(done, Err(Error::Redirect { .. })), "{status} {step}: {done:?}");
            assert!(world.to("us.aws").is_empty(), "{status} {step}");
        }
    }
}

#[test]
fn attack_headers_of_a_batch_change_neither_where_a_request_ends_nor_whom_it_is_for() {
    let header = json!({
        "Host": "169.254.169.254", "Content-Length": "3", "Transfer-Encoding": "chunked",
        "Connection": "upgrade", "Upgrade": "x", "Expect": "100-continue", "TE": "trailers",
        "Proxy-Authorization": "x", "x-amz-acl": "private", "two\r\nlines": "x", "x-b": "a\r\nb: c",
    });
    let href = "https://elsewhere.example/x";
    let took = |asked: &Asked| {
        (asked.host == "elsewhere.example").then(|| {
            assert_eq!(asked.header("host"), Some("elsewhere.example"));
            assert_eq!(asked.body, bytes(10));
            let forbidden = ["transfer-encoding", "connection", "upgrade", "expect", "te", "b"];
            for name in forbidden.into_iter().chain(["proxy-authorization", "two", "x-b"]) {
                assert_eq!(asked.header(name), None, "{name}");
            }
            Reply::of(200, "").with("x-seen", asked.header("x-amz-acl").unwrap())
        })
    };
    let (done, world) = outcome(json!({ "upload": { "href": href, "header": header } }), took);
    done.unwrap();
    assert_eq!(world.to("elsewhere").len(), 1);
    // More of them than a request can hold.
    let many: serde_json::Map<_, _> = (0..40_000).map(|i| (format!("x-{i}"), "y".into())).collect();
    let (done, _) = outcome(json!({ "upload": { "href": href, "header": many } }), |_| None);
    assert!(matches!(done, Err(Error::Unavailable(_))), "{done:?}");
}

#[test]
fn a_hub_that_takes_large_files_by_xet_alone_is_told_apart_from_one_that_has_them() {
    let hub = RealHub::in_trouble(
        Quotas::ANONYMOUS,
        Box::new(|asked| {
            let xet = || Some(Reply::json(&json!({ "transfer": "xet", "objects": [] })));
            asked.path.contains("/objects/batch").then(xet)
        }),
    );
    let error = upload(&hub.world.client(Some(TOKEN)), &folder()).unwrap_err();
    assert!(error.to_string().contains("takes large files by `xet`"), "{error}");
    assert!(!hub.world.to(HUB).iter().any(|asked| asked.path.contains("/commit/")));
}

#[test]
fn attack_an_object_that_a_hub_names_many_times_is_sent_once() {
    let oid = Digest::of(&bytes(10)).hex();
    let is_asked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_asked);
    let (done, world) = outcome(json!({}), move |asked: &Asked| {
        if asked.host == "elsewhere.example" {
            return Some(Reply::of(200, ""));
        }
        asked.path.contains("/objects/batch").then(|| {
            seen.store(true, Ordering::SeqCst);
            let upload = json!({ "href": "https://elsewhere.example/x" });
            let object = json!({ "oid": oid, "actions": { "upload": upload } });
            Reply::json(&json!({ "objects": vec![object; 1000] }))
        })
    });
    done.unwrap();
    assert!(is_asked.load(Ordering::SeqCst));
    assert_eq!(world.to("elsewhere").len(), 1);
}
