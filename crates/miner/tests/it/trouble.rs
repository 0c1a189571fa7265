//! A hub and a chain in trouble cost a miner time, and no training.

use crate::{
    network::{Falling, Network, hotkey, published},
    tapped::{HubTap, TappedHub},
};
use chain::{Chain as _, FaultyChain, faulty::Rates};
use hub::{Error, FaultyHub, Hub, faulty::Faults};
use miner::{Event, Miner, Strategy};
use protocol::Seed;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

fn miner(network: &Network, hub: Arc<dyn Hub>) -> Miner {
    let mut publisher = network.publisher("ada", None);
    publisher.hub = hub;
    let train = Box::new(Falling { loss: 3.0, n_steps: 0 });
    network.open("ada", Strategy::Pretrain, publisher, train).unwrap()
}

fn n_steps(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Step(_))).count()
}

fn n_troubles(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::HubTrouble(_))).count()
}

#[test]
fn a_hub_that_fails_one_time_in_four_delays_models_and_no_training() {
    for seed in 0..20 {
        let network = Network::new(&["ada"], 1);
        let faults = Faults { unavailable: 250, ..Faults::default() };
        let hub = FaultyHub::new(network.hub.clone(), Seed::of_number(seed), faults);
        let mut miner = miner(&network, Arc::new(hub));
        let events = network.run(&mut miner, 60);
        assert_eq!(n_steps(&events), 120, "seed {seed}");
        let (n_troubles, n_published) = (n_troubles(&events), published(&events));
        assert!(n_troubles > 0 && n_published > 3, "seed {seed}: {n_troubles}, {n_published}");
        network.chain.produce_block().unwrap();
        let commitment = network.commitment(1).unwrap();
        assert!(network.hub.list(&commitment.repo, &commitment.revision).unwrap().is_some());
    }
}

/// Cuts a number of lists, as a proxy that breaks off does.
struct Cut(AtomicU64);

impl HubTap for Cut {
    fn around_list<T>(&self, request: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let left = self.0.load(Ordering::Relaxed);
        if left > 0 {
            self.0.store(left - 1, Ordering::Relaxed);
            return Err(Error::Damaged { name: "config.json".to_owned(), reason: "it was cut" });
        }
        request()
    }
}

#[test]
fn a_model_whose_list_is_cut_goes_out_when_it_is_whole_again_and_is_the_newest() {
    let network = Network::new(&["ada"], 1);
    let hub = TappedHub { inner: network.hub.clone(), tap: Cut(AtomicU64::new(5)) };
    let mut miner = miner(&network, Arc::new(hub));
    let events = network.run(&mut miner, 64);
    assert_eq!((n_steps(&events), n_troubles(&events)), (128, 5));
    // It is first offered at block 12. Tries follow after 1, 2, 4, 8 and 8 blocks, and the one that
    // works, at block 35, has the model of block 34, of 48 steps.
    let first = events.iter().find_map(|event| match event {
        Event::Published(published) => published.perplexity,
        _ => None,
    });
    let newest = (3.0 * 0.99_f64.powi(48)).exp();
    assert!((newest * 0.999..newest * 1.001).contains(&first.unwrap()), "{first:?}, not {newest}");
}

#[test]
fn a_chain_that_fails_half_of_the_time_delays_commitments_and_no_training() {
    for seed in 0..20 {
        let network = Network::new(&["ada"], 1);
        let rates = Rates { lost_requests: 250, lost_replies: 250, late: 100, duplicates: 0 };
        let chain = FaultyChain::new(network.chain.clone(), Seed::of_number(seed), rates);
        let chain = Arc::new(chain);
        let mut publisher = network.publisher("ada", None);
        publisher.chain = chain.clone();
        let train = Box::new(Falling { loss: 3.0, n_steps: 0 });
        let mut miner = network.open("ada", Strategy::Pretrain, publisher, train).unwrap();
        let events = network.run(&mut miner, 60);
        assert_eq!(n_steps(&events), 120, "seed {seed}");
        assert!(published(&events) > 3, "seed {seed}");
        // What is on its way arrives.
        for _ in 0..6 {
            network.chain.produce_block().unwrap();
            let _ = chain.head();
        }
        let mut models: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Published(published) => Some(published.revision.clone()),
                _ => None,
            })
            .collect();
        models.sort();
        models.dedup();
        let n_calls = network.chain.ledger().nonce(hotkey("ada").public()) as usize;
        assert_eq!(n_calls, models.len(), "seed {seed}: a call for each model");
    }
}
