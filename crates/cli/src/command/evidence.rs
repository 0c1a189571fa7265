//! `agon evidence`: the evidence of several validators as one.

mod held;

use super::replay::{
    derive::Past,
    place::Shelf,
    report::{DIFFERS, NOT_CHECKED, Outcome, Step},
    source::{self, Series, Wanted},
};
use crate::{
    args::{AddressArgs, EvidenceArgs},
    failure::one_line,
    terminal::{print, print_json},
};
use anyhow::Context as _;
use held::{Held, fault, first, read};
use protocol::{
    AccountId, Block, Competition, Digest, Record,
    duel::{Duel, DuelRules, Pairing, Strength, log_product, pool},
    math,
};
use serde::Serialize;
use std::{collections::BTreeMap, f64::consts::LN_10, fmt::Write as _, process::ExitCode};

/// The newest duel of each pair, by validator.
type Duels = BTreeMap<Pairing, BTreeMap<AccountId, Held>>;

/// All that is printed.
#[derive(Serialize)]
struct Report {
    competition: String,
    duels: Vec<Told>,
    /// Whose evidence is as it is stated, and follows from nothing that was given.
    stated: Vec<Stated>,
    /// What speaks against the records, and why some of them say nothing.
    refused: Vec<Refused>,
}

/// One pair.
#[derive(Serialize)]
struct Told {
    champion: Digest,
    challenger: Digest,
    validators: Vec<Share>,
    /// Documents of all.
    n_documents: u64,
    /// How the evidence was put together.
    how: How,
    /// Decimal logarithm of the evidence for a crown.
    log10_e_crown: f64,
    /// Decimal logarithm of the evidence for a rejection.
    log10_e_reject: f64,
    crown: Strength,
    reject: Strength,
}

/// What one validator brings.
#[derive(Serialize)]
struct Share {
    validator: AccountId,
    began: Block,
    n_documents: u32,
    log10_e_crown: f64,
    log10_e_reject: f64,
}

/// How evidence is put together.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum How {
    /// Bet by bet, as of one duel on all documents.
    AsOneDuel,
    /// As a product of e-values, as the duels have terms of their own.
    Product,
}

/// Evidence that does not count.
#[derive(Serialize)]
struct Refused {
    what: String,
    why: String,
    /// Whether it is a fault of the records, and not only something that is missing.
    is_fault: bool,
}

/// Records of which some before are not there.
#[derive(Serialize)]
struct Stated {
    validator: AccountId,
    /// Number of the first record that goes on from one that is not there.
    from: u64,
}

/// Prints the evidence of several validators.
pub fn run(args: &EvidenceArgs) -> anyhow::Result<ExitCode> {
    let address = AddressArgs::default();
    let series = source::named(&args.records, Wanted { latest: None, address: &address })?;
    let mut gathered = Gathered::default();
    let report = match first(&series)? {
        Some(first) => {
            // The rules come first: what follows them is bounded by them.
            let rules = rules(args, &first)?;
            let duel_rules = rules.scoring.duel_rules();
            let duel_rules = duel_rules.context("the competition of the records has no duels")?;
            for one in &series {
                gathered.take(one, &rules)?;
            }
            gathered.report((&rules, duel_rules), args.challenger)
        }
        None => Report::nothing(unsigned(&series)?),
    };
    match args.json {
        true => print_json(&report)?,
        false => print(&report.for_people()?)?,
    }
    Ok(report.exit_code())
}

/// The rules of a record.
fn rules(args: &EvidenceArgs, record: &Record) -> anyhow::Result<Competition> {
    let shelf = Shelf { given: args.competition.as_deref(), homes: &[] };
    match shelf.rules(record)? {
        Ok((_, rules)) => Ok(rules),
        Err(Step { outcome: Outcome::NotChecked { why }, .. }) => Err(anyhow::anyhow!("{why}")),
        Err(_) => Err(anyhow::anyhow!("`--competition` is not the one of the records")),
    }
}

/// Why no series begins with a record.
fn unsigned(series: &[Series]) -> anyhow::Result<Vec<Refused>> {
    let mut refused = Vec::new();
    for item in series.iter().filter_map(|series| series.items.first()) {
        if let Err(why) = read(item)? {
            refused.push(Refused { what: item.name.clone(), why, is_fault: true });
        }
    }
    Ok(refused)
}

