//! Strangers who watch the hub to commit to a model before its owner does.

use super::{
    ask_as,
    submit::{MALLORY, Network, numbered, own_repo, report},
};
use chain::{Call, CallStatus, Chain as _, Keypair};
use hub::{
    Hub as _,
    content::{file_root, list_folder},
};
use hugging_face::{ClientOptions, HubClient};
use protocol::{Block, Commitment, CompetitionId, NetUid, Repo};
use serde_json::{Value, json};
use std::{
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};
use substrate::{ClientConfig, SubstrateChain};

/// Models that are submitted and watched, where `AGON_SNIPE_TRIES` does not say how many.
const N_TRIES: usize = 15;
/// Models of one network: a hub answers a stranger only so often in five minutes.
const N_TRIES_PER_NETWORK: usize = 20;
const NETUID: NetUid = NetUid(1);
/// Pause of a watcher between two looks through all doors.
const PAUSE: Duration = Duration::from_millis(10);

/// What is watched for.
struct Watched<'a> {
    hub: &'a str,
    chain: &'a SubstrateChain,
    repo: &'a str,
    /// SHA-256 and size of the parameters.
    file: (String, u64),
}

/// A door through which something was seen first.
struct Sighting {
    door: &'static str,
    at: Instant,
    /// Whether the commitment was final when it was asked for right after.
    was_final: bool,
}

/// When a commitment became final, as far as who asked again and again can tell.
#[derive(Clone, Copy)]
struct Finality {
    /// It was not final yet.
    not_before: Instant,
    /// It was.
    by: Instant,
}

/// What somebody who watched has seen.
#[derive(Default)]
struct Seen {
    n_requests: usize,
    sightings: Vec<Sighting>,
}

