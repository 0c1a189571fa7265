//! What every chain promises of weights: that they pay, and that hidden ones are opened in time.

use super::{Make, NETUID, TAO, genesis, key, weigh};
use chain::{
    Call, CallError, Error, Handed, HidingError, HyperparameterChange, Mechanism, Weights,
    ledger::{Weighed, commit_hash},
};
use protocol::{Block, NetUid, Uid};

pub(crate) fn weights_make_incentive_and_pay_at_the_tempo(make: Make<'_>) {
    let world = make(&genesis());
    let validator = world.register(0);
    world.register(1);
    world.register(2);
    world.must(
        &key(0),
        Call::AddStake { hotkey: validator.public(), netuid: NETUID, amount_rao: 500 * TAO },
    );
    assert_eq!(
        world.refused(&validator, weigh(&[(1, 1)])),
        CallError::NeuronNoValidatorPermit,
        "permits come with an epoch"
    );
    world.pass_epoch();
    assert!(world.metagraph().neurons[0].validator_permit);
    world.must(&validator, weigh(&[(1, 3), (2, 1)]));
    assert_eq!(world.metagraph().neurons[0].weights, [(Uid(1), 65_535), (Uid(2), 21_845)]);
    let stake = world.metagraph().neurons[1].stake_rao;
    world.pass_epoch();
    let neurons = world.metagraph().neurons;
    assert_eq!([0, 1, 2].map(|i: usize| neurons[i].incentive), [0, 49_151, 16_383]);
    assert_eq!([0, 1, 2].map(|i: usize| neurons[i].dividends), [65_535, 0, 0]);
    assert_eq!(neurons[1].stake_rao - stake, neurons[1].emission_rao);
    let paid: u64 = neurons.iter().map(|neuron| neuron.emission_rao).sum();
    let purse = 10 * 820_004_577;
    assert!(purse - 6 <= paid && paid <= purse, "82 % of ten blocks: {paid}");
}

pub(crate) fn hidden_weights_are_read_by_nobody_until_the_chain_opens_them_and_they_pay(
    make: Make<'_>,
) {
    let world = make(&genesis());
    let validator = world.register(0);
    world.register(1);
    let stake =
        Call::AddStake { hotkey: validator.public(), netuid: NETUID, amount_rao: 500 * TAO };
    world.must(&key(0), stake);
    world.pass_epoch();
    let (uids, values) = (vec![Uid(1), Uid(0)], vec![65_535, 9]);
    let mechanism = Mechanism::FIRST;
    let weights = Weights { netuid: NETUID, mechanism, uids, weights: values, version_key: 0 };
    let handed = world.chain.hand(&weights, &validator).unwrap();
    assert_eq!((handed.reveal, world.chain.hiding(NETUID).unwrap()), (None, None));
    let hide = HyperparameterChange::CommitReveal(true);
    world.must(&key(9), Call::SetHyperparameter { netuid: NETUID, change: hide });
    let rewards = world.chain.rewards(NETUID, world.head()).unwrap();
    assert_eq!(rewards.hidden_epochs, 1);
    let Handed { call, reveal, .. } = world.chain.hand(&weights, &validator).unwrap();
    let reveal = reveal.unwrap();
    world.must(&validator, call);
    let row = || world.chain.weights(NETUID, Uid(0)).unwrap();
    while world.head() < reveal.from {
        (world.next_block)();
        assert_eq!(row(), [], "hidden in block {}", world.head());
    }
    while world.head() < reveal.until && row().is_empty() {
        (world.next_block)();
    }
    assert_eq!(world.head(), Block(reveal.from.0 + 3), "when the beacon has the round");
    let mut opened = row();
    opened.sort_unstable();
    assert_eq!(opened, weights.row());
    assert_eq!(world.metagraph().neurons[1].incentive, 0);
    world.pass_epoch();
    assert_eq!(world.metagraph().neurons[1].incentive, 65_535);
    let nowhere = world.chain.hiding(NetUid(7)).unwrap_err();
    assert!(matches!(nowhere, Error::NoSubnet(NetUid(7))), "{nowhere}");
}

