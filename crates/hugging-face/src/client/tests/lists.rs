//! Lists from hubs that have no end, lie, or are cut on their way.

use super::*;

#[test]
fn pages_are_followed_and_only_the_hubs_own() {
    let hub = Scripted::start(|request, _, stream| {
        let next = "Link: </api/models/alice/model/tree/x?cursor=2>; rel=\"next\"";
        let entry = |path: &str| {
            format!(
                "[{{\"type\":\"file\",\"path\":\"{path}\",\"size\":1,\"oid\":\"x\"}},{{\"type\":\"directory\",\"path\":\"d\"}}]"
            )
        };
        if request.line.contains("cursor=2") {
            say(stream, "200 OK", &["Link: </x>; rel=\"prev\""], entry("a.txt").as_bytes());
        } else {
            say(stream, "200 OK", &[next], entry("b.txt").as_bytes());
        }
    });
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    let files = hub.client().files(pinned).unwrap().unwrap();
    let paths: Vec<_> = files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["a.txt", "b.txt"]);
    assert_eq!(hub.n_requests(), 2);
    // Without a page that lies elsewhere, or is gone, the list is no whole one.
    let elsewhere = Scripted::start(|_, _, stream| {
        let evil = "Link: <https://evil.example/?cursor=3>; rel=\"next\"";
        say(stream, "200 OK", &[evil], b"[]");
    });
    let gone = Scripted::start(|_, number, stream| match number {
        0 => say(stream, "200 OK", &["Link: </api/x?cursor=2>; rel=\"next\""], b"[]"),
        _ => say(stream, "404 Not Found", &[], b""),
    });
    for hub in [elsewhere, gone] {
        let found = hub.client().files(pinned);
        assert!(matches!(found, Err(Error::Unavailable(_))), "{found:?}");
    }
}

