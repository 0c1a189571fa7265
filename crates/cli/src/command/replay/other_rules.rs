//! What the crown would have been by other rules, from the losses that records hold.

use super::{derive::derived, report::NOT_CHECKED, source::Series};
use protocol::{
    Block, Competition, Record, Uid, competition::Rule, duel::Reign, record::Finding,
    weights::MovingAverage,
};
use serde::Serialize;
use std::{fmt::Write as _, process::ExitCode};

/// One round.
#[derive(Debug, Serialize)]
struct Row {
    /// The file, or its address.
    record: String,
    /// Number of the record.
    number: Option<u64>,
    /// Block that seeded the round.
    block: Option<Block>,
    /// Who holds the crown after it by the record.
    recorded: Option<Uid>,
    /// Who would hold it by the other rules; nobody also where `unknown` says why nobody can tell.
    given: Option<Uid>,
    /// Why the record does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
}

/// What came of a series under other rules so far.
struct Course<'a> {
    rules: &'a Competition,
    reign: Reign,
    average: MovingAverage,
    n_seen: u64,
    /// From where on nobody can tell, and why.
    lost: Option<String>,
}

/// The crown of each round by records and by other rules.
#[derive(Debug, Serialize)]
pub struct Crowns {
    /// Name of the other rules.
    rules: String,
    rounds: Vec<Row>,
}

impl Crowns {
    /// The crowns of the rounds of some records under `rules`, of which the scoring counts.
    pub fn of(series: &[Series], rules: &Competition) -> anyhow::Result<Self> {
        let mut rounds = Vec::new();
        for one in series {
            let (reign, average) = (Reign::default(), MovingAverage::default());
            let mut course = Course { rules, reign, average, n_seen: 0, lost: None };
            for (place, item) in one.items.iter().enumerate() {
                let row = match item.read()? {
                    Ok(signed) if signed.is_genuine() => course.row(&item.name, &signed.record),
                    Ok(_) => course.unread(&item.name, "its signature is not its validator's"),
                    Err(why) => course.unread(&item.name, &why),
                };
                rounds.extend(Some(row).filter(|_| place >= one.n_before));
            }
        }
        Ok(Self { rules: rules.name.clone(), rounds })
    }

    /// 3 where some round cannot be told, else 0.
    pub fn exit_code(&self) -> ExitCode {
        match self.rounds.iter().all(|row| row.unknown.is_none()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::from(NOT_CHECKED),
        }
    }

    /// All of it as a table.
    pub fn for_people(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "champion by each record, and by the scoring of `{}`\n", self.rules)?;
        writeln!(text, "{:>8} {:>10} {:>10} {:>10}", "record", "block", "recorded", "given")?;
        let uid = |uid: Option<Uid>| uid.map_or("nobody".to_owned(), |uid| uid.to_string());
        for row in &self.rounds {
            let number = row.number.map_or("?".to_owned(), |number| number.to_string());
            let block = row.block.map_or("?".to_owned(), |block| block.to_string());
            write!(text, "{number:>8} {block:>10} {:>10} ", uid(row.recorded))?;
            match &row.unknown {
                Some(why) => writeln!(text, "{:>10}  {why}", "unknown")?,
                None if row.given == row.recorded => writeln!(text, "{:>10}", uid(row.given))?,
                None => writeln!(text, "{:>10}  another", uid(row.given))?,
            }
        }
        Ok(text)
    }
}

impl Course<'_> {
    fn is_duel(&self) -> bool {
        self.rules.scoring.rule == Rule::Duel
    }

    /// A round whose record is none.
    fn unread(&mut self, name: &str, why: &str) -> Row {
        if self.is_duel() {
            self.lost.get_or_insert_with(|| format!("`{name}` tells nothing: {why}"));
        }
        let (record, unknown) = (name.to_owned(), Some(why.to_owned()));
        Row { record, number: None, block: None, recorded: None, given: None, unknown }
    }

    fn row(&mut self, name: &str, record: &Record) -> Row {
        let round = &record.round;
        self.n_seen += 1;
        if self.is_duel() && self.n_seen != round.number {
            let why =
                format!("duels go on from record to record: record {} is not there", self.n_seen);
            self.lost.get_or_insert(why);
        }
        let given = match self.lost.clone() {
            Some(why) => Err(why),
            None => self.crown(record),
        };
        if let (true, Err(why)) = (self.is_duel(), &given) {
            let why =
                format!("nobody can tell who was champion after record {}: {why}", round.number);
            self.lost.get_or_insert(why);
        }
        Row {
            record: name.to_owned(),
            number: Some(round.number),
            block: Some(round.block),
            recorded: record.champion,
            given: given.as_ref().copied().unwrap_or_default(),
            unknown: given.err(),
        }
    }

    /// Who holds the crown after a round by the other rules, or what its losses lack.
    fn crown(&mut self, record: &Record) -> Result<Option<Uid>, String> {
        let mut rules = self.rules.clone();
        rules.evaluation.n_batches = if self.is_duel() {
            // Only duels measure document by document.
            record.crown.ok_or("its losses are of batches, and duels are on documents")?;
            record.round.documents.len()
        } else {
            n_losses(record)?
        };
        let derived = derived(record, &rules, (&self.reign, self.average.clone()));
        let derived = derived.map_err(|mismatch| mismatch.to_string())?;
        self.reign.follow(&derived);
        self.average = derived.averages.try_into().unwrap_or_default();
        Ok(derived.champion)
    }
}

