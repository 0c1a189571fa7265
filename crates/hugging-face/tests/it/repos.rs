//! Repos, users, privacy, lists.

use crate::desk::{ANN, ANN_READS, BOB, Desk, file, refusal};
use hugging_face::dev::{Front, Limits};
use reqwest::blocking::Client;
use serde_json::{Value, json};

#[test]
fn a_repo_is_made_once_found_listed_and_deleted() {
    let desk = Desk::new();
    let body = json!({ "name": "tiny", "organization": null, "type": "model" });
    let made = desk.post("/api/repos/create", ANN, &body);
    assert_eq!(made.status(), 200);
    let made: Value = made.json().unwrap();
    assert_eq!(made["url"], format!("{}/ann/tiny", desk.hub.url()));
    let again = desk.post("/api/repos/create", ANN, &json!({ "name": "ann/tiny" }));
    assert_eq!(again.status(), 409);
    let again: Value = again.json().unwrap();
    assert_eq!(again["url"], made["url"], "who goes on with it knows where it is");

    let info = desk.value("/api/models/ann/tiny", "");
    assert_eq!((&info["id"], &info["private"]), (&json!("ann/tiny"), &json!(false)));
    assert_eq!(info["sha"].as_str().unwrap().len(), 40);
    assert_eq!(desk.get("/api/datasets/ann/tiny", ANN).status(), 404, "it is a model");

    let body = json!({ "name": "tiny", "type": "model" });
    let gone = desk.ask("DELETE", "/api/repos/delete", ANN).json(&body).send().unwrap();
    assert_eq!(gone.status(), 200);
    assert_eq!(refusal(desk.get("/api/models/ann/tiny", ANN)).1, "RepoNotFound");
}

#[test]
fn the_token_decides_who_may_write_where() {
    let desk = Desk::new();
    let create = |token: &str, name: &str| {
        desk.post("/api/repos/create", token, &json!({ "name": name })).status().as_u16()
    };
    assert_eq!(create("", "ann/a"), 401);
    assert_eq!(create("hf_nobodys", "ann/a"), 401);
    assert_eq!(create(ANN_READS, "ann/a"), 403);
    assert_eq!(create(BOB, "ann/a"), 403);
    assert_eq!(create(BOB, "lab/a"), 403);
    assert_eq!(create(ANN, "lab/a"), 200, "an organisation of ann's");
    assert_eq!(create(ANN, "ann/a"), 200);
    let lines = [file("README.md", b"hello")];
    let status = |token: &str| desk.send("ann/a", token, &json!({}), &lines).status().as_u16();
    assert_eq!([status(""), status(ANN_READS), status(BOB), status(ANN)], [401, 403, 403, 200]);
    assert_eq!(desk.value("/api/whoami-v2", ANN_READS)["auth"]["accessToken"]["role"], "read");
    assert_eq!(desk.value("/api/whoami-v2", ANN)["orgs"][0]["name"], "lab");
    let (status, code, message) = refusal(desk.get("/api/models/ann/a", "hf_nobodys"));
    assert_eq!((status, code.as_str()), (401, ""));
    assert_eq!(message, "Invalid credentials in Authorization header");
}

