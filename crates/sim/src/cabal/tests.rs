//! Cabals: the weights that they make of those of others, and when they set them.

use super::*;
use crate::scenario::ChainRules;
use chain::Neuron;
use protocol::Block;

/// A slot of whoever has set this row.
fn neuron(uid: u16, weights: &[(u16, u16)]) -> Neuron {
    Neuron {
        uid: Uid(uid),
        hotkey: AccountId([uid as u8; 32]),
        coldkey: AccountId([uid as u8; 32]),
        stake_rao: 1,
        validator_permit: true,
        active: true,
        last_update: Block(0),
        block_at_registration: Block(0),
        consensus: 0,
        incentive: 0,
        dividends: 0,
        validator_trust: 0,
        emission_rao: 0,
        weights: row(weights),
        bonds: Vec::new(),
    }
}

fn row(weights: &[(u16, u16)]) -> Vec<(Uid, u16)> {
    weights.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect()
}

/// What each cabal makes of the row of the first validator, in the slots 0 and 1, for the miner in
/// slot 4.
fn made_of(first: &[(u16, u16)]) -> [Vec<(Uid, u16)>; 3] {
    let metagraph = Metagraph {
        netuid: NETUID,
        block: Block(50),
        tempo: 20,
        weights_rate_limit: 5,
        last_epoch: Block(40),
        neurons: vec![neuron(0, &[(3, 9)]), neuron(1, first)],
    };
    Cabal::ALL.map(|cabal| cabal.weights(&metagraph, Uid(1), Uid(4)))
}

#[test]
fn each_cabal_makes_of_a_row_what_it_says() {
    let own = row(&[(4, u16::MAX)]);
    let [copied, paid, censored] = made_of(&[(2, 65_535), (3, 700), (5, 30)]);
    assert_eq!(copied, row(&[(2, 65_535), (3, 700), (5, 30)]));
    assert_eq!(paid, own);
    assert_eq!(censored, row(&[(3, 700), (5, 30)]), "without whoever has most");
    let [_, _, censored] = made_of(&[(2, 500), (3, 500)]);
    assert_eq!(censored, own, "where all have most, only its own is left");
    let [copied, paid, censored] = made_of(&[]);
    assert!(copied.is_empty(), "nothing to copy");
    assert_eq!((paid, censored), (own.clone(), own));
}

#[test]
fn a_validator_that_is_not_there_has_no_row() {
    let metagraph = Metagraph {
        netuid: NETUID,
        block: Block(1),
        tempo: 1,
        weights_rate_limit: 1,
        last_epoch: Block(0),
        neurons: Vec::new(),
    };
    assert!(Cabal::CopyWeights.weights(&metagraph, Uid(0), Uid(4)).is_empty());
}

fn uid(network: &Network, hotkey: AccountId) -> Uid {
    let metagraph = network.chain.metagraph(NETUID).unwrap();
    metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey).unwrap().uid
}

/// Two honest validators, and one of each cabal after them, with three miners.
fn network(rules: ChainRules) -> (Network, Vec<Uid>) {
    let network = Network::new(rules, 5, &[0, 1, 2], 3).unwrap();
    let miners = network.miners.iter().map(|key| uid(&network, key.public())).collect();
    (network, miners)
}

/// The row that stands on the chain for a validator.
fn standing(network: &Network, validator: usize) -> Vec<(Uid, u16)> {
    let own = uid(network, network.validators[validator].public());
    let mut row = network.chain.weights(NETUID, own).unwrap();
    row.sort_unstable();
    row
}

#[test]
fn cabals_follow_the_first_validator_and_leave_those_who_measure_alone() {
    let (network, miners) = network(ChainRules { tempo: 5, ..ChainRules::default() });
    let weights = vec![65_535, 30_000];
    let uids = vec![miners[0], miners[1]];
    let call = Call::SetWeights { netuid: NETUID, uids, weights, version_key: 0 };
    network.chain.submit(call, &network.validators[0]).unwrap();
    network.chain.produce_block().unwrap();
    act(&network, &Cabal::ALL, 2).unwrap();
    network.chain.produce_block().unwrap();
    let mut first = vec![(miners[0], 65_535), (miners[1], 30_000)];
    first.sort_unstable();
    assert_eq!(standing(&network, 0), first);
    assert!(standing(&network, 1).is_empty(), "it measures, and has not set any");
    assert_eq!(standing(&network, 2), first);
    assert_eq!(standing(&network, 3), [(miners[2], 65_535)], "the last miner is its own");
    // The chain scales a row to its greatest weight.
    assert_eq!(standing(&network, 4), [(miners[1], 65_535)]);
}

#[test]
fn cabals_set_weights_as_often_as_the_chain_takes_them() {
    for limit in [1, 5, 9] {
        let rules = ChainRules { tempo: 5, weights_rate_limit: limit, ..ChainRules::default() };
        let (network, _) = network(rules);
        let own = uid(&network, network.validators[3].public());
        let last_update =
            || network.chain.metagraph(NETUID).unwrap().neurons[usize::from(own.0)].last_update;
        let mut set = Vec::new();
        for _ in 0..30 {
            act(&network, &Cabal::ALL, 2).unwrap();
            let head = network.chain.produce_block().unwrap();
            if last_update() == head.block {
                set.push(head.block.0);
            }
        }
        assert!(set.len() as u64 >= 30 / (limit + 1), "limit {limit}: {set:?}");
        let gaps = set.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(gaps.clone().all(|gap| gap >= limit), "limit {limit}: {set:?}");
        assert!(gaps.max().unwrap() <= limit + 1, "limit {limit}: {set:?}");
    }
}

#[test]
fn without_cabals_nothing_is_set() {
    let (network, _) = network(ChainRules { tempo: 5, ..ChainRules::default() });
    act(&network, &[], 5).unwrap();
    network.chain.produce_block().unwrap();
    assert!((0..5).all(|validator| standing(&network, validator).is_empty()));
}
