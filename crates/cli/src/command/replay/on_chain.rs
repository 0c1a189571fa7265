//! What a record says of the chain: whom it paid, and which models there were.

use super::{
    derive::Past,
    report::{Part, Step},
};
use crate::{failure, rules_text::plural};
use chain::{Chain, Error, Head};
use protocol::{
    Commitment, Competition, ReasonCode, Record, Uid,
    competition::Rule,
    pool::is_fresh,
    record::{Finding, Model},
};
use std::collections::{BTreeMap, BTreeSet};
use validator::{Listed, OnChain};

/// What the chain says before the round of a record, or why it does not; `Err` of `chain` is why
/// none is asked.
pub fn read(
    record: &Record,
    rules: &Competition,
    chain: Result<&dyn Chain, &str>,
) -> Result<OnChain, String> {
    let (round, chain) = (&record.round, chain?);
    let seed = Head { block: round.block, hash: round.block_hash };
    validator::on_chain(chain, round.netuid, rules, seed).map_err(|error| {
        let is_gone =
            |error: &Error| matches!(error, Error::NoState { at, newest, .. } if at <= newest);
        let hint = match error.downcast_ref().is_some_and(is_gone) {
            true => "; ask an archive: `agon node --archive`, or Bittensor's, `archive`",
            false => "",
        };
        let why = failure::causes(&error);
        format!("the chain does not tell who had committed and whom it paid: {why}{hint}")
    })
}

/// Whether the chain paid whom a record of duels says.
pub fn paid(record: &Record, chain: &Result<OnChain, String>) -> Option<Step> {
    let crown = record.crown?;
    let chain = match chain {
        Ok(chain) => chain,
        Err(why) => return Some(Step::not_checked(Part::Paid, why)),
    };
    let told = |uid: Option<Uid>| uid.map_or("nobody".to_owned(), |uid| format!("uid {uid}"));
    let (expected, found) = (told(chain.paid), told(crown.paid));
    let settling_blocks = chain.moment.settling_blocks;
    let other = if chain.paid != crown.paid {
        Some(Step::differs(Part::Paid, "crown.paid", (&expected, found)))
    } else if settling_blocks != crown.settling_blocks {
        let pair = (settling_blocks, crown.settling_blocks);
        Some(Step::differs(Part::Paid, "crown.settling_blocks", pair))
    } else {
        None
    };
    Some(Step::or_equal(other, Part::Paid, format!("the chain paid {expected} most")))
}

/// Whether the models of a record are those that had committed, with all that the chain and the
/// records before tell of them.
pub fn models(
    (record, rules): (&Record, &Competition),
    past: &Past,
    chain: &Result<OnChain, String>,
) -> Vec<Step> {
    let mut steps = match chain {
        Ok(chain) => Listing::new(record, rules, chain).steps(past),
        Err(why) => vec![Step::not_checked(Part::Models, why)],
    };
    steps.extend(past.since(record));
    if !record.skipped.is_empty() {
        let uids: Vec<String> =
            record.skipped.iter().map(|skipped| skipped.uid.to_string()).collect();
        let why = format!("skipped: uid {}; nobody can tell why", uids.join(", "));
        steps.push(Step::not_checked(Part::Models, why));
    }
    steps
}

/// A record beside what had been committed to.
struct Listing<'a> {
    record: &'a Record,
    rules: &'a Competition,
    chain: &'a OnChain,
    by_uid: BTreeMap<Uid, &'a Listed>,
}

impl<'a> Listing<'a> {
    fn new(record: &'a Record, rules: &'a Competition, chain: &'a OnChain) -> Self {
        let by_uid = chain.listed.iter().map(|listed| (listed.stored.uid, listed)).collect();
        Self { record, rules, chain, by_uid }
    }

    fn is_duel(&self) -> bool {
        self.rules.scoring.rule == Rule::Duel
    }

