//! Folders as people have them: what goes to a hub, what stays, and what comes back.

use super::{Hub, ask_as};
use serde_json::{Value, json};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::fs::symlink,
    process::{Command, Output},
};

struct Setting {
    hub: Hub,
    dir: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { hub: Hub::start(&dir.path().join("hub")), dir }
    }

    /// A folder with these files, whose text is their name.
    fn folder(&self, name: &str, paths: &[&str]) -> String {
        let folder = self.dir.path().join(name);
        for path in paths {
            let to = folder.join(path);
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::write(to, path).unwrap();
        }
        folder.to_str().unwrap().to_owned()
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
        command.args(args).args(["--hub", &format!("http://{}", self.hub.address)]);
        command.env("AGON_HUB_TOKEN", &self.hub.token).output().unwrap()
    }

    /// The files of a repo, hidden ones as well.
    fn listed(&self, repo: &str) -> Vec<String> {
        let line = format!("GET /api/{repo}/tree/main?recursive=true");
        let (status, body) = ask_as(&self.hub.address, Some(&self.hub.token), &line, "");
        assert_eq!(status, "200", "{body}");
        let entries: Vec<Value> = serde_json::from_str(&body).unwrap();
        let files = entries.iter().filter(|entry| entry["type"] == "file");
        let mut paths: Vec<_> =
            files.map(|file| file["path"].as_str().unwrap().to_owned()).collect();
        paths.sort();
        paths
    }
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn names(report: &Value) -> Vec<&str> {
    let left_out = report["left_out"].as_array().unwrap();
    left_out.iter().map(|left| left["path"].as_str().unwrap_or("")).collect()
}

#[test]
fn what_a_trainer_left_behind_stays_and_is_listed_and_what_was_downloaded_goes_up_again() {
    let setting = Setting::new();
    let dir = setting.folder(
        "model",
        &[
            "config.json",
            "model.safetensors",
            "training_args.bin",
            ".git/config",
            ".env",
            "checkpoint-1/a",
        ],
    );
    let uploaded = setting.run(&["upload", &dir, "agon/a", "--json"]);
    assert_eq!(names(&report(&uploaded)), [".env", ".git/", "checkpoint-1/", "training_args.bin"]);
    assert_eq!(setting.listed("models/agon/a"), ["config.json", "model.safetensors"]);
    let told = String::from_utf8(setting.run(&["upload", &dir, "agon/a"]).stdout).unwrap();
    assert!(told.contains("left out  `training_args.bin`"), "{told}");

    // As a whole, and down and up again: what the cache of a client is, too, links to files.
    let all = setting.run(&["upload", &dir, "agon/b", "--all", "--json"]);
    assert_eq!(names(&report(&all)), [".env", ".git/"]);
    let copy = setting.dir.path().join("copy");
    let copied = setting.run(&["download", "agon/b", copy.to_str().unwrap()]);
    assert!(copied.status.success());
    let links = setting.dir.path().join("links");
    std::fs::create_dir(&links).unwrap();
    for name in ["config.json", "model.safetensors"] {
        symlink(copy.join(name), links.join(name)).unwrap();
    }
    let again = setting.run(&["upload", links.to_str().unwrap(), "agon/c", "--json"]);
    assert!(names(&report(&again)).is_empty());
    assert_eq!(setting.listed("models/agon/c"), ["config.json", "model.safetensors"]);
}

#[test]
fn a_repo_that_is_public_already_is_said_to_stay_so() {
    let setting = Setting::new();
    let dir = setting.folder("model", &["config.json"]);
    let said = |output: Output| String::from_utf8(output.stderr).unwrap();
    let upload = ["upload", &dir, "agon/a"];
    let private = [&upload[..], &["--private"]].concat();
    assert!(said(setting.run(&upload)).is_empty());
    let told = said(setting.run(&private));
    assert!(told.contains("is public already"), "{told}");
    assert!(said(setting.run(&["upload", &dir, "agon/new", "--private"])).is_empty());
    assert!(said(setting.run(&["upload", &dir, "agon/new", "--private"])).is_empty());
}

#[test]
fn ordinary_names_of_the_world_go_up_and_come_down() {
    let setting = Setting::new();
    let ordinary = ["lang=en/na\u{ef}ve (1).txt", "a#b?c@d &.md", "%2e%2e.txt"];
    let dir = setting.folder("data", &ordinary);
    let up = setting.run(&["upload", &dir, "agon/data", "--dataset", "--json"]);
    assert!(names(&report(&up)).is_empty());
    let copy = setting.dir.path().join("copy");
    let download = ["download", "agon/data", copy.to_str().unwrap(), "--dataset", "--json"];
    let down = setting.run(&download);
    assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
    for path in ordinary {
        assert_eq!(std::fs::read_to_string(copy.join(path)).unwrap(), path);
    }
}

/// A hub of one revision that lists names which no file may have.
fn odd_hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let line = lines.next().unwrap().unwrap_or_default();
            lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
            let entry = |path: &str| json!({ "type": "file", "path": path, "size": 0, "oid": "0" });
            let body = match line.contains("/tree/") {
                true => json!([entry("../x"), entry("a\\b"), entry("\u{202e}c")]),
                false => json!({ "sha": "0123456789012345678901234567890123456789" }),
            };
            let (body, close) = (body.to_string(), "connection: close");
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\n{close}\r\ncontent-length: {length}\r\n\r\n");
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    address
}

#[test]
fn a_copy_that_is_not_whole_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    let output = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["download", "a/b", copy.to_str().unwrap(), "--json", "--hub", &odd_hub()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(report(&output)["left_out"].as_array().unwrap().len(), 3);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("3 files were left out"), "{told}");
    assert!(!copy.exists() && !dir.path().join("x").exists());
}
