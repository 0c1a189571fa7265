//! Reading: headers, ranges, lists of files.

use crate::desk::{ANN, Desk, file, noise, refusal, sha256};
use hugging_face::dev::Limits;
use serde_json::{Value, json};

#[test]
fn a_file_comes_with_all_that_clients_ask_for() {
    let desk = Desk::new();
    desk.create("tiny");
    let weights = noise(1, 700_000);
    let revision =
        desk.commit("ann/tiny", &[file("model.safetensors", &weights), file("a.txt", b"text")]);
    let path = format!("/ann/tiny/resolve/{revision}/model.safetensors");
    for method in ["HEAD", "GET"] {
        let found = desk.ask(method, &path, "").send().unwrap();
        assert_eq!(found.status(), 200);
        let etag = format!("\"{}\"", sha256(&weights));
        for (name, value) in [
            ("x-repo-commit", revision.as_str()),
            ("etag", &etag),
            ("x-linked-etag", &etag),
            ("x-linked-size", "700000"),
            ("content-length", "700000"),
            ("accept-ranges", "bytes"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(found.headers()[name], value, "{method} {name}");
        }
        let body = found.bytes().unwrap();
        assert_eq!(body.len(), if method == "HEAD" { 0 } else { 700_000 });
    }
    // Weak, as proxies make them that pack bytes, or among others.
    for known in ["", "W/", "\"other\", "] {
        let known = format!("{known}\"{}\"", sha256(&weights));
        let answer = desk.ask("GET", &path, "").header("if-none-match", &known).send().unwrap();
        let found = (answer.status().as_u16(), answer.bytes().unwrap().len());
        assert_eq!(found, (304, 0), "{known}");
    }
    let other = desk.ask("GET", &path, "").header("if-none-match", "\"other\"").send().unwrap();
    assert_eq!(other.status(), 200);

    let missing = desk.get(&format!("/ann/tiny/resolve/{revision}/none.json"), "");
    assert_eq!(missing.headers()["x-repo-commit"], revision.as_str());
    assert_eq!(refusal(missing).1, "EntryNotFound");
    let missing = desk.get("/ann/tiny/resolve/nowhere/a.txt", "");
    assert_eq!(refusal(missing).1, "RevisionNotFound");
}

#[test]
fn a_part_of_a_file_is_exactly_that_part() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(2, 600_000);
    desk.commit("ann/tiny", &[file("model.safetensors", &bytes), file("empty", b"")]);
    let ask = |range: &str| {
        let request = desk.ask("GET", "/ann/tiny/resolve/main/model.safetensors", "");
        request.header("range", range).send().unwrap()
    };
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-299999", 0, 300_000),
        ("bytes=262143-524289", 262_143, 524_290),
        ("bytes=599999-", 599_999, 600_000),
        ("bytes=5-9999999999", 5, 600_000),
        ("bytes=-7", 599_993, 600_000),
    ] {
        let part = ask(range);
        assert_eq!(part.status(), 206);
        let expected = format!("bytes {start}-{}/600000", end - 1);
        assert_eq!(part.headers()["content-range"], expected.as_str());
        assert_eq!(part.headers()["content-length"], (end - start).to_string().as_str());
        assert_eq!(part.bytes().unwrap(), &bytes[start..end], "{range}");
    }
    for range in ["bytes=600000-", "bytes=0-1,5-6", "bytes=9-3", "lines=1-2", "bytes=-0"] {
        let refused = ask(range);
        assert_eq!(refused.headers()["content-range"], "bytes */600000");
        assert_eq!(refusal(refused).0, 416, "{range}");
    }
    let request = desk.ask("GET", "/ann/tiny/resolve/main/model.safetensors", "");
    let changed = request.header("range", "bytes=5-").header("if-range", "\"other\"");
    assert_eq!(changed.send().unwrap().status(), 200, "the part is of other bytes");
    let empty = desk.get("/ann/tiny/resolve/main/empty", "");
    assert_eq!((empty.status().as_u16(), empty.bytes().unwrap().len()), (200, 0));
}

