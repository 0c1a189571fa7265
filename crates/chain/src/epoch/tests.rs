//! Epochs step by step, and the same in one go.

use super::*;
use proptest::prelude::*;

/// Epochs of tempo 20 whose last was in block 100, in the state after it.
fn epochs() -> Epochs {
    Epochs {
        tempo: 20,
        last_epoch_block: Block(100),
        pending_epoch_at: None,
        index: 7,
        blocks_since_step: 0,
    }
}

/// What `first_block_of` promises, block by block.
fn first_block_by_steps(mut state: Epochs, target: u64, from: Block) -> Option<Block> {
    let epochs = target.saturating_sub(state.number_at(from));
    for block in (from.0..from.0 + (epochs + 1) * BLOCKS_WITHOUT_STEP_MAX).map(Block) {
        if state.number_at(block) == target {
            return Some(block);
        }
        state.step(block);
    }
    None
}

/// State, block and reveal period of a case of the vectors, with the block that it expects.
fn case(case: &serde_json::Value) -> (Epochs, Block, u64, Block) {
    let number = |name: &str| case[name].as_u64().unwrap_or_else(|| panic!("`{name}` in {case}"));
    let epochs = Epochs {
        tempo: number("tempo").try_into().unwrap(),
        last_epoch_block: Block(number("last_epoch_block")),
        pending_epoch_at: Some(Block(number("pending_epoch_at"))).filter(|block| block.0 > 0),
        index: number("subnet_epoch_index"),
        blocks_since_step: number("blocks_since_last_step"),
    };
    let (at, period) = (Block(number("current_block")), number("reveal_period_epochs"));
    (epochs, at, period, Block(number("first_reveal_block")))
}