    /// All that differs or cannot be told, or that nothing does.
    fn steps(&self, past: &Past) -> Vec<Step> {
        let record = self.record;
        let models = record.models.iter().map(|judged| &judged.model).enumerate();
        let mut steps: Vec<Step> =
            models.filter_map(|(place, model)| self.model(place, model)).collect();
        for (place, skipped) in record.skipped.iter().enumerate() {
            let listed = self.by_uid.get(&skipped.uid);
            if listed.is_none_or(|listed| listed.stored.hotkey != skipped.hotkey) {
                let found = format!("uid {} of {}", skipped.uid, skipped.hotkey);
                let pair = ("a slot and its key that had committed to the competition", found);
                steps.push(Step::differs(Part::Models, format!("skipped[{place}]"), pair));
            }
        }
        let judged = record.models.iter().map(|judged| judged.model.uid);
        let told: BTreeSet<Uid> =
            judged.chain(record.skipped.iter().map(|skipped| skipped.uid)).collect();
        let missing = self.chain.listed.iter().filter(|listed| !told.contains(&listed.stored.uid));
        steps.extend(missing.filter_map(|listed| self.missing(listed, past)));
        if steps.is_empty() {
            let what = format!("{} as the chain has them", plural(told.len(), "commitment"));
            steps.push(Step::equal(Part::Models, what));
        }
        steps
    }

    /// The first field of a model that the chain has otherwise.
    fn model(&self, place: usize, model: &Model) -> Option<Step> {
        let at = |field: &str| format!("models[{place}].model.{field}");
        let Some(Listed { stored, commitment, .. }) = self.by_uid.get(&model.uid) else {
            let expected = match self.chain.unheard.contains(&model.uid) {
                true => "a commitment whose bytes two thirds of the stake have",
                false => "a slot that had committed to the competition",
            };
            let pair = (expected, model.uid);
            return Some(Step::differs(Part::Models, at("uid"), pair));
        };
        let coldkey = self.is_duel().then_some(stored.coldkey);
        let fields = [
            ("hotkey", stored.hotkey.to_string(), model.hotkey.to_string()),
            ("coldkey", or_none(&coldkey), or_none(&model.coldkey)),
            ("commit_block", stored.block.to_string(), model.commit_block.to_string()),
            (
                "commit_block_hash",
                stored.block_hash.to_string(),
                model.commit_block_hash.to_string(),
            ),
            ("repo", commitment.repo.to_string(), or_none(&model.repo)),
            ("revision", commitment.revision.to_string(), or_none(&model.revision)),
        ];
        if let Some((field, expected, found)) =
            fields.into_iter().find(|(_, expected, found)| expected != found)
        {
            return Some(Step::differs(Part::Models, at(field), (expected, found)));
        }
        // Of files that break a rule a commitment may have been to others.
        let is_had = matches!(
            model.finding,
            Finding::Evaluated(_) | Finding::Disqualified(ReasonCode::Duplicate)
        );
        if !is_had {
            return None;
        }
        let Some(root) = model.file_root else {
            let pair = ("the files that were committed to", "none");
            return Some(Step::differs(Part::Models, at("file_root"), pair));
        };
        let (repo, revision) = (&commitment.repo, &commitment.revision);
        let bound = Commitment::bound(repo, revision, &root, &stored.hotkey, self.rules.id);
        (bound != *commitment).then(|| {
            let pair = ("the files that were committed to", root);
            Step::differs(Part::Models, at("file_root"), pair)
        })
    }

    /// What is to be said of a commitment that the record says nothing of.
    fn missing(&self, listed: &Listed, past: &Past) -> Option<Step> {
        let (stored, record) = (&listed.stored, self.record);
        let is_awaited = past.awaits((record, self.rules), stored);
        if !is_awaited && !self.is_measured_by_all(listed) {
            return None;
        }
        let uid = stored.uid;
        // A holder of the crown that has committed to something else which cannot be had counts as
        // gone, and other rules do not tell who was skipped.
        let may_be_gone = past.holds(stored) && !past.knows(stored);
        if self.is_duel() && !may_be_gone {
            let expected = format!("uid {uid}, committed to in block {}", stored.block);
            return Some(Step::differs(Part::Models, "models", (expected, "nothing of it")));
        }
        let why = format!(
            "uid {uid} had committed and is left out: by trouble of the validator, or on purpose; \
             nobody can tell"
        );
        Some(Step::not_checked(Part::Models, why))
    }

