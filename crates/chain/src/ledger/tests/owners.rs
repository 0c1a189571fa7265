//! What owners of subnets may change, and what nobody may.

use super::*;
use crate::HyperparameterChange as Change;

/// A change, and what it does to the rules.
type Step = (Change, fn(&mut Hyperparameters));

fn set(change: Change) -> Call {
    Call::SetHyperparameter { netuid: NETUID, change }
}

fn rules_of(ledger: &Ledger) -> Hyperparameters {
    ledger.subnets().next().unwrap().1.hyperparameters.clone()
}

#[test]
fn the_owner_changes_each_rule_and_no_other() {
    let mut ledger = ledger(rules());
    let mut expected = rules();
    let changes: [Step; 20] = [
        (Change::WeightsVersion(7), |rules| rules.weights_version = 7),
        (Change::WeightsRateLimit(8), |rules| rules.weights_rate_limit = 8),
        (Change::AdjustmentInterval(9), |rules| rules.adjustment_interval = 9),
        (Change::ImmunityPeriod(10), |rules| rules.immunity_period = 10),
        (Change::MinWeights(2), |rules| rules.min_weights = 2),
        (Change::MaxUids(128), |rules| rules.max_uids = 128),
        (Change::Kappa(30_000), |rules| rules.kappa = 30_000),
        (Change::ActivityCutoff(11), |rules| rules.activity_cutoff = 11),
        (Change::RegistrationAllowed(false), |rules| rules.registration_allowed = false),
        (Change::TargetRegistrations(12), |rules| rules.target_registrations = 12),
        (Change::MinBurn(13), |rules| rules.min_burn_rao = 13),
        (Change::MaxBurn(14), |rules| rules.max_burn_rao = 14),
        (Change::MaxValidators(15), |rules| rules.max_validators = 15),
        (Change::BondsMovingAverage(16), |rules| rules.bonds_moving_average = 16),
        (Change::MaxRegistrationsPerBlock(17), |rules| rules.max_registrations_per_block = 17),
        (Change::Tempo(18), |rules| rules.tempo = 18),
        (Change::CommitReveal(true), |rules| rules.commit_reveal = true),
        (Change::RevealPeriod(3), |rules| rules.reveal_period = 3),
        (Change::BondsPenalty(19), |rules| rules.bonds_penalty = 19),
        (Change::Yuma3(true), |rules| rules.yuma3 = true),
    ];
    for (change, apply) in changes {
        apply(&mut expected);
        ledger.call(OWNER, set(change)).unwrap();
        assert_eq!(rules_of(&ledger), expected, "{change:?}");
    }
}

#[test]
fn attack_rules_are_changed_by_the_owner_alone_and_only_to_what_is_possible() {
    let mut ledger = ledger(rules());
    ledger.call(0, register(100)).unwrap();
    ledger.call(0, register(101)).unwrap();
    let before = rules_of(&ledger);
    assert_eq!(ledger.call(0, set(Change::Tempo(5))), Err(CallError::BadOrigin));
    let nowhere = Call::SetHyperparameter { netuid: NetUid(9), change: Change::Tempo(5) };
    assert_eq!(ledger.call(OWNER, nowhere), Err(CallError::SubnetNotExists));
    for change in [
        Change::Tempo(0),
        Change::MaxUids(1),
        Change::MaxUids(0),
        Change::MaxUids(5_000),
        Change::AdjustmentInterval(0),
        Change::TargetRegistrations(0),
        Change::BondsMovingAverage(1_000_001),
        Change::MinBurn(u64::MAX),
        Change::RevealPeriod(0),
        Change::RevealPeriod(u64::MAX),
    ] {
        let refused = ledger.call(OWNER, set(change));
        assert_eq!(refused, Err(CallError::ValueNotInBounds), "{change:?}");
    }
    assert_eq!(rules_of(&ledger), before);
}

#[test]
fn who_opens_a_subnet_owns_it_and_has_its_first_slot() {
    let mut ledger = ledger(rules());
    ledger.call(3, Call::RegisterNetwork { hotkey: account(103) }).unwrap();
    let opened = NetUid(2);
    let metagraph = ledger.metagraph(opened).unwrap();
    assert_eq!(metagraph.neurons[0].hotkey, account(103));
    assert_eq!(ledger.balance(account(3)), 900 * TAO);
    let change = Change::Tempo(5);
    let call = Call::SetHyperparameter { netuid: opened, change };
    assert_eq!(ledger.call(OWNER, call.clone()), Err(CallError::BadOrigin));
    ledger.call(3, call).unwrap();
    let taken = Call::RegisterNetwork { hotkey: account(103) };
    assert_eq!(ledger.call(4, taken), Err(CallError::NonAssociatedColdKey));
}
