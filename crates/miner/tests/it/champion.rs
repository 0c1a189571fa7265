//! Who is the champion of which competition.

use crate::network::{NETUID, Network, hotkey};
use chain::{Call, Chain as _};
use miner::find_champion;
use protocol::{Commitment, Competition, CompetitionId, ContentHash, Uid};

fn enter(network: &Network, name: &str, competition: CompetitionId) {
    let repo = format!("{name}/model").parse().unwrap();
    let revision = "1".repeat(40).parse().unwrap();
    let secure_hash = ContentHash([7; 32]);
    network.commit(name, &Commitment { repo, revision, secure_hash, competition });
}

/// Weights of the validator, and the epoch in which they are paid.
fn weigh(network: &Network, weights: &[(u16, u16)]) {
    let call = Call::SetWeights {
        netuid: NETUID,
        uids: weights.iter().map(|(uid, _)| Uid(*uid)).collect(),
        weights: weights.iter().map(|(_, weight)| *weight).collect(),
        version_key: 0,
    };
    network.chain.submit(call, &hotkey("val")).unwrap();
    for _ in 0..20 {
        network.chain.produce_block().unwrap();
    }
}

fn champion(network: &Network, competition: &Competition) -> Option<u16> {
    find_champion(&*network.chain, NETUID, competition).unwrap().map(|champion| champion.uid.0)
}

#[test]
fn each_competition_has_a_champion_of_its_own() {
    let network = Network::new(&["ada", "bob", "cyd"], 1);
    let ours = &network.competition;
    let mut theirs = Competition::builtin("tiny").unwrap();
    theirs.id = CompetitionId(ours.id.0 + 1);
    enter(&network, "ada", theirs.id);
    enter(&network, "bob", ours.id);
    enter(&network, "cyd", ours.id);
    assert_eq!(champion(&network, ours), None, "nobody was paid");
    // The best paid miner of the subnet is in the other one.
    weigh(&network, &[(1, 60_000), (2, 1_000), (3, 5_000)]);
    assert_eq!([champion(&network, ours), champion(&network, &theirs)], [Some(3), Some(1)]);
    enter(&network, "cyd", theirs.id);
    network.chain.produce_block().unwrap();
    assert_eq!([champion(&network, ours), champion(&network, &theirs)], [Some(2), Some(1)]);
}
