//! `testdata/scoring`: what an independent program says of the same inputs.

use crate::tournament::Tournament;
use protocol::{
    Block, Digest, Entry, Loss, Seniority, Uid,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-12;

#[derive(Deserialize)]
struct Case {
    name: String,
    rule: Rule,
    loss: LossKind,
    epsilon: Epsilon,
    temperature: f64,
    block: Block,
    models: Vec<Model>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Model {
    uid: Uid,
    block: Block,
    cross_entropy: Vec<Loss>,
}

#[derive(Deserialize)]
struct Expect {
    models: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    uid: Uid,
    wins: u64,
    win_rate: f64,
    weight: f64,
}

#[test]
fn scores_are_those_of_the_independent_program() {
    let cases = include_str!("../../../../testdata/scoring/cases.json");
    let cases: Vec<Case> = serde_json::from_str(cases).unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let Case { name, rule, loss, epsilon, temperature, block: now, models, expect } = case;
        let entry = |model: &Model| {
            let seniority = Seniority { block: model.block, tie_break: Digest([0; 32]) };
            Entry { uid: model.uid, seniority, losses: model.cross_entropy.clone() }
        };
        let n_batches = models.iter().map(|model| model.cross_entropy.len()).max().unwrap();
        let rules = ScoringRules { rule, loss, epsilon, temperature, alpha: 0.5, duel: None };
        let entries = models.iter().map(entry).collect();
        let verdicts = Tournament { rules, now, n_batches, entries }.score();
        assert_eq!(verdicts.len(), expect.models.len());
        for (verdict, expected) in verdicts.iter().zip(&expect.models) {
            let what = format!("{name}, uid {}: {verdict:?}", expected.uid);
            assert_eq!((verdict.uid, verdict.wins), (expected.uid, expected.wins), "{what}");
            assert!((verdict.win_rate - expected.win_rate).abs() <= TOLERANCE, "{what}");
            assert!((verdict.weight - expected.weight).abs() <= TOLERANCE, "{what}");
        }
    }
}
