//! Which token goes to which hub.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

/// Something that listens, answers that nothing is there, and keeps what it was told.
pub(super) struct Listener {
    pub(super) address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
                kept.lock().unwrap().extend(head);
                let answer =
                    "HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { address, heard }
    }

    /// The lines that were sent since the last time.
    pub(super) fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.heard.lock().unwrap())
    }

    /// The tokens that were sent since the last time.
    fn tokens(&self) -> Vec<String> {
        let heard = self.heard();
        assert!(!heard.is_empty(), "nothing was asked");
        let token = |line: String| Some(line.split_once("Bearer ")?.1.to_owned());
        heard.into_iter().filter_map(token).collect()
    }
}

fn agon(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    for name in ["HF_TOKEN", "HF_ENDPOINT", "HF_HOME", "AGON_HUB_TOKEN"] {
        command.env_remove(name);
    }
    command.args(args).envs(variables.iter().copied()).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn attack_a_hub_that_is_named_gets_no_token_of_another() {
    let (dir, listener) = (tempfile::tempdir().unwrap(), Listener::start());
    let home = dir.path().join("home");
    let login = home.join(".cache/huggingface");
    std::fs::create_dir_all(&login).unwrap();
    std::fs::write(login.join("token"), "hf_stored\n").unwrap();
    let home = ("HOME", home.to_str().unwrap());
    let to = dir.path().join("copy");
    let download = ["download", "a/b", to.to_str().unwrap()];
    let named = [&download[..], &["--hub", &listener.address]].concat();

    for token in [&[home][..], &[home, ("HF_TOKEN", "hf_variable")]] {
        let output = agon(&named, token);
        assert!(listener.tokens().is_empty());
        let told = told(&output);
        assert!(told.contains("no token is sent to") && told.contains("AGON_HUB_TOKEN"), "{told}");
        assert!(!told.contains("hf_"), "{told}");
    }
    // One that is for it goes to it, wherever it comes from.
    let own = [home, ("HF_TOKEN", "hf_variable"), ("AGON_HUB_TOKEN", "hf_own")];
    agon(&named, &own);
    assert_eq!(listener.tokens(), ["hf_own"]);
    let file = dir.path().join("token");
    std::fs::write(&file, "hf_file\n").unwrap();
    agon(&[&named[..], &["--token-file", file.to_str().unwrap()]].concat(), &own);
    assert_eq!(listener.tokens(), ["hf_file"]);
    let usual = [home, ("HF_ENDPOINT", listener.address.as_str())];
    agon(&download, &usual);
    assert_eq!(listener.tokens(), ["hf_stored"]);
    agon(&named, &usual);
    assert_eq!(listener.tokens(), ["hf_stored"], "the same hub by another way");
    agon(&download, &[&usual[..], &[("AGON_HUB_TOKEN", "hf_own")]].concat());
    assert_eq!(listener.tokens(), ["hf_stored"], "that of another hub");
}

#[test]
fn a_forgotten_token_is_called_so_and_offline_asks_nobody() {
    let (dir, listener) = (tempfile::tempdir().unwrap(), Listener::start());
    let folder = dir.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("config.json"), "{}").unwrap();
    let home = ("HOME", dir.path().to_str().unwrap());
    let endpoint = ("HF_ENDPOINT", listener.address.as_str());
    let upload = ["upload", folder.to_str().unwrap(), "a/b"];
    let output = agon(&upload, &[home, endpoint]);
    let said = told(&output);
    assert!(said.contains("no token for") && said.contains("set HF_TOKEN"), "{said}");
    assert_eq!(output.status.code(), Some(2));
    assert!(listener.heard.lock().unwrap().is_empty(), "it was known before anything was asked");
    let copy = dir.path().join("copy");
    let output = agon(&["download", "a/b", copy.to_str().unwrap()], &[home, endpoint]);
    let said = told(&output);
    assert!(said.contains("no token was sent") && listener.tokens().is_empty(), "{said}");
    for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let output = agon(&upload, &[home, endpoint, ("HF_TOKEN", "hf_x"), (name, "1")]);
        assert!(told(&output).contains(name), "{}", told(&output));
        assert!(listener.heard.lock().unwrap().is_empty());
    }
}
