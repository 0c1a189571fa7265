//! The nearest relatives of the models of a leaderboard.

use crate::scene::{Home, Judge, Player, player, rules_of_succession};
use protocol::lineage::DOCUMENTS_MIN;
use serde_json::Value;

/// Rounds after which there are enough documents for a label.
const N_ROUNDS: usize = 8;

/// Twelve models, of which the first to come is champion, and all others are better by less than
/// they would have to be.
fn players() -> Vec<Player> {
    let quality = |uid: u16| if uid == 1 { 0.1 } else { 0.102 };
    (1..=12).map(|uid| player(uid, quality(uid))).collect()
}

fn scene(n_rounds: usize) -> (Judge, Home) {
    let mut judge = Judge::new(1);
    judge.rules = rules_of_succession();
    for _ in 0..n_rounds {
        let record = judge.judge(&players());
        assert_eq!(record.champion.map(|uid| uid.0), Some(1));
    }
    let mut home = Home::new();
    home.rules.push(rules_of_succession());
    home.read(&[&judge]);
    (judge, home)
}

#[test]
fn the_best_models_of_a_leaderboard_are_told_with_the_nearest_of_their_own_pages() {
    let (_judge, home) = scene(N_ROUNDS);
    let mut board = home.rows("/c/tiny.json", "board");
    // Twice, since the second time it is remembered.
    assert_eq!(home.rows("/c/tiny.json", "board"), board);
    assert_eq!(home.rows(&format!("/c/tiny/round/{N_ROUNDS}.json"), "board"), board);
    board.sort_by(|a, b| a["loss"].as_f64().unwrap().total_cmp(&b["loss"].as_f64().unwrap()));
    let last = board.last().unwrap();
    assert_eq!(last["uid"], 1, "the champion has the highest loss: {board:?}");
    for (at, row) in board.iter().enumerate() {
        let lineage = row["lineage"].as_str().unwrap();
        if at == 10 {
            assert_eq!(lineage, "–", "neither champion nor among the first ten");
            continue;
        }
        let root = row["root"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let kin = &home.rows(&format!("/model/{root}.json"), "kin")[0];
        assert!(kin["documents"].as_u64().unwrap() >= DOCUMENTS_MIN as u64);
        let text = |key: &str| kin[key].as_str().unwrap();
        let correlation = kin["correlation"].as_f64().unwrap();
        let wanted = format!("{}: {} ({correlation:.5})", text("kin"), text("model"));
        assert_eq!(lineage, wanted);
        assert!(lineage.starts_with("related: miner"), "{lineage}");
        let link = format!("href=\"/model/{}\"", text("root").strip_prefix("sha256:").unwrap());
        assert!(home.page("/c/tiny").contains(&format!("{link}>{lineage}<")), "no {link}");
    }
}

#[test]
fn relatives_are_of_the_block_that_is_asked_for_and_few_documents_tell_none() {
    let (_judge, home) = scene(N_ROUNDS);
    let (_short, cut) = scene(N_ROUNDS - 1);
    let block = 1_000 + 10 * (N_ROUNDS - 1);
    let then = home.rows(&format!("/c/tiny.json?block={block}"), "board");
    assert_eq!(then, cut.rows("/c/tiny.json", "board"));
    assert_ne!(then, home.rows("/c/tiny.json", "board"));
    let (_judge, few) = scene(3);
    let board = few.rows("/c/tiny.json", "board");
    let unknown = |row: &&Value| row["lineage"] == "unknown: too few documents";
    assert_eq!(board.iter().filter(unknown).count(), 11, "{board:?}");
}
