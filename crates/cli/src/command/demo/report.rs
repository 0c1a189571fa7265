//! The result of a demo as data: what `agon demo --json` prints.

use super::{
    calendar::REVEAL_EPOCHS,
    cast::Role,
    network::{Ended, NETUID},
};
use chain::ledger::{EpochSummary, RAO_PER_TAO};
use protocol::{Loss, Merit, Uid, competition::Epsilon, duel::DuelRules};
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};
use validator::{Fought, RoundSummary};

/// Everything that happened, for programs.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Number that the run's randomness came from.
    pub seed: u64,
    /// What the text was.
    pub corpus: String,
    /// What duels are decided by, with rule `duel` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duels: Option<DuelRules>,
    /// Advantage of the earlier model.
    pub epsilon: Epsilon,
    /// Rounds as the first validator saw them.
    pub rounds: Vec<Round>,
    /// Epochs of Yuma Consensus: who was paid what.
    pub tempos: Vec<Tempo>,
    /// Totals by participant, in order of uid.
    pub earnings: Vec<Earning>,
    /// How often the crown went from one miner to another.
    pub n_crown_changes: usize,
    /// Perplexity of a model that knew the true distribution of the last round's text.
    pub entropy_perplexity: Option<f64>,
    /// Duration of the run, or of its last part where it was interrupted or killed.
    pub wall_seconds: f64,
    /// Most memory held at once.
    pub peak_memory_bytes: Option<u64>,
    /// Folder with all files.
    pub home: PathBuf,
}

/// One round.
#[derive(Debug, Serialize)]
pub struct Round {
    /// Block that seeded it.
    pub block: u64,
    /// Slot of the champion; absent while nobody is.
    pub champion_uid: Option<u16>,
    /// Who that is.
    pub champion: Option<&'static str>,
    /// The champion's perplexity on the round's text, or with rule `duel` on the documents that its
    /// duels took in, if they took in any.
    pub perplexity: Option<f64>,
    /// Digest of the first validator's record.
    pub record: String,
    /// What each validator found.
    pub validators: Vec<ValidatorView>,
    /// The models, in order of uid.
    pub models: Vec<ModelRow>,
}

/// A validator's result of a round.
#[derive(Debug, Serialize)]
pub struct ValidatorView {
    /// Its slot.
    pub uid: u16,
    /// Its name.
    pub role: &'static str,
    /// Slot of the champion it names.
    pub champion_uid: Option<u16>,
    /// Digest of its record.
    pub record: String,
}

/// One model in one round.
#[derive(Debug, Serialize)]
pub struct ModelRow {
    /// Slot of its miner.
    pub uid: u16,
    /// Name of its miner.
    pub role: &'static str,
    /// Block of its commitment.
    pub commit_block: u64,
    /// `evaluated`, `disqualified` or `skipped`.
    pub outcome: &'static str,
    /// Why it was disqualified or skipped.
    pub reason: Option<String>,
    /// Perplexity over all batches; with rule `duel` over the documents that its duel took in.
    pub perplexity: Option<f64>,
    /// Whether it counts, or what stands in its way.
    pub merit: Merit,
    /// Comparisons won (equation 4).
    pub wins: u64,
    /// Share of comparisons won (equation 5).
    pub win_rate: f64,
    /// Weight of the round (equation 6).
    pub weight: f64,
    /// Moving average of the weight.
    pub average: f64,
    /// How its duel against the champion stands, and how sure that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duel: Option<Fought>,
}

/// One epoch of Yuma Consensus.
#[derive(Debug, Serialize)]
pub struct Tempo {
    /// Block of the epoch.
    pub block: u64,
    /// Champion of the round whose weights were paid.
    pub champion_uid: Option<u16>,
    /// Share of the miners' emission that went to that champion.
    pub champion_incentive: f64,
    /// Share of the miners' emission by slot, where there is any.
    pub incentive: BTreeMap<u16, f64>,
}

/// What one participant earned.
#[derive(Debug, Serialize)]
pub struct Earning {
    /// Slot.
    pub uid: u16,
    /// Name.
    pub role: &'static str,
    /// Share of all miner emission of the run.
    pub incentive: f64,
    /// Share of all validator emission of the run.
    pub dividends: f64,
    /// TAO earned.
    pub tao: f64,
}

