//! Weight that costs nothing: what copies, noised copies, junk and ladders earn and move under the
//! rules of the competitions that come with the program.

use proptest::prelude::*;
use protocol::{
    Block, Competition, Entry, Loss, Merit, Seed, Uid, Verdict,
    competition::{Epsilon, LossKind, Rule, ScoringRules},
    score,
};
use std::collections::BTreeMap;

use crate::tournament::seniority;

const NOW: Block = Block(1_000_000);
/// Most that strangers without merit may earn, and move of what others earn.
const FREE_MAX: f64 = 0.01;

/// Batches of a round here; more would only take longer.
const N_BATCHES_MAX: usize = 24;

/// What noise on parameters does to the loss of a batch, in nats.
///
/// As measured on a model that the demo trained, see `docs/benchmarks.md`: on average it costs, and
/// copies differ from each other, and batches from each other within a copy.
#[derive(Clone, Copy, Debug)]
struct Noise {
    cost: f64,
    /// Standard deviation between copies, of a model of [`PARAMETERS_MEASURED`]: one of many more
    /// has fewer small steps downhill by chance, by the root of their number.
    between: f64,
    /// Standard deviation within a copy, of batches of [`TOKENS_MEASURED`].
    within: f64,
}

/// Noise of 0.01 %, 0.1 %, 1 % and 3 %.
const NOISE: [Noise; 4] = [
    Noise { cost: 0.0, between: 3e-6, within: 1.1e-5 },
    Noise { cost: 0.0, between: 3e-5, within: 1.1e-4 },
    Noise { cost: 9e-5, between: 2.5e-4, within: 1.1e-3 },
    Noise { cost: 7.7e-4, between: 7.8e-4, within: 3.2e-3 },
];
const PARAMETERS_MEASURED: f64 = 5e5;
/// Predicted tokens of four sequences of the competition `tiny`.
const TOKENS_MEASURED: f64 = 508.0;

/// A model without merit that a stranger brings.
#[derive(Clone, Debug)]
enum Stranger {
    /// The files of an honest model.
    Copy { of: usize, delay: u64 },
    /// The same with noise.
    Noised { of: usize, delay: u64, level: usize },
    /// Barely better than guessing, or a good deal worse than the worst honest model.
    Junk { block: u64, excess: f64 },
    /// One of many steps from junk up to nearly the champion, each better by 0.6 %.
    Rung { block: u64, step: u32 },
}

/// A round of honest models and strangers.
#[derive(Clone, Debug)]
struct Field {
    rules: ScoringRules,
    n_batches: usize,
    /// Predicted tokens of a batch.
    n_tokens: f64,
    n_parameters: f64,
    /// Block and distance of each honest model from the best, in nats.
    honest: Vec<(u64, f64)>,
    strangers: Vec<Stranger>,
    seed: u64,
}

impl Field {
    /// Losses around 3 nats: each batch is hard or easy for all, and each model has its own luck.
    fn losses(&self, excess: f64, luck: f64, name: &str) -> Vec<Loss> {
        let mut batches = Seed::of_number(self.seed).derive("batches").stream();
        let mut own = Seed::of_number(self.seed).derive(name).stream();
        let loss = |_| {
            let shared = 3.0 + 0.15 * gauss(&mut batches);
            Loss::new(shared + excess + luck * gauss(&mut own)).unwrap()
        };
        (0..self.n_batches).map(loss).collect()
    }

    /// The losses of an entry with something added to each.
    fn worse(&self, of: &Entry, excess: f64, luck: f64, name: &str) -> Vec<Loss> {
        let mut own = Seed::of_number(self.seed).derive(name).stream();
        let add = |loss: &Loss| Loss::new(loss.value() + excess + luck * gauss(&mut own)).unwrap();
        of.losses.iter().map(add).collect()
    }