pub(crate) fn what_a_subnet_demands_of_weights_is_known_before_they_are_handed_over(
    make: Make<'_>,
) {
    let world = make(&genesis());
    let validator = world.register(0);
    world.register(1);
    let refusal = |uids: &[u16], version_key| {
        let uids: Vec<Uid> = uids.iter().copied().map(Uid).collect();
        let values = vec![1; uids.len()];
        let mechanism = Mechanism::FIRST;
        let weights = Weights { netuid: NETUID, mechanism, uids, weights: values, version_key };
        let demands = world.chain.demands(NETUID).unwrap();
        demands.refusal(&world.metagraph(), &weights, validator.public())
    };
    assert_eq!(refusal(&[1], 0), Some(CallError::NeuronNoValidatorPermit));
    assert_eq!(refusal(&[0], 0), None, "weighing oneself needs no permit");
    assert_eq!(refusal(&[7], 0), Some(CallError::UidVecContainInvalidOne));
    let set = |change| world.must(&key(9), Call::SetHyperparameter { netuid: NETUID, change });
    set(HyperparameterChange::WeightsVersion(5));
    assert_eq!(refusal(&[0], 4), Some(CallError::IncorrectWeightVersionKey));
    assert_eq!(refusal(&[0], 5), None);
    let stake =
        Call::AddStake { hotkey: validator.public(), netuid: NETUID, amount_rao: 500 * TAO };
    world.must(&key(0), stake);
    world.pass_epoch();
    assert_eq!(refusal(&[1], 5), None);
    set(HyperparameterChange::MinWeights(2));
    assert_eq!(refusal(&[1], 5), Some(CallError::WeightVecLengthIsLow));
    assert_eq!(refusal(&[0, 1], 5), None);
    let nowhere = world.chain.demands(NetUid(7)).unwrap_err();
    assert!(matches!(nowhere, Error::NoSubnet(NetUid(7))), "{nowhere}");
}

pub(crate) fn weights_are_not_hidden_where_an_epoch_is_about_to_end(make: Make<'_>) {
    let world = make(&genesis());
    let validator = world.register(0);
    let set = |change| Call::SetHyperparameter { netuid: NETUID, change };
    world.must(&key(9), set(HyperparameterChange::CommitReveal(true)));
    // A new tempo begins to count where it is set.
    let begins = world.must(&key(9), set(HyperparameterChange::Tempo(32))).0 + 32;
    let mechanism = Mechanism::FIRST;
    let (uids, weights) = (vec![Uid(0)], vec![1]);
    let weights = Weights { netuid: NETUID, mechanism, uids, weights, version_key: 0 };
    let hand = || world.chain.hand(&weights, &validator);
    while world.head() < Block(begins - 4) {
        (world.next_block)();
    }
    let reveal = hand().unwrap().reveal.unwrap();
    assert_eq!(reveal.from, Block(begins));
    (world.next_block)();
    let error = hand().unwrap_err();
    assert!(error.is_transient(), "{error}");
    let Error::Hiding(HidingError::TooNearTheBorder { blocks, .. }) = error else {
        panic!("{error}")
    };
    (0..blocks).for_each(|_| (world.next_block)());
    assert_eq!(world.head(), Block(begins - 1));
    let later = hand().unwrap().reveal.unwrap();
    assert_eq!((later.from, later.epoch), (Block(begins + 32), reveal.epoch + 1));
}

pub(crate) fn weights_are_committed_to_first_where_the_owner_wants_it(make: Make<'_>) {
    let world = make(&genesis());
    let validator = world.register(0);
    world.register(1);
    world.must(
        &key(0),
        Call::AddStake { hotkey: validator.public(), netuid: NETUID, amount_rao: 500 * TAO },
    );
    let change = HyperparameterChange::CommitReveal(true);
    let rule = Call::SetHyperparameter { netuid: NETUID, change };
    assert_eq!(world.refused(&key(0), rule.clone()), CallError::BadOrigin);
    world.must(&key(9), rule);
    world.pass_epoch();
    assert_eq!(world.refused(&validator, weigh(&[(1, 1)])), CallError::CommitRevealEnabled);
    let (uids, weights, salt) = (vec![Uid(1)], vec![9], vec![1, 2, 3]);
    let weighed = Weighed { uids: &uids, weights: &weights, version_key: 0 };
    let hash = commit_hash(validator.public(), NETUID, weighed, &salt);
    world.must(&validator, Call::CommitWeights { netuid: NETUID, hash });
    let reveal = Call::RevealWeights { netuid: NETUID, uids, weights, salt, version_key: 0 };
    assert_eq!(world.refused(&validator, reveal.clone()), CallError::RevealTooEarly);
    world.pass_epoch();
    world.must(&validator, reveal);
    assert_eq!(world.metagraph().neurons[0].weights, [(Uid(1), 65_535)]);
}