/// Losses of each measured model, where all have as many.
fn n_losses(record: &Record) -> Result<usize, String> {
    let mut numbers = record.models.iter().filter_map(|judged| match &judged.model.finding {
        Finding::Evaluated(losses) => Some(losses.len()),
        Finding::Disqualified(_) => None,
    });
    let Some(first) = numbers.next() else { return Ok(1) };
    let (least, most) =
        numbers.fold((first, first), |(least, most), n| (least.min(n), most.max(n)));
    match (least, most) {
        (0, _) => Err("it holds no losses of some of its models".to_owned()),
        (least, most) if least == most => Ok(least),
        (least, most) => Err(format!("it holds {least} losses of one model and {most} of another")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::losses::tests::{losses, record};
    use super::*;
    use protocol::ReasonCode;

    fn course(rules: &Competition) -> Course<'_> {
        let (reign, average) = (Reign::default(), MovingAverage::default());
        Course { rules, reign, average, n_seen: 0, lost: None }
    }

    /// The rules of `tiny` with another decision rule.
    fn rules(rule: Rule) -> Competition {
        let mut rules = Competition::builtin("tiny").unwrap();
        rules.scoring.rule = rule;
        rules
    }

    #[test]
    fn losses_of_batches_crown_by_other_rules_of_batches_alone() {
        let mut record = record(vec![losses(2, 2.0), losses(2, 1.0)]);
        record.champion = Some(Uid(0));
        for rule in [Rule::Wins, Rule::Mean, Rule::Succession] {
            let rules = rules(rule);
            let row = course(&rules).row("r", &record);
            assert_eq!((row.recorded, row.given), (Some(Uid(0)), Some(Uid(1))), "{rule:?}");
            assert_eq!(row.unknown, None, "{rule:?}");
        }
        let rules = rules(Rule::Duel);
        let mut course = course(&rules);
        let row = course.row("r", &record);
        assert!(row.given.is_none() && row.unknown.unwrap().contains("of batches"));
        // From there on nobody can tell, and the first reason stays.
        record.round.number = 2;
        let next = course.row("s", &record).unknown.unwrap();
        assert!(next.contains("after record 1") && next.contains("of batches"), "{next}");
    }

    #[test]
    fn what_a_record_lacks_is_said_and_each_round_stands_for_itself_without_duels() {
        assert_eq!(n_losses(&record(Vec::new())), Ok(1));
        let refused = Finding::Disqualified(ReasonCode::TooLarge);
        assert_eq!(n_losses(&record(vec![refused, losses(3, 1.0)])), Ok(3));
        let none = n_losses(&record(vec![losses(2, 1.0), losses(0, 1.0)])).unwrap_err();
        assert!(none.contains("no losses of some"), "{none}");
        let unlike = record(vec![losses(2, 1.0), losses(3, 1.0)]);
        assert!(n_losses(&unlike).unwrap_err().contains("2 losses of one model and 3 of another"));
        let rules = rules(Rule::Succession);
        let mut course = course(&rules);
        assert!(course.row("r", &unlike).unknown.is_some());
        assert!(course.unread("s", "it is gone").unknown.is_some());
        let good = course.row("t", &record(vec![losses(1, 1.0)]));
        assert_eq!(
            (good.given, good.unknown),
            (Some(Uid(0)), None),
            "the next is told all the same"
        );
    }

    #[test]
    fn a_table_of_crowns_marks_what_differs_and_what_nobody_can_tell() {
        let row = |recorded: Option<u16>, given: Option<u16>, unknown: Option<&str>| Row {
            record: "r".to_owned(),
            number: Some(1_234_567),
            block: None,
            recorded: recorded.map(Uid),
            given: given.map(Uid),
            unknown: unknown.map(str::to_owned),
        };
        let rounds =
            vec![row(Some(1), Some(1), None), row(Some(1), Some(255), None), row(None, None, None)];
        let mut crowns = Crowns { rules: "own".to_owned(), rounds };
        let code = |crowns: &Crowns| format!("{:?}", crowns.exit_code());
        assert_eq!(code(&crowns), format!("{:?}", ExitCode::SUCCESS));
        crowns.rounds.push(row(Some(3), None, Some("it is gone")));
        assert_eq!(code(&crowns), format!("{:?}", ExitCode::from(NOT_CHECKED)));
        let text = crowns.for_people().unwrap();
        let ends: Vec<&str> =
            text.lines().skip(3).map(|line| line.get(42..).unwrap_or("").trim()).collect();
        assert_eq!(ends, ["", "another", "", "it is gone"], "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}
