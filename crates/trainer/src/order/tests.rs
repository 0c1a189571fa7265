//! Shuffles that are whole, fair, and resumed by one number.

use super::*;
use crate::tests::Random;
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_epoch_visits_every_item_once_in_another_order() {
    let items: Vec<usize> = Order::new(Seed::of_number(1), 100, 0).unwrap().take(200).collect();
    let (first, second) = items.split_at(100);
    assert_ne!(first, second);
    for epoch in [first, second] {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
    assert!(Order::new(Seed::of_number(1), 0, 0).is_none());
}

#[test]
fn an_order_goes_on_from_any_position() {
    let seed = Seed::of_number(2);
    let whole: Vec<usize> = Order::new(seed, 7, 0).unwrap().take(40).collect();
    for position in 0..30 {
        let mut order = Order::new(seed, 7, position).unwrap();
        let rest: Vec<usize> = order.by_ref().take(10).collect();
        assert_eq!(rest, whole[position as usize..][..10]);
        assert_eq!(order.position(), position + 10);
    }
}

#[test]
fn an_order_of_any_size_resumed_anywhere_completes_its_epochs() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let n = random.size(1, 40);
        let position = random.size(0, 5 * n);
        let order = Order::new(Seed::of_number(seed), n, position as u64).unwrap();
        let items: Vec<usize> =
            order.skip(position.next_multiple_of(n) - position).take(3 * n).collect();
        for epoch in items.chunks(n) {
            let all: BTreeSet<usize> = epoch.iter().copied().collect();
            assert!(all.into_iter().eq(0..n), "seed {seed}: {epoch:?} from {position} of {n}");
        }
    }
}

#[test]
fn every_order_of_an_epoch_is_equally_likely() {
    let items: Vec<usize> = Order::new(Seed::of_number(5), 4, 0).unwrap().take(4 * 2_400).collect();
    let mut counts = BTreeMap::new();
    for epoch in items.chunks(4) {
        *counts.entry(epoch).or_insert(0) += 1;
    }
    // A hundred of each, give or take five deviations.
    assert_eq!(counts.len(), 24);
    assert!(counts.values().all(|n| (50..=150).contains(n)), "{counts:?}");
}

#[test]
fn another_seed_is_another_order() {
    let order = |seed: u64| -> Vec<usize> {
        Order::new(Seed::of_number(seed), 20, 0).unwrap().take(20).collect()
    };
    let orders: BTreeSet<Vec<usize>> = (0..200).map(order).collect();
    assert_eq!(orders.len(), 200);
}
