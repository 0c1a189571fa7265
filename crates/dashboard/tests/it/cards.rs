//! What models are, by the record that a page is told by.

use crate::{
    reading::read,
    scene::{Home, Judge, player},
};
use protocol::Record;
use records::Signed;
use serde_json::{Value, json};
use std::fs;

fn home_of(judges: &[&Judge]) -> Home {
    let mut home = Home::new();
    home.read(judges);
    home
}

#[test]
fn a_model_is_told_with_its_size_and_the_health_of_its_parameters() {
    let judge = Judge::of_four_rounds(1);
    let home = home_of(&[&judge]);
    let page_of = |uid: u16| format!("/model/{}", player(uid, 0.0).root().hex());
    let card = home.rows(&format!("{}.json", page_of(3)), "card");
    let wanted = json!([{
        "architecture": "llama", "parameters": 1_000_003, "size_bytes": 4_000_000,
        "vocabulary": 512, "context": 128, "vanishing": 2, "exploding": 1,
    }]);
    assert_eq!(Value::from(card), wanted);
    let page = home.page(&page_of(3));
    for said in [
        "3 tensors have vanishing or exploding gradients, of which 2 vanish and 1 explodes.",
        ">1,000,003</td>",
        ">4,000,000</td>",
    ] {
        assert!(page.contains(said), "no {said} in {page}");
    }
    let page = home.page(&page_of(1));
    assert!(page.contains("No tensor has vanishing or exploding gradients."), "{page}");
    for address in ["/c/tiny.json", "/c/tiny/round/4.json"] {
        let board = home.rows(address, "board");
        assert_eq!(board.len(), 3);
        for row in board {
            let wanted = 1_000_000 + row["uid"].as_u64().unwrap();
            assert_eq!(row["parameters"], wanted);
            assert_eq!(row["architecture"], "llama");
        }
    }
}

#[test]
fn a_model_whose_record_does_not_tell_what_it_is_has_dashes() {
    let mut judge = Judge::new(1);
    judge.is_terse = true;
    judge.judge_four();
    let home = home_of(&[&judge]);
    for row in home.rows("/c/tiny.json", "board") {
        assert_eq!((&row["parameters"], &row["architecture"]), (&Value::Null, &json!("–")));
    }
    let page = home.page(&format!("/model/{}", player(2, 0.1).root().hex()));
    assert!(page.contains("its last record does not tell what it is"), "{page}");
    assert!(!page.contains("gradients."), "{page}");
}

/// Lets a judge tell something else of the models of its last record.
fn retell(judge: &Judge, change: impl FnOnce(&mut Record)) {
    let mut record = read(judge, 4).record;
    change(&mut record);
    fs::write(judge.path(4), Signed::sign(record, &judge.key).to_json()).unwrap();
}

#[test]
fn attack_who_tells_another_thing_of_a_model_tells_it_on_its_own_pages_alone() {
    let judges = [1, 2].map(Judge::of_four_rounds);
    let (model, n) = (player(2, 0.1).root().hex(), u64::MAX);
    retell(&judges[1], |record| {
        let card = record.models[1].model.card.as_mut().unwrap();
        card.architecture = "a lie".to_owned();
        (card.n_parameters, card.size_bytes, card.vocabulary, card.context) = (n, n, n, n);
        (card.n_vanishing, card.n_exploding) = (n, n);
    });
    let home = home_of(&[&judges[0], &judges[1]]);
    for (judge, (architecture, parameters)) in
        judges.iter().zip([("llama", 1_000_002), ("a lie", n)])
    {
        let whose = format!("validator={}", judge.key.public());
        let card = home.rows(&format!("/model/{model}.json?{whose}"), "card");
        assert_eq!(card[0]["architecture"], architecture);
        assert_eq!(card[0]["parameters"], parameters);
        let board = home.rows(&format!("/c/tiny.json?{whose}"), "board");
        assert_eq!(board[1]["architecture"], architecture);
        // What the index keeps has a bit less.
        let kept = parameters.min(i64::MAX.unsigned_abs());
        assert_eq!(board[1]["parameters"], kept);
        assert_eq!(board[0]["architecture"], "llama");
        let outcomes = home.rows(&format!("/model/{model}.json?{whose}"), "outcomes");
        assert_eq!(outcomes.len(), 3, "of every round that has it, whatever it is called");
    }
    let lie = home.page(&format!("/model/{model}?validator={}", judges[1].key.public()));
    assert!(lie.contains("18,446,744,073,709,551,615 tensors have vanishing"), "{lie}");
}
