//! When weights may be hidden, and when an honest validator had better not.

use super::*;
use protocol::Seed;

const HEAD: u64 = 6_000_120;
/// The first block of the epoch after the head.
const NEXT: u64 = 6_000_360;

/// A subnet of Bittensor in the middle of an epoch.
fn rules() -> HidingRules {
    HidingRules {
        head: Block(HEAD),
        epochs: Epochs {
            tempo: 360,
            last_epoch_block: Block(NEXT - 360),
            pending_epoch_at: None,
            index: 7,
            blocks_since_step: HEAD - (NEXT - 360),
        },
        reveal_period: 1,
        version: COMMIT_REVEAL_VERSION,
        beacon: Beacon::QUICKNET,
        now_ms: 1_790_000_000_000,
        block_ms: 12_000,
    }
}

/// The same subnet some blocks later, or earlier.
fn at(head: u64) -> HidingRules {
    let mut rules = rules();
    rules.now_ms = rules.now_ms + 12_000 * head - 12_000 * HEAD;
    for block in (HEAD + 1..=head).map(Block) {
        rules.epochs.step(block);
    }
    rules.head = Block(head);
    rules
}

fn hide(rules: &HidingRules) -> Result<Handed, Error> {
    let (netuid, uids, weights) = (NetUid(1), vec![Uid(1), Uid(0)], vec![7, 1]);
    let mechanism = Mechanism::FIRST;
    let weights = Weights { netuid, mechanism, uids, weights, version_key: 0 };
    weights.hidden(rules, &Keypair::from_seed(Seed::of_number(1)))
}

fn refusal(rules: &HidingRules) -> HidingError {
    match hide(rules).unwrap_err() {
        Error::Hiding(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn attack_weights_are_not_hidden_where_their_commit_may_stand_in_the_next_epoch() {
    let Handed { reveal, last, .. } = hide(&at(NEXT - 6)).unwrap();
    let reveal = reveal.unwrap();
    assert_eq!((reveal.epoch, reveal.from), (7, Block(NEXT)));
    assert_eq!(last, Some(Block(NEXT - 1)), "whoever holds the call back");
    assert_eq!(hide(&at(NEXT - 100)).unwrap().last, last, "however early they are planned");
    for head in NEXT - 5..NEXT - 1 {
        let blocks = NEXT - 1 - head;
        let expected = HidingError::TooNearTheBorder { begins: Block(NEXT), blocks };
        assert_eq!(refusal(&at(head)), expected);
        assert!(Error::from(expected).is_transient());
        // In so many blocks, and no earlier.
        let reveal = hide(&at(head + blocks)).unwrap().reveal.unwrap();
        assert_eq!((reveal.epoch, reveal.from), (8, Block(NEXT + 360)), "asked at {head}");
    }
}

#[test]
fn where_epochs_are_short_each_block_will_do() {
    for head in HEAD..HEAD + 40 {
        let mut rules = at(head);
        rules.epochs.tempo = 15;
        rules.epochs.last_epoch_block = Block(head / 15 * 15);
        rules.epochs.blocks_since_step = head % 15;
        hide(&rules).unwrap();
    }
}

#[test]
fn epochs_that_are_over_before_the_round_comes_are_told() {
    for tempo in 1..=6 {
        let mut rules = rules();
        rules.epochs = Epochs { tempo, last_epoch_block: Block(HEAD), ..rules.epochs };
        rules.epochs.blocks_since_step = 0;
        if tempo > 3 {
            hide(&rules).unwrap();
            continue;
        }
        let error = refusal(&rules);
        assert!(matches!(error, HidingError::TooLate { .. }), "tempo {tempo}: {error}");
        assert!(!error.is_transient());
    }
}

#[test]
fn attack_rules_that_no_chain_has_hide_nothing() {
    for epochs in [0, 101, u64::MAX] {
        let made_up = HidingRules { reveal_period: epochs, ..rules() };
        assert_eq!(refusal(&made_up), HidingError::Period { epochs });
    }
    assert!(hide(&HidingRules { reveal_period: 100, ..rules() }).is_ok());
    let mut ahead = rules();
    ahead.epochs.last_epoch_block = Block(HEAD + 1);
    let expected = HidingError::EpochAhead { last: Block(HEAD + 1), head: Block(HEAD) };
    assert_eq!(refusal(&ahead), expected);
    // Blocks that take no time have every round behind them.
    for block_ms in [0, 1] {
        let error = refusal(&HidingRules { block_ms, ..rules() });
        assert!(matches!(error, HidingError::Published { .. }), "{block_ms}: {error}");
    }
}

#[test]
fn a_version_that_we_do_not_write_is_named() {
    for version in [0, 3, 5] {
        let error = hide(&HidingRules { version, ..rules() }).unwrap_err();
        assert!(matches!(error, Error::Incompatible { .. }), "{error}");
        assert!(error.to_string().contains("version 4 of hidden weights"), "{error}");
    }
}

#[test]
fn what_was_noted_without_the_number_of_its_epoch_is_read() {
    let old = r#"{ "round": 5, "from": 20, "until": 29 }"#;
    let read: Reveal = serde_json::from_str(old).unwrap();
    assert_eq!(read, Reveal { epoch: 0, round: 5, from: Block(20), until: Block(29) });
}
