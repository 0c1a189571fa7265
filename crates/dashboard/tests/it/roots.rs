//! The root of its records that a validator commits to on the chain, beside those that were read.

use crate::{
    reading::{chain_of, read},
    scene::{Home, Judge, NETUID, player, rules},
};
use chain::{Call, Chain as _, MemoryChain};
use protocol::{Block, Digest};
use records::{Head, Index, RootCommitment, Statement};
use std::sync::Arc;

const HEADING: &str = "Root on the chain";

/// A chain with the first slot for judge 1, which has judged four rounds of it.
fn scene() -> (Arc<MemoryChain>, Judge) {
    let chain = chain_of(1_045);
    let mut judge = Judge::new(1);
    judge.chain = Some(Arc::clone(&chain));
    judge.judge_four();
    (chain, judge)
}

/// The root of records up to some, each the newest of its competition.
fn root_of(chain: &MemoryChain, newest: &[(&Judge, u64)]) -> Digest {
    let genesis = chain.block_hash(Block(0)).unwrap().unwrap();
    let mut index = Index::new(newest[0].0.key.public(), genesis, NETUID);
    for (judge, number) in newest {
        let head = Head { n_records: *number, digest: read(judge, *number).digest() };
        index.competitions.insert(judge.rules.name.clone(), head);
    }
    index.root()
}

/// Commits to a root as a validator does, in the next block.
fn commit(chain: &MemoryChain, judge: &Judge, root: Digest) {
    let repo = "validator/records".parse().unwrap();
    let records = Some(RootCommitment { repo, root });
    let data = Statement { records, seen: None }.to_bytes().unwrap();
    chain.submit(Call::SetCommitment { netuid: NETUID, data }, &judge.key).unwrap();
    chain.produce_block().unwrap();
}

fn page_of(home: &Home, judge: &Judge, query: &str) -> String {
    home.page(&format!("/validator/{}{query}", judge.key.public()))
}

#[test]
fn the_root_on_the_chain_is_found_among_the_states_of_the_records_that_were_read() {
    for number in 1..=4 {
        let (chain, judge) = scene();
        let root = root_of(&chain, &[(&judge, number)]);
        commit(&chain, &judge, root);
        let mut home = Home::new();
        home.read_beside(&chain, &[&judge]);
        let page = page_of(&home, &judge, "");
        let said = format!(
            "The chain has the root of its records up to number {number} of tiny, committed at \
             block 1046"
        );
        assert!(page.contains(&said), "no {said} in {page}");
        assert!(page.contains(&format!("The root: <code>{root}</code>")), "{page}");
        let then = page_of(&home, &judge, "?block=1045");
        assert!(!then.contains(HEADING), "the chain tells of now alone");
    }
}

#[test]
fn the_root_of_records_of_several_competitions_is_found_as_they_came() {
    let (chain, judge) = scene();
    let mut later = Judge::new(1);
    later.rules.name = "later".to_owned();
    later.begins = 990;
    later.chain = Some(Arc::clone(&chain));
    later.judge_four();
    commit(&chain, &judge, root_of(&chain, &[(&judge, 2), (&later, 3)]));
    let mut home = Home::new();
    home.rules = vec![rules(), later.rules.clone()];
    home.read_beside(&chain, &[&judge, &later]);
    let page = page_of(&home, &judge, "");
    let said = "the root of its records up to number 3 of later, number 2 of tiny, committed";
    assert!(page.contains(said), "no {said} in {page}");
}

#[test]
fn attack_a_root_that_is_of_no_records_that_were_read_is_said_to_differ() {
    let (chain, judge) = scene();
    let wrong = Digest::of(b"records that nobody is shown");
    commit(&chain, &judge, wrong);
    let mut home = Home::new();
    home.read_beside(&chain, &[&judge]);
    let page = page_of(&home, &judge, "");
    assert!(
        page.contains("is that of none of the newest states of the records that were read"),
        "{page}"
    );
    assert!(page.contains(&wrong.to_string()), "{page}");
    // What was seeded after the commitment cannot be what it is of.
    let (chain, mut judge) = scene();
    commit(&chain, &judge, wrong);
    while chain.head().unwrap().block < Block(1_055) {
        chain.produce_block().unwrap();
    }
    judge.judge(&[player(1, 0.0), player(2, 0.1)]);
    let mut home = Home::new();
    home.read_beside(&chain, &[&judge]);
    let said = "committed at block 1046";
    assert!(page_of(&home, &judge, "").contains(said), "no {said}");
}

#[test]
fn without_a_root_or_without_a_chain_nothing_is_said_of_one() {
    let (chain, judge) = scene();
    let mut home = Home::new();
    home.read_beside(&chain, &[&judge]);
    assert!(!page_of(&home, &judge, "").contains(HEADING));
    commit(&chain, &judge, root_of(&chain, &[(&judge, 4)]));
    let mut alone = Home::new();
    alone.read(&[&judge]);
    assert!(!page_of(&alone, &judge, "").contains(HEADING));
}
