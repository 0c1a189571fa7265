//! Commits, history, branches and tags.

use crate::desk::{ANN, BOB, Desk, file, large_file, refusal};
use hugging_face::dev::Limits;
use serde_json::{Value, json};

fn paths(tree: &Value) -> Vec<&str> {
    tree.as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect()
}

#[test]
fn a_commit_is_a_new_revision_and_old_ones_stay_as_they_were() {
    let desk = Desk::new();
    desk.create("tiny");
    let first = desk.commit("ann/tiny", &[file("config.json", b"{}"), file("a/b.txt", b"one")]);
    let deleted = json!({ "key": "deletedFile", "value": { "path": "config.json" } });
    let second = desk.commit("ann/tiny", &[file("a/b.txt", b"two"), deleted]);
    assert_ne!(first, second);
    let tree = |revision: &str| {
        desk.value(&format!("/api/models/ann/tiny/tree/{revision}?recursive=true"), "")
    };
    assert_eq!(paths(&tree(&first)), ["a", "a/b.txt", "config.json"]);
    assert_eq!(paths(&tree("main")), ["a", "a/b.txt"]);
    let text = |revision: &str| {
        desk.get(&format!("/ann/tiny/resolve/{revision}/a/b.txt"), "").text().unwrap()
    };
    assert_eq!([text(&first), text(&second), text("main")], ["one", "two", "two"]);

    let history = desk.value("/api/models/ann/tiny/commits/main", "");
    let ids: Vec<&str> =
        history.as_array().unwrap().iter().map(|commit| commit["id"].as_str().unwrap()).collect();
    assert_eq!(ids[..2], [second.as_str(), &first]);
    assert_eq!((ids.len(), history[2]["title"].as_str()), (3, Some("initial commit")));
    let page = desk.get("/api/models/ann/tiny/commits/main?limit=2", "");
    assert_eq!(page.headers()["x-total-count"], "3");
    let next = page.headers()["link"].to_str().unwrap().split(['<', '>']).nth(1).unwrap();
    assert_eq!(desk.value(next, "").as_array().unwrap().len(), 1);

    let folder = json!({ "key": "deletedFolder", "value": { "path": "a/" } });
    desk.commit("ann/tiny", &[folder]);
    assert_eq!(tree("main"), json!([]));
}

#[test]
fn the_same_changes_twice_are_two_revisions() {
    let desk = Desk::new();
    desk.create("tiny");
    let lines = [file("a.txt", b"a")];
    let first = desk.commit("ann/tiny", &lines);
    assert_ne!(first, desk.commit("ann/tiny", &lines));
    desk.create("other");
    assert_ne!(first, desk.commit("ann/other", &lines));
}

#[test]
fn a_commit_on_a_parent_that_is_no_longer_the_newest_changes_nothing() {
    let desk = Desk::new();
    desk.create("tiny");
    let parent = desk.value("/api/models/ann/tiny", "")["sha"].clone();
    let header = json!({ "summary": "mine", "parentCommit": parent });
    let lines = [file("a.txt", b"mine")];
    assert_eq!(desk.send("ann/tiny", ANN, &header, &lines).status(), 200);
    let (status, _, message) = refusal(desk.send("ann/tiny", ANN, &header, &lines));
    assert_eq!(status, 412);
    assert!(message.contains("A commit has happened since"), "{message}");
    assert_eq!(desk.value("/api/models/ann/tiny/commits/main", "").as_array().unwrap().len(), 2);
}

