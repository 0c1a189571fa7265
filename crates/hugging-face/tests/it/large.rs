//! Large files: Git LFS whole and in parts, interrupted, guessed, and collected.

use crate::desk::{
    ANN, ANN_READS, BOB, Desk, file, large_file, large_line, noise, refusal, sha256,
};
use hugging_face::dev::Limits;
use serde_json::{Value, json};
use std::{io::Write as _, time::Duration};

#[test]
fn a_large_file_is_uploaded_once_and_never_again() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(1, 3_000_000);
    let oid = sha256(&bytes);
    let object = desk.batch("ann/tiny", ANN, &oid, 3_000_000);
    let actions = &object["actions"];
    let put = desk.put(actions["upload"]["href"].as_str().unwrap(), &bytes);
    assert_eq!(put.status(), 200);
    let verify = actions["verify"]["href"].as_str().unwrap();
    let body = json!({ "oid": oid, "size": 3_000_000 });
    assert_eq!(desk.post(verify, ANN, &body).status(), 200);
    assert_eq!(desk.post(verify, BOB, &body).status(), 404);
    desk.commit("ann/tiny", &[large_file("model.safetensors", &bytes)]);
    let found = desk.get("/ann/tiny/resolve/main/model.safetensors", "");
    assert_eq!(found.headers()["x-linked-etag"], format!("\"{oid}\""));
    assert_eq!(found.headers()["x-linked-size"], "3000000");
    assert_eq!(found.bytes().unwrap(), bytes);
    assert!(desk.batch("ann/tiny", ANN, &oid, 3_000_000).get("actions").is_none());
    assert_eq!(desk.hub.stats().received_bytes, 3_000_000);
    assert_eq!(desk.files(), (1, 0));
}

#[test]
fn bytes_that_are_not_what_was_announced_are_refused() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(2, 10_000);
    let link = desk.link("ann/tiny", &sha256(&bytes), 10_000);
    let mut other = bytes.clone();
    other[5_000] ^= 1;
    for wrong in [&bytes[..9_999], &[&bytes[..], &[0]].concat(), &other, &[]] {
        assert_eq!(desk.put(&link, wrong).status(), 400);
        assert_eq!(desk.files(), (0, 0), "nothing of it stays");
    }
    assert_eq!(desk.put(&link, &bytes).status(), 200);
    let lie = large_line("model.safetensors", &sha256(&bytes), 9_999);
    assert_eq!(desk.send("ann/tiny", ANN, &json!({}), &[lie]).status(), 400);
}

/// Asks for parts with these tags to be put together; the status of the answer.
fn completed(desk: &Desk, upload: &Value, oid: &str, etags: &[impl serde::Serialize]) -> u16 {
    let part = |(number, etag)| json!({ "partNumber": number, "etag": etag });
    let parts: Vec<Value> = (1..).zip(etags).map(part).collect();
    let body = json!({ "oid": oid, "parts": parts });
    desk.post(upload["href"].as_str().unwrap(), "", &body).status().as_u16()
}

#[test]
fn a_large_file_in_parts_is_put_together() {
    let desk = Desk::with(Limits { part_bytes: 100_000, ..Limits::default() });
    desk.create("tiny");
    let bytes = noise(3, 250_001);
    let oid = sha256(&bytes);
    let object = desk.batch("ann/tiny", ANN, &oid, 250_001);
    let upload = &object["actions"]["upload"];
    assert_eq!(upload["header"]["chunk_size"], "100000");
    let send = |number: usize, part: &[u8]| {
        let url = upload["header"][number.to_string()].as_str().unwrap();
        let sent = desk.put(url, part);
        let etag = sent.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
        (sent.status().as_u16(), etag)
    };
    let complete = |etags: &[Option<String>]| completed(&desk, upload, &oid, etags);
    assert_eq!(send(1, &bytes[..5]).0, 400, "a part of another size");
    let mut etags: Vec<_> =
        (1..).zip(bytes.chunks(100_000)).map(|(number, part)| send(number, part).1).collect();
    assert_eq!(etags.len(), 3);
    assert_eq!(complete(&etags[..2]), 400, "one is missing");
    let (_, sent_again) = send(2, &bytes[100_000..200_000]);
    assert_eq!(sent_again, etags[1], "a part may be sent again");
    etags.swap(0, 1);
    assert_eq!(complete(&etags), 400, "another order");
    etags.swap(0, 1);
    assert_eq!(complete(&etags), 200);
    assert_eq!(complete(&etags), 400, "it is over");
    assert_eq!(desk.files(), (1, 0));
    desk.commit("ann/tiny", &[large_file("model.safetensors", &bytes)]);
    let found = desk.get("/ann/tiny/resolve/main/model.safetensors", "");
    assert_eq!(found.bytes().unwrap(), bytes);
}

