//! Scenarios: what a season is made of, as a file.

use crate::{
    cabal::Cabal,
    model::Noise,
    names::{explained, nearest},
    strategy::Kind,
};
use protocol::Competition;
use serde::Deserialize;
use std::{collections::BTreeMap, ops::RangeInclusive};

/// Slots of a subnet of the season.
const SLOTS_MAX: usize = 256;
/// Validators that a bit set of 64 can name.
const VALIDATORS: RangeInclusive<usize> = 1..=64;
/// Most documents of a round.
const DOCUMENTS_MAX: usize = 100_000;
const BLOCKS: RangeInclusive<u64> = 50..=1_000_000;
/// The competition file that rules are written over: it stays as it is when a competition that
/// comes with the program changes, and so do the figures of seasons.
const BASE: &str = include_str!("../base.toml");

/// Scenarios that come with the program: name and file.
const BUILTIN: [(&str, &str); 7] = [
    ("season", include_str!("../../../scenarios/season.toml")),
    ("zoo", include_str!("../../../scenarios/zoo.toml")),
    ("short", include_str!("../../../scenarios/short.toml")),
    ("cabal", include_str!("../../../scenarios/cabal.toml")),
    ("hoard", include_str!("../../../scenarios/hoard.toml")),
    ("exam", include_str!("../../../scenarios/exam.toml")),
    ("softness", include_str!("../../../scenarios/softness.toml")),
];

/// Why a scenario is none.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// It is not TOML of the right form.
    #[error("line {line}: {message}")]
    Unreadable {
        /// Line, from 1.
        line: usize,
        /// What is wrong, with the nearest name where a name is unknown.
        message: String,
    },
    /// The rules of a competition are wrong.
    #[error("rules `{rules}`: {message}")]
    Rules {
        /// Name of the rules.
        rules: String,
        /// What is wrong with them.
        message: String,
    },
    /// A value is out of range.
    #[error("`{field}` is `{value}`: expected {expected}")]
    OutOfRange {
        /// Key.
        field: &'static str,
        /// Value.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// There are no rules, or no scenario, of this name.
    #[error("there is no {what} `{name}`{hint}")]
    Unknown {
        /// What there is not.
        what: &'static str,
        /// Its name.
        name: String,
        /// The nearest name that there is, in words.
        hint: String,
    },
}

/// A name that there is not, with the nearest that there is.
fn unknown<'a>(
    what: &'static str,
    name: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> ScenarioError {
    let nearest = nearest(name, known);
    let hint = nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"));
    ScenarioError::Unknown { what, name: name.to_owned(), hint }
}

/// A season without its seed: length, chain, text, models, who plays, and by which rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Blocks of a season.
    #[serde(default = "blocks")]
    pub blocks: u64,
    /// Validators that run the real service, of equal stakes.
    #[serde(default = "validators")]
    pub validators: usize,
    /// Validators that do not, each with the stake of one that does.
    #[serde(default)]
    pub cabals: Vec<CabalRow>,
    /// Rounds after which a model that is better than the champion is late for its crown.
    #[serde(default = "deadline_rounds")]
    pub deadline_rounds: u64,
    /// The subnet.
    #[serde(default)]
    pub chain: ChainRules,
    /// The text.
    #[serde(default)]
    pub text: TextRules,
    /// How models get better.
    #[serde(default)]
    pub models: ModelRules,
    /// How losses vary.
    #[serde(default)]
    pub noise: Noise,
    /// Who mines.
    pub miners: Vec<MinerRow>,
    /// Rules of all competitions of the scenario, written over those of `base.toml`.
    #[serde(default)]
    competition: toml::Table,
    /// Rules by name, written over `competition`.
    #[serde(default)]
    rules: BTreeMap<String, toml::Table>,
}

fn blocks() -> u64 {
    2_000
}

fn validators() -> usize {
    5
}

fn deadline_rounds() -> u64 {
    4
}

/// So many miners of one strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MinerRow {
    /// What they do.
    pub strategy: Kind,
    /// How many of them there are.
    #[serde(default = "one")]
    pub count: usize,
    /// Slots of each; without it those of the strategy.
    pub slots: Option<usize>,
}

/// So many validators of one cabal, which work together for one miner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CabalRow {
    /// What it does.
    pub cabal: Cabal,
    /// Validators in it.
    #[serde(default = "one")]
    pub count: usize,
}

fn one() -> usize {
    1
}

/// Rules of the subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChainRules {
    /// Blocks between two epochs.
    pub tempo: u16,
    /// Blocks between two settings of weights of one validator.
    pub weights_rate_limit: u64,
    /// Blocks between two commitments of one hotkey.
    pub commitment_rate_limit: u64,
}

impl Default for ChainRules {
    fn default() -> Self {
        Self { tempo: 20, weights_rate_limit: 5, commitment_rate_limit: 20 }
    }
}

/// Which documents there are.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextRules {
    /// Documents of the pinned dataset; with 0 every document is fresh.
    pub pool: u64,
    /// Rounds after which a document can be drawn again: each draws of its share of the pool.
    pub rounds_apart: u64,
    /// Documents of the reserve.
    pub reserve: u64,
    /// Share of the rounds that are drawn from the reserve, because the dataset does not answer.
    pub reserve_share: f64,
    /// Tokens of a document.
    pub tokens_per_document: u64,
}

