//! Losses of models, measured again, and the rules that models are said to break.

use super::{
    card::{self, Placed},
    models::{Found, Library},
    report::{Part, Step},
};
use crate::{plug, terminal::PatientBar};
use protocol::{
    Competition, Digest, Reason, ReasonCode, Record, Seed, SequenceLoss, Uid,
    loss::{of_sequences, per_batch},
    owner::{Claim, duplicates},
    record::{Finding, Model},
    seed::uniform_below,
    unigram::no_better_than_guessing,
};
use std::{collections::BTreeSet, ops::Range, path::Path};
use validator::{Admission, Ask, Committed, Drawn, Engine as _, Listed, OnChain, Sequence};

/// What is found of a model that breaks no rule.
const NO_RULE: &str = "no rule is broken";

/// What of a record's losses is measured again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Those of all models.
    All,
    /// Those of whoever holds the crown after the round.
    Champion,
    /// Those of one slot.
    Of(Uid),
    /// One of them, which this number chooses.
    Leaf(u64),
}

/// A record with its rules and its text.
#[derive(Clone, Copy)]
pub struct Exam<'a> {
    /// The record.
    pub record: &'a Record,
    /// Its rules.
    pub rules: &'a Competition,
    /// Its text.
    pub drawn: &'a Drawn,
    /// Whether the bar of guessing holds in its round.
    pub bar: Bar,
    /// What the chain says of it, where it is asked.
    pub on_chain: Option<&'a OnChain>,
}

/// Whether whoever does no better than guessing is disqualified in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Yes: all models are measured on all of the text.
    Holds,
    /// No: in a round of duels, which looks at no more than decides.
    Off,
    /// The records before it tell, and are not there.
    Unknown,
}

/// Measures what is asked of a record and compares.
pub fn steps(exam: Exam<'_>, asked: Asked, library: &mut Library) -> anyhow::Result<Vec<Step>> {
    let round = &exam.record.round;
    if round.engine != plug::ENGINE {
        let why = format!(
            "the losses were measured by `{}`, and this program has `{}`",
            protocol::text::shown(&round.engine, 64),
            plug::ENGINE
        );
        return Ok(vec![Step::not_checked(Part::Losses, why)]);
    }
    let mut steps = Vec::new();
    let chosen = chosen(exam.record, asked);
    if chosen.is_empty() {
        steps.push(nobody(asked));
    }
    for Chosen { place, batches } in chosen {
        steps.extend(exam.model(place, batches, library)?);
        steps.extend(library.take_damaged());
    }
    Ok(steps)
}

/// A model of a record, by its place there, and the losses that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chosen {
    place: usize,
    /// All of them without one.
    batches: Option<Range<usize>>,
}

fn chosen(record: &Record, asked: Asked) -> Vec<Chosen> {
    let models = record.models.iter().enumerate();
    let of = |uid: Option<Uid>| -> Vec<Chosen> {
        let place = record.models.iter().position(|judged| Some(judged.model.uid) == uid);
        place.map(|place| Chosen { place, batches: None }).into_iter().collect()
    };
    match asked {
        Asked::All => models.map(|(place, _)| Chosen { place, batches: None }).collect(),
        Asked::Champion => of(record.champion),
        Asked::Of(uid) => of(Some(uid)),
        Asked::Leaf(number) => leaf(record, number).into_iter().collect(),
    }
}

/// One loss of a record, each with the same chance.
fn leaf(record: &Record, number: u64) -> Option<Chosen> {
    let n_losses = |model: &Model| model.finding.losses().len() as u64;
    let all: u64 = record.models.iter().map(|judged| n_losses(&judged.model)).sum();
    if all == 0 {
        return None;
    }
    // Of the record as well: whoever knows the number knows nothing before the record.
    let mut stream = Seed::of_number(number).derive(&record.digest().hex()).stream();
    let mut left = uniform_below(&mut stream, all);
    for (place, judged) in record.models.iter().enumerate() {
        let n = n_losses(&judged.model);
        if left < n {
            let batch = usize::try_from(left).ok()?;
            return Some(Chosen { place, batches: Some(batch..batch + 1) });
        }
        left -= n;
    }
    None
}

