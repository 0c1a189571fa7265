//! Miners at work.

use crate::network::{NETUID, Network, hotkey, published};
use chain::Chain as _;
use miner::{Check, Event, Strategy, find_champion};
use protocol::{Block, Reason, ReasonCode, Uid, content};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

#[test]
fn what_is_committed_is_what_the_hub_has_bound_to_the_hotkey() {
    let network = Network::new(&["ada"], 1);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let events = network.run(&mut miner, 4);
    assert!(published(&events) > 0);
    network.chain.produce_block().unwrap();
    let commitment = network.commitment(1).unwrap();
    let files = network.hub.list(&commitment.repo, &commitment.revision).unwrap().unwrap();
    let root = hub::intake::file_root(&files);
    let hotkey = hotkey("ada").public();
    let bound = content::bound_hash(&root, &hotkey, network.competition.id);
    assert_eq!(commitment.secure_hash, bound);
}

#[test]
fn a_model_goes_out_only_when_it_is_clearly_better() {
    let network = Network::new(&["ada"], 1);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let events = network.run(&mut miner, 40);
    let perplexities: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Published(published) => published.perplexity,
            _ => None,
        })
        .collect();
    assert!(perplexities.len() > 3, "{perplexities:?}");
    assert!(perplexities.windows(2).all(|pair| pair[1] < 0.97 * pair[0]), "{perplexities:?}");
}

#[test]
fn a_model_that_a_validator_would_refuse_is_kept_back() {
    let network = Network::new(&["ada"], 1);
    let check: Check = Arc::new(|_| Ok(Some(Reason::new(ReasonCode::NonFiniteParameters, "NaN"))));
    let mut miner = network.miner("ada", Strategy::Pretrain, Some(check));
    let events = network.run(&mut miner, 4);
    assert!(events.iter().any(|event| matches!(event, Event::Withheld(_))));
    assert_eq!(network.commitment(1), None);
}

#[test]
fn a_model_that_was_kept_back_sets_no_mark_for_the_next() {
    let mut network = Network::new(&["ada"], 1);
    network.improvement_own = 0.3;
    let n_checks = AtomicUsize::new(0);
    // The first is refused; the next is better by less than is asked for of a second commitment.
    let check: Check = Arc::new(move |_| {
        let is_first = n_checks.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(is_first.then(|| Reason::new(ReasonCode::NonFiniteParameters, "NaN")))
    });
    let mut miner = network.miner("ada", Strategy::Pretrain, Some(check));
    let events = network.run(&mut miner, 40);
    let told: Vec<bool> = events
        .iter()
        .filter_map(|event| match event {
            Event::Withheld(_) => Some(false),
            Event::Published(_) => Some(true),
            _ => None,
        })
        .collect();
    assert_eq!(told[..2], [false, true]);
    let measured = |wanted: fn(&Event) -> bool| {
        let at = events.iter().position(wanted).unwrap();
        events[..at].iter().filter(|event| matches!(event, Event::Measured(_))).count()
    };
    let first = measured(|event| matches!(event, Event::Withheld(_)));
    let second = measured(|event| matches!(event, Event::Published(_)));
    assert_eq!(second, first + 1, "the next that was measured went out");
}

#[test]
fn where_two_thirds_must_have_its_bytes_a_model_is_not_replaced_before_it_took_part() {
    let mut network = Network::new(&["ada"], 1);
    let competition = &mut network.competition;
    competition.evaluation.published = protocol::competition::Published::TwoThirds;
    (competition.evaluation.blocks_per_round, competition.from_block) = (10, 0);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let (mut blocks, mut perplexities) = (Vec::new(), Vec::new());
    for _ in 0..90 {
        for event in network.run(&mut miner, 1) {
            if let Event::Published(published) = event {
                blocks.push(network.chain.head().unwrap().block);
                perplexities.push(published.perplexity.unwrap());
            }
        }
    }
    assert!((2..=4).contains(&blocks.len()), "{blocks:?}");
    for pair in blocks.windows(2) {
        let stands = Block(pair[0].0 + 1);
        let free = protocol::publication::replaceable_from(&network.competition, stands);
        assert!(pair[1] >= free && pair[1].0 <= free.0 + 4, "{blocks:?}");
    }
    // Meanwhile better ones took its place on this disk: what goes out is the newest.
    assert!(perplexities.windows(2).all(|pair| pair[1] < 0.8 * pair[0]), "{perplexities:?}");
}