#[test]
fn what_is_private_is_as_if_it_were_not_there() {
    let desk = Desk::new();
    desk.create("hidden");
    desk.commit("ann/hidden", &[file("secret.txt", b"secret")]);
    let set = |token: &str, is_private: bool| {
        let body = json!({ "private": is_private });
        let request = desk.ask("PUT", "/api/models/ann/hidden/settings", token).json(&body);
        request.send().unwrap().status().as_u16()
    };
    assert_eq!([set(BOB, true), set(ANN_READS, true), set(ANN, true)], [403, 403, 200]);
    for path in [
        "/api/models/ann/hidden",
        "/api/models/ann/hidden/revision/main",
        "/api/models/ann/hidden/tree/main",
        "/api/models/ann/hidden/tree/main/secret.txt",
        "/api/models/ann/hidden/commits/main",
        "/api/models/ann/hidden/refs",
        "/ann/hidden/resolve/main/secret.txt",
    ] {
        let missing = path.replace("hidden", "missing");
        for token in ["", BOB] {
            let (hidden, missing) = (desk.get(path, token), desk.get(&missing, token));
            assert_eq!(refusal(hidden), refusal(missing), "{path} tells nothing");
        }
        assert_eq!(desk.get(path, "").status(), 401);
        assert_eq!(desk.get(path, BOB).status(), 404);
        let is_file = path.ends_with("tree/main/secret.txt");
        assert_eq!(desk.get(path, ANN_READS).status(), if is_file { 404 } else { 200 });
    }
    // What writes, too.
    let change = json!({
        "paths": ["secret.txt"], "files": [], "private": false, "tag": "t", "operation": "upload",
        "objects": [], "name": "ann/hidden", "fromRepo": "ann/hidden", "toRepo": "bob/taken",
    });
    for (method, path) in [
        ("POST", "/api/models/ann/hidden/paths-info/main"),
        ("POST", "/api/models/ann/hidden/preupload/main"),
        ("POST", "/api/models/ann/hidden/commit/main"),
        ("POST", "/api/models/ann/hidden/branch/b"),
        ("DELETE", "/api/models/ann/hidden/branch/main"),
        ("POST", "/api/models/ann/hidden/tag/main"),
        ("DELETE", "/api/models/ann/hidden/tag/t"),
        ("PUT", "/api/models/ann/hidden/settings"),
        ("POST", "/ann/hidden.git/info/lfs/objects/batch"),
        ("POST", "/api/repos/create"),
        ("POST", "/api/repos/move"),
        ("DELETE", "/api/repos/delete"),
    ] {
        for token in ["", BOB] {
            let answer = |name: &str| {
                let body = change.to_string().replace("ann/hidden", &format!("ann/{name}"));
                let request = desk.ask(method, &path.replace("hidden", name), token);
                refusal(request.body(body).send().unwrap())
            };
            assert_eq!(answer("hidden"), answer("missing"), "{method} {path} tells nothing");
        }
    }
    assert_eq!(desk.value("/api/models", BOB), json!([]));
    let searched = "/api/models?author=ann&search=hid";
    assert_eq!((desk.value(searched, BOB), desk.value(searched, "")), (json!([]), json!([])));
    // How much all have sent would tell when somebody uploads what, and how large it is.
    let stats = |token: &str| desk.get("/api/stats", token).status().as_u16();
    assert_eq!([stats(""), stats(BOB), stats(ANN_READS), stats(ANN)], [401, 403, 200, 200]);
    assert_eq!(desk.value("/api/models", ANN).as_array().unwrap().len(), 1);
    assert_eq!(set(ANN, false), 200);
    assert_eq!(desk.get("/ann/hidden/resolve/main/secret.txt", "").status(), 200);
}