/// There is nothing to measure.
fn nobody(asked: Asked) -> Step {
    let what = match asked {
        Asked::All => "no model was in the round",
        Asked::Champion => "nobody holds the crown after the round",
        Asked::Leaf(_) => "no model was measured in the round",
        Asked::Of(uid) => {
            let why = format!("no model of uid {uid} is in the record");
            return Step::not_checked(Part::Losses, why);
        }
    };
    Step::equal(Part::Losses, what)
}

impl Exam<'_> {
    /// What is found of one model.
    fn model(
        self,
        place: usize,
        batches: Option<Range<usize>>,
        library: &mut Library,
    ) -> anyhow::Result<Vec<Step>> {
        let placed = Placed { place, model: &self.record.models[place].model };
        match &placed.model.finding {
            Finding::Evaluated(losses) => {
                let batches = batches.unwrap_or(0..losses.len());
                self.evaluated(placed, batches, library)
            }
            Finding::Disqualified(code) => Ok(vec![self.disqualified(placed, *code, library)?]),
        }
    }

    fn evaluated(
        self,
        placed: Placed<'_>,
        batches: Range<usize>,
        library: &mut Library,
    ) -> anyhow::Result<Vec<Step>> {
        let (model, uid) = (placed.model, placed.model.uid);
        let losses = model.finding.losses();
        let n_batches = self.drawn.batches.len();
        if losses.len() > n_batches {
            let pair = (format!("{n_batches} at most"), losses.len());
            let at = placed.at("finding.evaluated");
            return Ok(vec![Step::differs(Part::Losses, at, pair)]);
        }
        if batches.is_empty() {
            let what = format!("none of uid {uid}, of which the round wanted none");
            return Ok(vec![Step::equal(Part::Losses, what)]);
        }
        let (dir, admission) = match library.find(self.rules, model)? {
            Found::Here { dir, admission } => (dir, admission),
            Found::Refused(reason) => {
                let step = Step::differs(Part::Model, placed.at("finding"), (reason, "evaluated"));
                return Ok(vec![step]);
            }
            Found::Missing(why) => return Ok(missing(uid, &why)),
        };
        let other = card::other(placed, &admission);
        if Some(admission.tensor_root) != model.tensor_root {
            return Ok(other.into_iter().collect());
        }
        let what = format!("files, tensors and card of uid {uid}");
        let is_here = Step::or_equal(other, Part::Model, what);
        let step = match self.measure(library, (&dir, &admission), batches.clone())? {
            Err(reason) => Step::differs(Part::Losses, placed.at("finding"), (reason, "evaluated")),
            Ok(measured) => {
                let other = self.first_other(placed, &measured, &batches);
                let which = which(losses.len(), &batches);
                Step::or_equal(other, Part::Losses, format!("{which} of uid {uid}"))
            }
        };
        Ok(vec![is_here, step])
    }

    /// The first loss that is another one, or the bar that the model does not pass.
    fn first_other(
        self,
        placed: Placed<'_>,
        measured: &[SequenceLoss],
        batches: &Range<usize>,
    ) -> Option<Step> {
        let losses = placed.model.finding.losses();
        let sizes = self.drawn.batches[batches.clone()].iter().map(Vec::len);
        let found = per_batch(sizes, measured);
        for (batch, measured) in batches.clone().zip(&found) {
            let recorded = losses[batch];
            if measured.value().to_bits() != recorded.value().to_bits() {
                let at = placed.at(&format!("finding.evaluated[{batch}]"));
                return Some(Step::differs(Part::Losses, at, (measured, recorded)));
            }
        }
        // Of fewer losses than all nobody can tell.
        let is_whole = *batches == (0..self.drawn.batches.len());
        let bar = no_better_than_guessing(of_sequences(measured), self.drawn.guessing);
        bar.filter(|_| is_whole && self.bar == Bar::Holds)
            .map(|reason| Step::differs(Part::Losses, placed.at("finding"), (reason, "evaluated")))
    }

    /// Losses of the sequences of some batches, in order.
    fn measure(
        self,
        library: &Library,
        (dir, admission): (&Path, &Admission),
        batches: Range<usize>,
    ) -> anyhow::Result<Result<Vec<SequenceLoss>, Reason>> {
        let sequences: Vec<&Sequence> = self.drawn.batches[batches].iter().flatten().collect();
        let n_all = sequences.len();
        let bar = PatientBar::new("{bar:40} {percent} %  {msg}  {eta} left")?;
        let mut measured = Vec::with_capacity(n_all);
        let mut learn = |losses: &[SequenceLoss]| -> anyhow::Result<()> {
            measured.extend_from_slice(losses);
            let n_done = measured.len();
            bar.set(n_done as u64, n_all as u64, || {
                format!("{n_done} of {n_all} sequences measured")
            });
            Ok(())
        };
        let ask = Ask { competition: self.rules, admission, sequences: &sequences };
        let end = library.engine().losses(dir, ask, &mut learn);
        bar.finish();
        Ok(end?.map(|()| measured))
    }

    /// Whether a model breaks the rule that it is said to break.
    fn disqualified(
        self,
        placed: Placed<'_>,
        code: ReasonCode,
        library: &mut Library,
    ) -> anyhow::Result<Step> {
        let (model, uid) = (placed.model, placed.model.uid);
        if code == ReasonCode::Duplicate {
            return self.duplicate(placed, library);
        }
        let is_measured = matches!(
            code,
            ReasonCode::DegenerateOutput | ReasonCode::NonFiniteLoss | ReasonCode::TooSlow
        );
        let found = match code {
            _ if model.file_root.is_none() => {
                library.listed(self.rules, model, self.committed(model).as_ref())
            }
            _ => library.find(self.rules, model)?,
        };
        // Beside a loss that is no number the record has no root.
        let other = match &found {
            Found::Here { admission, .. } if model.tensor_root.is_some() => {
                card::other(placed, admission)
            }
            Found::Refused(_) => card::unread(placed),
            Found::Here { .. } | Found::Missing(_) => None,
        };
        let reason = match found {
            Found::Here { dir, admission } if is_measured => {
                let all = 0..self.drawn.batches.len();
                let measured = self.measure(library, (&dir, &admission), all)?;
                measured.map_or_else(Some, |losses| self.no_better_than_guessing(&losses))
            }
            Found::Here { .. } => None,
            Found::Refused(reason) => Some(reason),
            Found::Missing(why) => {
                let why = format!("uid {uid} is taken to be disqualified as {code}: {why}");
                return Ok(Step::not_checked(Part::Model, why));
            }
        };
        let found = reason.map_or(NO_RULE.to_owned(), |reason| reason.code.to_string());
        let recorded = code.to_string();
        if code == ReasonCode::DegenerateOutput && self.bar == Bar::Unknown {
            let why = "whether the bar of guessing holds, the records before it tell";
            return Ok(Step::not_checked(Part::Model, format!("uid {uid}: {why}")));
        }
        if found == recorded {
            let what = format!("uid {uid} breaks a rule: {code}");
            return Ok(Step::or_equal(other, Part::Model, what));
        }
        if code == ReasonCode::NotPublished {
            let why = format!("uid {uid} was not published then: nobody can tell later");
            return Ok(Step::not_checked(Part::Model, why));
        }
        if code == ReasonCode::NonFiniteLoss && found == NO_RULE {
            // It counts from then on for as long as the commitment stands.
            let why = format!("uid {uid} may have shown {code} on the text of a round before");
            return Ok(Step::not_checked(Part::Model, why));
        }
        Ok(Step::differs(Part::Model, placed.at("finding"), (found, recorded)))
    }

    /// What the chain says that the miner of a model committed to.
    fn committed(self, model: &Model) -> Option<Committed> {
        let hotkey = model.hotkey;
        let of_it = |listed: &&Listed| listed.stored.hotkey == hotkey;
        let listed = self.on_chain?.listed.iter().find(of_it)?;
        Some(Committed { hotkey, commitment: listed.commitment.clone() })
    }

    /// The bar that a model does not pass, where it holds.
    fn no_better_than_guessing(self, losses: &[SequenceLoss]) -> Option<Reason> {
        no_better_than_guessing(of_sequences(losses), self.drawn.guessing)
            .filter(|_| self.bar != Bar::Off)
    }

    /// Whether a model is somebody else's: by the roots in the record, and by the files of all that
    /// share one with it.
    fn duplicate(self, placed: Placed<'_>, library: &mut Library) -> anyhow::Result<Step> {
        let (model, uid) = (placed.model, placed.model.uid);
        let unknown = |why: &str| {
            let why = format!("uid {uid} is taken to be another's model: {why}");
            Step::not_checked(Part::Model, why)
        };
        let by_files = self.copies(|model| model.file_root);
        let by_tensors = self.copies(|model| model.tensor_root);
        let is_by_tensors = by_tensors.contains(&uid);
        if !is_by_tensors && !by_files.contains(&uid) {
            return Ok(unknown("its original is not in the record"));
        }
        let is_same = |other: &Model| match is_by_tensors {
            true => other.tensor_root == model.tensor_root,
            false => other.file_root == model.file_root,
        };
        // The model itself first: its root is what it is accused by.
        let others = self.record.models.iter().enumerate();
        let others = others.map(|(place, judged)| Placed { place, model: &judged.model });
        let others = others.filter(|other| other.place != placed.place && is_same(other.model));
        for other in std::iter::once(placed).chain(others) {
            let shared = other.model;
            match library.find(self.rules, shared)? {
                Found::Here { admission, .. }
                    if Some(admission.tensor_root) == shared.tensor_root =>
                {
                    // What is not measured may have been inspected before there were cards.
                    let differs = shared.card.as_ref().and(card::other(other, &admission));
                    if let Some(step) = differs {
                        return Ok(step);
                    }
                }
                // Copies of files are told by their list alone.
                Found::Here { .. } | Found::Refused(_)
                    if !is_by_tensors && shared.tensor_root.is_none() => {}
                Found::Here { admission, .. } => {
                    let recorded = shared.tensor_root.map_or("none".to_owned(), |r| r.to_string());
                    let pair = (admission.tensor_root, recorded);
                    return Ok(Step::differs(Part::Model, other.at("tensor_root"), pair));
                }
                Found::Refused(reason) => {
                    let pair = (reason, "one with tensors that are another's");
                    return Ok(Step::differs(Part::Model, other.at("finding"), pair));
                }
                Found::Missing(why) => return Ok(unknown(&format!("uid {}: {why}", shared.uid))),
            }
        }
        Ok(Step::equal(Part::Model, format!("uid {uid} breaks a rule: {}", ReasonCode::Duplicate)))
    }

    /// Slots of which the model is somebody else's by a root in the record.
    fn copies(self, root: fn(&Model) -> Option<Digest>) -> BTreeSet<Uid> {
        let models = self.record.models.iter().map(|judged| &judged.model);
        let claim = |model: &Model| {
            let (uid, seniority) = (model.uid, model.seniority());
            Some(Claim { uid, seniority, root: root(model)? })
        };
        let claims: Vec<Claim> = models.filter_map(claim).collect();
        duplicates(&claims).into_keys().collect()
    }
}

