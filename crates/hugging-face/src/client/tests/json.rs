//! Every answer of a hub that the client reads as JSON, and what may come instead.

use super::{
    json_suite::{INVALID, VALID, deep},
    *,
};
use serde::de::IgnoredAny;
use std::sync::LazyLock;

/// Texts whose last bytes, marks or characters no reader may take.
const ODD: [&[u8]; 8] = [
    b"\xef\xbb\xbf{}",
    b"{}\0",
    b"{\"sha\":\"\\ud800\",\"name\":\"\\ud800\",\"error\":\"\\ud800\"}",
    b"{\"sha\":\"\xff\",\"name\":\"\xff\"}",
    b"[{\"type\":\"file\",\"path\":\"\\udc00\"}]",
    b"[{\"type\":\"file\",\"path\":\"\xc3\"}]",
    b"[{\"type\":\"file\",\"path\":\"a\",\"path\":\"b\"}]",
    b"[{\"type\":\"file\",\"path\":\"a\",\"size\":18446744073709551616}]",
];

fn texts() -> impl Iterator<Item = Vec<u8>> {
    INVALID.into_iter().chain(ODD).map(<[u8]>::to_vec).chain(deep())
}

/// What the client asks a hub that answers with the same text whatever it is asked.
fn answers(client: &HubClient) -> [Result<(), Error>; 7] {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        dir
    });
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    [
        client.user().map(drop),
        client.latest(&repo).map(drop),
        client.files(pinned).map(drop),
        client.file(pinned, "config.json").map(drop),
        client.create(RepoKind::Model, &repo, false),
        client.set_private(RepoKind::Model, &repo, false),
        client.publish(&repo, FOLDER.path()).map(drop),
    ]
}

#[test]
fn attack_answers_that_are_no_json_are_trouble_of_the_hub() {
    for text in texts() {
        let (started, shown) = (Instant::now(), String::from_utf8_lossy(&text).into_owned());
        let shown: String = shown.chars().take(80).collect();
        // Whoever reads nothing of an answer cannot mind its depth, characters and fields.
        let is_json = serde_json::from_slice::<IgnoredAny>(&text).is_ok();
        let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &text));
        for (i, answer) in answers(&hub.client()).into_iter().enumerate() {
            let is_ignored = is_json && matches!(i, 4 | 5);
            let is_trouble = matches!(&answer, Err(Error::Unavailable(_)));
            assert!(is_trouble || is_ignored, "{i}: {answer:?} for {shown}");
        }
        assert!(hub.n_requests() <= 8, "nonsense is not asked for again");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[test]
fn attack_answers_of_odd_json_end_soon_and_publish_nothing() {
    for text in VALID {
        let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], text));
        let started = Instant::now();
        let [user, latest, .., published] = answers(&hub.client());
        let shown = String::from_utf8_lossy(text);
        assert!(user.is_err() && latest.is_err() && published.is_err(), "{shown}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
}

#[test]
fn attack_every_step_of_an_upload_survives_every_text() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), "{}").unwrap();
    std::fs::write(dir.path().join("model.safetensors"), bytes(100)).unwrap();
    let (repo, folder) = (repo(), Folder::of_everything(dir.path()).unwrap());
    // The steps in their order, and an honest answer to each.
    let oid = entry(&bytes(100)).sha256.hex();
    let steps = [
        (
            "/preupload/",
            "{\"files\":[{\"path\":\"model.safetensors\",\"uploadMode\":\"lfs\"}]}".into(),
        ),
        ("/objects/batch", format!("{{\"objects\":[{{\"oid\":\"{oid}\"}}]}}")),
        ("/commit/", format!("{{\"commitOid\":\"{}\"}}", "a".repeat(40))),
    ];
    let upload = |at: Option<&'static str>, text: Vec<u8>| {
        let steps = steps.clone();
        let hub = Scripted::start(move |request, _, stream| {
            let is_at = |step: &str| request.line.contains(step);
            let honest = steps.iter().find(|(step, _)| is_at(step)).map(|(_, answer)| answer);
            match honest {
                _ if at.is_some_and(is_at) => say(stream, "200 OK", &[], &text),
                Some(answer) => say(stream, "200 OK", &[], answer.as_bytes()),
                None if is_at("/repos/create") => say(stream, "200 OK", &[], b"{}"),
                None => say(stream, "404 Not Found", &[], b"{}"),
            }
        });
        let started = Instant::now();
        let done = hub.client().upload(&Upload::new(RepoKind::Model, &repo, &folder));
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        done
    };
    upload(None, Vec::new()).unwrap();
    for (step, _) in &steps {
        for text in texts() {
            let shown: String = String::from_utf8_lossy(&text).chars().take(80).collect();
            let done = upload(Some(step), text);
            assert!(matches!(done, Err(Error::Unavailable(_))), "{step} {shown}: {done:?}");
        }
    }
}
