//! Evidence, decision and weights, derived again from the losses that a record holds and from the
//! records before it.

use super::{
    losses::Bar,
    report::{Outcome, Part, Step},
};
use crate::rules_text::plural;
use chain::StoredCommitment;
use protocol::{
    AccountId, Block, Competition, Digest, ReasonCode, Record,
    competition::Rule,
    duel::{Fight, Reign},
    record::{
        Finding, Judged, Mismatch, Model, Setting, averaged, is_filled_by_line, verify_duels,
    },
    weights::{Average, MovingAverage},
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// How a record is called where it is not one field alone that differs.
const RECORD: &str = "record";

/// What the records before one say.
#[derive(Default)]
pub struct Past {
    /// The one right before it, with its digest.
    previous: Option<(Digest, Record)>,
    /// What follows from all of them.
    reign: Reign,
    /// Number of the record that is believed, as those before it are not known.
    believed: Option<u64>,
    /// What each key had committed to when it was judged last.
    seen: BTreeMap<AccountId, Seen>,
}

/// A commitment as a record left it.
#[derive(Clone, Copy)]
struct Seen {
    commit_block: Block,
    /// Since when it counts, where it was ever seen absent.
    since: Option<Block>,
    /// Whether it was absent then.
    is_absent: bool,
}

impl Past {
    /// Takes in the next record with its digest, whatever was found of it.
    pub fn take(&mut self, record: Record, digest: Digest) {
        if self.leads_to(&record) {
            self.reign.follow(&record);
        } else {
            self.reign = Reign::believed(&record);
            self.believed = Some(record.round.number);
            self.seen.clear();
        }
        for Judged { model, .. } in &record.models {
            let Model { hotkey, commit_block, since, .. } = *model;
            let is_absent = model.finding == Finding::Disqualified(ReasonCode::NotPublished);
            self.seen.insert(hotkey, Seen { commit_block, since, is_absent });
        }
        self.previous = Some((digest, record));
    }

    /// Whether the record right before a record is the one that it names, or there is none.
    pub fn leads_to(&self, record: &Record) -> bool {
        let round = &record.round;
        match &self.previous {
            None => round.number == 1,
            Some((digest, _)) => round.previous == Some(*digest),
        }
    }

    /// Whether the records before have this very commitment.
    pub fn knows(&self, stored: &StoredCommitment) -> bool {
        let seen = self.seen.get(&stored.hotkey);
        seen.is_some_and(|seen| seen.commit_block == stored.block)
    }

    /// Whether its key holds the crown in duels.
    pub fn holds(&self, stored: &StoredCommitment) -> bool {
        self.reign.champion().is_some_and(|champion| champion.hotkey == stored.hotkey)
    }

    /// Whether the validator measures a commitment whatever the chain pays, as far as the records
    /// before tell: its key held the crown, or has an open duel for it.
    pub fn awaits(
        &self,
        (record, rules): (&Record, &Competition),
        stored: &StoredCommitment,
    ) -> bool {
        let Some((_, before)) = self.previous.as_ref().filter(|_| self.leads_to(record)) else {
            return false;
        };
        let is_its = |judged: &Judged| {
            Some(judged.model.uid) == before.champion && judged.model.hotkey == stored.hotkey
        };
        if before.models.iter().any(is_its) {
            return true;
        }
        // Whoever has committed anew since is no party of the duel.
        let age_min = rules.evaluation.commitment_age_min;
        let is_open = |fight: &Fight| {
            fight.verdict.is_none()
                && fight.hotkey == stored.hotkey
                && fight.began.since(stored.block) >= age_min
        };
        let predecessor = self.reign.predecessor();
        rules.scoring.rule == Rule::Duel
            && (self.holds(stored)
                || predecessor.is_some_and(|predecessor| predecessor.hotkey == stored.hotkey)
                || self.reign.fights().any(is_open))
    }

    /// What is wrong with the blocks since which models count, and which of them cannot be told.
    pub fn since(&self, record: &Record) -> Vec<Step> {
        let (mut steps, mut unknown) = (Vec::new(), Vec::new());
        for (place, Judged { model, .. }) in record.models.iter().enumerate() {
            let seen = self.seen.get(&model.hotkey).filter(|_| self.leads_to(record));
            let seen = seen.filter(|seen| seen.commit_block == model.commit_block);
            let expected = match seen {
                Some(seen) if seen.is_absent => Some(record.round.block),
                Some(seen) => seen.since,
                None if self.believed.is_none() && self.leads_to(record) => None,
                None => {
                    unknown.push(model.uid.to_string());
                    continue;
                }
            };
            if model.since != expected {
                let told = |since: Option<Block>| {
                    since.map_or("none".to_owned(), |block| format!("block {block}"))
                };
                let at = format!("models[{place}].model.since");
                let pair = (told(expected), told(model.since));
                steps.push(Step::differs(Part::Models, at, pair));
            }
        }
        if !unknown.is_empty() {
            let why = format!(
                "since when uid {} counts, the records before tell: give them, too",
                unknown.join(", ")
            );
            steps.push(Step::not_checked(Part::Models, why));
        }
        steps
    }

    /// Whether the bar of guessing holds in the round of a record.
    pub fn bar(&self, record: &Record, rules: &Competition) -> Bar {
        match rules.scoring.rule {
            Rule::Duel if !self.leads_to(record) => Bar::Unknown,
            Rule::Duel if !is_filled_by_line(record, rules, &self.reign) => Bar::Off,
            _ => Bar::Holds,
        }
    }

    /// Whether a record continues the one before it, as far as its names go.
    pub fn link(&self, record: &Record) -> Step {
        let round = &record.round;
        let named = round.previous.map_or("none".to_owned(), |digest| digest.to_string());
        let number_before = round.number.saturating_sub(1);
        let (digest, before) = match &self.previous {
            None if round.number == 1 => {
                let other = round.previous.is_some();
                let other =
                    other.then(|| Step::differs(Part::Link, "round.previous", ("none", named)));
                return Step::or_equal(other, Part::Link, "the first record, which names none");
            }
            None if round.previous.is_none() => {
                let expected = format!("the digest of record {number_before}");
                return Step::differs(Part::Link, "round.previous", (expected, named));
            }
            Some((digest, before)) if number_before == before.round.number => {
                (*digest, &before.round)
            }
            _ => {
                let why = format!("record {number_before} is not there: give it, too");
                return Step::not_checked(Part::Link, why);
            }
        };
        let differs = |at: &str, pair: (String, String)| Some(Step::differs(Part::Link, at, pair));
        let told = |a: &dyn ToString, b: &dyn ToString| (a.to_string(), b.to_string());
        let other = if round.previous != Some(digest) {
            differs("round.previous", (digest.to_string(), named))
        } else if round.validator != before.validator {
            differs("round.validator", told(&before.validator, &round.validator))
        } else if round.genesis != before.genesis {
            differs("round.genesis", told(&before.genesis, &round.genesis))
        } else if round.netuid != before.netuid {
            differs("round.netuid", told(&before.netuid, &round.netuid))
        } else if round.block <= before.block {
            let expected = format!("a block after {}", before.block);
            differs("round.block", (expected, round.block.to_string()))
        } else {
            None
        };
        Step::or_equal(other, Part::Link, format!("follows record {number_before}"))
    }

    /// Evidence, decision and weights of a record, in this order.
    pub fn derive(&self, record: &Record, rules: &Competition) -> Vec<Step> {
        let is_duel = rules.scoring.rule == Rule::Duel;
        if is_duel && !self.leads_to(record) {
            let why = "it goes on from the record before this one: give that, too";
            let parts = [Part::Evidence, Part::Decision, Part::Weights];
            return parts.map(|part| Step::not_checked(part, why)).into();
        }
        let mut steps = self.figures(record, rules);
        match self.believed {
            _ if !is_duel => steps.retain(|step| step.part != Part::Evidence),
            Some(number) => steps.iter_mut().for_each(|step| doubt(step, number)),
            None => {}
        }
        steps.push(self.weights(record, rules));
        steps
    }

    /// The moving averages before a record, where they are known.
    fn average(&self, record: &Record) -> Option<MovingAverage> {
        match &self.previous {
            _ if !self.leads_to(record) => None,
            None => Some(MovingAverage::default()),
            Some((_, before)) => before.averages.clone().try_into().ok(),
        }
    }

    fn figures(&self, record: &Record, rules: &Competition) -> Vec<Step> {
        let verified = verify_duels(record, rules, &self.reign);
        if let Err(mismatch) = &verified
            && !is_of_figures(mismatch)
        {
            return out_of_order(mismatch);
        }
        let before = (&self.reign, MovingAverage::default());
        let derived = match derived(record, rules, before) {
            Ok(derived) => derived,
            Err(mismatch) => return out_of_order(&mismatch),
        };
        let evidence = first_other(Part::Evidence, &fights(&derived), &fights(record));
        let mut decision = first_other(Part::Decision, &decided(&derived), &decided(record));
        if let Err(mismatch) = &verified
            && evidence.is_none()
            && decision.is_none()
        {
            // What no field above tells.
            let pair = ("what the rules give", mismatch);
            decision = Some(Step::differs(Part::Decision, RECORD, pair));
        }
        let n_fights = record.models.iter().filter(|judged| judged.fight.is_some()).count();
        let n_models = plural(record.models.len(), "verdict");
        let crowned = match record.champion {
            Some(uid) => format!("{n_models}, and uid {uid} is champion"),
            None => format!("{n_models}, and nobody is champion"),
        };
        vec![
            Step::or_equal(evidence, Part::Evidence, plural(n_fights, "duel")),
            Step::or_equal(decision, Part::Decision, crowned),
        ]
    }

    /// Moving averages beside those that the verdicts in the record give, on from the record before
    /// it: no doubt about what came before that is one about them.
    fn weights(&self, record: &Record, rules: &Competition) -> Step {
        let Some(mut average) = self.average(record) else {
            let before = record.round.number.saturating_sub(1);
            let why = format!("they go on from those of record {before}: give it, too");
            return Step::not_checked(Part::Weights, why);
        };
        let derived = averaged(rules, &record.models, &mut average);
        let field = |averages: &[Average]| vec![("averages".to_owned(), json(&averages))];
        let other = first_other(Part::Weights, &field(&derived), &field(&record.averages));
        let n_miners = plural(record.averages.len(), "miner");
        Step::or_equal(other, Part::Weights, format!("moving averages of {n_miners}"))
    }
}

/// Says that a step goes on from a record that is believed, which may explain what differs.
fn doubt(step: &mut Step, number: u64) {
    let outcome = match &step.outcome {
        Outcome::Equal { what } => {
            Outcome::Equal { what: format!("{what}, on from record {number} as it is given") }
        }
        Outcome::Differs { at, .. } if !is_certain(at) => Outcome::NotChecked {
            why: format!(
                "{at} is not what follows from record {number} as it is given: give those from 1 \
                 on to tell"
            ),
        },
        other => other.clone(),
    };
    step.outcome = outcome;
}

/// Whether a place differs whatever came before: verdicts are looked at where the crown is what it
/// must be, and follow from that.
fn is_certain(at: &str) -> bool {
    at == RECORD || at.contains("].verdict")
}

/// Whether a mismatch is about what follows from losses, and not about what they follow from.
fn is_of_figures(mismatch: &Mismatch) -> bool {
    matches!(
        mismatch,
        Mismatch::Verdict { .. }
            | Mismatch::Champion { .. }
            | Mismatch::Used { .. }
            | Mismatch::Fight(_)
            | Mismatch::Attempts(_)
            | Mismatch::Crown
    )
}

/// Nothing follows from a record that is not in order.
fn out_of_order(mismatch: &Mismatch) -> Vec<Step> {
    let why = "nothing follows from a record that is not in order";
    // Whether losses are enough may depend on what came before.
    let at = if matches!(mismatch, Mismatch::Wanted { .. }) { "models" } else { RECORD };
    vec![
        Step::not_checked(Part::Evidence, why),
        Step::differs(Part::Decision, at, ("one in order", mismatch)),
    ]
}

/// A field of a record: where it is, and what it is.
type Field = (String, Value);

fn fights(record: &Record) -> Vec<Field> {
    let mut fields = Vec::new();
    for (at, judged) in record.models.iter().enumerate() {
        fields.push((format!("models[{at}].fight"), json(&judged.fight)));
        fields.push((format!("models[{at}].attempts"), json(&judged.attempts)));
    }
    fields
}

fn decided(record: &Record) -> Vec<Field> {
    let mut fields = vec![
        ("champion".to_owned(), json(&record.champion)),
        ("crown".to_owned(), json(&record.crown)),
    ];
    let models = || record.models.iter().enumerate();
    fields.extend(
        models().map(|(at, judged)| (format!("models[{at}].verdict"), json(&judged.verdict))),
    );
    // Last: how many losses were looked at follows from the evidence.
    fields
        .extend(models().map(|(at, judged)| (format!("models[{at}].model"), json(&judged.model))));
    fields
}

fn json(value: &impl Serialize) -> Value {
    // What could be read from JSON can be written as JSON.
    serde_json::to_value(value).unwrap_or_default()
}

/// The first field that is another one, to the last bit of a number.
fn first_other(part: Part, expected: &[Field], found: &[Field]) -> Option<Step> {
    let mut pairs = expected.iter().zip(found);
    pairs.find_map(|((at, expected), (_, found))| {
        let (at, pair) = difference(expected, found, at.clone())?;
        Some(Step::differs(part, at, pair))
    })
}

/// Where two values differ first, and the two values there.
fn difference(expected: &Value, found: &Value, at: String) -> Option<(String, (String, String))> {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            difference(&of(a), &of(b), format!("{at}.{key}"))
        }),
        (Value::Array(a), Value::Array(b)) => (0..a.len().max(b.len())).find_map(|place| {
            let of = |list: &[Value]| list.get(place).cloned().unwrap_or_default();
            difference(&of(a), &of(b), format!("{at}[{place}]"))
        }),
        (a, b) => {
            // Texts of numbers are equal where their bits are.
            let (expected, found) = (a.to_string(), b.to_string());
            (expected != found).then_some((at, (expected, found)))
        }
    }
}

