//! A validator that publishes to a hub and is killed on the way: what is there is whole and in
//! order, and the chain names it.

use super::{Running, Site, wait_for};
use records::{Folder, Index, Links, RootCommitment, Signed};

/// How often it is killed.
const N_KILLS: usize = 3;

/// What the chain has of the records.
fn committed(site: &Site) -> Option<RootCommitment> {
    let commitments = site.network.chain(&["commitments", "--netuid", "1"]);
    let texts = commitments.as_array().unwrap().iter().filter_map(|stored| stored["text"].as_str());
    texts.filter_map(|text| RootCommitment::parse(text.as_bytes())).next()
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
}