#[test]
fn a_commit_with_one_bad_line_leaves_everything_as_it_was() {
    let desk = Desk::new();
    desk.create("tiny");
    let before = desk.value("/api/models/ann/tiny", "")["sha"].clone();
    let line = |key: &str, value: Value| json!({ "key": key, "value": value });
    for (bad, status) in [
        (line("deletedFile", json!({ "path": "none" })), 404),
        (line("deletedFolder", json!({ "path": "none" })), 404),
        (line("file", json!({ "path": "x", "content": "%%%", "encoding": "base64" })), 400),
        (line("file", json!({ "path": "x", "content": "YQ", "encoding": "base64" })), 400),
        (line("file", json!({ "path": "x", "content": "a", "encoding": "utf-8" })), 400),
        (line("file", json!({ "path": "../x", "content": "YQ==" })), 400),
        (line("file", json!({ "path": "a.txt/b", "content": "YQ==" })), 400),
        (line("header", json!({ "summary": "another" })), 400),
        (line("magic", json!({})), 400),
        (large_file("model.safetensors", b"never uploaded"), 400),
    ] {
        let response = desk.send("ann/tiny", ANN, &json!({}), &[file("a.txt", b"a"), bad.clone()]);
        assert_eq!(response.status(), status, "{bad}");
        assert_eq!(desk.value("/api/models/ann/tiny", "")["sha"], before, "{bad}");
    }
    let headless = desk.ask("POST", "/api/models/ann/tiny/commit/main", ANN).body("\n");
    assert_eq!(headless.send().unwrap().status(), 400);
    let request = desk.ask("POST", "/api/models/ann/tiny/commit/main?create_pr=1", ANN);
    let (status, _, message) = refusal(request.body("{}").send().unwrap());
    assert_eq!(status, 400);
    assert!(message.contains("no pull requests"), "{message}");
}

#[test]
fn a_commit_has_only_so_many_files_and_bytes() {
    let limits = Limits { files_max: 3, inline_bytes_max: 100, ..Limits::default() };
    let desk = Desk::with(limits);
    desk.create("tiny");
    let small = |name: &str| file(name, b"x");
    desk.commit("ann/tiny", &[small("a"), small("b"), small("c")]);
    let status = |lines: &[Value]| desk.send("ann/tiny", ANN, &json!({}), lines).status().as_u16();
    assert_eq!(status(&[small("d")]), 413);
    assert_eq!(status(&[small("a")]), 200);
    assert_eq!(status(&[file("a", &[0; 101])]), 413);
    assert_eq!(status(&[file("a", &[0; 100])]), 200);
    assert_eq!(status(&vec![small("a"); 7]), 413, "more lines than could be needed");
}

#[test]
fn preupload_says_how_to_send_each_file_and_what_is_there() {
    let desk = Desk::with(Limits { inline_bytes_max: 1_000, ..Limits::default() });
    desk.create("tiny");
    desk.commit("ann/tiny", &[file("a.txt", b"hello\n")]);
    let body = json!({ "files": [
        { "path": "a.txt", "sample": "", "size": 6 },
        { "path": "model.safetensors", "sample": "", "size": 1_001 },
    ]});
    let path = "/api/models/ann/tiny/preupload/main";
    let answer: Value = desk.post(path, ANN, &body).json().unwrap();
    assert_eq!(answer["files"][0]["uploadMode"], "regular");
    // What `git hash-object` says of the same bytes.
    assert_eq!(answer["files"][0]["oid"], "ce013625030ba8dba906f756967f9e9ca394464a");
    assert_eq!(answer["files"][1]["uploadMode"], "lfs");
    assert!(answer["files"][1].get("oid").is_none());
    assert_eq!(desk.post(path, BOB, &body).status(), 403);
}

/// What preupload says of files of one byte: their mode, and whether they are left out.
fn advice(desk: &Desk, git_ignore: Option<&str>, paths: &[&str]) -> Vec<(String, bool)> {
    let files: Vec<Value> =
        paths.iter().map(|path| json!({ "path": path, "sample": "", "size": 1 })).collect();
    let mut body = json!({ "files": files });
    if let Some(text) = git_ignore {
        body["gitIgnore"] = json!(text);
    }
    let answer = desk.post("/api/models/ann/tiny/preupload/main", ANN, &body);
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().unwrap();
    let told = |file: &Value| {
        let mode = file["uploadMode"].as_str().unwrap().to_owned();
        (mode, file["shouldIgnore"].as_bool().unwrap())
    };
    answer["files"].as_array().unwrap().iter().map(told).collect()
}