#[test]
fn lists_of_files_say_sizes_and_hashes_and_come_in_pages() {
    let desk = Desk::new();
    desk.create("tiny");
    let names = ["README.md", "a/b/c.txt", "a/d.txt", "b.txt", "model.safetensors"];
    let lines: Vec<Value> = names.iter().map(|name| file(name, name.as_bytes())).collect();
    desk.commit("ann/tiny", &lines);
    let base = "/api/models/ann/tiny";
    let rows = |rest: &str| -> Vec<String> {
        let value = desk.value(&format!("{base}/tree/main{rest}"), "");
        let row = |row: &Value| format!("{} {}", row["type"], row["path"]).replace('"', "");
        value.as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(rows(""), ["file README.md", "directory a", "file b.txt", "file model.safetensors"]);
    assert_eq!(rows("/a"), ["directory a/b", "file a/d.txt"]);
    assert_eq!(rows("?recursive=true").len(), 7);
    assert_eq!(refusal(desk.get(&format!("{base}/tree/main/none"), "")).1, "EntryNotFound");

    let all = desk.value(&format!("{base}/tree/main?recursive=1&expand=1"), "");
    let weights = &all[6];
    assert_eq!(weights["lfs"]["oid"], sha256(b"model.safetensors").as_str());
    assert_eq!(weights["lastCommit"]["title"], "more");
    assert_eq!(all[0]["sha256"], sha256(b"README.md").as_str());

    let (mut path, mut pages) = (format!("{base}/tree/main?recursive=true&limit=3"), Vec::new());
    loop {
        let response = desk.get(&path, "");
        let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Value = response.json().unwrap();
        pages.push(page.as_array().unwrap().clone());
        let Some(link) = link else { break };
        path = link.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    let found: Vec<Value> = pages.concat().iter().map(|row| row["path"].clone()).collect();
    let expected: Vec<Value> =
        all.as_array().unwrap().iter().map(|row| row["path"].clone()).collect();
    assert_eq!(found, expected);

    let info = desk.value(&format!("{base}?blobs=true"), "");
    let siblings = info["siblings"].as_array().unwrap();
    assert_eq!(siblings.len(), 5);
    assert_eq!(siblings[4]["lfs"]["sha256"], sha256(b"model.safetensors").as_str());
    assert_eq!(siblings[0]["size"], 9);

    let form = "paths=b.txt&paths=a&paths=none&expand=False";
    let media = "application/x-www-form-urlencoded";
    let request = desk.ask("POST", &format!("{base}/paths-info/main"), "");
    let found = request.header("content-type", media).body(form).send().unwrap();
    let found: Value = found.json().unwrap();
    assert_eq!((&found[0]["path"], &found[1]["path"]), (&json!("a"), &json!("b.txt")));
    assert_eq!(found.as_array().unwrap().len(), 2);
    let same =
        desk.post(&format!("{base}/paths-info/main"), "", &json!({ "paths": ["a", "b.txt"] }));
    assert_eq!(same.json::<Value>().unwrap(), found);
}

#[test]
fn datasets_have_addresses_of_their_own() {
    let desk = Desk::new();
    let body = json!({ "name": "text", "type": "dataset" });
    assert_eq!(desk.post("/api/repos/create", ANN, &body).status(), 200);
    let lines = [json!({ "key": "header", "value": { "summary": "s" } }), file("a b+c.txt", b"x")];
    let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let request = desk.ask("POST", "/api/datasets/ann/text/commit/main", ANN).body(body);
    assert_eq!(request.send().unwrap().status(), 200);
    let found = desk.get("/datasets/ann/text/resolve/main/a%20b+c.txt", "");
    assert_eq!(found.text().unwrap(), "x");
    assert_eq!(desk.get("/ann/text/resolve/main/a%20b+c.txt", ANN).status(), 404);
    let batch = json!({ "operation": "upload", "objects": [] });
    let path = "/datasets/ann/text.git/info/lfs/objects/batch";
    assert_eq!(desk.post(path, ANN, &batch).status(), 200);
}

#[test]
fn a_file_that_is_being_read_survives_its_deletion() {
    let grace = std::time::Duration::ZERO;
    let desk = Desk::with(Limits { grace, inline_bytes_max: 32 << 20, ..Limits::default() });
    desk.create("tiny");
    let bytes = noise(3, 20_000_000);
    desk.commit("ann/tiny", &[file("model.safetensors", &bytes)]);
    let reading = desk.get("/ann/tiny/resolve/main/model.safetensors", "");
    assert_eq!(reading.status(), 200);
    let body = json!({ "name": "ann/tiny" });
    desk.ask("DELETE", "/api/repos/delete", ANN).json(&body).send().unwrap();
    assert_eq!(desk.hub.collect_garbage().unwrap().objects, 1);
    assert_eq!(reading.bytes().unwrap(), bytes);
}