impl Default for TextRules {
    fn default() -> Self {
        Self {
            pool: 0,
            rounds_apart: 3,
            reserve: 0,
            reserve_share: 0.0,
            tokens_per_document: 1_024,
        }
    }
}

/// How models get better.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelRules {
    /// Loss of a first model, in nats per token.
    pub start: f64,
    /// Loss that no training goes below.
    pub floor: f64,
    /// Share of what is left to the floor that a training gains on average.
    pub rate: f64,
    /// Blocks of a training.
    pub training_blocks: u64,
    /// Parameters of a model, for what it can learn by heart.
    pub n_parameters: u64,
    /// Bits that a parameter can hold of texts.
    pub bits_per_parameter: f64,
    /// Bits that knowing a token by heart takes.
    pub bits_per_token: f64,
}

impl Default for ModelRules {
    fn default() -> Self {
        Self {
            start: 4.0,
            floor: 2.5,
            rate: 0.01,
            training_blocks: 60,
            n_parameters: 700_000_000,
            bits_per_parameter: 3.6,
            bits_per_token: 4.0,
        }
    }
}

impl ModelRules {
    /// Share of so many documents that a model can know by heart.
    pub fn known_share(&self, text: &TextRules, n_documents: u64) -> f64 {
        let held = self.n_parameters as f64 * self.bits_per_parameter;
        let wanted = n_documents as f64 * text.tokens_per_document as f64 * self.bits_per_token;
        if wanted > 0.0 { (held / wanted).min(1.0) } else { 0.0 }
    }
}

/// Rules of a competition with their name in the scenario.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Name.
    pub name: String,
    /// The rules.
    pub competition: Competition,
}

impl Scenario {
    /// Reads and checks a scenario.
    pub fn from_toml(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            ScenarioError::Unreadable {
                line: before.map_or(0, |before| before.matches('\n').count()) + 1,
                message: explained(error.message()),
            }
        })?;
        scenario.check()?;
        scenario.all_rules()?;
        Ok(scenario)
    }

    /// The scenario of this name that comes with the program.
    pub fn builtin(name: &str) -> Result<Self, ScenarioError> {
        let known = BUILTIN.iter().find(|(known, _)| *known == name);
        let (_, text) = known.ok_or_else(|| unknown("scenario", name, Self::builtin_names()))?;
        Self::from_toml(text)
    }

    /// Names of the scenarios that come with the program.
    pub fn builtin_names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// Every set of rules, by name; one without a name of its own where the scenario lists none.
    pub fn all_rules(&self) -> Result<Vec<Rules>, ScenarioError> {
        if self.rules.is_empty() {
            return Ok(vec![self.rules_of("rules", &toml::Table::new(), &[])?]);
        }
        self.rules.iter().map(|(name, over)| self.rules_of(name, over, &[])).collect()
    }

    /// The rules of these names, in this order; without names, all.
    pub fn some_rules(&self, names: &[String]) -> Result<Vec<Rules>, ScenarioError> {
        if names.is_empty() {
            return self.all_rules();
        }
        let of = |name: &String| {
            let known = || self.rules.keys().map(String::as_str);
            let over = self.rules.get(name);
            let over = over.ok_or_else(|| unknown("set of rules", name, known()))?;
            self.rules_of(name, over, &[])
        };
        names.iter().map(of).collect()
    }

    /// The same rules with a fixed epsilon.
    pub fn with_epsilon(&self, rules: &Rules, epsilon: f64) -> Result<Rules, ScenarioError> {
        let over = self.rules.get(&rules.name).cloned().unwrap_or_default();
        let name = format!("{} {:.2} %", rules.name, epsilon * 100.0);
        let mut fixed = toml::Table::new();
        fixed.insert("kind".to_owned(), "fixed".into());
        fixed.insert("value".to_owned(), epsilon.into());
        self.rules_of(&name, &over, &[("epsilon", toml::Value::Table(fixed))])
    }

    /// Rules written over those of the scenario, and values over those of `scoring`.
    fn rules_of(
        &self,
        name: &str,
        over: &toml::Table,
        scoring: &[(&str, toml::Value)],
    ) -> Result<Rules, ScenarioError> {
        let wrong = |message: String| ScenarioError::Rules { rules: name.to_owned(), message };
        let mut table: toml::Table =
            BASE.parse().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        merge(&mut table, &self.competition);
        merge(&mut table, over);
        if let Some(toml::Value::Table(known)) = table.get_mut("scoring") {
            for (key, value) in scoring {
                known.insert((*key).to_owned(), value.clone());
            }
        }
        // Rounds begin when everybody is registered and validators have their permits.
        let from_block = 2 * i64::from(self.chain.tempo) + 5;
        table.insert("from_block".to_owned(), from_block.into());
        let competition: Competition = toml::Value::Table(table)
            .try_into()
            .map_err(|error: toml::de::Error| wrong(explained(error.message())))?;
        competition.check().map_err(|error| wrong(error.to_string()))?;
        let evaluation = &competition.evaluation;
        let n = evaluation.n_batches.saturating_mul(evaluation.sequences_per_batch);
        if n > DOCUMENTS_MAX {
            return Err(wrong(format!("a round has {n} documents, more than {DOCUMENTS_MAX}")));
        }
        self.text.check(n).map_err(wrong)?;
        Ok(Rules { name: name.to_owned(), competition })
    }

    /// Names the first value that is out of range.
    fn check(&self) -> Result<(), ScenarioError> {
        let out = |field, value: String, expected| {
            Err(ScenarioError::OutOfRange { field, value, expected })
        };
        let n_cabal = self.cabals.iter().map(|row| row.count).fold(0, usize::saturating_add);
        let n_validators = self.validators.saturating_add(n_cabal);
        let slots = |row: &MinerRow| {
            row.count.saturating_mul(row.slots.unwrap_or_else(|| row.strategy.slots()))
        };
        let n_slots: usize = self.miners.iter().map(slots).fold(0, usize::saturating_add);
        let n_slots = n_slots.saturating_add(n_validators);
        if !BLOCKS.contains(&self.blocks) {
            return out("blocks", self.blocks.to_string(), "50 to 1,000,000");
        }
        if !VALIDATORS.contains(&self.validators) || !VALIDATORS.contains(&n_validators) {
            return out("validators", n_validators.to_string(), "1 to 64, with those of cabals");
        }
        if n_slots > SLOTS_MAX || n_slots == n_validators {
            return out("miners", n_slots.to_string(), "at least 1 and at most 256 slots in all");
        }
        if !(1..=1_000).contains(&self.chain.tempo) {
            return out("chain.tempo", self.chain.tempo.to_string(), "1 to 1,000 blocks");
        }
        let TextRules { rounds_apart, reserve_share, .. } = self.text;
        if !(1..=1_000).contains(&rounds_apart) {
            return out("text.rounds_apart", rounds_apart.to_string(), "1 to 1,000");
        }
        if !(0.0..=1.0).contains(&reserve_share) {
            return out("text.reserve_share", reserve_share.to_string(), "from 0 to 1");
        }
        self.models.check().or_else(|(field, value, expected)| out(field, value, expected))?;
        self.noise.check().or_else(|(field, value)| out(field, value, "from 0 to 1"))
    }
}