    fn honest_entries(&self) -> Vec<Entry> {
        let entry = |(uid, (block, excess)): (u16, &(u64, f64))| Entry {
            uid: Uid(uid),
            seniority: seniority(uid, *block),
            losses: self.losses(*excess, 0.01, &format!("honest {uid}")),
        };
        (0u16..).zip(&self.honest).map(entry).collect()
    }

    fn entry(&self, uid: u16, stranger: &Stranger, honest: &[Entry]) -> Entry {
        let name = format!("stranger {uid}");
        let best = honest.iter().min_by(|a, b| mean(a).total_cmp(&mean(b))).unwrap();
        let (block, losses) = match *stranger {
            Stranger::Copy { of, delay } => {
                let original = &honest[of % honest.len()];
                (original.seniority.block.0 + 1 + delay, original.losses.clone())
            }
            Stranger::Noised { of, delay, level } => {
                let original = &honest[of % honest.len()];
                let Noise { cost, between, within } = NOISE[level];
                let within = within * (TOKENS_MEASURED / self.n_tokens).sqrt();
                let between = between * (PARAMETERS_MEASURED / self.n_parameters).sqrt();
                let mut luck = Seed::of_number(self.seed).derive(&name).derive("copy").stream();
                let excess = cost + between * gauss(&mut luck);
                let losses = self.worse(original, excess, within, &name);
                (original.seniority.block.0 + 1 + delay, losses)
            }
            Stranger::Junk { block, excess } => (block, self.worse(best, excess, 0.05, &name)),
            Stranger::Rung { block, step } => {
                let excess = 0.05 + 0.006 * f64::from(step);
                // Rungs come in the order in which they are better.
                (block + u64::from(300 - step), self.worse(best, excess, 0.0, &name))
            }
        };
        Entry { uid: Uid(uid), seniority: seniority(uid, block), losses }
    }

    /// Whether one honest model is better than another by nearly epsilon.
    ///
    /// There the best of 255 copies with 3 % of noise may have the rest.
    fn hangs_by_a_hair(&self, honest: &[Entry]) -> bool {
        let epsilon = self.rules.epsilon.settled();
        let is_near = |gain: f64| (0.3 * epsilon..epsilon).contains(&gain);
        honest.iter().any(|one| honest.iter().any(|other| is_near(self.gain(one, other))))
    }

    /// By how much one model is better than another, as a share of what is compared.
    fn gain(&self, one: &Entry, other: &Entry) -> f64 {
        let compared =
            |entry: &Entry| self.rules.loss.compared(protocol::loss::mean(&entry.losses));
        1.0 - compared(one).value() / compared(other).value()
    }

    fn score(&self, entries: &[Entry]) -> BTreeMap<u16, Verdict> {
        let verdicts = score(&self.rules, NOW, self.n_batches, entries);
        verdicts.into_iter().map(|verdict| (verdict.uid.0, verdict)).collect()
    }

    /// All entries: honest ones from uid 0 on, strangers from 1,000 on.
    fn with_strangers(&self, honest: &[Entry]) -> Vec<Entry> {
        let strangers = (1000u16..).zip(&self.strangers);
        let strangers = strangers.map(|(uid, stranger)| self.entry(uid, stranger, honest));
        honest.iter().cloned().chain(strangers).collect()
    }
}

fn mean(entry: &Entry) -> f64 {
    protocol::loss::mean(&entry.losses).value()
}

/// A standard normal number, near enough: the sum of twelve uniform ones.
fn gauss(random: &mut impl rand_core::RngCore) -> f64 {
    (0..12).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 6.0
}

/// A competition that comes with the program, decided by the line of succession on perplexities.
fn by_succession(name: &str) -> Competition {
    let mut competition = Competition::builtin(name).unwrap();
    let Competition { evaluation, scoring, .. } = &mut competition;
    if scoring.duel_rules().is_some() {
        // What a batch is there decides nothing here.
        (evaluation.n_batches, evaluation.sequences_per_batch) = (24, 4);
    }
    (scoring.rule, scoring.loss, scoring.duel) = (Rule::Succession, LossKind::Perplexity, None);
    competition
}