impl Watched<'_> {
    /// Name, request and body of everything that a stranger may ask.
    fn doors(&self, is_user: bool) -> Vec<(&'static str, String, String)> {
        let repo = self.repo;
        let at = |rest: &str| format!("/api/models/{repo}{rest}");
        let get = |name, path: String| (name, format!("GET {path}"), String::new());
        let name = repo.split_once('/').unwrap().1;
        let paths = json!({ "paths": ["config.json", "model.safetensors"] }).to_string();
        let others = [
            get("author", "/api/models?author=agon&limit=1000".to_owned()),
            get("search", format!("/api/models?search={name}")),
            get("info", at("")),
            get("revision", at("/revision/main?blobs=true")),
            get("tree", at("/tree/main?recursive=true")),
            get("commits", at("/commits/main")),
            get("refs", at("/refs")),
            get("file", format!("/{repo}/resolve/main/config.json")),
            ("paths", format!("POST {}", at("/paths-info/main")), paths),
        ];
        let mut doors = Vec::new();
        // What tells most comes first: every sight of something is asked about at the chain.
        if is_user {
            let (oid, size) = &self.file;
            let objects = json!([{ "oid": oid, "size": size }]);
            let batch = json!({ "operation": "upload", "objects": objects }).to_string();
            let url = "POST /mallory/own.git/info/lfs/objects/batch".to_owned();
            doors.push(("bytes", url, batch));
            let files = json!({ "files": [{ "path": "a", "size": 1, "sample": "" }] }).to_string();
            doors.push(("write", format!("POST {}", at("/preupload/main")), files));
        }
        doors.extend(others);
        doors
    }

    /// Whether an answer tells that the model is there.
    fn tells(&self, door: &str, (status, body): &(String, String)) -> bool {
        let known = ["200", "401", "403", "404"];
        assert!(known.contains(&status.as_str()), "{door}: {status}: the watcher was blind");
        match door {
            "author" | "search" => body.contains(self.repo),
            // Bytes that somebody may use need no upload.
            "bytes" => {
                let answer: Value = serde_json::from_str(body).unwrap();
                answer["objects"][0]["actions"].is_null()
            }
            // What may not be written to is there.
            _ => status == "200" || status == "403",
        }
    }

    /// The block of the commitment to the repo of whoever submits it, once it is final.
    fn committed(&self) -> Option<Block> {
        let start = format!("{}:", self.repo.replace('/', ":"));
        let bob = Keypair::from_uri("//Bob//default").unwrap().public();
        let head = self.chain.head().unwrap().block;
        let stored = self.chain.commitments(NETUID, head).unwrap();
        let is_it = |stored: &&chain::StoredCommitment| {
            stored.hotkey == bob && stored.data.starts_with(start.as_bytes())
        };
        stored.iter().find(is_it).map(|stored| stored.block)
    }

    /// Goes through all doors until told to stop, and then once more.
    fn watch(&self, token: Option<&str>, stop: &AtomicBool) -> Seen {
        let doors = self.doors(token.is_some());
        let mut seen = Seen::default();
        loop {
            let is_last = stop.load(Ordering::SeqCst);
            for (door, line, body) in &doors {
                seen.n_requests += 1;
                let answer = ask_as(self.hub, token, line, body);
                let is_new = seen.sightings.iter().all(|sighting| sighting.door != *door);
                if is_new && self.tells(door, &answer) {
                    let at = Instant::now();
                    let was_final = self.committed().is_some();
                    seen.sightings.push(Sighting { door, at, was_final });
                }
            }
            if is_last {
                return seen;
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// When the commitment became final.
    fn wait_until_final(&self, stop: &AtomicBool) -> Option<Finality> {
        let mut not_before = Instant::now();
        while !stop.load(Ordering::SeqCst) {
            let asked = Instant::now();
            if self.committed().is_some() {
                return Some(Finality { not_before, by: Instant::now() });
            }
            not_before = asked;
            std::thread::sleep(PAUSE / 2);
        }
        None
    }
}

/// A model that is to be submitted, watched by somebody without a token, by somebody with another
/// user's, and by who asks the chain when its commitment is final.
fn submitted_and_watched(
    network: &Network,
    chain: &SubstrateChain,
    (dir, repo): (&str, &str),
    more: &[&str],
) -> (Value, [Seen; 2], Option<Finality>) {
    let files = list_folder(Path::new(dir)).unwrap();
    let file = files.iter().find(|file| file.path == "model.safetensors").unwrap();
    let file = (file.sha256.hex(), file.size_bytes);
    let watched = Watched { hub: &network.hub.address, chain, repo, file };
    let (watched, stop) = (&watched, &AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stranger = scope.spawn(|| watched.watch(None, stop));
        let user = scope.spawn(|| watched.watch(Some(MALLORY), stop));
        let finality = scope.spawn(|| watched.wait_until_final(stop));
        let output = network.submit(dir, &[&["--wallet", "//Bob"], more].concat());
        stop.store(true, Ordering::SeqCst);
        let seen = [stranger.join().unwrap(), user.join().unwrap()];
        (report(&output), seen, finality.join().unwrap())
    })
}

fn network(block_time: &str) -> (Network, SubstrateChain) {
    let network = Network::with(block_time, "commitment_rate_limit = 0");
    let made = ask_as(
        &network.hub.address,
        Some(MALLORY),
        "POST /api/repos/create",
        &json!({ "name": "own" }).to_string(),
    );
    assert_eq!(made.0, "200", "{made:?}");
    let chain = SubstrateChain::connect(ClientConfig::new(&network.node.url)).unwrap();
    (network, chain)
}

#[test]
fn attack_nobody_who_watches_the_hub_sees_a_model_before_its_commitment_is_final() {
    let tries = std::env::var("AGON_SNIPE_TRIES").ok().and_then(|text| text.parse().ok());
    let n_tries: usize = tries.unwrap_or(N_TRIES);
    let (mut n_requests, mut margins) = (0, Vec::new());
    for first in (0..n_tries).step_by(N_TRIES_PER_NETWORK) {
        let (network, chain) = network("250ms");
        for number in first..n_tries.min(first + N_TRIES_PER_NETWORK) {
            let dir = network.workshop.model(&format!("model-{number}"), &numbered(number));
            let repo = own_repo(&dir);
            let (submitted, seen, finality) =
                submitted_and_watched(&network, &chain, (&dir, &repo), &[]);
            assert_eq!(submitted["repo"], repo, "{submitted}");
            let finality = finality.expect("the commitment is final when the command ends");
            for (seen, n_doors) in seen.iter().zip([9, 11]) {
                n_requests += seen.n_requests;
                // All doors lead to what is public: the watchers were not blind.
                assert_eq!(seen.sightings.len(), n_doors, "{number}");
                for Sighting { door, at, was_final } in &seen.sightings {
                    let is_late = *was_final && *at >= finality.not_before;
                    assert!(is_late, "{number}: seen through `{door}` before it was final");
                    let late = at.saturating_duration_since(finality.by).as_secs_f64();
                    let early = finality.by.saturating_duration_since(*at).as_secs_f64();
                    margins.push(late - early);
                }
            }
        }
    }
    margins.sort_by(f64::total_cmp);
    eprintln!(
        "{n_tries} models, {n_requests} requests of watchers, none seen before it was final; \
         from when the chain said so to the first sight {:.3} s at least, {:.3} s in the middle",
        margins[0],
        margins[margins.len() / 2]
    );
}

/// Commits to whatever comes into a public repo, under a key of its own; gives the block.
fn snipe(
    network: &Network,
    chain: &SubstrateChain,
    repo: &Repo,
    stop: &AtomicBool,
) -> Option<Block> {
    let hub = format!("http://{}", network.hub.address);
    let hub = HubClient::new(&ClientOptions::new(&hub)).unwrap();
    let key = Keypair::from_uri("//Charlie//default").unwrap();
    let first = hub.latest(repo).unwrap();
    let revision = loop {
        match hub.latest(repo).unwrap() {
            Some(found) if Some(&found) != first.as_ref() => break found,
            _ if stop.load(Ordering::SeqCst) => return None,
            _ => std::thread::sleep(PAUSE),
        }
    };
    let root = file_root(&hub.list(repo, &revision).unwrap().unwrap());
    let text = Commitment::bound(repo, &revision, &root, &key.public(), CompetitionId(100));
    let data = text.to_text().unwrap().into_bytes();
    let call = chain.submit(Call::SetCommitment { netuid: NETUID, data }, &key).unwrap();
    loop {
        match chain.status(call).unwrap() {
            CallStatus::Applied(block) => return Some(block),
            CallStatus::Pending => std::thread::sleep(PAUSE),
            fate => panic!("{fate:?}"),
        }
    }
}

#[test]
fn attack_whoever_watches_a_public_repo_commits_as_early_as_its_owner() {
    // Long enough that a busy machine sees what is public before a block is made.
    let (network, chain) = network("500ms");
    network.register("//Charlie");
    let made = network.hub.ask("POST /api/repos/create", r#"{"name": "open"}"#);
    assert_eq!(made.0, "200", "{made:?}");
    let repo: Repo = "agon/open".parse().unwrap();
    let insisting = ["--repo", "agon/open", "--public-before-commitment"];
    let stop = AtomicBool::new(false);
    // Now and then a block falls between the two.
    let is_sniped = |number: usize| {
        let dir = network.workshop.model(&format!("model-{number}"), &numbered(number));
        std::thread::scope(|scope| {
            let sniper = scope.spawn(|| snipe(&network, &chain, &repo, &stop));
            let more = [&["--wallet", "//Bob"], &insisting[..]].concat();
            let mut submission = network.submission(&dir, &more);
            let child = submission.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let output = child.wait_with_output().unwrap();
            let owner = report(&output)["block"].as_u64().unwrap();
            stop.store(true, Ordering::SeqCst);
            let sniper = sniper.join().unwrap();
            stop.store(false, Ordering::SeqCst);
            sniper.is_some_and(|block| block.0 <= owner)
        })
    };
    assert!((0..10).any(is_sniped), "the sniper was always too late");

    // The watchers of the other test see it, too.
    let is_seen_early = |number: usize| {
        let repo = format!("agon/watched-{number}");
        let made = network.hub.ask("POST /api/repos/create", &json!({ "name": repo }).to_string());
        assert_eq!(made.0, "200", "{made:?}");
        let insisting = ["--repo", &repo, "--public-before-commitment"];
        let dir = network.workshop.model(&format!("watched-{number}"), &numbered(100 + number));
        let (_, [_, seen], _) = submitted_and_watched(&network, &chain, (&dir, &repo), &insisting);
        let bytes = seen.sightings.iter().find(|sighting| sighting.door == "bytes").unwrap();
        !bytes.was_final
    };
    assert!((0..10).any(is_seen_early), "the bytes were never seen early");
}