impl TextRules {
    /// Names the store of which a round of so many documents could not be drawn.
    fn check(&self, n: usize) -> Result<(), String> {
        let of_pool = self.pool / self.rounds_apart.max(1);
        let reserve = if self.reserve_share > 0.0 { self.reserve } else { 0 };
        for (key, is_used, n_all) in
            [("pool", self.pool > 0, of_pool), ("reserve", reserve > 0, reserve)]
        {
            if is_used && n_all / 2 < n as u64 {
                return Err(format!(
                    "`text.{key}` leaves a round {n_all} documents: expected twice the {n} of it"
                ));
            }
        }
        Ok(())
    }
}

impl ModelRules {
    /// The first value that is out of range, with its key and what it may be.
    fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        let Self {
            start, floor, rate, training_blocks, bits_per_parameter, bits_per_token, ..
        } = *self;
        if !(0.1..=6.0).contains(&floor) {
            return Err(("models.floor", floor.to_string(), "0.1 to 6 nats per token"));
        }
        if !(floor..=6.0).contains(&start) {
            return Err(("models.start", start.to_string(), "from the floor to 6 nats per token"));
        }
        if !(0.0..=0.5).contains(&rate) {
            return Err(("models.rate", rate.to_string(), "0 to 0.5"));
        }
        if training_blocks == 0 {
            return Err(("models.training_blocks", "0".to_owned(), "at least 1"));
        }
        for (field, bits) in [
            ("models.bits_per_parameter", bits_per_parameter),
            ("models.bits_per_token", bits_per_token),
        ] {
            if !(0.0..=64.0).contains(&bits) {
                return Err((field, bits.to_string(), "0 to 64"));
            }
        }
        Ok(())
    }
}

impl Noise {
    /// The first spread that is out of range, with its key.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let spreads = [
            ("noise.difficulty", self.difficulty),
            ("noise.scratch", self.scratch),
            ("noise.step", self.step),
            ("noise.copy", self.copy),
            ("noise.tail", self.tail),
            ("noise.skew", self.skew.abs()),
        ];
        let is_out = |(_, value): &(&str, f64)| !(0.0..=1.0).contains(value);
        match spreads.into_iter().find(is_out) {
            Some((field, value)) => Err((field, value.to_string())),
            None => Ok(()),
        }
    }
}

/// Writes the values of one table over those of another, table by table.
///
/// A table that says its `kind` is taken whole: the keys of another kind mean nothing in it.
fn merge(table: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        if let toml::Value::Table(over) = value
            && !over.contains_key("kind")
            && let Some(toml::Value::Table(known)) = table.get_mut(key)
        {
            merge(known, over);
            continue;
        }
        table.insert(key.clone(), value.clone());
    }
}