impl Report {
    /// Collects the report of a finished run.
    pub fn new(ended: Ended, seed: u64) -> anyhow::Result<Self> {
        let Ended { contest, uids, rounds: seen, epochs, home } = ended;
        let epochs: Vec<_> = epochs.into_iter().filter(|epoch| epoch.netuid == NETUID).collect();
        let roles: BTreeMap<Uid, Role> = uids.iter().map(|(role, uid)| (*uid, *role)).collect();
        let rounds = rounds(&roles, &uids, &seen);
        let champions: Vec<u16> = rounds.iter().filter_map(|round| round.champion_uid).collect();
        let last = seen.iter().rev().find(|(role, _)| *role == Role::VALIDATORS[0]);
        Ok(Self {
            seed,
            corpus: contest.source.describe(),
            duels: contest.competition.scoring.duel_rules(),
            epsilon: contest.competition.scoring.epsilon,
            tempos: tempos(&epochs, &rounds, contest.competition.evaluation.blocks_per_round),
            earnings: earnings(&epochs, &roles),
            n_crown_changes: champions.windows(2).filter(|pair| pair[0] != pair[1]).count(),
            rounds,
            entropy_perplexity: last.and_then(|(_, summary)| summary.optimum_perplexity),
            wall_seconds: 0.0,
            peak_memory_bytes: crate::terminal::peak_memory_bytes(),
            home,
        })
    }
}

fn name(roles: &BTreeMap<Uid, Role>, uid: Uid) -> &'static str {
    roles.get(&uid).map_or("unknown", |role| role.name())
}

fn rounds(
    roles: &BTreeMap<Uid, Role>,
    uids: &BTreeMap<Role, Uid>,
    seen: &[(Role, RoundSummary)],
) -> Vec<Round> {
    let first = seen.iter().filter(|(role, _)| *role == Role::VALIDATORS[0]);
    first
        .map(|(_, summary)| {
            let same = seen.iter().filter(|(_, other)| other.seed == summary.seed);
            let validators = same.map(|(role, other)| ValidatorView {
                uid: uids.get(role).map_or(u16::MAX, |uid| uid.0),
                role: role.name(),
                champion_uid: other.champion.map(|holder| holder.uid.0),
                record: other.digest.to_string(),
            });
            Round {
                block: summary.seed.block.0,
                champion_uid: summary.champion.map(|holder| holder.uid.0),
                champion: summary.champion.map(|holder| name(roles, holder.uid)),
                perplexity: summary.champion_perplexity.map(Loss::value),
                record: summary.digest.to_string(),
                validators: validators.collect(),
                models: summary.rows.iter().map(|row| model_row(roles, row)).collect(),
            }
        })
        .collect()
}

fn model_row(roles: &BTreeMap<Uid, Role>, row: &validator::Row) -> ModelRow {
    let (outcome, reason) = match (&row.reason, row.perplexity) {
        (Some(reason), _) => ("disqualified", Some(reason.to_string())),
        (None, Some(_)) => ("evaluated", None),
        // Nobody is measured for a duel that was decided before, or that has to wait.
        (None, None) if row.merit != Merit::Absent => ("evaluated", None),
        (None, None) => ("skipped", Some("could not be measured by the validator".to_owned())),
    };
    ModelRow {
        uid: row.uid.0,
        role: name(roles, row.uid),
        commit_block: row.block.0,
        outcome,
        reason,
        perplexity: row.perplexity.map(Loss::value),
        merit: row.merit,
        wins: row.wins,
        win_rate: row.win_rate,
        weight: row.weight,
        average: row.average,
        duel: row.duel,
    }
}

/// Epochs that pay by the weights of a round, each with the champion of that round: weights are
/// hidden for some epochs before one counts them.
fn tempos(epochs: &[EpochSummary], rounds: &[Round], blocks_per_epoch: u64) -> Vec<Tempo> {
    let hidden_blocks = blocks_per_epoch * REVEAL_EPOCHS;
    let paid = epochs.iter().filter_map(|epoch| {
        let is_paid = |round: &&Round| round.block + hidden_blocks < epoch.block.0;
        let round = rounds.iter().rev().find(is_paid)?;
        let total: u64 = epoch.slots.iter().map(|slot| slot.server_rao).sum();
        let earning = epoch.slots.iter().filter(|slot| slot.server_rao > 0);
        let incentive: BTreeMap<u16, f64> =
            earning.map(|slot| (slot.uid.0, share(slot.server_rao, total))).collect();
        let champion_uid = round.champion_uid;
        let champion_incentive =
            champion_uid.and_then(|uid| incentive.get(&uid).copied()).unwrap_or(0.0);
        Some(Tempo { block: epoch.block.0, champion_uid, champion_incentive, incentive })
    });
    paid.collect()
}

