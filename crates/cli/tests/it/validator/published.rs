//! A validator that publishes to a hub and is killed on the way: what is there is whole and in
//! order, and the chain names it.

use super::{Running, Site, VALIDATOR, wait_for};
use crate::commands::workshop::agon;
use chain::Keypair;
use protocol::{AccountId, Block};
use records::{Folder, Index, Links, RootCommitment, Signed};
use serde_json::Value;

/// How often it is killed.
const N_KILLS: usize = 3;

/// What the chain has of the records.
fn committed(site: &Site) -> Option<RootCommitment> {
    let commitments = site.network.chain(&["commitments", "--netuid", "1"]);
    let texts = commitments.as_array().unwrap().iter().filter_map(|stored| stored["text"].as_str());
    texts.filter_map(|text| RootCommitment::parse(text.as_bytes())).next()
}

/// What a replay by hub and chain says of the newest record that is named: exit code and steps.
fn replayed(site: &Site, named: &[&str]) -> (i32, Vec<Value>) {
    let (node, hub) = (&site.network.node, format!("http://{}", site.network.hub.address));
    let asked = ["replay", "--json", "--latest", "1", "--leaf", "--competition", &site.rules];
    let ran = agon(&[&asked[..], &["--chain", &node.url, "--hub", &hub], named].concat());
    let report: Value = serde_json::from_str(&ran.out)
        .unwrap_or_else(|error| panic!("{named:?}: {error}: {}", ran.err));
    let records = report["records"].as_array().unwrap().iter();
    let steps = records.flat_map(|record| record["steps"].as_array().unwrap().clone());
    (ran.code, steps.collect())
}

/// Anybody derives the records again that lie at an address, and those that a key commits to.
fn are_replayed_from_hub_and_chain(site: &Site, validator: AccountId) {
    let repo = format!("http://{}/datasets/agon/records", site.network.hub.address);
    let hotkey = validator.to_string();
    for named in [&[repo.as_str()][..], &["--validator", &hotkey, "--netuid", "1"]] {
        let (code, steps) = replayed(site, named);
        assert!([0, 3].contains(&code), "{named:?}: {steps:#?}");
        for part in ["signature", "link", "seed", "rows", "losses", "decision", "weights"] {
            let is_equal = |step: &Value| step["part"] == part && step["outcome"] == "equal";
            assert!(steps.iter().any(is_equal), "{part}: {steps:#?}");
        }
        // A model that a killed validator had no outcome for may be left out: nobody can tell why.
        assert!(steps.iter().any(|step| step["part"] == "models"), "{steps:#?}");
    }
}

/// A validator that changes what stands on the chain, or makes a model up, is named.
fn is_caught_by_the_chain(site: &Site, newest: &Signed) {
    let key = Keypair::from_uri(&format!("{VALIDATOR}//default")).unwrap();
    let mut record = newest.record.clone();
    let model = &mut record.models[0].model;
    model.commit_block = Block(model.commit_block.0 - 1);
    let path = site.network.workshop.path("changed.json");
    std::fs::write(&path, Signed::sign(record, &key).to_json()).unwrap();
    let (code, steps) = replayed(site, &[path.as_str()]);
    let is_named = |step: &Value| step["at"] == "models[0].model.commit_block";
    assert!(code == 1 && steps.iter().any(is_named), "{steps:#?}");
}

#[test]
fn records_reach_the_hub_in_order_and_their_root_the_chain_however_often_it_is_killed() {
    let site = Site::new("50ms", "tempo = 9, weights_rate_limit = 10");
    let variables = [("AGON_RECORDS_REPO", "agon/records"), ("AGON_RECORDS_ROOT_BLOCKS", "20")];
    let file = |path: &str| {
        let line = format!("GET /datasets/agon/records/resolve/main/{path}");
        let (status, body) = site.network.hub.ask(&line, "");
        (status == "200").then_some(body.into_bytes())
    };
    let index_of = |json: Vec<u8>| Index::from_json(&json).unwrap();
    let n_there = || {
        let index = file("index.json").map(index_of);
        index.map_or(0, |index| index.competitions["tiny"].n_records)
    };
    for kill in 0..N_KILLS {
        let before = n_there();
        let mut running = Running::with(&site, &variables);
        wait_for("two more records on the hub", || {
            running.expect_alive();
            n_there() >= before + 2
        });
        if kill == 0 {
            wait_for("a root on the chain", || committed(&site).is_some());
        }
    }

    let index = index_of(file("index.json").unwrap());
    let head = index.competitions["tiny"];
    let (home, mut links) = (Folder::new(site.home().join("records")), Links::default());
    for number in 1..=head.n_records {
        let there = file(&records::path("tiny", number)).unwrap();
        assert!(Some(&there) == home.bytes("tiny", number).unwrap().as_ref(), "record {number}");
        links.take(&Signed::from_json(&there).unwrap()).unwrap();
    }
    assert_eq!(links.digest(), Some(head.digest));
    let RootCommitment { repo, root } = committed(&site).unwrap();
    assert_eq!(repo.as_str(), "agon/records");
    let named = index_of(file(&Index::path_of(root)).unwrap());
    assert_eq!(named.root(), root);
    assert_eq!(index.follows(&named), Ok(()));
    assert_eq!(named.validator, index.validator);

    are_replayed_from_hub_and_chain(&site, index.validator);
    let newest = home.bytes("tiny", head.n_records).unwrap().unwrap();
    is_caught_by_the_chain(&site, &Signed::from_json(&newest).unwrap());
}
