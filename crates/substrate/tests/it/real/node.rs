//! What our node tells of itself is so on Bittensor's chain.

use super::{NEWEST, RUNTIMES, alike::differences, metadata};
use substrate::wire::metadata::Encoded;
use subxt::metadata::Metadata;

const STAKE: &str = "stake is TAO here, for all subnets at once, as it was until early 2025";
const BYTES: &str =
    "commitments are limited by blocks here, as until 2025, there by bytes an epoch";
const RULE: &str = "a number would tell of a rule that nobody keeps: docs/known-limits.md";

/// Where our node differs from the newest runtime, each with its reason. One that differs no more
/// must go.
const DEVIATIONS: [(&str, &str); 13] = [
    ("storage SubtensorModule.PruningScores: is not there", "clients of 2025 read it"),
    ("storage SubtensorModule.SubnetEpochConsensus: is not there", "later runtimes have it"),
    ("storage SubtensorModule.PendingEmission: is not there", "there in several parts"),
    ("storage SubtensorModule.Stake: is not there", STAKE),
    ("storage SubtensorModule.TotalHotkeyStake: is not there", STAKE),
    ("storage Commitments.CommitmentRateLimit: is not there", BYTES),
    ("error Commitments.CommitmentSetRateLimitExceeded: is not there", BYTES),
    ("error Commitments.CommitmentTooLong: is not there", "there such a call does not decode"),
    ("storage SubtensorModule.Rho: \"optional\", not \"with a default\"", RULE),
    ("storage SubtensorModule.ServingRateLimit: \"optional\", not \"with a default\"", RULE),
    ("storage SubtensorModule.BurnIncreaseMult: \"optional\", not \"with a default\"", RULE),
    ("storage SubtensorModule.BurnHalfLife: \"optional\", not \"with a default\"", RULE),
    ("storage SubtensorModule.CollateralDrainRatio: \"optional\", not \"with a default\"", RULE),
];

/// What is another in older runtimes, of all that they know, too.
const SINCE: [(u32, &[&str]); 3] = [
    (
        219,
        &[
            "constant System.Version: fields here alone [system_version], there alone \
             [state_version]",
            "call SubtensorModule.add_stake: fields here alone [netuid], there alone []",
            "call SubtensorModule.remove_stake: fields here alone [netuid], there alone []",
            "call SubtensorModule.register_network: fields here alone [hotkey], there alone []",
            "call SubtensorModule.swap_hotkey: fields here alone [netuid], there alone []",
            "call SubtensorModule.set_subnet_identity: fields here alone [subnet_url discord \
             description logo_url additional], there alone []",
        ],
    ),
    (343, &[COLLATERAL]),
    (393, &[COLLATERAL]),
];

const COLLATERAL: &str = "API SubnetInfoRuntimeApi.get_metagraph, result.Some.0: fields here alone \
    [collateral_locked collateral_min collateral_earned], there alone []";

fn ours() -> Metadata {
    Metadata::decode_from(&Encoded::usual().version_15).unwrap()
}

fn theirs(name: &str) -> Metadata {
    Metadata::decode_from(&metadata(name)).unwrap()
}

/// Fails where there is more than what is listed, or less.
fn are_those(found: &[String], listed: &[&str]) {
    let new: Vec<&String> = found.iter().filter(|each| !listed.contains(&each.as_str())).collect();
    assert!(new.is_empty(), "the node differs; mend it, or list it with a reason: {new:#?}");
    let gone = listed.iter().filter(|each| !found.iter().any(|found| found == *each));
    let gone: Vec<&&str> = gone.collect();
    assert!(gone.is_empty(), "these do not differ any more; take them off the list: {gone:#?}");
}

#[test]
fn what_our_node_tells_is_so_in_bittensors_runtime_but_for_a_short_list() {
    let found = differences(&ours(), &theirs(NEWEST.1));
    are_those(&found, &DEVIATIONS.map(|(known, _)| known));
}

#[test]
fn old_clients_are_told_the_same_as_new_ones() {
    let old = Metadata::decode_from(&Encoded::usual().version_14).unwrap();
    are_those(&differences(&old, &ours()), &[]);
}

#[test]
fn what_older_runtimes_know_too_is_the_same_in_them() {
    for ((spec, since), (of_file, name)) in SINCE.into_iter().zip(RUNTIMES) {
        assert_eq!(spec, of_file);
        let mut found = differences(&ours(), &theirs(name));
        // Events and errors have other numbers in each; clients go by their names.
        found.retain(|each| {
            let is_numbered = each.contains("event ") || each.contains("error ");
            let is_event = each.starts_with("storage System.Events");
            let is_known = DEVIATIONS.iter().any(|(known, _)| each == known);
            !(each.ends_with("is not there") || is_numbered || is_event || is_known)
        });
        are_those(&found, since);
    }
}