#[test]
fn what_gitignore_leaves_out_is_told_to_clients_which_then_do_not_send_it() {
    let desk = Desk::new();
    desk.create("tiny");
    let paths = ["secret/k.txt", "a.log", "keep.log", "a/b/cache/x", "a.txt"];
    let ignored = |text: Option<&str>| -> Vec<bool> {
        advice(&desk, text, &paths).into_iter().map(|(_, is_ignored)| is_ignored).collect()
    };
    assert_eq!(ignored(None), [false; 5]);
    let text = "secret/\n*.log\n!keep.log\n**/cache/**\n";
    assert_eq!(ignored(Some(text)), [true, true, false, true, false]);
    // Where the client sends none, that of the repo counts; one that it sends counts instead.
    desk.commit("ann/tiny", &[file(".gitignore", b"secret/\n")]);
    assert_eq!(ignored(None), [true, false, false, false, false]);
    assert_eq!(ignored(Some("")), [false; 5]);
    let long = json!({ "files": [], "gitIgnore": "a".repeat(100_000) });
    let answer = desk.post("/api/models/ann/tiny/preupload/main", ANN, &long);
    assert_eq!(refusal(answer).0, 413);
}

#[test]
fn small_files_are_large_ones_where_gitattributes_say_so() {
    let desk = Desk::new();
    desk.create("tiny");
    let paths = ["data/train.parquet", "model.safetensors", "config.json", "table.csv"];
    let modes = || -> Vec<String> {
        advice(&desk, None, &paths).into_iter().map(|(mode, _)| mode).collect()
    };
    assert_eq!(modes(), ["lfs", "lfs", "regular", "regular"], "as in a new repo of the real hub");
    let own = b"*.csv filter=lfs diff=lfs merge=lfs -text\n";
    desk.commit("ann/tiny", &[file(".gitattributes", own)]);
    assert_eq!(modes(), ["regular", "regular", "regular", "lfs"]);
}

#[test]
fn refusals_name_the_line_and_the_file() {
    let desk = Desk::new();
    desk.create("tiny");
    let line = |key: &str, value: Value| json!({ "key": key, "value": value });
    for (bad, part) in [
        (file("a\u{202e}b", b"x"), "line 3 of the commit: the path `a\\u{202e}b` has a character"),
        (file("a//b", b"x"), "`a//b` has a part that is empty"),
        (line("magic", json!({})), "line 3 of the commit: it is not understood: unknown variant"),
        (line("lfsFile", json!({ "path": "w.bin" })), "missing field `oid`"),
        (line("lfsFile", json!({ "path": "w.bin", "oid": "x" })), "line 3 of the commit: `w.bin`"),
        (line("file", json!({ "path": "c.txt", "content": "%%%%" })), "commit: `c.txt`: a file"),
        (line("deletedFile", json!({ "path": "gone.txt" })), "`gone.txt`"),
        (line("copyFile", json!({ "path": "x", "srcPath": "none" })), "`none`"),
        (large_file("w.bin", b"never uploaded"), "the bytes of `w.bin` were not uploaded"),
    ] {
        let lines = [file("a.txt", b"a"), bad];
        let (_, _, message) = refusal(desk.send("ann/tiny", ANN, &json!({}), &lines));
        assert!(message.contains(part), "{message}");
    }
    let body = json!({ "files": [{ "path": "ok", "size": 1 }, { "path": "../x", "size": 1 }] });
    let answer = desk.post("/api/models/ann/tiny/preupload/main", ANN, &body);
    assert!(refusal(answer).2.contains("`../x`"));
    let revision = desk.commit(
        "ann/tiny",
        &[file("fam\u{1f468}\u{200d}\u{1f467}.txt", b"1"), file("What\u{2026} now.txt", b"2")],
    );
    let path = format!("/ann/tiny/resolve/{revision}/What%E2%80%A6%20now.txt");
    assert_eq!(desk.get(&path, "").text().unwrap(), "2");
}