#[test]
fn the_reveal_blocks_of_the_official_clients() {
    let text = include_str!("../../../../testdata/timelock/reveal_rounds.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 8);
    for (epochs, at, period, first_block) in cases.iter().map(case) {
        let reveal = epochs.reveal(at, period).unwrap();
        assert_eq!(reveal.first_block, first_block, "{epochs:?} at {at:?}");
        let commit = Block(at.0 + 1);
        assert_eq!(reveal.epoch, epochs.number_at(commit) + period);
        assert_eq!(first_block_by_steps(epochs, reveal.epoch, commit), Some(first_block));
    }
}

#[test]
fn an_epoch_runs_every_tempo_and_counts_from_the_beginning_of_its_block() {
    let mut state = epochs();
    for block in (101..=160).map(Block) {
        let number = 7 + (block.0 - 100) / 20;
        assert_eq!(state.number_at(block), number, "{block:?}");
        assert_eq!(state.is_due(block), block.0 % 20 == 0);
        assert_eq!(state.step(block), block.0 % 20 == 0);
        assert_eq!(state.index, number);
        assert_eq!(state.blocks_since_step, block.0 % 20);
    }
    assert_eq!(state.last_epoch_block, Block(160));
}

#[test]
fn an_epoch_that_the_owner_asks_for_runs_once_and_the_tempo_counts_from_it() {
    let mut state = Epochs { pending_epoch_at: Some(Block(105)), ..epochs() };
    let ran: Vec<u64> = (101..=150).filter(|block| state.step(Block(*block))).collect();
    assert_eq!(ran, [105, 125, 145]);
    let pending = Epochs { pending_epoch_at: Some(Block(90)), ..epochs() };
    assert!(pending.is_due(Block(101)), "at once if its block is over");
}

#[test]
fn after_a_week_of_blocks_without_an_epoch_one_is_due() {
    let mut state = Epochs {
        last_epoch_block: Block(60_000),
        tempo: 300,
        blocks_since_step: BLOCKS_WITHOUT_STEP_MAX,
        ..epochs()
    };
    assert!(!state.is_due(Block(60_001)), "the block itself is not counted before it is made");
    assert!(state.step(Block(60_001)));
    assert_eq!((state.index, state.number_at(Block(60_002))), (8, 8));
}

#[test]
fn a_subnet_of_tempo_0_has_no_epochs() {
    let mut still = Epochs {
        tempo: 0,
        pending_epoch_at: Some(Block(1)),
        blocks_since_step: u64::MAX,
        ..epochs()
    };
    assert!(!still.is_due(Block(1_000)) && !still.step(Block(1_000)));
    assert_eq!(still.first_block_of(7, Block(1_000)), Err(EpochError::NoEpochs));
    assert_eq!(still.reveal(Block(1_000), 1), Err(EpochError::NoEpochs));
}

#[test]
fn an_epoch_that_is_over_has_no_first_block() {
    let (state, from) = (epochs(), Block(101));
    assert_eq!(state.first_block_of(7, from), Ok(from), "the running one, from where it is asked");
    assert_eq!(state.first_block_of(8, from), Ok(Block(120)));
    let passed = EpochError::Passed { epoch: 6, before: from };
    assert_eq!(state.first_block_of(6, from), Err(passed));
}

#[test]
fn a_tempo_that_never_comes_is_cut_short() {
    let (ahead, slow) = (Block(1_000_000), u16::MAX);
    let states = [
        Epochs { last_epoch_block: ahead, ..epochs() },
        Epochs { tempo: slow, ..epochs() },
        Epochs { last_epoch_block: ahead, tempo: slow, ..epochs() },
    ];
    for state in states {
        let begins = state.first_block_of(8, Block(101));
        assert_eq!(begins, Ok(Block(101 + BLOCKS_WITHOUT_STEP_MAX + 1)), "{state:?}");
    }
}

#[test]
fn far_epochs_are_found_at_once_or_are_too_far() {
    let state = epochs();
    let reveal = state.reveal(Block(100), 1 << 40).unwrap();
    assert_eq!(reveal, Reached { epoch: 7 + (1 << 40), first_block: Block(100 + 20 * (1 << 40)) });
    let slow = Epochs { tempo: u16::MAX, ..state };
    assert!(matches!(slow.reveal(Block(100), 1 << 40), Err(EpochError::TooFar { .. })));
    assert!(matches!(state.reveal(Block(u64::MAX), 1), Err(EpochError::TooFar { .. })));
    assert!(matches!(state.reveal(Block(0), u64::MAX), Err(EpochError::TooFar { .. })));
}

fn states() -> impl Strategy<Value = (Epochs, Block)> {
    let tempo = prop_oneof![1..50_u16, 50_390..50_410_u16, any::<u16>()];
    let since = prop_oneof![0..60_u64, 50_300..50_500_u64, any::<u64>()];
    let pending = prop_oneof![Just(None), (990..1_060_u64).prop_map(|block| Some(Block(block)))];
    let last = prop_oneof![990..1_010_u64, 900..1_000_u64, 0..2_000_u64];
    (tempo, since, pending, last, any::<bool>()).prop_map(
        |(tempo, since, pending_epoch_at, last, is_quiet)| {
            let from = Block(1_000);
            let quiet_since = from.since(Block(last)).saturating_sub(1);
            let blocks_since_step = if is_quiet { quiet_since } else { since };
            let last_epoch_block = Block(last);
            (
                Epochs { tempo, last_epoch_block, pending_epoch_at, index: 9, blocks_since_step },
                from,
            )
        },
    )
}

proptest! {
    #[test]
    fn what_is_computed_at_once_is_what_steps_lead_to(
        (state, from) in states(), ahead in 0..6_u64, behind in 0..2_u64,
    ) {
        let target = (state.number_at(from) + ahead).saturating_sub(behind);
        let computed = state.first_block_of(target, from).ok();
        let stepped = first_block_by_steps(state, target, from);
        prop_assert_eq!(computed, if state.tempo == 0 { None } else { stepped });
    }

    #[test]
    fn numbers_never_fall_and_grow_by_one_at_most(
        (mut state, from) in states().prop_filter("tempo 1", |(state, _)| state.tempo > 1),
    ) {
        let mut number = state.number_at(from);
        for block in (from.0..from.0 + 200).map(Block) {
            let next = state.number_at(block);
            prop_assert!(next == number || next == number + 1, "{:?} at {:?}", state, block);
            number = next;
            state.step(block);
        }
    }
}