/// Which of so many losses are meant.
fn which(n_losses: usize, batches: &Range<usize>) -> String {
    match batches.len() {
        n if n == n_losses => format!("all {n} losses"),
        _ => format!("loss {} of {n_losses}", batches.start + 1),
    }
}

fn missing(uid: Uid, why: &str) -> Vec<Step> {
    let model = Step::not_checked(Part::Model, format!("the model of uid {uid}: {why}"));
    let losses = format!("the losses of uid {uid}: the model is not here");
    vec![model, Step::not_checked(Part::Losses, losses)]
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use protocol::{Block, BlockHash, Loss, Verdict, record::Judged};

    /// So many losses of one value.
    pub fn losses(n: usize, value: f64) -> Finding {
        Finding::Evaluated(vec![Loss::new(value).unwrap(); n])
    }

    /// A record with models of these findings, from slot 0 on.
    pub fn record(findings: Vec<Finding>) -> Record {
        let judged = |(number, finding): (usize, Finding)| {
            let uid = Uid(number as u16);
            let model = Model {
                uid,
                hotkey: protocol::AccountId([number as u8; 32]),
                coldkey: None,
                commit_block: Block(1),
                commit_block_hash: BlockHash([0; 32]),
                since: None,
                repo: None,
                revision: None,
                file_root: None,
                tensor_root: None,
                card: None,
                finding,
            };
            let merit = protocol::Merit::Absent;
            let verdict =
                Verdict { uid, present: false, merit, wins: 0, win_rate: 0.0, weight: 0.0 };
            Judged { model, verdict, fight: None, attempts: None }
        };
        let digest = Digest([0; 32]);
        Record {
            format: protocol::record::RECORD_FORMAT,
            round: protocol::record::Round {
                competition: "tiny".to_owned(),
                competition_digest: digest,
                number: 1,
                previous: None,
                block: Block(10),
                block_hash: BlockHash([1; 32]),
                validator: protocol::AccountId([9; 32]),
                genesis: BlockHash([2; 32]),
                netuid: protocol::NetUid(7),
                engine: plug::ENGINE.to_owned(),
                tokenizer: digest,
                dataset: digest,
                documents: Vec::new().into(),
                optimum: None,
                batches: digest,
            },
            models: findings.into_iter().enumerate().map(judged).collect(),
            skipped: Vec::new(),
            averages: Vec::new(),
            champion: None,
            crown: None,
        }
    }

    #[test]
    fn every_loss_of_a_record_can_be_the_leaf_and_a_number_chooses_always_the_same() {
        let losses = |n: usize| losses(n, 1.0);
        let bad = Finding::Disqualified(ReasonCode::TooLarge);
        let record = record(vec![losses(2), bad, losses(1), losses(0)]);
        let mut seen = BTreeSet::new();
        for number in 0..64 {
            let chosen = leaf(&record, number).unwrap();
            assert_eq!(leaf(&record, number), Some(chosen.clone()), "seed {number}");
            let batches = chosen.batches.unwrap();
            assert_eq!(batches.len(), 1);
            seen.insert((chosen.place, batches.start));
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [(0, 0), (0, 1), (2, 0)]);
        assert_eq!(leaf(&self::record(vec![losses(0)]), 1), None);
    }

    use super::super::report::Outcome;

    /// Two batches of two and of one sequence, on which guessing has 3 nats.
    fn drawn() -> Drawn {
        let sequence = |n: u8| Sequence { digest: Digest([n; 32]), tokens: vec![1, 2, 3] };
        Drawn {
            documents: Vec::new().into(),
            batches: vec![vec![sequence(1), sequence(2)], vec![sequence(3)]],
            digest: Digest([0; 32]),
            guessing: Loss::new(3.0).unwrap(),
            optimum: None,
        }
    }

    fn measured(values: &[f64]) -> Vec<SequenceLoss> {
        let of =
            |value: &f64| SequenceLoss { n_tokens: 2, cross_entropy: Loss::new(*value).unwrap() };
        values.iter().map(of).collect()
    }

    /// Where the losses of a record differ from those of three sequences.
    fn other(recorded: &[f64], found: &[f64], batches: &Range<usize>, bar: Bar) -> Option<String> {
        let recorded = recorded.iter().map(|loss| Loss::new(*loss).unwrap()).collect();
        let record = record(vec![Finding::Evaluated(recorded)]);
        let rules = Competition::builtin("tiny").unwrap();
        let drawn = drawn();
        let exam = Exam { record: &record, rules: &rules, drawn: &drawn, bar, on_chain: None };
        let placed = Placed { place: 0, model: &record.models[0].model };
        let step = exam.first_other(placed, &measured(found), batches)?;
        match step.outcome {
            Outcome::Differs { at, expected, .. } => Some(format!("{at}: {expected}")),
            outcome => panic!("{outcome:?}"),
        }
    }

    #[test]
    fn attack_a_loss_that_is_off_by_its_last_bit_is_named_by_its_batch() {
        let next = f64::from_bits(2.0_f64.to_bits() + 1);
        let all = [1.0, 2.0, 2.0];
        assert_eq!(other(&[1.5, 2.0], &all, &(0..2), Bar::Holds), None);
        let second = other(&[1.5, next], &all, &(0..2), Bar::Holds);
        assert_eq!(second.as_deref(), Some("models[0].model.finding.evaluated[1]: 2"));
        let first = other(&[1.6, next], &all, &(0..2), Bar::Holds);
        assert_eq!(first.as_deref(), Some("models[0].model.finding.evaluated[0]: 1.5"));
        // Of a leaf the other losses are not looked at, and its place is that in the record.
        assert_eq!(other(&[9.0, 2.0], &all[2..], &(1..2), Bar::Holds), None);
        let leaf = other(&[9.0, 2.5], &all[2..], &(1..2), Bar::Holds);
        assert_eq!(leaf.as_deref(), Some("models[0].model.finding.evaluated[1]: 2"));
    }

    #[test]
    fn whoever_guesses_was_to_be_refused_where_the_bar_holds_on_the_whole_text() {
        let guess = [3.0, 3.0, 3.0];
        let found = other(&[3.0, 3.0], &guess, &(0..2), Bar::Holds).unwrap();
        assert!(found.starts_with("models[0].model.finding: degenerate-output"), "{found}");
        for bar in [Bar::Off, Bar::Unknown] {
            assert_eq!(other(&[3.0, 3.0], &guess, &(0..2), bar), None, "{bar:?}");
        }
        assert_eq!(
            other(&[3.0, 3.0], &guess[..2], &(0..1), Bar::Holds),
            None,
            "a part of the text"
        );
    }

    #[test]
    fn what_is_asked_for_is_measured_and_nothing_else() {
        let mut record = record(vec![losses(2, 1.0), losses(0, 1.0), losses(3, 1.0)]);
        let places = |record: &Record, asked| -> Vec<usize> {
            chosen(record, asked).into_iter().map(|chosen| chosen.place).collect()
        };
        assert_eq!(places(&record, Asked::All), [0, 1, 2]);
        assert_eq!(places(&record, Asked::Of(Uid(2))), [2]);
        assert_eq!(places(&record, Asked::Of(Uid(9))), [0; 0]);
        assert_eq!(places(&record, Asked::Champion), [0; 0], "nobody is");
        assert!(!nobody(Asked::Champion).is_other());
        record.champion = Some(Uid(1));
        assert_eq!(places(&record, Asked::Champion), [1]);
        let unknown = nobody(Asked::Of(Uid(9)));
        assert!(matches!(&unknown.outcome, Outcome::NotChecked { why } if why.contains("uid 9")));
        for (n, batches, told) in
            [(3, 0..3, "all 3 losses"), (3, 2..3, "loss 3 of 3"), (1, 0..1, "all 1 losses")]
        {
            assert_eq!(which(n, &batches), told);
        }
    }

    #[test]
    fn attack_the_leaf_depends_on_the_record_and_falls_on_each_loss_about_as_often() {
        let record = record(vec![losses(3, 1.0), losses(1, 1.0), losses(4, 1.0)]);
        let mut counts = std::collections::BTreeMap::new();
        for number in 0..1_600 {
            let Chosen { place, batches } = leaf(&record, number).unwrap();
            *counts.entry((place, batches.unwrap().start)).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 8);
        // 200 each, with a deviation of 13.
        assert!(counts.values().all(|n| (130..270).contains(n)), "seeds 0..1600: {counts:?}");
        let mut other = record.clone();
        other.round.block_hash = BlockHash([77; 32]);
        let is_moved = |number: &u64| leaf(&record, *number) != leaf(&other, *number);
        assert!((0..64).filter(is_moved).count() > 32, "whoever knows the number knows nothing");
    }

    #[test]
    fn copies_are_those_that_share_a_root_with_a_senior() {
        let mut record = record(vec![losses(1, 1.0); 4]);
        for (judged, root) in record.models.iter_mut().zip([7, 7, 8, 7]) {
            judged.model.tensor_root = Some(Digest([root; 32]));
        }
        // The last came first.
        record.models[3].model.commit_block = Block(0);
        let (rules, drawn) = (Competition::builtin("tiny").unwrap(), drawn());
        let (bar, on_chain) = (Bar::Holds, None);
        let exam = Exam { record: &record, rules: &rules, drawn: &drawn, bar, on_chain };
        let copies: Vec<Uid> = exam.copies(|model| model.tensor_root).into_iter().collect();
        assert_eq!(copies, [Uid(0), Uid(1)]);
        assert!(exam.copies(|model| model.file_root).is_empty(), "no root is no copy");
    }
}