    /// Whether every validator measures a commitment, whatever its own averages say.
    fn is_measured_by_all(&self, listed: &Listed) -> bool {
        let (rules, chain) = (&self.rules.evaluation, self.chain);
        let is_nobody_paid = chain.listed.iter().all(|listed| listed.incentive == 0);
        if is_nobody_paid || is_fresh(rules, chain.moment, listed.stored.block) {
            return true;
        }
        // Of several with the same pay those come last that were seen absent, which no chain tells.
        let is_before = |other: &&Listed| other.incentive >= listed.incentive;
        let n_before = chain.listed.iter().filter(is_before).count();
        listed.incentive > 0 && n_before <= rules.n_models_kept
    }
}

fn or_none(value: &Option<impl ToString>) -> String {
    value.as_ref().map_or("none".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::super::losses::tests::{losses, record};
    use super::super::report::Outcome;
    use super::*;
    use chain::{Genesis, MemoryChain, StoredCommitment, memory::HISTORY_BLOCKS};
    use protocol::{AccountId, Block, BlockHash, Digest, pool::Moment, record::Skipped};

    /// Slots 0 to 2 with a commitment each, of which the chain pays the first most.
    fn listed(rules: &Competition) -> OnChain {
        let listed = |number: u8| {
            let hotkey = AccountId([number; 32]);
            let (repo, revision) =
                ("lab/model".parse().unwrap(), "0123456789abcdef".repeat(3)[..40].parse().unwrap());
            let root = Digest([10 + number; 32]);
            let commitment = Commitment::bound(&repo, &revision, &root, &hotkey, rules.id);
            let stored = StoredCommitment {
                hotkey,
                coldkey: AccountId([20 + number; 32]),
                uid: Uid(number.into()),
                registered: Block(0),
                block: Block(1),
                block_hash: BlockHash([0; 32]),
                data: Vec::new(),
            };
            Listed { stored, commitment, incentive: if number == 0 { 9 } else { 0 } }
        };
        let moment = Moment { seed: Block(10), settling_blocks: 1_000 };
        let listed = (0..3).map(listed).collect();
        OnChain { listed, unheard: vec![Uid(8)], moment, paid: Some(Uid(0)) }
    }

    /// A record of duels that is what the chain says.
    fn honest() -> (Record, Competition, OnChain) {
        let rules = Competition::builtin("tiny").unwrap();
        assert_eq!(rules.scoring.rule, Rule::Duel);
        let chain = listed(&rules);
        let mut record = record(vec![losses(1, 1.0); 3]);
        for (judged, listed) in record.models.iter_mut().zip(&chain.listed) {
            let Listed { stored, commitment, .. } = listed;
            judged.model.coldkey = Some(stored.coldkey);
            judged.model.repo = Some(commitment.repo.clone());
            judged.model.revision = Some(commitment.revision.clone());
            judged.model.file_root = Some(Digest([10 + stored.uid.0 as u8; 32]));
        }
        (record, rules, chain)
    }

    /// Where a changed record differs.
    fn differs(change: impl FnOnce(&mut Record)) -> Vec<String> {
        let (mut record, rules, chain) = honest();
        change(&mut record);
        let steps = models((&record, &rules), &Past::default(), &Ok(chain));
        let at = |step: Step| match step.outcome {
            Outcome::Differs { at, expected, .. } => Some(format!("{at}: {expected}")),
            _ => None,
        };
        steps.into_iter().filter_map(at).collect()
    }

    #[test]
    fn attack_models_that_are_left_out_added_or_changed_are_named() {
        assert_eq!(differs(|_| {}), [""; 0]);
        let one = |change: fn(&mut Record)| {
            let found = differs(change);
            assert_eq!(found.len(), 1, "{found:?}");
            found[0].clone()
        };
        let left_out = one(|record| drop(record.models.remove(1)));
        assert_eq!(left_out, "models: uid 1, committed to in block 1");
        let at = |field: &str| format!("models[1].model.{field}: ");
        type Change = fn(&mut Model);
        let cases: [(&str, Change); 7] = [
            ("hotkey", |model| model.hotkey = AccountId([7; 32])),
            ("coldkey", |model| model.coldkey = Some(AccountId([7; 32]))),
            ("commit_block", |model| model.commit_block = Block(0)),
            ("commit_block_hash", |model| model.commit_block_hash = BlockHash([7; 32])),
            ("repo", |model| model.repo = None),
            ("file_root", |model| model.file_root = Some(Digest([7; 32]))),
            ("since", |model| model.since = Some(Block(5))),
        ];
        for (field, change) in cases {
            let found = differs(|record| change(&mut record.models[1].model));
            assert!(found.len() == 1 && found[0].starts_with(&at(field)), "{field}: {found:?}");
        }
        let added = differs(|record| record.models[2].model.uid = Uid(9));
        assert!(added[0].starts_with("models[2].model.uid"), "{added:?}");
        assert!(added[1].contains("uid 2"), "{added:?}");
        let unheard = differs(|record| record.models[2].model.uid = Uid(8));
        assert!(unheard[0].contains("two thirds of the stake"), "{unheard:?}");
    }

    #[test]
    fn attack_a_model_that_is_skipped_for_ever_is_told() {
        let (mut record, rules, chain) = honest();
        record.models.remove(1);
        record.skipped = vec![Skipped { uid: Uid(1), hotkey: AccountId([1; 32]) }];
        let steps = models((&record, &rules), &Past::default(), &Ok(chain));
        assert!(!steps.iter().any(Step::is_other), "{steps:?}");
        let Outcome::NotChecked { why } = &steps[steps.len() - 1].outcome else { panic!() };
        assert!(why.contains("uid 1") && why.contains("nobody can tell why"), "{why}");
        let other = differs(|record| {
            record.models.remove(1);
            record.skipped = vec![Skipped { uid: Uid(1), hotkey: AccountId([7; 32]) }];
        });
        assert!(other[0].starts_with("skipped[0]"), "{other:?}");
    }

    #[test]
    fn a_chain_without_the_state_before_the_round_says_who_has_it() {
        let (mut record, rules, _) = honest();
        let chain = MemoryChain::new(&Genesis::default()).unwrap();
        let why = |block: u64, record: &mut Record| {
            record.round.block = Block(block);
            read(record, &rules, Ok(&chain)).unwrap_err()
        };
        for _ in 0..=HISTORY_BLOCKS + 10 {
            chain.produce_block().unwrap();
        }
        let gone = why(10, &mut record);
        assert!(gone.contains("is not held") && gone.contains("agon node --archive"), "{gone}");
        let future = why(10_000, &mut record);
        assert!(future.contains("not there yet") && !future.contains("--archive"), "{future}");
    }

    #[test]
    fn what_only_the_validator_itself_wants_may_be_missing() {
        let (mut record, rules, mut chain) = honest();
        // An old commitment that nobody pays.
        chain.moment.seed = Block(1_000_000);
        record.models.truncate(1);
        let steps = |chain: OnChain| models((&record, &rules), &Past::default(), &Ok(chain));
        assert!(steps(chain.clone()).iter().all(|step| !step.is_other()));
        // Though nobody was paid more than others for long enough.
        chain.paid = None;
        assert!(steps(chain.clone()).iter().all(|step| !step.is_other()));
        // Where nobody is paid, all are measured.
        chain.listed[0].incentive = 0;
        assert_eq!(steps(chain).iter().filter(|step| step.is_other()).count(), 2);
        let unread = models((&record, &rules), &Past::default(), &Err("no chain".to_owned()));
        assert_eq!(unread, [Step::not_checked(Part::Models, "no chain")]);
    }
}
