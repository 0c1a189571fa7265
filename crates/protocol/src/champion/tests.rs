//! The line of champions on small examples; `tests/it` has its invariants.

use super::*;
use crate::{
    Digest, Loss, Seniority,
    competition::{LossKind, Rule},
};

fn rules(rule: Rule) -> ScoringRules {
    let (loss, epsilon) = (LossKind::CrossEntropy, Epsilon::Fixed { value: 0.005 });
    ScoringRules { rule, loss, epsilon, temperature: 0.01, alpha: 0.5, duel: None }
}

fn entry(uid: u16, losses: &[f64]) -> Entry {
    let seniority = Seniority { block: Block(u64::from(uid)), tie_break: Digest([0; 32]) };
    let losses: Vec<Loss> = losses.iter().map(|loss| Loss::new(*loss).unwrap()).collect();
    Entry { uid: Uid(uid), seniority, losses }
}

fn crowned(rule: Rule, entries: &[Entry]) -> Option<u16> {
    let n_batches = entries.first().map_or(0, |entry| entry.losses.len());
    champion(&rules(rule), Block(1000), n_batches, entries).map(|uid| uid.0)
}

#[test]
fn the_first_model_is_crowned_and_half_of_the_batches_do_not_dethrone_it() {
    let first = entry(1, &[2.0, 2.0]);
    assert_eq!(crowned(Rule::Wins, std::slice::from_ref(&first)), Some(1));
    assert_eq!(crowned(Rule::Wins, &[first.clone(), entry(2, &[1.0, 2.0])]), Some(1));
    assert_eq!(crowned(Rule::Wins, &[first.clone(), entry(2, &[1.9, 1.9])]), Some(2));
    assert_eq!(crowned(Rule::Mean, &[first.clone(), entry(2, &[1.0, 2.5])]), Some(2));
    assert_eq!(crowned(Rule::Mean, &[first, entry(2, &[1.995, 1.995])]), Some(1));
    assert_eq!(crowned(Rule::Wins, &[]), None);
}

#[test]
fn the_crown_does_not_run_in_circles() {
    // Each of the three beats the one before it on two batches of three.
    let cycle = [
        entry(1, &[2.0, 3.0, 4.0]),
        entry(2, &[4.0, 2.0, 3.0]),
        entry(3, &[3.0, 4.0, 2.0]),
        entry(4, &[2.0, 3.0, 4.0]),
    ];
    assert_eq!(crowned(Rule::Wins, &cycle[..2]), Some(2));
    assert_eq!(crowned(Rule::Wins, &cycle[..3]), Some(2), "3 beats 2 but not 1");
    assert_eq!(crowned(Rule::Wins, &cycle), Some(2), "a copy of 1 takes nothing back");
}

#[test]
fn the_line_names_everybody_who_wore_the_crown() {
    let (rules, entries) =
        (rules(Rule::Wins), [entry(1, &[3.0]), entry(2, &[3.1]), entry(3, &[2.0])]);
    let mut line = Line::new(&rules, Block(1000), 1);
    let taken: Vec<Challenge> = entries.iter().map(|entry| line.challenge(entry)).collect();
    assert_eq!(taken, [Challenge::Crowned, Challenge::BeatenBy(Uid(1)), Challenge::Crowned]);
    assert_eq!(line.holders().collect::<Vec<_>>(), [Uid(1), Uid(3)]);
    assert_eq!(line.champion(), Some(Uid(3)));
}