#[test]
fn parts_in_any_order_and_sent_again_after_breaking_off_are_put_together() {
    let desk = Desk::with(Limits { part_bytes: 100_000, ..Limits::default() });
    desk.create("tiny");
    let bytes = noise(10, 250_001);
    let oid = sha256(&bytes);
    let object = desk.batch("ann/tiny", ANN, &oid, 250_001);
    let upload = &object["actions"]["upload"];
    let url = |number: usize| upload["header"][number.to_string()].as_str().unwrap();
    let complete = || completed(&desk, upload, &oid, &["part-1", "part-2", "part-3"]);
    let parts: Vec<&[u8]> = bytes.chunks(100_000).collect();
    assert_eq!(desk.put(url(3), parts[2]).status(), 200);
    assert_eq!(desk.put(url(1), parts[0]).status(), 200);
    let path = url(2).strip_prefix(&desk.hub.url()).unwrap();
    let head = format!("PUT {path} HTTP/1.1\r\nhost: hub\r\ncontent-length: 100000\r\n\r\n");
    let mut stream = desk.connect();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[7; 60_000]).unwrap();
    // While it comes, nobody else may write to its place; what broke off is no part.
    let sent = || desk.put(url(2), parts[1]).status().as_u16();
    let is_busy = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        sent() == 429
    });
    assert!(is_busy, "two wrote to one place");
    drop(stream);
    assert_eq!(complete(), 400);
    let is_there = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        sent() == 200
    });
    assert!(is_there, "a part that broke off cannot be sent again");
    assert_eq!(complete(), 200);
    assert_eq!(desk.files(), (1, 0));
    desk.commit("ann/tiny", &[large_file("model.safetensors", &bytes)]);
    let found = desk.get("/ann/tiny/resolve/main/model.safetensors", "");
    assert_eq!(found.bytes().unwrap(), bytes);
}

#[test]
fn parts_of_other_bytes_are_no_object() {
    let desk = Desk::with(Limits { part_bytes: 100_000, ..Limits::default() });
    desk.create("tiny");
    let bytes = noise(11, 150_000);
    let oid = sha256(&bytes);
    let object = desk.batch("ann/tiny", ANN, &oid, 150_000);
    let upload = &object["actions"]["upload"];
    let url = |number: usize| upload["header"][number.to_string()].as_str().unwrap();
    // The first part comes as it should be, is hashed, and is replaced by another.
    for (number, part) in [(1, &bytes[..100_000]), (2, &bytes[100_000..]), (1, &[1; 100_000][..])] {
        assert_eq!(desk.put(url(number), part).status(), 200);
    }
    assert_eq!(completed(&desk, upload, &oid, &["part-1", "part-2"]), 400);
    assert_eq!(desk.files(), (0, 0));
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_and_can_be_sent_again() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(4, 2_000_000);
    let oid = sha256(&bytes);
    let link = desk.link("ann/tiny", &oid, 2_000_000);
    let path = link.strip_prefix(&desk.hub.url()).unwrap();
    for kept in [0, 1, 65_536, 1_999_999] {
        let mut stream = desk.connect();
        let head = format!("PUT {path} HTTP/1.1\r\nhost: hub\r\ncontent-length: 2000000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bytes[..kept]).unwrap();
        drop(stream);
    }
    assert!(desk.batch("ann/tiny", ANN, &oid, 2_000_000).get("actions").is_some());
    let line = large_file("model.safetensors", &bytes);
    let early = desk.send("ann/tiny", ANN, &json!({}), std::slice::from_ref(&line));
    assert_eq!(early.status(), 400);
    assert_eq!(desk.files().0, 0);
    assert_eq!(desk.put(&link, &bytes).status(), 200);
    desk.commit("ann/tiny", &[line]);
    let found = desk.get("/ann/tiny/resolve/main/model.safetensors", "");
    assert_eq!(found.bytes().unwrap(), bytes);
}

#[test]
fn a_large_file_is_copied_and_moved_by_its_hash_alone() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(8, 20_000);
    desk.upload("ann/tiny", &bytes);
    let first = desk.commit("ann/tiny", &[large_file("a.bin", &bytes)]);
    let value = json!({ "path": "b.bin", "algo": "sha256", "oid": sha256(&bytes) });
    let copy = json!({ "key": "lfsFile", "value": value });
    let deleted = json!({ "key": "deletedFile", "value": { "path": "a.bin" } });
    desk.commit("ann/tiny", &[copy.clone(), deleted]);
    assert_eq!(desk.get("/ann/tiny/resolve/main/b.bin", "").bytes().unwrap(), bytes);
    assert_eq!(desk.get("/ann/tiny/resolve/main/a.bin", "").status(), 404);
    let old = json!({ "path": "c.bin", "srcPath": "a.bin", "srcRevision": first });
    desk.commit("ann/tiny", &[json!({ "key": "copyFile", "value": old })]);
    assert_eq!(desk.get("/ann/tiny/resolve/main/c.bin", "").bytes().unwrap(), bytes);
    let wrong = large_line("d.bin", &sha256(&bytes), 19_999);
    assert_eq!(desk.send("ann/tiny", ANN, &json!({}), &[wrong]).status(), 400);
    // Nobody copies what he may not read.
    let theirs = json!({ "name": "theirs", "private": true });
    assert_eq!(desk.post("/api/repos/create", BOB, &theirs).status(), 200);
    let body = json!({ "private": true });
    desk.ask("PUT", "/api/models/ann/tiny/settings", ANN).json(&body).send().unwrap();
    assert_eq!(desk.send("bob/theirs", BOB, &json!({}), &[copy]).status(), 400);
}