/// The rules of the competitions that come with the program, some with an epsilon that decays.
fn competitions() -> impl Strategy<Value = Competition> {
    let builtin: Vec<Competition> = Competition::builtin_names().map(by_succession).collect();
    let decaying = Epsilon::Linear { start: 0.01, end: 0.005, blocks: 50_400 };
    let epsilons = prop_oneof![3 => Just(None), 1 => Just(Some(decaying))];
    (prop::sample::select(builtin), epsilons).prop_map(|(mut competition, epsilon)| {
        competition.scoring.epsilon = epsilon.unwrap_or(competition.scoring.epsilon);
        competition
    })
}

fn strangers() -> impl Strategy<Value = Stranger> {
    let (any, delay) = (0usize..8, 0u64..1000);
    // Before everybody, among them, and after them.
    let blocks = 1u64..3000;
    prop_oneof![
        (any.clone(), delay.clone()).prop_map(|(of, delay)| Stranger::Copy { of, delay }),
        (any, delay, 0..NOISE.len()).prop_map(|(of, delay, level)| Stranger::Noised {
            of,
            delay,
            level
        }),
        (blocks.clone(), 0.05..3.0).prop_map(|(block, excess)| Stranger::Junk { block, excess }),
        (blocks, 0u32..300).prop_map(|(block, step)| Stranger::Rung { block, step }),
    ]
}

/// Armies of up to 255: mixed, or all of one kind.
fn armies() -> impl Strategy<Value = Vec<Stranger>> {
    let ladder = (1u64..3000, 1usize..=255).prop_map(|(block, n)| {
        (0..n as u32).map(|step| Stranger::Rung { block, step }).collect::<Vec<_>>()
    });
    let alike = (strangers(), 1usize..=255).prop_map(|(stranger, n)| vec![stranger; n]);
    prop_oneof![2 => prop::collection::vec(strangers(), 1..=255), 1 => alike, 1 => ladder]
}

fn fields() -> impl Strategy<Value = Field> {
    let honest = prop::collection::vec((1000u64..2000, 0.0..0.1), 1..6);
    (competitions(), honest, armies(), any::<u64>()).prop_map(
        |(competition, honest, strangers, seed)| {
            let n_predicted = competition.text.sequence_length - 1;
            let n_tokens = competition.evaluation.sequences_per_batch * n_predicted;
            // Fewer and larger batches: a mean is a mean.
            let n_batches = competition.evaluation.n_batches.min(N_BATCHES_MAX);
            let n_tokens = n_tokens * competition.evaluation.n_batches / n_batches;
            // A model of a quarter of the most: in `tiny`, as large as the one that was measured.
            let n_parameters = competition.model.n_parameters_max as f64 / 4.0;
            let (rules, n_tokens) = (competition.scoring, n_tokens as f64);
            Field { rules, n_batches, n_tokens, n_parameters, honest, strangers, seed }
        },
    )
}