#[test]
fn branches_and_tags_name_revisions() {
    let desk = Desk::new();
    desk.create("tiny");
    let first = desk.commit("ann/tiny", &[file("a.txt", b"one")]);
    let at = |rest: &str| format!("/api/models/ann/tiny{rest}");
    let post = |rest: &str, body: Value| desk.post(&at(rest), ANN, &body).status().as_u16();
    assert_eq!(post("/branch/feature%2Fx", json!({})), 201);
    assert_eq!(post("/branch/feature%2Fx", json!({})), 409);
    assert_eq!(post("/tag/main", json!({ "tag": "v1" })), 201);
    assert_eq!(post("/tag/main", json!({ "tag": "v1" })), 409);
    assert_eq!(post("/tag/nowhere", json!({ "tag": "v2" })), 404);
    for bad in ["a..b", "-x", "x.lock", "refs/heads/x", &"a".repeat(40), "a b", ""] {
        assert_eq!(post("/tag/main", json!({ "tag": bad })), 400, "{bad}");
    }
    let second = desk.commit("ann/tiny", &[file("a.txt", b"two")]);
    for (revision, text) in [
        ("v1", "one"),
        ("feature%2Fx", "one"),
        ("refs%2Fheads%2Ffeature%2Fx", "one"),
        ("refs%2Ftags%2Fv1", "one"),
        ("main", "two"),
    ] {
        let found = desk.get(&format!("/ann/tiny/resolve/{revision}/a.txt"), "");
        assert_eq!(found.text().unwrap(), text, "{revision}");
    }
    let refs = desk.value(&at("/refs"), "");
    assert_eq!(refs["branches"][0]["targetCommit"], first.as_str());
    assert_eq!(refs["branches"][1]["ref"], "refs/heads/main");
    assert_eq!(refs["branches"][1]["targetCommit"], second.as_str());
    assert_eq!(refs["tags"][0]["name"], "v1");
    let delete = |rest: &str| desk.ask("DELETE", &at(rest), ANN).send().unwrap().status().as_u16();
    assert_eq!([delete("/branch/main"), delete("/branch/none")], [403, 404]);
    assert_eq!(
        [delete("/branch/feature%2Fx"), delete("/tag/v1"), delete("/tag/v1")],
        [200, 200, 404]
    );
    let unknown = "0".repeat(40);
    for revision in ["feature%2Fx", "v1", &unknown] {
        let (status, code, _) = refusal(desk.get(&at(&format!("/revision/{revision}")), ""));
        assert_eq!((status, code.as_str()), (404, "RevisionNotFound"), "{revision}");
    }
}

#[test]
fn a_revision_of_one_repo_is_none_of_another() {
    let desk = Desk::new();
    desk.create("tiny");
    desk.create("other");
    let revision = desk.commit("ann/tiny", &[file("a.txt", b"one")]);
    let (_, code, _) = refusal(desk.get(&format!("/ann/other/resolve/{revision}/a.txt"), ""));
    assert_eq!(code, "RevisionNotFound");
}

#[test]
fn everything_is_still_there_after_a_restart() {
    let desk = Desk::new();
    desk.create("tiny");
    let revision = desk.commit("ann/tiny", &[file("a.txt", b"one")]);
    let desk = desk.restart(Limits::default());
    let found = desk.get(&format!("/ann/tiny/resolve/{revision}/a.txt"), "");
    assert_eq!(found.text().unwrap(), "one");
    assert_ne!(desk.commit("ann/tiny", &[file("a.txt", b"one")]), revision);
}