/// The record that the losses of a record give.
pub fn derived(
    record: &Record,
    rules: &Competition,
    (reign, mut average): (&Reign, MovingAverage),
) -> Result<Record, Mismatch> {
    let models: Vec<Model> = record.models.iter().map(|judged| judged.model.clone()).collect();
    let round = record.round.clone();
    match rules.scoring.rule {
        Rule::Duel => {
            Record::of_duels(round, rules, models, Setting::of(record, reign), &mut average)
        }
        _ => Ok(Record::new(round, rules, models, &mut average)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_field_that_differs_is_named_to_the_last_bit() {
        let a = json!({"x": [1.0, 0.1], "y": {"z": null}});
        let differs = |b: Value| difference(&a, &b, "r".to_owned()).map(|(at, _)| at);
        assert_eq!(differs(a.clone()), None);
        let last_bit = f64::from_bits(0.1_f64.to_bits() + 1);
        assert_eq!(differs(json!({"x": [1.0, last_bit], "y": {"z": null}})).unwrap(), "r.x[1]");
        assert_eq!(differs(json!({"x": [1.0, 0.1], "y": {"z": 0}})).unwrap(), "r.y.z");
        assert_eq!(differs(json!({"x": [1.0], "y": {"z": null}})).unwrap(), "r.x[1]");
        assert_eq!(differs(json!({"x": [1.0, 0.1], "y": {"z": null}, "w": 1})).unwrap(), "r.w");
        assert_eq!(difference(&json!(0.0), &json!(-0.0), "r".to_owned()).unwrap().0, "r");
    }

    use super::super::losses::tests::{losses, record};
    use protocol::{BlockHash, NetUid, Uid};

    /// The record of this number, after the one of this digest.
    fn numbered(number: u64, previous: Option<Digest>) -> Record {
        let mut record = record(vec![losses(1, 1.0)]);
        record.round.number = number;
        record.round.previous = previous;
        record.round.block = Block(number.saturating_mul(10));
        record
    }

    fn past(records: Vec<Record>) -> Past {
        let mut past = Past::default();
        for record in records {
            let digest = record.digest();
            past.take(record, digest);
        }
        past
    }

    /// How a link ended: nothing where it equals, else where it differs or why it is not known.
    fn ended(step: Step) -> Option<String> {
        match step.outcome {
            Outcome::Equal { .. } => None,
            Outcome::Differs { at, .. } => Some(at),
            Outcome::NotChecked { why } => Some(why),
        }
    }

    #[test]
    fn attack_a_record_that_goes_on_from_another_than_the_one_before_is_named() {
        let first = numbered(1, None);
        let digest = first.digest();
        let past = past(vec![first]);
        let link = |change: fn(&mut Record)| {
            let mut second = numbered(2, Some(digest));
            change(&mut second);
            ended(past.link(&second))
        };
        assert_eq!(link(|_| {}), None);
        type Change = fn(&mut Record);
        let cases: [(&str, Change); 7] = [
            ("round.previous", |record| record.round.previous = Some(Digest([7; 32]))),
            ("round.previous", |record| record.round.previous = None),
            ("round.validator", |record| record.round.validator = AccountId([7; 32])),
            ("round.genesis", |record| record.round.genesis = BlockHash([7; 32])),
            ("round.netuid", |record| record.round.netuid = NetUid(8)),
            ("round.block", |record| record.round.block = Block(10)),
            ("round.block", |record| record.round.block = Block(0)),
        ];
        for (at, change) in cases {
            assert_eq!(link(change).as_deref(), Some(at));
        }
        for number in [0, 1, 3, u64::MAX] {
            let why = ended(past.link(&numbered(number, Some(digest)))).unwrap();
            let before = number.saturating_sub(1);
            assert_eq!(why, format!("record {before} is not there: give it, too"));
        }
    }

    #[test]
    fn a_first_record_names_none_and_a_later_one_names_one() {
        let none = Past::default();
        assert_eq!(ended(none.link(&numbered(1, None))), None);
        let named = numbered(1, Some(Digest([7; 32])));
        assert_eq!(ended(none.link(&named)).as_deref(), Some("round.previous"));
        assert_eq!(ended(none.link(&numbered(5, None))).as_deref(), Some("round.previous"));
        let why = ended(none.link(&numbered(5, Some(Digest([7; 32]))))).unwrap();
        assert!(why.contains("record 4 is not there"), "{why}");
    }

    #[test]
    fn whoever_was_absent_counts_from_its_return_and_what_is_missing_is_unknown() {
        let absent = |number, previous| {
            let mut record = numbered(number, previous);
            record.models[0].model.finding = Finding::Disqualified(ReasonCode::NotPublished);
            record
        };
        let first = absent(1, None);
        let digest = first.digest();
        let after_absence = past(vec![first]);
        let mut back = numbered(2, Some(digest));
        let ends = |past: &Past, record: &Record| -> Vec<String> {
            past.since(record).into_iter().filter_map(ended).collect()
        };
        assert_eq!(ends(&after_absence, &back), ["models[0].model.since"], "its age is hidden");
        back.models[0].model.since = Some(Block(20));
        assert_eq!(ends(&after_absence, &back), [""; 0]);
        // A new commitment of the same key is one that nobody saw absent.
        back.models[0].model.commit_block = Block(15);
        assert_eq!(ends(&after_absence, &back), ["models[0].model.since"]);
        back.models[0].model.since = None;
        assert_eq!(ends(&after_absence, &back), [""; 0]);
        // Without the records before, nobody can tell; the slot is named.
        let unknown = ends(&Past::default(), &numbered(2, Some(digest)));
        assert!(unknown[0].contains("uid 0") && unknown.len() == 1, "{unknown:?}");
    }

    #[test]
    fn a_gap_in_the_records_is_believed_from_there_on_and_said() {
        let past = past(vec![numbered(1, None), numbered(7, Some(Digest([7; 32])))]);
        assert_eq!(past.believed, Some(7));
        let mut equal = Step::equal(Part::Evidence, "2 duels");
        doubt(&mut equal, 7);
        assert_eq!(equal, Step::equal(Part::Evidence, "2 duels, on from record 7 as it is given"));
        for (at, is_lie) in [
            ("crown", false),
            ("models[3].fight", false),
            ("models[3].verdict", true),
            (RECORD, true),
        ] {
            let mut step = Step::differs(Part::Decision, at, (1, 2));
            doubt(&mut step, 7);
            assert_eq!(step.is_other(), is_lie, "{at}");
            let text = ended(step).unwrap();
            assert_eq!(text.contains("give those from 1 on"), !is_lie, "{text}");
        }
        let mut unknown = Step::not_checked(Part::Weights, "why");
        doubt(&mut unknown, 7);
        assert_eq!(unknown, Step::not_checked(Part::Weights, "why"));
    }

    #[test]
    fn attack_any_change_of_one_number_in_a_record_has_a_place() {
        use protocol::{Seed, seed::uniform_below};
        let mut stream = Seed::of_number(11).stream();
        let mut below = |n: usize| uniform_below(&mut stream, n as u64) as usize;
        for round in 0..200 {
            let lists: Vec<Vec<f64>> = (0..1 + below(4))
                .map(|_| (0..1 + below(5)).map(|_| below(1_000) as f64 / 7.0).collect())
                .collect();
            let (list, place) = (below(lists.len()), 0);
            let mut changed = lists.clone();
            let number = &mut changed[list][place];
            *number = f64::from_bits(number.to_bits() + 1);
            let (a, b) = (json!({"x": {"y": lists}}), json!({"x": {"y": changed}}));
            assert_eq!(difference(&a, &a, "r".to_owned()), None, "seed 11, {round}");
            let (at, (expected, found)) = difference(&a, &b, "r".to_owned()).unwrap();
            assert_eq!(at, format!("r.x.y[{list}][{place}]"), "seed 11, {round}");
            assert_ne!(expected, found);
        }
        let uid = json(&Some(Uid(7)));
        assert_eq!(
            difference(&uid, &json(&None::<Uid>), "champion".to_owned()).unwrap().1.1,
            "null"
        );
    }
}