#[test]
fn what_a_crash_left_behind_is_gone_after_a_start_and_nothing_else() {
    let desk = Desk::new();
    desk.create("tiny");
    let revision = desk.commit("ann/tiny", &[file("a.txt", b"one")]);
    std::fs::write(desk.folder().join("incoming/.tmpTorn"), b"half a fi").unwrap();
    let desk = desk.restart(Limits::default());
    assert_eq!(desk.files(), (1, 0));
    let found = desk.get(&format!("/ann/tiny/resolve/{revision}/a.txt"), "");
    assert_eq!(found.text().unwrap(), "one");
}

#[test]
fn garbage_is_what_no_commit_refers_to() {
    let grace = Duration::from_secs(3_600);
    let desk = Desk::with(Limits { grace, ..Limits::default() });
    desk.create("tiny");
    let (kept, lost) = (noise(5, 1_000), noise(6, 2_000));
    desk.upload("ann/tiny", &kept);
    desk.upload("ann/tiny", &lost);
    desk.commit("ann/tiny", &[large_file("model.safetensors", &kept)]);
    let stray = desk.folder().join("objects").join(&sha256(&kept)[..2]).join("f".repeat(64));
    std::fs::write(&stray, b"no row names it").unwrap();
    assert_eq!(desk.hub.collect_garbage().unwrap().objects, 0, "all of it is young");
    let desk = desk.restart(Limits { grace: Duration::ZERO, ..Limits::default() });
    assert_eq!(desk.hub.collect_garbage().unwrap().objects, 2);
    let found = desk.get("/ann/tiny/resolve/main/model.safetensors", "");
    assert_eq!(found.bytes().unwrap(), kept);
    assert!(desk.batch("ann/tiny", ANN, &sha256(&lost), 2_000).get("actions").is_some());
}

#[test]
fn attack_nobody_gets_the_bytes_of_others_by_their_hash() {
    let desk = Desk::new();
    desk.create("hidden");
    let body = json!({ "private": true });
    desk.ask("PUT", "/api/models/ann/hidden/settings", ANN).json(&body).send().unwrap();
    let secret = noise(7, 1_000);
    let oid = sha256(&secret);
    desk.upload("ann/hidden", &secret);
    desk.post("/api/repos/create", BOB, &json!({ "name": "loot" }));
    let line = large_file("model.safetensors", &secret);
    let steal = || {
        let answer = desk.send("bob/loot", BOB, &json!({}), std::slice::from_ref(&line));
        answer.status().as_u16()
    };
    let is_asked_for =
        |token: &str, repo: &str| desk.batch(repo, token, &oid, 1_000).get("actions").is_some();
    // The hub behaves as if it had never seen these bytes: uploaded, and committed in private.
    assert!(is_asked_for(BOB, "bob/loot"));
    assert_eq!(steal(), 400);
    desk.commit("ann/hidden", std::slice::from_ref(&line));
    assert!(is_asked_for(BOB, "bob/loot"));
    assert_eq!(steal(), 400);
    // In public, but not committed there: not yet published.
    desk.create("open");
    desk.upload("ann/open", &noise(8, 1_000));
    let early = large_file("model.safetensors", &noise(8, 1_000));
    assert_eq!(desk.send("bob/loot", BOB, &json!({}), &[early]).status(), 400);
    // What everybody may read, everybody may use.
    desk.commit("ann/open", std::slice::from_ref(&line));
    assert!(!is_asked_for(BOB, "bob/loot"));
    assert_eq!(steal(), 200);
}