/// What is gathered of the records.
#[derive(Default)]
struct Gathered {
    duels: Duels,
    stated: Vec<Stated>,
    refused: Vec<Refused>,
}

impl Gathered {
    fn refuse(&mut self, what: &str, why: impl Into<String>) {
        self.refused.push(Refused { what: what.to_owned(), why: why.into(), is_fault: true });
    }

    /// Takes in the records of one validator, each derived from those before it; all of them, or
    /// nothing where one is not what it must be.
    fn take(&mut self, series: &Series, rules: &Competition) -> anyhow::Result<()> {
        let (mut past, mut held) = (Past::default(), BTreeMap::<Pairing, Held>::new());
        let (mut validator, mut stated) = (None, None);
        for item in &series.items {
            let record = match read(item)? {
                Ok(signed) => signed.record,
                Err(why) => {
                    self.refuse(&item.name, why);
                    return Ok(());
                }
            };
            if let Some(why) = fault(&record, rules, &past) {
                self.refuse(&item.name, why);
                return Ok(());
            }
            let round = &record.round;
            if !past.leads_to(&record) {
                let from = round.number;
                stated = stated.or(Some(Stated { validator: round.validator, from }));
                let why = format!("records before record {from} are missing");
                held.values_mut().for_each(|held| held.lacks = Some(why.clone()));
            }
            for judged in &record.models {
                if let Some(fight) = &judged.fight {
                    let before = held.remove(&fight.terms.pairing);
                    held.insert(fight.terms.pairing, Held::after(before, (judged, fight), &record));
                }
            }
            validator = Some(round.validator);
            let digest = record.digest();
            past.take(record, digest);
        }
        self.stated.extend(stated);
        let Some(validator) = validator else { return Ok(()) };
        for (pairing, held) in held {
            self.duels.entry(pairing).or_default().insert(validator, held);
        }
        Ok(())
    }

    /// The evidence of all pairs that two or more validators have.
    fn report(
        mut self,
        (rules, duel_rules): (&Competition, DuelRules),
        challenger: Option<Digest>,
    ) -> Report {
        let mut told = Vec::new();
        for (pairing, held) in std::mem::take(&mut self.duels) {
            if challenger.is_some_and(|challenger| challenger != pairing.challenger) {
                continue;
            }
            told.extend(self.pair(duel_rules, pairing, held));
        }
        let Self { stated, refused, .. } = self;
        Report { competition: rules.name.clone(), duels: told, stated, refused }
    }

    /// One pair; `None` where there is nothing to multiply.
    fn pair(
        &mut self,
        rules: DuelRules,
        pairing: Pairing,
        held: BTreeMap<AccountId, Held>,
    ) -> Option<Told> {
        let what = format!("the duel of {}", pairing.challenger);
        let mut duels: Vec<(AccountId, Block, Duel)> = Vec::new();
        for (validator, Held { fight, documents, lacks }) in held {
            let of = format!("{what} by {validator}");
            if let Some(why) = lacks {
                self.refused.push(Refused { what: of, why, is_fault: false });
                continue;
            }
            match Duel::resume(rules, fight.terms, fight.evidence, documents) {
                Ok(duel) => duels.push((validator, fight.began, duel)),
                Err(error) => self.refuse(&of, error.to_string()),
            }
        }
        if let Some((document, one, other)) = shared(&duels) {
            let why = format!(
                "document {document} is in the evidence of {one} and of {other}: it is not \
                 independent"
            );
            self.refuse(&what, why);
            return None;
        }
        if duels.len() < 2 {
            let why = "fewer than two validators have it".to_owned();
            self.refused.push(Refused { what, why, is_fault: false });
            return None;
        }
        Some(Told::of(rules, pairing, &duels))
    }
}

/// A document that two duels have, and whose they are.
fn shared(duels: &[(AccountId, Block, Duel)]) -> Option<(Digest, AccountId, AccountId)> {
    let mut owners: BTreeMap<Digest, AccountId> = BTreeMap::new();
    for (validator, _, duel) in duels {
        for document in duel.documents() {
            if let Some(owner) = owners.insert(*document, *validator) {
                return Some((*document, owner, *validator));
            }
        }
    }
    None
}