fn weight(verdicts: &BTreeMap<u16, Verdict>, who: impl Fn(u16) -> bool) -> f64 {
    verdicts.iter().filter(|(uid, _)| who(**uid)).map(|(_, verdict)| verdict.weight).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn attack_copies_noised_copies_junk_and_ladders_earn_nothing_and_move_nothing(
        field in fields(),
    ) {
        let honest = field.honest_entries();
        prop_assume!(!field.hangs_by_a_hair(&honest));
        let alone = field.score(&honest);
        let among = field.score(&field.with_strangers(&honest));
        let earned = weight(&among, |uid| uid >= 1000);
        prop_assert!(earned <= FREE_MAX, "strangers earn {earned}");
        let moved: f64 = alone
            .iter()
            .map(|(uid, before)| (among[uid].weight - before.weight).abs())
            .sum();
        prop_assert!(moved <= FREE_MAX, "strangers move {moved}");
    }

    #[test]
    fn an_improvement_by_one_percent_is_paid_whatever_stands_around_it(
        field in fields(), block in 2000u64..2500,
    ) {
        let mut honest = field.honest_entries();
        let alone = field.score(&honest);
        let champion = alone.values().max_by(|a, b| a.weight.total_cmp(&b.weight)).unwrap().uid;
        let best = honest.iter().find(|entry| entry.uid == champion).unwrap();
        // One per cent less of what is compared, on every batch.
        let better = |loss: &Loss| match field.rules.loss {
            LossKind::Perplexity => Loss::new(loss.value() + 0.99f64.ln()).unwrap(),
            LossKind::CrossEntropy => Loss::new(loss.value() * 0.99).unwrap(),
        };
        let losses = best.losses.iter().map(better).collect();
        let uid = honest.len() as u16;
        honest.push(Entry { uid: Uid(uid), seniority: seniority(uid, block), losses });
        // Copies of the new one, too, since it is one of the honest models now.
        let entries = field.with_strangers(&honest);
        let verdict = field.score(&entries)[&uid];
        // Where honest models hang by a hair, a copy may tip the scales: it is then better than the
        // champion by epsilon, and may stand in the way for that alone.
        let tips = |by: Uid| {
            let copy = entries.iter().find(|entry| entry.uid == by).unwrap();
            let gain = field.gain(copy, &entries[usize::from(champion.0)]);
            by.0 >= 1000 && gain >= field.rules.epsilon.settled()
        };
        let is_held_up = match verdict.merit {
            Merit::BeatenBy(by) if field.hangs_by_a_hair(&honest[..usize::from(uid)]) => tips(by),
            _ => false,
        };
        prop_assert!(verdict.weight >= 0.95 || is_held_up, "{verdict:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// Steps that are each too small for the crown, as two teams may publish them in turn.
    #[test]
    fn a_gain_of_one_and_a_half_epsilon_is_never_held_up_by_whoever_came_before(
        competition in competitions(),
        others in prop::collection::vec((1000u64..2000, 0.0..0.03), 1..40),
        more in 0.005..0.5,
    ) {
        let rules = ScoringRules { loss: LossKind::CrossEntropy, ..competition.scoring };
        let entry = |uid: u16, block: u64, loss: f64| Entry {
            uid: Uid(uid),
            seniority: seniority(uid, block),
            losses: vec![Loss::new(loss).unwrap()],
        };
        let mut entries: Vec<Entry> = (0u16..)
            .zip(&others)
            .map(|(uid, (block, gain))| entry(uid, *block, 3.0 * (1.0 - gain)))
            .collect();
        let champion = protocol::champion(&rules, NOW, 1, &entries).unwrap();
        let best = mean(entries.iter().find(|entry| entry.uid == champion).unwrap());
        let gain = (1.5 + more) * rules.epsilon.settled();
        entries.push(entry(500, 3000, best * (1.0 - gain)));
        let verdicts = score(&rules, NOW, 1, &entries);
        prop_assert!(verdicts.last().unwrap().weight > 0.99, "{verdicts:?}");
    }
}

#[test]
fn a_lucky_copy_of_a_second_neither_takes_the_crown_nor_keeps_it_from_others() {
    let competition = by_succession("tiny");
    let crowned = |gains: &[f64]| {
        let entry = |(uid, gain): (u16, &f64)| Entry {
            uid: Uid(uid),
            seniority: seniority(uid, 100 + u64::from(uid)),
            losses: vec![Loss::new(3.0 + (1.0 - gain).ln()).unwrap()],
        };
        let entries: Vec<Entry> = (0u16..).zip(gains).map(entry).collect();
        protocol::champion(&competition.scoring, NOW, 1, &entries).unwrap().0
    };
    assert_eq!(crowned(&[0.0, 0.0047, 0.0053]), 0, "a copy of 0.47 % with 0.06 % of luck");
    assert_eq!(crowned(&[0.0, 0.0038, 0.0066]), 2);
    assert_eq!(crowned(&[0.0, 0.0038, 0.0044, 0.0066]), 3, "the copy is in nobody's way");
    assert_eq!(crowned(&[0.0, 0.0024, 0.0047, 0.0071]), 3, "small steps of many");
    // What this costs: where a model lacks less than a copy may gain, the copy has the crown, and
    // whoever comes next has to be better than the copy by epsilon.
    assert_eq!(crowned(&[0.0, 0.0042, 0.0061]), 0);
    assert_eq!(crowned(&[0.0, 0.0042, 0.0061, 0.0068]), 3, "0.07 % of luck at a hair");
    assert_eq!(crowned(&[0.0, 0.0042, 0.0061, 0.0068, 0.0100]), 3, "less than epsilon better");
    assert_eq!(crowned(&[0.0, 0.0042, 0.0061, 0.0068, 0.0120]), 4);
}

/// Five honest models of the competition `tiny`, the champion the third of them.
fn five(rule: Rule) -> Field {
    let competition = by_succession("tiny");
    Field {
        rules: ScoringRules { rule, ..competition.scoring },
        n_batches: 24,
        n_tokens: TOKENS_MEASURED,
        n_parameters: PARAMETERS_MEASURED,
        honest: vec![(1000, 0.3), (1010, 0.1), (1020, 0.0), (1030, 0.02), (1040, 0.04)],
        strangers: Vec::new(),
        seed: 7,
    }
}

/// What an army of strangers earns, and what a junior model better by so many percent of
/// perplexity is paid among them, in percent of the weight.
fn row(name: &str, rule: Rule, army: Vec<Stranger>) -> String {
    let mut field = five(rule);
    field.strangers = army;
    let honest = field.honest_entries();
    let earned = weight(&field.score(&field.with_strangers(&honest)), |uid| uid >= 1000);
    let paid = [0.006f64, 0.01, 0.02].map(|gain| {
        let champion = &honest[2];
        let better = |loss: &Loss| Loss::new(loss.value() + (1.0 - gain).ln()).unwrap();
        let losses = champion.losses.iter().map(better).collect();
        // The strangers stay those of the round without it.
        let mut entries = field.with_strangers(&honest);
        entries.push(Entry { uid: Uid(5), seniority: seniority(5, 5000), losses });
        format!("{:.1}", 100.0 * field.score(&entries)[&5].weight)
    });
    format!("| {name} | {:.1} | {} |", 100.0 * earned, paid.join(" | "))
}

#[test]
fn the_threat_model_says_what_strangers_earn_under_each_rule() {
    let document = include_str!("../../../../docs/threat-model.md");
    let copy = |level| Stranger::Noised { of: 2, delay: 100, level };
    let armies: [(&str, Vec<Stranger>); 6] = [
        ("exact copies", vec![Stranger::Copy { of: 2, delay: 100 }]),
        ("copies with noise of 0.1 %", vec![copy(1)]),
        ("copies with noise of 3 %", vec![copy(3)]),
        ("junk, junior", vec![Stranger::Junk { block: 2000, excess: 2.0 }]),
        ("junk, senior", vec![Stranger::Junk { block: 10, excess: 2.0 }]),
        ("a ladder, senior", (0..250).map(|step| Stranger::Rung { block: 10, step }).collect()),
    ];
    let mut missing = Vec::new();
    for rule in [Rule::Wins, Rule::Mean, Rule::Succession] {
        for n in [60, 250] {
            for (name, army) in &armies {
                let army: Vec<Stranger> = army.iter().cloned().cycle().take(n).collect();
                let rule_name = format!("{rule:?}").to_lowercase();
                let row = row(&format!("`{rule_name}` | {n} {name}"), rule, army);
                if !document.lines().any(|line| line == row) {
                    missing.push(row);
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/threat-model.md lacks:\n{}", missing.join("\n"));
}
