//! Weights that the chain opens itself.

use super::*;
use crate::{
    Handed, HyperparameterChange, Mechanism, Reveal, Weights,
    ledger::{Event, SEALED_BYTES_MAX, last_round},
};
use protocol::Block;

/// A validator at uid 0 (hotkey 100) with a permit and a miner, on a subnet that hides weights.
fn subnet(hyperparameters: &Hyperparameters) -> Ledger {
    let hyperparameters = hyperparameters.clone();
    let rules = Hyperparameters { max_validators: 1, commit_reveal: true, ..hyperparameters };
    let mut ledger = ledger(rules);
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, register(101)).unwrap();
    ledger.call(0, stake(100, 100 * TAO)).unwrap();
    ledger.pass_epoch();
    ledger
}

fn weights(weight: u16) -> Weights {
    let (uids, weights) = (vec![Uid(1), Uid(0)], vec![weight, 1]);
    Weights { netuid: NETUID, mechanism: Mechanism::FIRST, uids, weights, version_key: 0 }
}

/// What `signer` hands over now, and when it is opened.
fn hidden(ledger: &Ledger, signer: u64, weights: &Weights) -> (Call, Reveal) {
    let rules = ledger.hiding(NETUID).unwrap().unwrap();
    let Handed { call, reveal, .. } = weights.hidden(&rules, &key(signer)).unwrap();
    (call, reveal.unwrap())
}

/// The row of the validator.
fn row(ledger: &Ledger) -> Vec<(Uid, u16)> {
    ledger.weights(NETUID, Uid(0)).unwrap()
}

/// Passes blocks until one opens weights; gives its number and its events.
fn pass_reveal(ledger: &mut Ledger) -> (u64, Vec<Event>) {
    for _ in 0..100 {
        let produced = ledger.block(Vec::new());
        if !produced.revealed.is_empty() {
            return (produced.head.block.0, produced.revealed);
        }
    }
    panic!("nothing was opened");
}

#[test]
fn hidden_weights_are_opened_in_the_epoch_after_their_commit_and_count_at_its_end() {
    let mut ledger = subnet(&rules());
    assert_eq!(ledger.head().block, Block(10), "an epoch has just ended");
    assert_eq!(ledger.call(100, weigh(&[(1, 1)])), Err(CallError::CommitRevealEnabled));
    let (call, reveal) = hidden(&ledger, 100, &weights(5));
    assert_eq!(reveal, Reveal { epoch: 1, round: 4 * 23, from: Block(20), until: Block(29) });
    ledger.call(100, call).unwrap();
    assert_eq!(ledger.neurons()[0].last_update, ledger.head().block, "a commit is an update");
    let updated = ledger.head().block;
    let paid = ledger.pass_epoch();
    assert_eq!((paid.slots[1].incentive, row(&ledger)), (0, Vec::new()), "nobody knows yet");
    let (block, events) = pass_reveal(&mut ledger);
    assert_eq!(block, 23, "three blocks into the epoch");
    let set = Event::WeightsSet { netuid: NETUID, uid: Uid(0) };
    let revealed = Event::TimelockedRevealed { hotkey: account(100), netuid: NETUID };
    assert_eq!(events, [set, revealed]);
    assert_eq!(row(&ledger), [(Uid(1), 65_535), (Uid(0), 13_107)]);
    assert_eq!(ledger.neurons()[0].last_update, updated, "weights are as old as their commit");
    assert!(ledger.pass_epoch().slots[1].incentive > 0);
}