impl Told {
    fn of(rules: DuelRules, pairing: Pairing, duels: &[(AccountId, Block, Duel)]) -> Self {
        let share = |(validator, began, duel): &(AccountId, Block, Duel)| Share {
            validator: *validator,
            began: *began,
            n_documents: duel.evidence().n_documents(),
            log10_e_crown: log10(log_product(&[duel.evidence().e_crown()])),
            log10_e_reject: log10(log_product(&[duel.evidence().e_reject()])),
        };
        let all: Vec<&Duel> = duels.iter().map(|(_, _, duel)| duel).collect();
        let product = |e_value: fn(&Duel) -> f64| {
            let values: Vec<f64> = all.iter().map(|duel| e_value(duel)).collect();
            log_product(&values)
        };
        let n_documents = all.iter().map(|duel| u64::from(duel.evidence().n_documents())).sum();
        // The documents are not shared, so that only other terms keep duels from being one.
        let (how, crown, reject) = match pool(&all) {
            Ok(pooled) => (How::AsOneDuel, pooled.log_e_crown, pooled.log_e_reject),
            Err(_) => {
                let crown = product(|duel| duel.evidence().e_crown());
                (How::Product, crown, product(|duel| duel.evidence().e_reject()))
            }
        };
        // Whoever has the strictest budget asks for most.
        let alpha = all.iter().map(|duel| duel.terms().alpha).fold(rules.alpha, f64::min);
        Self {
            champion: pairing.champion,
            challenger: pairing.challenger,
            validators: duels.iter().map(share).collect(),
            n_documents,
            how,
            log10_e_crown: log10(crown),
            log10_e_reject: log10(reject),
            crown: Strength::of(math::exp(crown), alpha),
            reject: Strength::of(math::exp(reject), rules.beta),
        }
    }

    fn for_people(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(text, "challenger {}\nchampion   {}", self.challenger, self.champion)?;
        for share in &self.validators {
            let Share { validator, began, n_documents, log10_e_crown, log10_e_reject } = share;
            writeln!(
                text,
                "  {validator}  from block {began}, {n_documents} documents, log10 e: \
                 {log10_e_crown:.2} for a crown, {log10_e_reject:.2} for a rejection"
            )?;
        }
        let how = match self.how {
            How::AsOneDuel => "as one duel",
            How::Product => "as a product, as their terms differ",
        };
        writeln!(text, "  together {how}: {} documents", self.n_documents)?;
        for (what, log10, strength, null) in [
            ("crown", self.log10_e_crown, self.crown, "not better by the margin"),
            ("rejection", self.log10_e_reject, self.reject, "better by epsilon"),
        ] {
            let (words, log10) = (meaning(strength), down(log10));
            writeln!(text, "  log10 e for a {what}: {log10:.2}, {words}")?;
            if log10 > 0.0 {
                writeln!(
                    text,
                    "    were the challenger {null}, at most one duel in 10^{log10:.2} would ever \
                     have as much"
                )?;
            }
        }
        Ok(text)
    }
}

impl Report {
    /// Nothing was to be had.
    fn nothing(refused: Vec<Refused>) -> Self {
        let (duels, stated) = (Vec::new(), Vec::new());
        Self { competition: "unknown".to_owned(), duels, stated, refused }
    }

    fn exit_code(&self) -> ExitCode {
        if self.refused.iter().any(|refused| refused.is_fault) {
            ExitCode::from(DIFFERS)
        } else if self.duels.is_empty() || !self.stated.is_empty() {
            ExitCode::from(NOT_CHECKED)
        } else {
            ExitCode::SUCCESS
        }
    }

    fn for_people(&self) -> Result<String, std::fmt::Error> {
        let mut text = format!("competition {}\n", self.competition);
        for told in &self.duels {
            text.push('\n');
            text.push_str(&told.for_people()?);
        }
        for Stated { validator, from } in &self.stated {
            writeln!(
                text,
                "\nnot checked: evidence of {validator} from before record {from} is as stated, \
                 and not derived: give the records from 1 on"
            )?;
        }
        for Refused { what, why, is_fault } in &self.refused {
            let word = if *is_fault { "REFUSED" } else { "left out" };
            writeln!(text, "\n{word}: {}: {}", one_line(what), one_line(why))?;
        }
        Ok(text)
    }
}