#[test]
fn attack_upload_links_are_good_for_what_they_say_and_nothing_else() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(9, 1_000);
    let oid = sha256(&bytes);
    let link = desk.link("ann/tiny", &oid, 1_000);
    let other = sha256(b"other");
    let longer = noise(9, 1_001);
    for (forged, body) in [
        (link.replace(&oid, &other), &bytes),
        (link.replace("size=1000", "size=1001"), &longer),
        (link.replace("expires=", "expires=9"), &bytes),
        (link.replace("/lfs/1/", "/lfs/2/"), &bytes),
        (link.replace("signature=", "signature=0"), &bytes),
        (link.split("signature").next().unwrap().to_owned(), &bytes),
        (link.replace(&oid, &format!("{oid}/1")).replace("?", "?part_size=1000&"), &bytes),
    ] {
        assert_ne!(forged, link);
        assert_eq!(desk.put(&forged, body).status(), 403, "{forged}");
    }
    assert_eq!(desk.files(), (0, 0));
    let body = json!({ "operation": "upload", "objects": [{ "oid": oid, "size": 1_000 }] });
    let batch = |token: &str| {
        desk.post("/ann/tiny.git/info/lfs/objects/batch", token, &body).status().as_u16()
    };
    assert_eq!([batch(""), batch(ANN_READS), batch(BOB)], [401, 403, 403]);

    let limits = Limits { link_lifetime: Duration::ZERO, ..Limits::default() };
    let desk = desk.restart(limits);
    assert_eq!(
        desk.put(
            &desk.url(
                link.split_once("/lfs").map(|(_, rest)| format!("/lfs{rest}")).unwrap().as_str()
            ),
            &bytes
        )
        .status(),
        403,
        "a link of the hub before"
    );
    let expired = desk.link("ann/tiny", &oid, 1_000);
    assert_eq!(refusal(desk.put(&expired, &bytes)).0, 403);
}

#[test]
fn attack_only_so_many_uploads_are_begun_and_left() {
    let limits = Limits { part_bytes: 10, bytes_per_owner_max: 100, ..Limits::default() };
    let desk = Desk::with(limits);
    desk.create("tiny");
    let begin = |seed: u8| {
        let bytes = noise(seed, 20);
        let object = desk.batch("ann/tiny", ANN, &sha256(&bytes), 20);
        let url = object["actions"]["upload"]["header"]["1"].as_str().unwrap().to_owned();
        desk.put(&url, &bytes[..10]).status().as_u16()
    };
    let begun: Vec<u16> = (0..12).map(begin).collect();
    assert_eq!(begun[..10], [200; 10], "a hundred bytes");
    assert_eq!(begun[10..], [403, 403], "parts count before they are put together");
    assert_eq!(desk.files().1, 10);
}

#[test]
fn attack_a_disk_that_is_nearly_full_takes_no_bytes_and_everything_else_goes_on() {
    let desk = Desk::new();
    desk.create("tiny");
    let bytes = noise(3, 1_000);
    desk.upload("ann/tiny", &bytes);
    desk.commit("ann/tiny", &[large_file("a.safetensors", &bytes), file("b.txt", b"two")]);

    let disk_reserve_bytes = 1 << 60;
    let full = Limits { disk_reserve_bytes, part_bytes: 1_500, ..Limits::default() };
    let desk = desk.restart(full);
    let said = (507, String::new(), "the hub has no more room on its disk".to_owned());
    let link = desk.link("ann/tiny", &sha256(&noise(4, 1_000)), 1_000);
    assert_eq!(refusal(desk.put(&link, &noise(4, 1_000))), said, "whole");
    let parted = desk.batch("ann/tiny", ANN, &sha256(&noise(4, 2_000)), 2_000);
    let link = parted["actions"]["upload"]["header"]["1"].as_str().unwrap();
    assert_eq!(refusal(desk.put(link, &noise(4, 2_000)[..1_500])), said, "in parts");
    let small = desk.send("ann/tiny", ANN, &json!({ "summary": "x" }), &[file("c.txt", b"three")]);
    assert_eq!(refusal(small), said, "in a commit");
    assert_eq!(desk.files(), (2, 0), "nothing new and nothing left");
    desk.create("another");
    let deleted = json!({ "key": "deletedFile", "value": { "path": "b.txt" } });
    desk.commit("ann/tiny", &[deleted]);
    let served = desk.get("/ann/tiny/resolve/main/a.safetensors", "");
    assert_eq!(served.bytes().unwrap(), bytes);

    let desk = desk.restart(Limits::default());
    desk.upload("ann/tiny", &noise(4, 1_000));
}