#[test]
fn a_commitment_that_came_too_soon_is_submitted_again() {
    let network = Network::new(&["ada"], 7);
    let mut miner = network.miner("ada", Strategy::Pretrain, None);
    let mut revisions = Vec::new();
    for _ in 0..40 {
        for event in network.run(&mut miner, 1) {
            assert!(!matches!(event, Event::CommitmentRefused(_)), "{event:?}");
            if let Event::Published(published) = event {
                revisions.push(published.revision);
            }
        }
        let committed = network.commitment(1).map(|commitment| commitment.revision);
        if revisions.len() > 1 && committed.as_ref() == revisions.last() {
            return;
        }
    }
    panic!("the second model of {} never arrived on the chain", revisions.len());
}

#[test]
fn a_rebaser_waits_for_a_champion_and_starts_at_its_loss() {
    let network = Network::new(&["ada", "ray"], 1);
    let mut ray = network.miner("ray", Strategy::Rebase { patience_blocks: 2 }, None);
    assert!(network.run(&mut ray, 4).is_empty(), "nobody to rebase on yet");
    let mut ada = network.miner("ada", Strategy::Pretrain, None);
    network.run(&mut ada, 12);
    network.crown(1);
    let champion = find_champion(&*network.chain, NETUID, &network.competition).unwrap().unwrap();
    assert_eq!(champion.uid, Uid(1));
    let events = network.run(&mut ray, 8);
    assert!(matches!(&events[0], Event::Rebased(base) if *base == champion), "{events:?}");
    let Event::Step(first) = &events[1] else { panic!("{events:?}") };
    assert!(first.loss < 3.0 * 0.99, "training must go on from the champion: {first:?}");
    assert!(published(&events) > 0);
}

#[test]
fn a_rebaser_passes_over_a_champion_that_it_cannot_train_on_from() {
    // Another architecture; a loss that is no number; a first step that comes to none.
    for text in ["of another architecture", "NaN", "inf", "2000"] {
        passes_over(text);
    }
}

fn passes_over(text: &str) {
    let network = Network::new(&["gpt", "ray"], 1);
    let publisher = network.publisher("gpt", None);
    let dir = network.home("gpt").join("model");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("config.json"), "{}").unwrap();
    fs::write(dir.join("model.safetensors"), text).unwrap();
    let commitment = publisher.upload(&dir).unwrap().unwrap();
    network.commit("gpt", &commitment);
    network.crown(1);
    let mut ray = network.miner("ray", Strategy::Rebase { patience_blocks: 2 }, None);
    let events = network.run(&mut ray, 8);
    assert!(
        matches!(&events[..], [Event::PassedOver(champion)] if champion.uid == Uid(1)),
        "{events:?}"
    );
}

#[test]
fn attack_a_champion_whose_bytes_are_not_the_committed_ones_is_not_built_upon() {
    let network = Network::new(&["eve", "ray"], 1);
    let mut eve = network.miner("eve", Strategy::Pretrain, None);
    network.run(&mut eve, 6);
    for _ in 0..2 {
        network.chain.produce_block().unwrap();
    }
    let mut commitment = network.commitment(1).unwrap();
    commitment.secure_hash = content::ContentHash([7; 32]);
    network.commit("eve", &commitment);
    network.crown(1);
    let mut ray = network.miner("ray", Strategy::Rebase { patience_blocks: 2 }, None);
    assert!(network.run(&mut ray, 4).is_empty());
}
