//! The chain of a season: who is registered, permitted and owned by whom.

use super::*;
use protocol::AccountId;
use std::collections::BTreeSet;

fn rules(tempo: u16) -> ChainRules {
    ChainRules { tempo, ..ChainRules::default() }
}

#[test]
fn everybody_is_registered_and_validators_alone_have_stake_and_permits_whatever_the_tempo() {
    for tempo in [1, 2, 7, 20] {
        let network = Network::new(rules(tempo), 3, &[0, 1, 1, 3], 7).unwrap();
        let metagraph = network.chain.metagraph(NETUID).unwrap();
        // The rules of a scenario begin later than this.
        assert!(metagraph.block.0 < 2 * u64::from(tempo) + 5, "tempo {tempo}");
        assert_eq!(metagraph.neurons.len(), 7, "tempo {tempo}");
        let validators: BTreeSet<AccountId> =
            network.validators.iter().map(Keypair::public).collect();
        for neuron in &metagraph.neurons {
            let is_validator = validators.contains(&neuron.hotkey);
            assert_eq!(neuron.validator_permit, is_validator, "tempo {tempo}");
            assert_eq!(neuron.stake_rao >= STAKE_RAO, is_validator, "tempo {tempo}");
        }
    }
}

#[test]
fn slots_of_one_player_have_one_coldkey_and_no_two_players_share_theirs() {
    let network = Network::new(rules(5), 2, &[0, 1, 1, 1, 4], 1).unwrap();
    let metagraph = network.chain.metagraph(NETUID).unwrap();
    let coldkey = |hotkey: AccountId| {
        let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
        neuron.unwrap().coldkey
    };
    let owners: Vec<AccountId> = network.miners.iter().map(|key| coldkey(key.public())).collect();
    assert!(owners[1] == owners[2] && owners[2] == owners[3]);
    let all: Vec<&Keypair> = network.validators.iter().chain(&network.miners).collect();
    let coldkeys: BTreeSet<AccountId> = all.iter().map(|key| coldkey(key.public())).collect();
    assert_eq!(coldkeys.len(), 2 + 3, "two validators and three players");
}

#[test]
fn the_seed_of_a_season_sets_its_hashes_apart_and_its_keys_are_everybodys() {
    let of = |seed: u64| Network::new(rules(3), 1, &[0], seed).unwrap();
    let (one, same, other) = (of(1), of(1), of(2));
    let head = |network: &Network| network.chain.head().unwrap();
    assert_eq!(head(&one), head(&same));
    assert_ne!(head(&one).hash, head(&other).hash);
    assert_eq!(one.miners[0].public(), other.miners[0].public());
}

#[test]
fn the_rules_of_the_subnet_are_those_of_the_scenario() {
    let chain = ChainRules { tempo: 4, weights_rate_limit: 9, commitment_rate_limit: 6 };
    let network = Network::new(chain, 2, &[0], 1).unwrap();
    let metagraph = network.chain.metagraph(NETUID).unwrap();
    assert_eq!((metagraph.tempo, metagraph.weights_rate_limit), (4, 9));
    let commit = |data: &[u8]| {
        let call = Call::SetCommitment { netuid: NETUID, data: data.to_vec() };
        network.chain.submit(call, &network.miners[0]).unwrap();
        let head = network.chain.produce_block().unwrap();
        let stored = network.chain.commitments(NETUID, head.block).unwrap();
        stored[0].data.clone()
    };
    assert_eq!(commit(b"first"), b"first");
    for _ in 0..5 {
        assert_eq!(commit(b"early"), b"first", "before six blocks have passed");
    }
    assert_eq!(commit(b"later"), b"later");
}
