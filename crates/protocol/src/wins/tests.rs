//! Who wins a batch: equation 3 on small examples.

use super::*;

const FIXED: Epsilon = Epsilon::Fixed { value: 0.005 };
const NOW: Block = Block(1000);

fn side(uid: u16, block: u64, loss: f64) -> Side {
    let seniority = Seniority { block: Block(block), tie_break: Digest([uid as u8; 32]) };
    Side { uid: Uid(uid), seniority, loss: Loss::new(loss).unwrap() }
}

#[test]
fn a_later_model_wins_only_by_more_than_epsilon() {
    let senior = side(1, 10, 2.0);
    assert!(!is_win(side(2, 11, 2.0), senior, FIXED, NOW), "a copy");
    assert!(!is_win(side(2, 11, 1.99), senior, FIXED, NOW), "by epsilon exactly");
    assert!(is_win(side(2, 11, 1.9899), senior, FIXED, NOW));
    assert!(is_win(senior, side(2, 11, 1.99), FIXED, NOW));
}

#[test]
fn within_a_block_nobody_is_protected_and_ties_go_to_the_senior() {
    let senior = side(1, 10, 2.0);
    assert!(is_win(side(2, 10, 1.999_999), senior, FIXED, NOW));
    assert!(!is_win(side(2, 10, 2.0), senior, FIXED, NOW));
    assert!(is_win(senior, side(2, 10, 2.0), FIXED, NOW));
}

#[test]
fn the_protection_is_that_of_the_older_model_s_age() {
    let decaying = Epsilon::Linear { start: 0.1, end: 0.0, blocks: 100 };
    let challenger = side(2, 990, 1.95);
    assert!(!is_win(challenger, side(1, 980, 2.0), decaying, NOW), "20 blocks old: 8 %");
    assert!(is_win(challenger, side(1, 910, 2.0), decaying, NOW), "90 blocks old: 1 %");
}

#[test]
fn an_infinite_loss_never_beats_a_finite_one() {
    let infinite = |uid, block| Side { loss: Loss::INFINITE, ..side(uid, block, 0.0) };
    for block in [9, 10, 11] {
        assert!(!is_win(infinite(2, block), side(1, 10, 1e300), FIXED, NOW));
        assert!(is_win(side(1, 10, 1e300), infinite(2, block), FIXED, NOW));
    }
}

#[test]
fn the_tie_break_of_a_commitment_is_frozen() {
    let seniority = Seniority::new(Block(7), BlockHash([1; 32]), AccountId([2; 32]));
    let other_block = Seniority::new(Block(7), BlockHash([3; 32]), AccountId([2; 32]));
    let other_hotkey = Seniority::new(Block(7), BlockHash([1; 32]), AccountId([4; 32]));
    assert_eq!(
        seniority.tie_break.hex(),
        "451c1275b267753d354bfa9ea4c15017ceea624bc741594a9f0c76a681c7ace1"
    );
    assert_ne!(seniority.tie_break, other_block.tie_break);
    assert_ne!(seniority.tie_break, other_hotkey.tie_break);
}

#[test]
fn a_lone_model_wins_everything_there_is() {
    assert_eq!(win_rate(0, 1, 5), 1.0);
    assert_eq!(win_rate(5, 2, 5), 1.0);
    assert_eq!(win_rate(5, 3, 5), 0.5);
}