#[test]
fn attack_a_list_that_comes_slowly_ends_with_its_one_deadline() {
    // Each page in time, and each byte of a page: it is all of them that take too long.
    let pages: fn(&Request, usize, &mut TcpStream) = |_, number, stream| {
        std::thread::sleep(Duration::from_millis(300));
        let next = format!("Link: </api/x?cursor={number}>; rel=\"next\"");
        say(stream, "200 OK", &[&next], b"[]");
    };
    let bytes: fn(&Request, usize, &mut TcpStream) = |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 100000"], b"[");
        while stream.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let busy: fn(&Request, usize, &mut TcpStream) =
        |_, _, stream| say(stream, "429 Too Many Requests", &["Retry-After: 200"], b"");
    let config: fn(&Request, usize, &mut TcpStream) = |request, _, stream| {
        let small = |i: usize| {
            let oid = "0".repeat(40);
            format!(
                "{{\"type\":\"file\",\"path\":\"{i}.safetensors\",\"size\":9,\"oid\":\"{oid}\"}}"
            )
        };
        let files: Vec<String> = (0..100).map(small).collect();
        if request.line.contains("/tree/") {
            return say(stream, "200 OK", &[], format!("[{}]", files.join(",")).as_bytes());
        }
        say(stream, "200 OK", &["Content-Length: 9"], b"");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    for (i, script) in [pages, bytes, busy, config].into_iter().enumerate() {
        let (hub, started) = (Scripted::start(script), Instant::now());
        let found = hub.client().list(&repo(), &revision());
        assert!(
            matches!(found, Err(Error::Unavailable(_) | Error::Damaged { .. })),
            "{i}: {found:?}"
        );
        // Ten times the patience of the tests.
        assert!(started.elapsed() < Duration::from_secs(7), "{i}: {:?}", started.elapsed());
    }
}

#[test]
fn attack_short_long_and_other_answers_are_never_the_file() {
    let all = bytes(200);
    let oid = "ed67bd7a7e8d6fc0d5b0f1a1b7c4a0bd2f8e4f10";
    let listed = Listed {
        path: "config.json".to_owned(),
        size_bytes: 200,
        sha256: None,
        git: listed::git_hash(oid),
    };
    let (repo, revision) = (repo(), revision());
    let pinned = Pinned { kind: RepoKind::Model, repo: &repo, revision: &revision };
    let mut other = all.clone();
    other[7] ^= 1;
    let page = [&b"<html>"[..], &[b' '; 194]].concat();
    for body in [all[..100].to_vec(), Vec::new(), [&all[..], b"x"].concat(), other, page] {
        let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &body));
        let read = hub.client().read(pinned, &listed);
        let is_trouble = |error: &Error| error.is_transient();
        assert!(read.as_ref().is_err_and(is_trouble), "{read:?}");
    }
    let (served, dir) = (all.clone(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join("file"), &all).unwrap();
    let git = listed::git_hash_of(&dir.path().join("file"), 200).ok();
    let hub = Scripted::start(move |_, _, stream| say(stream, "200 OK", &[], &served));
    assert_eq!(hub.client().read(pinned, &Listed { git, ..listed.clone() }).unwrap(), all);
    // A list that proves nothing, and a file that is no small one.
    assert!(hub.client().read(pinned, &Listed { git: None, ..listed.clone() }).is_err());
    let large = Listed { size_bytes: 1 << 30, ..listed };
    assert!(matches!(hub.client().read(pinned, &large), Err(Error::TooLarge { .. })));
}

#[test]
fn attack_a_config_cut_on_its_way_is_trouble_of_the_hub_and_no_list() {
    let config = br#"{"model_type":"llama"}"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("c"), config).unwrap();
    let git = listed::git_hash_of(&dir.path().join("c"), config.len() as u64).unwrap();
    let (oid, length) = (hex::encode(git), config.len());
    let list = format!(
        "[{{\"type\":\"file\",\"path\":\"config.json\",\"size\":{length},\"oid\":\"{oid}\"}}]"
    );
    let hub = Scripted::start(move |request, number, stream| {
        match request.line.contains("/tree/") {
            true => say(stream, "200 OK", &[], list.as_bytes()),
            // Whole the second time.
            false if number < 2 => say(stream, "200 OK", &[], &config[..10]),
            false => say(stream, "200 OK", &[], config),
        }
    });
    let client = hub.client();
    let cut = client.list(&repo(), &revision()).unwrap_err();
    assert!(matches!(cut, Error::Damaged { .. }) && cut.is_transient(), "{cut}");
    let listed = client.list(&repo(), &revision()).unwrap().unwrap();
    assert_eq!(listed[0].sha256, Digest::of(config));
}

#[test]
fn attack_lists_without_end_and_nonsense_are_trouble_of_the_hub() {
    let circle: fn(&Request, usize, &mut TcpStream) = |_, number, stream| {
        let next = format!("Link: </api/x?cursor={number}>; rel=\"next\"");
        say(stream, "200 OK", &[&next], b"[]");
    };
    let nonsense: fn(&Request, usize, &mut TcpStream) =
        |_, _, stream| say(stream, "200 OK", &[], b"[{\"type\":");
    let nested: fn(&Request, usize, &mut TcpStream) =
        |_, _, stream| say(stream, "200 OK", &[], &b"[".repeat(1 << 20));
    let endless: fn(&Request, usize, &mut TcpStream) = |_, _, stream| {
        say(stream, "200 OK", &["Content-Length: 99999999999"], b"[");
        while stream.write_all(&[b' '; 1 << 16]).is_ok() {}
    };
    let digest: fn(&Request, usize, &mut TcpStream) = |_, _, stream| {
        let body = br#"[{"type":"file","path":"a","size":1,"lfs":{"oid":"zz"}}]"#;
        say(stream, "200 OK", &[], body);
    };
    for script in [circle, nonsense, nested, endless, digest] {
        let hub = Scripted::start(script);
        let found = hub.client().list(&repo(), &revision());
        assert!(matches!(found, Err(Error::Unavailable(_))), "{found:?}");
    }
}

#[test]
fn attack_a_list_of_many_small_shards_is_not_fetched_to_be_hashed() {
    let hub = Scripted::start(|request, _, stream| {
        assert!(request.line.contains("/tree/"), "{} was asked for", request.line);
        let shard = |i: usize| {
            let path = format!("model-{i:05}-of-00100.safetensors");
            format!("{{\"type\":\"file\",\"path\":\"{path}\",\"size\":1000000,\"oid\":\"x\"}}")
        };
        let shards: Vec<_> = (1..=100).map(shard).collect();
        say(stream, "200 OK", &[], format!("[{}]", shards.join(",")).as_bytes());
    });
    let listed = hub.client().list(&repo(), &revision()).unwrap().unwrap();
    assert_eq!((listed.len(), hub.n_requests()), (100, 1));
}
