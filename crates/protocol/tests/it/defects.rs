//! Defects of the reference that belong to the rules, each with the input that showed it.

use crate::tournament::{Tournament, seniority};
use protocol::{
    AccountId, Block, Digest, Entry, Loss, Uid,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    content::{file_root, reference_directory_hash, reference_file_hash},
    weights::{Miner, MovingAverage},
};

const RULES: [Rule; 3] = [Rule::Wins, Rule::Mean, Rule::Succession];

fn tournament(rule: Rule, losses: &[(u64, &[f64])]) -> Tournament {
    let (loss, epsilon) = (LossKind::CrossEntropy, Epsilon::Fixed { value: 0.005 });
    let entry = |(uid, (block, losses)): (u16, &(u64, &[f64]))| Entry {
        uid: Uid(uid),
        seniority: seniority(uid, *block),
        // What is not a loss is infinite: there is no way to write down a NaN.
        losses: losses.iter().map(|l| Loss::new(*l).unwrap_or(Loss::INFINITE)).collect(),
    };
    Tournament {
        rules: ScoringRules { rule, loss, epsilon, temperature: 0.01, alpha: 0.5, duel: None },
        now: Block(1000),
        n_batches: losses.first().map_or(0, |(_, losses)| losses.len()),
        entries: (1u16..).zip(losses).map(entry).collect(),
    }
}

/// A NaN compares as false with everything: the reference gave the earliest NaN model all weight,
/// and dropped every model after a later one.
#[test]
fn d1_a_loss_that_is_not_a_number_neither_wins_nor_shields() {
    for rule in RULES {
        let earliest = tournament(rule, &[(10, &[f64::NAN]), (20, &[2.5]), (30, &[2.4])]);
        let verdicts = earliest.score();
        assert_eq!(verdicts[0].weight, 0.0);
        assert!(verdicts[2].weight > 0.99, "{rule:?}: {verdicts:?}");
        assert_eq!(earliest.champion(), Some(Uid(3)));

        let between = tournament(rule, &[(10, &[2.5]), (20, &[f64::NAN]), (30, &[2.42])]);
        assert!(between.score()[2].weight > 0.99, "{rule:?}");
        assert_eq!(between.champion(), Some(Uid(3)));
    }
}

/// With every loss infinite the reference gave the earliest model all weight.
#[test]
fn d2_when_no_model_could_be_measured_nobody_is_crowned() {
    for rule in RULES {
        let nobody = tournament(rule, &[(10, &[f64::INFINITY, 2.0]), (20, &[f64::INFINITY; 2])]);
        assert!(nobody.score().iter().all(|v| !v.present && v.weight == 0.0));
        assert_eq!(nobody.champion(), None);

        let miner = |uid| Miner { uid: Uid(uid), hotkey: AccountId([uid as u8; 32]) };
        let mut average = MovingAverage::default();
        average.update(0.5, &[(miner(2), 1.0)]);
        let weights: Vec<_> = nobody.score().iter().map(|v| (miner(v.uid.0), v.weight)).collect();
        average.update(0.5, &weights);
        // Infinite losses are the models' own: what kept us from measuring is never one, and gives
        // the round up (`validator::d2_an_evaluator_that_always_fails_crowns_nobody`).
        assert_eq!((average.of(&miner(1)), average.of(&miner(2))), (0.0, 0.5));
    }
}

/// Two equal models of one block excluded each other, and the maximum of nobody ended the step.
#[test]
fn d3_equal_models_of_one_block_leave_exactly_one() {
    for rule in RULES {
        let tied = tournament(rule, &[(10, &[2.5, 2.5]), (10, &[2.5, 2.5])]);
        let verdicts = tied.score();
        let (first, second) = (verdicts[0].weight, verdicts[1].weight);
        assert!(first.max(second) > 0.99 && first.min(second) < 0.01, "{rule:?}: {verdicts:?}");
        assert!(tied.champion().is_some());
    }
}

/// Champion 2.5, then its own tweak 0.3 % better, then a rival 0.6 % better: 3 beats 1, 1 beats 2,
/// 2 beats 3, a third of the weight each. The weights of the paper's rule stay as they are; the
/// crown goes to the rival.
#[test]
fn d4_a_tweak_under_a_second_key_does_not_shield_the_champion() {
    for rule in RULES {
        let shielded = tournament(rule, &[(10, &[2.5]), (20, &[2.4925]), (30, &[2.485])]);
        assert_eq!(shielded.champion(), Some(Uid(3)), "{rule:?}");
        let open = tournament(rule, &[(10, &[2.5]), (30, &[2.485])]);
        assert_eq!(open.champion(), Some(Uid(2)), "{rule:?}");
    }
    let cycle = tournament(Rule::Wins, &[(10, &[2.5]), (20, &[2.4925]), (30, &[2.485])]);
    assert!(cycle.score().iter().all(|v| (v.weight - 1.0 / 3.0).abs() < 1e-12));
}

/// The directory hash of the reference does not change when files swap their names.
#[test]
fn d8_a_renamed_file_changes_what_was_committed_to() {
    let (one, two) = (&b"{\"a\":1}"[..], &b"{\"b\":2}"[..]);
    let reference = |paths: [&str; 2]| {
        reference_directory_hash(&[
            (paths[0], reference_file_hash(one)),
            (paths[1], reference_file_hash(two)),
        ])
    };
    let ours = |paths: [&str; 2]| {
        file_root(&[
            (paths[0], one.len() as u64, Digest::of(one)),
            (paths[1], two.len() as u64, Digest::of(two)),
        ])
    };
    let (before, after) = (["config.json", "other.json"], ["a.json", "config.json"]);
    assert_eq!(reference(before), reference(after), "the defect");
    assert_ne!(ours(before), ours(after));
}

/// Found by chance: a copy of the champion was a second, so that the real one was none, a later one
/// was, and that one stood in the way of a model that is better by epsilon.
#[test]
fn attack_a_copy_of_the_champion_moves_no_bar() {
    let models: [(u64, &[f64]); 5] = [
        (50, &[2.52, 2.5225]),
        (51, &[2.52, 2.5225]),
        (60, &[2.5075, 2.525]),
        (80, &[2.5075, 2.5125]),
        (90, &[2.5125, 2.5025]),
    ];
    let crowned = |models: &[(u64, &[f64])]| tournament(Rule::Succession, models).champion();
    assert_eq!(crowned(&models), Some(Uid(5)));
    let without: Vec<_> = models.iter().copied().filter(|(block, _)| *block != 51).collect();
    assert_eq!(crowned(&without), Some(Uid(4)), "the same model");
}