fn earnings(epochs: &[EpochSummary], roles: &BTreeMap<Uid, Role>) -> Vec<Earning> {
    let mut totals: BTreeMap<Uid, (u64, u64)> = roles.keys().map(|uid| (*uid, (0, 0))).collect();
    for slot in epochs.iter().flat_map(|epoch| &epoch.slots) {
        let (server, validator) = totals.entry(slot.uid).or_default();
        *server += slot.server_rao;
        *validator += slot.validator_rao;
    }
    let servers = totals.values().map(|(server, _)| server).sum();
    let validators = totals.values().map(|(_, validator)| validator).sum();
    let earning = |(uid, (server, validator)): (Uid, (u64, u64))| Earning {
        uid: uid.0,
        role: name(roles, uid),
        incentive: share(server, servers),
        dividends: share(validator, validators),
        tao: (server + validator) as f64 / RAO_PER_TAO as f64,
    };
    totals.into_iter().map(earning).collect()
}

fn share(rao: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { rao as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chain::ledger::SlotEarnings;
    use protocol::{AccountId, Block, NetUid, Seed, seed::uniform_below};

    fn round(block: u64, champion_uid: Option<u16>) -> Round {
        Round {
            block,
            champion_uid,
            champion: None,
            perplexity: None,
            record: String::new(),
            validators: Vec::new(),
            models: Vec::new(),
        }
    }

    /// An epoch that pays slots, as miners and as validators.
    fn epoch(block: u64, paid: &[(u16, u64, u64)]) -> EpochSummary {
        let slot = |(uid, server_rao, validator_rao): &(u16, u64, u64)| SlotEarnings {
            uid: Uid(*uid),
            hotkey: AccountId([0; 32]),
            incentive: 0,
            dividends: 0,
            server_rao: *server_rao,
            validator_rao: *validator_rao,
        };
        let slots = paid.iter().map(slot).collect();
        EpochSummary { netuid: NetUid(1), block: Block(block), owner_rao: 0, slots }
    }

    #[test]
    fn an_epoch_pays_by_the_last_round_whose_weights_are_open() {
        let rounds = [round(40, Some(3)), round(50, Some(4)), round(60, None)];
        // Weights of a round are hidden for the ten blocks after it.
        for (block, champion) in
            [(51, Some(3)), (60, Some(3)), (61, Some(4)), (71, None), (500, None)]
        {
            let paid = tempos(&[epoch(block, &[(3, 30, 0), (4, 10, 0), (5, 0, 9)])], &rounds, 10);
            assert_eq!(paid.len(), 1, "{block}");
            assert_eq!(paid[0].champion_uid, champion, "{block}");
            let share = champion.map_or(0.0, |uid| if uid == 3 { 0.75 } else { 0.25 });
            assert_eq!(paid[0].champion_incentive, share, "{block}");
            assert_eq!(paid[0].incentive, BTreeMap::from([(3, 0.75), (4, 0.25)]), "{block}");
        }
        assert!(tempos(&[epoch(50, &[(3, 1, 0)])], &rounds, 10).is_empty(), "nothing is open yet");
        let nobody = tempos(&[epoch(61, &[(3, 0, 0)])], &rounds, 10);
        assert!(nobody[0].incentive.is_empty() && nobody[0].champion_incentive == 0.0);
    }

    #[test]
    fn earnings_add_up_to_all_that_was_paid_and_nobody_is_left_out() {
        let roles: BTreeMap<Uid, Role> = Role::cast(None)
            .into_iter()
            .enumerate()
            .map(|(n, role)| (Uid(n as u16), role))
            .collect();
        for earning in earnings(&[], &roles) {
            assert_eq!((earning.incentive, earning.dividends, earning.tao), (0.0, 0.0, 0.0));
        }
        let mut stream = Seed::of_number(2).stream();
        let mut rao = || uniform_below(&mut stream, 5 * RAO_PER_TAO);
        let epochs: Vec<EpochSummary> = (0..20)
            .map(|n| {
                let paid: Vec<_> = (0..9).map(|uid| (uid, rao(), rao())).collect();
                epoch(n, &paid)
            })
            .collect();
        let told = earnings(&epochs, &roles);
        assert_eq!(told.len(), 9, "slots of others are told as well");
        assert_eq!(
            (told[0].role, told[7].role, told[8].role),
            ("validator-1", "broken", "unknown")
        );
        let sum = |of: fn(&Earning) -> f64| told.iter().map(of).sum::<f64>();
        assert!((sum(|earning| earning.incentive) - 1.0).abs() < 1e-12, "seed 2");
        assert!((sum(|earning| earning.dividends) - 1.0).abs() < 1e-12, "seed 2");
        let slots = epochs.iter().flat_map(|epoch| &epoch.slots);
        let paid: u64 = slots.map(|slot| slot.server_rao + slot.validator_rao).sum();
        let paid = paid as f64 / RAO_PER_TAO as f64;
        assert!((sum(|earning| earning.tao) - paid).abs() < 1e-6, "seed 2: {paid}");
    }
}
