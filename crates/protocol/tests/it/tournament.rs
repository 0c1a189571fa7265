//! Random tournaments in which ties, near ties and crowded blocks are frequent.

use proptest::prelude::*;
use protocol::{
    Block, Digest, Entry, Loss, Merit, Seniority, Uid, Verdict, champion,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    score,
};

/// Models of one round and the rules that judge them.
#[derive(Clone, Debug)]
pub(crate) struct Tournament {
    pub(crate) rules: ScoringRules,
    pub(crate) now: Block,
    pub(crate) n_batches: usize,
    pub(crate) entries: Vec<Entry>,
}

impl Tournament {
    pub(crate) fn score(&self) -> Vec<Verdict> {
        score(&self.rules, self.now, self.n_batches, &self.entries)
    }

    pub(crate) fn champion(&self) -> Option<Uid> {
        champion(&self.rules, self.now, self.n_batches, &self.entries)
    }

    pub(crate) fn with_rule(&self, rule: Rule) -> Self {
        Self { rules: ScoringRules { rule, ..self.rules.clone() }, ..self.clone() }
    }

    pub(crate) fn with_entries(&self, entries: Vec<Entry>) -> Self {
        Self { entries, ..self.clone() }
    }
}

/// A finite loss from a coarse grid above 2.5: in steps of 0.1 %, so that ties, differences below
/// epsilon and differences above it all occur.
pub(crate) fn losses() -> impl Strategy<Value = Loss> {
    losses_in_steps_of(0.001)
}

fn losses_in_steps_of(step: f64) -> impl Strategy<Value = Loss> {
    (0u32..12).prop_map(move |n| Loss::new(2.5 * (1.0 + f64::from(n) * step)).unwrap())
}

pub(crate) fn epsilons() -> impl Strategy<Value = Epsilon> {
    prop_oneof![
        Just(Epsilon::Fixed { value: 0.005 }),
        Just(Epsilon::Fixed { value: 0.0 }),
        Just(Epsilon::Linear { start: 0.008, end: 0.0005, blocks: 40 }),
    ]
}

pub(crate) fn rules(rule: &'static [Rule]) -> impl Strategy<Value = ScoringRules> {
    let temperatures = prop_oneof![Just(0.01), Just(1e-4), Just(1e4), Just(1.0)];
    (prop::sample::select(rule), epsilons(), temperatures).prop_map(
        |(rule, epsilon, temperature)| ScoringRules {
            rule,
            // The tests speak of what is compared.
            loss: LossKind::CrossEntropy,
            epsilon,
            temperature,
            alpha: 0.5,
            duel: None,
        },
    )
}

/// Every rule that judges a round by itself.
pub(crate) const ANY: &[Rule] = &[Rule::Wins, Rule::Mean, Rule::Succession];

/// The paper's rule alone.
pub(crate) const WINS: &[Rule] = &[Rule::Wins];

pub(crate) fn seniority(uid: u16, block: u64) -> Seniority {
    // Every block number is shared by several models.
    Seniority { block: Block(block), tie_break: Digest::of(&uid.to_le_bytes()) }
}

/// Tournaments of 1 to 8 present models under the given rules.
///
/// Models differ by little, so that epsilon decides, or by much, so that majorities run in circles.
pub(crate) fn tournaments(rule: &'static [Rule]) -> impl Strategy<Value = Tournament> {
    let steps = prop_oneof![Just(0.001), Just(0.05)];
    (1usize..=8, 1usize..=7, steps).prop_flat_map(move |(n, m, step)| {
        let losses = prop::collection::vec(losses_in_steps_of(step), m);
        let blocks = prop_oneof![Just(50u64), Just(60), Just(80), Just(90), Just(99)];
        let entries = prop::collection::vec((blocks, losses), n);
        (rules(rule), entries).prop_map(move |(rules, entries)| {
            let entries = (0u16..).zip(entries).map(|(i, (block, losses))| {
                // Uids in another order than everything else.
                let uid = (i * 37 + 11) % 101;
                Entry { uid: Uid(uid), seniority: seniority(uid, block), losses }
            });
            Tournament { rules, now: Block(100), n_batches: m, entries: entries.collect() }
        })
    })
}

/// The verdicts sorted by uid, with every number as its bits.
pub(crate) fn bits(verdicts: &[Verdict]) -> Vec<(u16, Merit, u64, u64, u64)> {
    let bits = |v: &Verdict| (v.uid.0, v.merit, v.wins, v.win_rate.to_bits(), v.weight.to_bits());
    let mut bits: Vec<_> = verdicts.iter().map(bits).collect();
    bits.sort_unstable_by_key(|(uid, ..)| *uid);
    bits
}