fn log10(log: f64) -> f64 {
    log / LN_10
}

/// A logarithm with two decimals that says no more than there is.
fn down(log10: f64) -> f64 {
    // A hair is added: what stands for 2.3 may be a little less. A zero has no sign.
    (100.0 * log10 + 1e-6).floor() / 100.0 + 0.0
}

/// What a strength says.
fn meaning(strength: Strength) -> &'static str {
    match strength {
        Strength::Nothing => "which luck may explain",
        Strength::Weak => "which is weak",
        Strength::Strong => "which is strong",
        Strength::Decisive => "as much as the verdict asks for",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        Loss, Seed,
        duel::{Attempts, Document, Fight, Terms},
    };

    const PAIR: Pairing = Pairing { champion: Digest([1; 32]), challenger: Digest([2; 32]) };

    fn loss(value: f64) -> Loss {
        Loss::new(value).unwrap()
    }

    /// A duel on 40 documents of one validator, of which the challenger gains 2 % on each.
    fn held(validator: u8, reference: f64) -> Held {
        let (epsilon, alpha, n_documents_max) = (0.005, 1e-3, 600);
        let reference = loss(reference);
        let terms = Terms { pairing: PAIR, reference, epsilon, alpha, n_documents_max };
        let mut duel = Duel::begin(DuelRules::default(), terms).unwrap();
        let seed = Seed::of_number(u64::from(validator));
        let documents: Vec<Document> = (0..40)
            .map(|number| {
                let id = Digest(seed.derive(&number.to_string()).0);
                let noise = 0.01 * f64::from(number % 5);
                Document { id, champion: loss(3.06 + noise), challenger: loss(3.0 + noise) }
            })
            .collect();
        duel.look(&documents).unwrap();
        let fight = Fight {
            challenger: PAIR.challenger,
            hotkey: AccountId([9; 32]),
            terms,
            began: Block(10),
            until: Block(1_000),
            attempts: Attempts { window: 0, n: 1 },
            evidence: duel.evidence().clone(),
            verdict: None,
        };
        Held { fight, documents: duel.documents().clone(), lacks: None }
    }

    fn pair(held: Vec<(u8, Held)>) -> (Option<Told>, Vec<Refused>) {
        let mut gathered = Gathered::default();
        let held = held.into_iter().map(|(number, held)| (AccountId([number; 32]), held));
        let told = gathered.pair(DuelRules::default(), PAIR, held.collect());
        (told, gathered.refused)
    }

    #[test]
    fn independent_evidence_is_more_than_that_of_each() {
        let (told, refused) = pair(vec![(1, held(1, 3.0)), (2, held(2, 3.0))]);
        let told = told.unwrap();
        assert!(refused.is_empty() && told.how == How::AsOneDuel);
        assert_eq!(told.n_documents, 80);
        let most = told.validators.iter().map(|share| share.log10_e_crown).fold(0.0, f64::max);
        assert!(told.log10_e_crown > most && most > 0.0, "{}", told.log10_e_crown);
        // Terms of their own: the product of what each has.
        let (told, _) = pair(vec![(1, held(1, 3.0)), (2, held(2, 3.1))]);
        let told = told.unwrap();
        assert!(told.how == How::Product);
        let sum: f64 = told.validators.iter().map(|share| share.log10_e_crown).sum();
        assert!((told.log10_e_crown - sum).abs() < 1e-9, "{}", told.log10_e_crown);
    }

    #[test]
    fn attack_one_document_in_two_duels_is_refused() {
        let (told, refused) = pair(vec![(1, held(1, 3.0)), (2, held(1, 3.0))]);
        assert!(told.is_none());
        assert!(refused[0].is_fault && refused[0].why.contains("not independent"));
    }

    #[test]
    fn a_duel_of_which_documents_are_missing_is_left_out() {
        let lacks = Held { lacks: Some("it is".to_owned()), ..held(2, 3.0) };
        let (told, refused) = pair(vec![(1, held(1, 3.0)), (2, lacks)]);
        assert!(told.is_none() && refused.iter().all(|refused| !refused.is_fault));
        assert_eq!(refused.len(), 2);
    }

    #[test]
    fn evidence_is_told_no_stronger_than_it_is() {
        for (log10, told) in [
            (2.999, "2.99"),
            (2.3, "2.30"),
            (3.0, "3.00"),
            (0.004, "0.00"),
            (-0.004, "-0.01"),
            (-1e-12, "0.00"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(format!("{:.2}", down(log10)), told, "{log10}");
        }
        let (told, _) = pair(vec![(1, held(1, 3.0)), (2, held(2, 3.0))]);
        let told = Told { log10_e_crown: 2.9999, crown: Strength::Strong, ..told.unwrap() };
        let text = told.for_people().unwrap();
        assert!(text.contains("log10 e for a crown: 2.99, which is strong"), "{text}");
        assert!(text.contains("at most one duel in 10^2.99 would ever"), "{text}");
        // What says nothing for a crown makes no statement about chances.
        let told = Told { log10_e_crown: 0.001, log10_e_reject: -2.0, ..told };
        let text = told.for_people().unwrap();
        assert!(!text.contains("10^"), "one in 10^0.00 is everybody: {text}");
    }

    #[test]
    fn attack_what_is_refused_cannot_pass_for_evidence() {
        let mut report = Report::nothing(Vec::new());
        let forged = "r.json\n\nchallenger sha256:00\n  together as one duel\u{1b}[2J".to_owned();
        let refused = Refused { what: forged.clone(), why: forged, is_fault: false };
        report.refused.push(refused);
        let text = report.for_people().unwrap();
        assert!(!text.lines().any(|line| line.starts_with("challenger")), "{text}");
        assert!(!text.lines().any(|line| line.starts_with("  together")), "{text}");
    }

    #[test]
    fn the_exit_code_tells_a_fault_before_what_is_missing() {
        let code = |report: &Report| format!("{:?}", report.exit_code());
        let is = |code: u8| format!("{:?}", ExitCode::from(code));
        let mut report = Report::nothing(Vec::new());
        assert_eq!(code(&report), is(NOT_CHECKED), "nothing was multiplied");
        let (told, _) = pair(vec![(1, held(1, 3.0)), (2, held(2, 3.0))]);
        report.duels.extend(told);
        assert_eq!(code(&report), is(0));
        report.stated.push(Stated { validator: AccountId([1; 32]), from: 7 });
        assert_eq!(code(&report), is(NOT_CHECKED));
        assert!(report.for_people().unwrap().contains("before record 7 is as stated"));
        let refused = |is_fault| Refused { what: "x".to_owned(), why: "y".to_owned(), is_fault };
        report.refused.push(refused(false));
        assert_eq!(code(&report), is(NOT_CHECKED));
        report.refused.push(refused(true));
        assert_eq!(code(&report), is(DIFFERS));
        let text = report.for_people().unwrap();
        assert!(text.contains("left out: x: y") && text.contains("REFUSED: x: y"), "{text}");
    }

    #[test]
    fn one_validator_alone_is_no_second_opinion_and_three_are_more_than_two() {
        let (told, refused) = pair(vec![(1, held(1, 3.0))]);
        assert!(told.is_none() && !refused[0].is_fault);
        assert!(refused[0].why.contains("fewer than two"), "{}", refused[0].why);
        let of = |numbers: &[u8]| {
            let held = numbers.iter().map(|number| (*number, held(*number, 3.0)));
            pair(held.collect()).0.unwrap()
        };
        let (two, three) = (of(&[1, 2]), of(&[1, 2, 3]));
        assert_eq!((three.n_documents, three.validators.len()), (120, 3));
        assert!(three.log10_e_crown > two.log10_e_crown);
        let backwards = of(&[3, 2, 1]);
        let bits = |told: &Told| (told.log10_e_crown.to_bits(), told.log10_e_reject.to_bits());
        assert_eq!(bits(&backwards), bits(&three), "the order of files does not matter");
        // Two of whom one has another's document: nothing is multiplied, whoever the third is.
        let (none, refused) = pair(vec![(1, held(1, 3.0)), (2, held(2, 3.0)), (3, held(1, 3.0))]);
        assert!(none.is_none() && refused.iter().any(|refused| refused.is_fault));
    }
}