#[test]
fn the_last_commit_of_an_epoch_is_what_stays() {
    let mut ledger = subnet(&rules());
    for weight in [2, 3, 4] {
        let (call, _) = hidden(&ledger, 100, &weights(weight));
        ledger.call(100, call).unwrap();
    }
    let (_, events) = pass_reveal(&mut ledger);
    assert_eq!(events.len(), 6, "all are opened, one after the other");
    assert_eq!(row(&ledger), weights(4).row().into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn a_reveal_period_of_several_epochs_is_waited_for() {
    let mut ledger = subnet(&Hyperparameters { reveal_period: 3, ..rules() });
    let (call, reveal) = hidden(&ledger, 100, &weights(5));
    assert_eq!((reveal.from, reveal.until), (Block(40), Block(49)));
    ledger.call(100, call).unwrap();
    assert_eq!(pass_reveal(&mut ledger).0, 43);
}

#[test]
fn commits_of_the_last_block_of_an_epoch_and_of_its_first_are_of_two_epochs() {
    let mut ledger = subnet(&rules());
    ledger.pass(8);
    for (block, from) in [(19, 20), (20, 30), (21, 30)] {
        let (call, reveal) = hidden(&ledger, 100, &weights(block as u16));
        assert_eq!(reveal.from, Block(from), "committed in block {block}");
        ledger.call(100, call).unwrap();
        assert_eq!(ledger.head().block, Block(block));
    }
    assert_eq!(pass_reveal(&mut ledger).0, 23);
    assert_eq!(row(&ledger)[0], (Uid(1), 65_535));
    let (block, events) = pass_reveal(&mut ledger);
    assert_eq!((block, events.len()), (33, 4));
}

#[test]
fn attack_weights_of_somebody_else_are_worth_nothing_to_who_hands_them_over_unread() {
    let mut ledger = subnet(&rules());
    let (call, _) = hidden(&ledger, 100, &weights(5));
    ledger.call(101, call).unwrap();
    ledger.pass(30);
    assert_eq!(ledger.weights(NETUID, Uid(1)).unwrap(), []);
    assert_eq!(row(&ledger), [], "and nothing to whose they are");
}

#[test]
fn attack_what_cannot_be_opened_or_breaks_a_rule_is_gone_without_a_word_and_harms_nobody() {
    let mut ledger = subnet(&rules());
    let (call, reveal) = hidden(&ledger, 100, &weights(5));
    let Call::CommitTimelockedWeights { sealed, version, .. } = call else { panic!() };
    let commit = |sealed: Vec<u8>, round| Call::CommitTimelockedWeights {
        netuid: NETUID,
        sealed,
        round,
        version,
    };
    let mut bad: Vec<Vec<u8>> = vec![Vec::new(), vec![0; 3], vec![255; SEALED_BYTES_MAX]];
    bad.push(sealed.iter().rev().copied().collect());
    for place in [0, 96, 150, 200, sealed.len() - 1] {
        let mut flipped = sealed.clone();
        flipped[place] ^= 1;
        bad.push(flipped);
    }
    // What is well made, but breaks a rule of weights: a slot that nobody has.
    let (nobody, _) = hidden(&ledger, 100, &Weights { uids: vec![Uid(9), Uid(0)], ..weights(5) });
    let calls = bad.into_iter().map(|sealed| commit(sealed, reveal.round)).chain([nobody]);
    let nonce = ledger.nonce(account(100));
    let calls = (nonce..).zip(calls).map(|(nonce, call)| OwnCall::new(account(100), nonce, call));
    let calls: Vec<OwnCall> = calls.collect();
    assert_eq!(calls.len(), 10, "as many as an epoch takes");
    assert!(ledger.block(calls).results().iter().all(|(_, result)| result.is_ok()));
    for _ in 0..30 {
        assert_eq!(ledger.block(Vec::new()).revealed, []);
    }
    assert_eq!(row(&ledger), []);
    assert!(ledger.subnets().all(|(_, subnet)| subnet.timelocked.is_empty()));
    // The right round is the only one that opens them.
    let (call, _) = hidden(&ledger, 100, &weights(5));
    let Call::CommitTimelockedWeights { sealed, round, .. } = call else { panic!() };
    ledger.call(100, commit(sealed, round + 1)).unwrap();
    ledger.pass(30);
    assert_eq!(row(&ledger), []);
}

#[test]
fn a_round_that_comes_within_the_epoch_is_waited_for_and_one_after_it_is_not() {
    for (more, is_opened) in [(4 * 6, true), (4 * 6 + 1, false)] {
        let mut ledger = subnet(&rules());
        let rules = ledger.hiding(NETUID).unwrap().unwrap();
        let late = crate::HidingRules { now_ms: rules.now_ms + more * 3_000, ..rules };
        let Handed { call, reveal, .. } = weights(5).hidden(&late, &key(100)).unwrap();
        assert_eq!(reveal.unwrap().round, 4 * 23 + more);
        ledger.call(100, call).unwrap();
        ledger.pass(30);
        assert_eq!(!row(&ledger).is_empty(), is_opened, "{more} rounds late");
    }
}

#[test]
fn commits_are_refused_by_name() {
    let mut ledger = subnet(&Hyperparameters { stake_threshold_rao: TAO, ..rules() });
    let (call, _) = hidden(&ledger, 100, &weights(5));
    let Call::CommitTimelockedWeights { netuid, sealed, round, version } = call.clone() else {
        panic!()
    };
    let with = |sealed: &[u8], round, version| Call::CommitTimelockedWeights {
        netuid,
        sealed: sealed.to_vec(),
        round,
        version,
    };
    let old = last_round(Block(ledger.head().block.0 + 1)) - 1;
    for (signer, call, expected) in [
        (100, with(&sealed, round, version + 1), CallError::IncorrectCommitRevealVersion),
        (5, call.clone(), CallError::HotKeyNotRegisteredInSubNet),
        (101, call, CallError::NotEnoughStakeToSetWeights),
        (100, with(&sealed, old, version), CallError::InvalidRevealRound),
        (100, with(&[0; SEALED_BYTES_MAX + 1], round, version), CallError::ExhaustsResources),
    ] {
        assert_eq!(ledger.call(signer, call), Err(expected));
    }
    assert!(ledger.subnets().all(|(_, subnet)| subnet.timelocked.is_empty()), "nothing is left");
    for n in 0..11_u16 {
        let (call, _) = hidden(&ledger, 100, &weights(n + 1));
        let call = ledger.next(100, call);
        let expected = if n < 10 { Ok(()) } else { Err(CallError::TooManyUnrevealedCommits) };
        // Ten are too many blocks for an epoch: the rest come in one that has begun.
        let result = ledger.block(vec![call]).result();
        if ledger.head().block.0 < 20 {
            assert_eq!(result, expected, "{n}");
        }
    }

    let mut slow = subnet(&Hyperparameters { weights_rate_limit: 5, ..rules() });
    let (call, _) = hidden(&slow, 100, &weights(5));
    slow.call(100, call).unwrap();
    let (call, _) = hidden(&slow, 100, &weights(6));
    assert_eq!(slow.call(100, call), Err(CallError::CommittingWeightsTooFast));
}

#[test]
fn an_epoch_takes_ten_commits_of_a_hotkey() {
    let mut ledger = subnet(&rules());
    let nonce = ledger.nonce(account(100));
    let (call, _) = hidden(&ledger, 100, &weights(5));
    let calls = (nonce..nonce + 11).map(|nonce| OwnCall::new(account(100), nonce, call.clone()));
    let results = ledger.block(calls.collect()).results();
    assert!(results[..10].iter().all(|(_, result)| result.is_ok()));
    assert_eq!(results[10].1, Err(CallError::TooManyUnrevealedCommits));
}

#[test]
fn attack_a_newcomer_gets_nothing_of_weights_that_were_hidden_before_it_came() {
    let mut ledger = subnet(&rules());
    let (call, _) = hidden(&ledger, 100, &weights(5));
    ledger.call(100, call).unwrap();
    let change = HyperparameterChange::MaxUids(2);
    ledger.call(OWNER, Call::SetHyperparameter { netuid: NETUID, change }).unwrap();
    ledger.call(0, register(102)).unwrap();
    assert_eq!(ledger.hotkeys()[1], account(102));
    pass_reveal(&mut ledger);
    assert_eq!(ledger.pass_epoch().slots[1].incentive, 0, "they were meant for another");
}

#[test]
fn an_owner_turns_hiding_on_and_off_and_a_new_tempo_begins_where_it_is_set() {
    let mut ledger = subnet(&rules());
    let set = |change| Call::SetHyperparameter { netuid: NETUID, change };
    let (call, _) = hidden(&ledger, 100, &weights(5));
    ledger.call(OWNER, set(HyperparameterChange::CommitReveal(false))).unwrap();
    assert_eq!(ledger.hiding(NETUID), Some(None));
    assert_eq!(ledger.call(100, call), Err(CallError::CommitRevealDisabled));
    ledger.call(100, weigh(&[(1, 1)])).unwrap();
    ledger.call(OWNER, set(HyperparameterChange::CommitReveal(true))).unwrap();
    ledger.call(OWNER, set(HyperparameterChange::Tempo(20))).unwrap();
    let changed = ledger.head().block.0;
    assert_eq!(ledger.pass_epoch().block, Block(changed + 20));
    let (call, reveal) = hidden(&ledger, 100, &weights(7));
    assert_eq!((reveal.from.0, reveal.until.0), (changed + 40, changed + 59));
    ledger.call(100, call).unwrap();
    assert_eq!(pass_reveal(&mut ledger).0, changed + 43);
}