#[test]
fn lists_of_repos_are_searched_and_come_in_pages() {
    let desk = Desk::new();
    for name in ["alpha", "beta", "gamma"] {
        desk.create(name);
    }
    desk.post("/api/repos/create", BOB, &json!({ "name": "alphabet" }));
    desk.post("/api/repos/create", BOB, &json!({ "name": "text", "type": "dataset" }));
    let ids = |value: &Value| -> Vec<String> {
        let repos = value.as_array().unwrap().iter();
        repos.map(|repo| repo["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&desk.value("/api/models?author=bob", "")), ["bob/alphabet"]);
    let found = ids(&desk.value("/api/models?search=ALPHA", ""));
    assert_eq!(found, ["ann/alpha", "bob/alphabet"]);
    assert_eq!(ids(&desk.value("/api/datasets", "")), ["bob/text"]);

    let (mut path, mut seen) = ("/api/models?limit=3".to_owned(), Vec::new());
    loop {
        let response = desk.get(&path, "");
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        seen.push(ids(&response.json().unwrap()).len());
        let Some(link) = link else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        assert!(link.ends_with("rel=\"next\""), "{link}");
    }
    assert_eq!(seen, [3, 1]);
}

#[test]
fn a_repo_moves_and_keeps_what_it_has() {
    let desk = Desk::new();
    desk.create("before");
    let revision = desk.commit("ann/before", &[file("a.txt", b"a")]);
    let shift = |token: &str, to: &str| {
        let body = json!({ "fromRepo": "ann/before", "toRepo": to, "type": "model" });
        desk.post("/api/repos/move", token, &body).status().as_u16()
    };
    assert_eq!([shift(BOB, "bob/mine"), shift(ANN, "bob/yours")], [403, 403]);
    assert_eq!(shift(ANN, "lab/after"), 200);
    assert_eq!(desk.get(&format!("/lab/after/resolve/{revision}/a.txt"), "").status(), 200);
}

#[test]
fn a_repo_is_found_by_its_old_name_until_another_takes_it() {
    let desk = Desk::new();
    desk.create("before");
    let revision = desk.commit("ann/before", &[file("a.txt", b"a")]);
    let shift = |from: &str, to: &str| {
        let body = json!({ "fromRepo": from, "toRepo": to, "type": "model" });
        assert_eq!(desk.post("/api/repos/move", ANN, &body).status(), 200, "{from}");
    };
    let location = |path: &str, token: &str| {
        let client = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let mut request = client.build().unwrap().get(desk.url(path));
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let answer = request.send().unwrap();
        let location = answer.headers().get("location").map(|to| to.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location.unwrap_or_default())
    };
    shift("ann/before", "lab/after");
    let file_path = |repo: &str| format!("/{repo}/resolve/{revision}/a.txt?download=true");
    let moved = |to: &str| (307, to.to_owned());
    assert_eq!(location(&file_path("ann/before"), ""), moved(&file_path("lab/after")));
    let info = location("/api/models/ann/before", "");
    assert_eq!(info, moved("/api/models/lab/after"));
    // Once more, and both names are good; what a client sends is sent on.
    shift("lab/after", "ann/third");
    for old in ["ann/before", "lab/after"] {
        assert_eq!(location(&format!("/api/models/{old}"), ""), moved("/api/models/ann/third"));
    }
    desk.commit("ann/before", &[file("b.txt", b"b")]);
    assert_eq!(desk.get("/ann/third/resolve/main/b.txt", "").text().unwrap(), "b");
    let batch = json!({ "operation": "upload", "objects": [{ "oid": "0".repeat(64), "size": 1 }] });
    let answer = desk.post("/ann/before.git/info/lfs/objects/batch", ANN, &batch);
    assert_eq!(answer.status(), 200);

    // What is private moves for those alone who may see it.
    let hide = json!({ "private": true });
    let hidden = desk.ask("PUT", "/api/models/ann/third/settings", ANN).json(&hide).send().unwrap();
    assert_eq!(hidden.status(), 200);
    assert_eq!(location("/api/models/ann/before", "").0, 401);
    assert_eq!(location("/api/models/ann/before", BOB).0, 404);
    assert_eq!(location("/api/models/ann/before", ANN).0, 307);

    let revealed = json!({ "private": false });
    desk.ask("PUT", "/api/models/ann/third/settings", ANN).json(&revealed).send().unwrap();
    desk.create("before");
    assert_eq!(location("/api/models/ann/before", "").0, 200);
    assert_eq!(desk.get("/ann/before/resolve/main/a.txt", "").status(), 404);
    let desk = desk.restart(Limits::default());
    assert_eq!(desk.get("/api/models/lab/after", "").status(), 200);
}

#[test]
fn attack_renaming_for_ever_leaves_only_so_many_names() {
    let desk = Desk::new();
    desk.create("n0");
    for i in 0..102 {
        let body = json!({ "fromRepo": format!("ann/n{i}"), "toRepo": format!("ann/n{}", i + 1) });
        assert_eq!(desk.post("/api/repos/move", ANN, &body).status(), 200);
    }
    let status = |i: usize| desk.get(&format!("/api/models/ann/n{i}"), ANN).status().as_u16();
    assert_eq!([status(0), status(1), status(2), status(101)], [404, 404, 200, 200]);
}

#[test]
fn what_this_hub_has_not_is_refused_with_a_word_why() {
    let desk = Desk::new();
    desk.create("tiny");
    for (method, path, part) in [
        ("GET", "/api/models/ann/tiny/discussions", "no discussions"),
        ("POST", "/api/models/ann/tiny/super-squash/main", "joins no commits"),
        ("POST", "/api/models/ann/tiny/duplicate", "copies no repos"),
        ("GET", "/api/models?filter=text-generation", "no tags"),
        ("GET", "/ann/tiny.git/info/refs?service=git-upload-pack", "not speak Git"),
    ] {
        let (status, _, message) = refusal(desk.ask(method, path, ANN).send().unwrap());
        assert!(status == 501 && message.contains(part), "{path}: {status} {message}");
    }
    assert_eq!(desk.get("/api/models?gated=false&sort=downloads", "").status(), 200);
    let check = |rest: &str, token: &str| {
        desk.get(&format!("/api/models/ann/tiny/auth-check{rest}"), token).status().as_u16()
    };
    assert_eq!([check("", ""), check("/write", ANN)], [200, 200]);
    assert_eq!([check("/write", ""), check("/write", BOB)], [401, 403]);
}

#[test]
fn a_hub_without_users_says_so_to_whoever_wants_to_be_one() {
    let desk = Desk::new();
    assert_eq!(refusal(desk.get("/api/whoami-v2", "")).0, 401);
    let create = |url: &str, token: &str| {
        let client = Client::builder().no_proxy().build().unwrap();
        let request = client.post(format!("{url}/api/repos/create")).json(&json!({ "name": "x" }));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        refusal(request.send().unwrap())
    };
    assert_eq!(create(&desk.hub.url(), "").0, 401);
    let folder = tempfile::tempdir().unwrap();
    let config = hugging_face::dev::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        folder: folder.path().to_owned(),
        users: Vec::new(),
        limits: Limits::default(),
        front: Front::default(),
    };
    let nobodys = hugging_face::DevHub::start(&config).unwrap();
    for token in ["", ANN] {
        let (status, _, message) = create(&nobodys.url(), token);
        assert!(status == 401 && message.contains("no users"), "{status} {message}");
    }
}

#[test]
fn an_owner_has_only_so_many_repos_and_bytes() {
    let limits = Limits { repos_per_owner_max: 2, bytes_per_owner_max: 1_000, ..Limits::default() };
    let desk = Desk::with(limits);
    desk.create("one");
    desk.create("two");
    let (status, _, message) =
        refusal(desk.post("/api/repos/create", ANN, &json!({ "name": "three" })));
    assert_eq!((status, message.as_str()), (403, "an owner may have 2 repos"));

    assert_eq!(desk.send("ann/one", ANN, &json!({}), &[file("a", &[1; 600])]).status(), 200);
    // The same bytes in the same repo count once, beside the row.
    let (status, _, message) =
        refusal(desk.send("ann/two", ANN, &json!({}), &[file("b", &[2; 600])]));
    assert_eq!(status, 403);
    assert!(message.contains("1000 bytes"), "{message}");
    assert_eq!(desk.get("/ann/two/resolve/main/b", "").status(), 404);
    let object = desk.batch("ann/two", ANN, &"0".repeat(64), 500);
    let link = object["actions"]["upload"]["href"].as_str().unwrap();
    assert_eq!(desk.put(link, &[3; 500]).status(), 403, "refused before it is received");
    assert_eq!(desk.files().0, 1, "nothing of it stays");
}

#[test]
fn a_deleted_repo_gives_its_room_back_and_its_bytes_go_with_the_garbage() {
    let grace = std::time::Duration::ZERO;
    let desk = Desk::with(Limits { grace, bytes_per_owner_max: 1_000, ..Limits::default() });
    desk.create("one");
    desk.create("two");
    desk.commit("ann/one", &[file("a", &[1; 600])]);
    let body = json!({ "name": "ann/one" });
    let gone = desk.ask("DELETE", "/api/repos/delete", ANN).json(&body).send().unwrap();
    assert_eq!(gone.status(), 200);
    desk.commit("ann/two", &[file("b", &[2; 600])]);
    assert_eq!(desk.files().0, 2);
    let collected = desk.hub.collect_garbage().unwrap();
    assert_eq!((collected.objects, collected.bytes), (1, 600));
    assert_eq!(desk.files().0, 1);
    assert_eq!(desk.get("/ann/two/resolve/main/b", "").bytes().unwrap(), vec![2; 600]);
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let desk = Desk::with(Limits { requests_per_window_max: 5, ..Limits::default() });
    let status = |token: &str| desk.get("/api/models", token).status().as_u16();
    let asked: Vec<u16> = (0..7).map(|_| status("")).collect();
    // The window may turn once in between.
    assert!(asked.contains(&429) || asked.iter().all(|status| *status == 200), "{asked:?}");
    assert_eq!(status(ANN), 200, "others are counted apart");
    let refused = (0..12).map(|_| desk.get("/api/models", "")).find(|one| one.status() == 429);
    let wait = refused.unwrap().headers()["retry-after"].to_str().unwrap().parse::<u64>();
    assert!((1..=300).contains(&wait.unwrap()));
}

#[test]
fn xet_is_declined_in_one_line_that_says_what_to_set() {
    let desk = Desk::new();
    desk.create("tiny");
    let answer = desk.get("/api/models/ann/tiny/xet-write-token/main", ANN);
    // Of what went wrong, the client shows the address alone.
    assert!(answer.url().path().contains("set-HF_HUB_DISABLE_XET=1"), "{}", answer.url());
    let (_, _, message) = refusal(answer);
    assert!(message.contains("set HF_HUB_DISABLE_XET=1"), "{message}");
    let cards = desk.post("/api/validate-yaml", ANN, &json!({ "content": "---\n" }));
    assert_eq!(cards.json::<Value>().unwrap(), json!({ "errors": [], "warnings": [] }));
    assert_eq!(desk.get("/api/agent-harnesses", "").status(), 404);
}

#[test]
fn a_second_hub_does_not_take_the_folder() {
    let desk = Desk::new();
    let config = hugging_face::dev::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        folder: desk.folder().to_owned(),
        users: Vec::new(),
        limits: Limits::default(),
        front: Front::default(),
    };
    let second = hugging_face::DevHub::start(&config);
    assert!(matches!(second.err(), Some(hugging_face::dev::ServerError::InUse { .. })));
}

#[test]
fn a_folder_of_the_version_before_is_opened_and_goes_on() {
    let desk = Desk::new();
    desk.create("tiny");
    let database = desk.folder().join("hub.db");
    let old = "DROP TABLE former_names; PRAGMA user_version = 2;";
    rusqlite::Connection::open(&database).unwrap().execute_batch(old).unwrap();
    let desk = desk.restart(Limits::default());
    let body = json!({ "fromRepo": "ann/tiny", "toRepo": "ann/new" });
    assert_eq!(desk.post("/api/repos/move", ANN, &body).status(), 200);
    assert_eq!(desk.value("/api/models/ann/tiny", "")["id"], "ann/new");
}

#[test]
fn attack_nobody_else_on_the_machine_reads_what_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    desk.create("tiny");
    desk.commit("ann/tiny", &[file("a.txt", b"not published yet")]);
    let open_up = |name: &str, mode: u32| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(desk.folder().join(name), mode).unwrap();
    };
    // As a version made it that let everybody in.
    open_up("objects", 0o755);
    open_up("hub.db", 0o644);
    let desk = desk.restart(Limits::default());
    desk.commit("ann/tiny", &[file("b.txt", b"nor is this")]);
    let others =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o077;
    for name in ["objects", "incoming", "hub.db", "hub.db-wal"] {
        assert_eq!(others(&desk.folder().join(name)), 0, "{name}");
    }
    for shelf in std::fs::read_dir(desk.folder().join("objects")).unwrap() {
        let shelf = shelf.unwrap().path();
        assert_eq!(others(&shelf), 0);
        for object in std::fs::read_dir(shelf).unwrap() {
            assert_eq!(others(&object.unwrap().path()), 0);
        }
    }
}
