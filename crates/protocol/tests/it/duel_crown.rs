//! The crown by duels, in random tournaments: strangers who are not better move nothing.

use crate::duel::{document, gauss, number, terms, uniform};
use protocol::{
    Block, Digest, Seed, Seniority, Uid,
    duel::{Duel, DuelRules, Entrant, Fold, Pairing, Terms, Verdict},
    seed::uniform_below,
};
use rand_core::RngCore;
use std::collections::BTreeMap;

const SEED: u64 = 23;
const EPSILON: f64 = 0.005;
const TEMPERATURE: f64 = 0.01;

/// A model by what it is worth.
#[derive(Clone, Copy)]
struct Model {
    entrant: Entrant,
    /// By how much it is better than the first, a fraction of its loss.
    quality: f64,
    /// Whose weights it was made of: its losses are like those of its relatives.
    family: u64,
    /// Spread of its gains over a relative.
    noise: f64,
}

fn model(root: u64, block: u64, quality: f64) -> Model {
    let seniority = Seniority { block: Block(block), tie_break: Digest::of(&root.to_le_bytes()) };
    let entrant = Entrant { uid: Uid(root as u16), seniority, root: number(root) };
    Model { entrant, quality, family: root, noise: 0.0 }
}

/// How the duel of a pair ends, on documents that follow from the pair alone.
fn decided(models: &[Model], pairing: &Pairing) -> Option<Verdict> {
    let of = |root: Digest| models.iter().find(|model| model.entrant.root == root).unwrap();
    let (champion, challenger) = (of(pairing.champion), of(pairing.challenger));
    let gain = challenger.quality - champion.quality;
    let is_relative = champion.family == challenger.family;
    let spread = if is_relative { champion.noise.max(challenger.noise) } else { 0.01 };
    let seed = Digest::of_fields("pair", &[&pairing.champion.0, &pairing.challenger.0]);
    let mut random = Seed(seed.0).stream();
    let terms = Terms { pairing: *pairing, ..terms(1_500) };
    let mut duel = Duel::begin(DuelRules::default(), terms).unwrap();
    (0..)
        .map(|n| document(n, gain + spread * gauss(&mut random)))
        .find_map(|document| duel.look(&[document]).unwrap())
}

fn fold(models: &[Model]) -> Fold {
    let entrants: Vec<Entrant> = models.iter().map(|model| model.entrant).collect();
    Fold::of(&entrants, |pairing| decided(models, pairing))
}

fn bits(weights: &BTreeMap<Uid, f64>) -> Vec<(Uid, u64)> {
    weights.iter().map(|(uid, weight)| (*uid, weight.to_bits())).collect()
}

/// Models of one miner each, in order of seniority, each better or worse than the one before.
fn honest(random: &mut impl RngCore) -> Vec<Model> {
    const STEPS: [f64; 6] = [-0.05, -0.01, 0.0, 0.001, 0.011, 0.02];
    let n = 2 + uniform_below(random, 4);
    let mut quality = 0.0;
    let mut models = Vec::new();
    for k in 0..n {
        models.push(model(k, 100 * k, quality));
        quality += STEPS[uniform_below(random, STEPS.len() as u64) as usize];
    }
    models
}

/// What a stranger makes of a model that is there: it is at most 60 % of epsilon better than the
/// champion of its time.
fn stranger(number: u64, models: &[Model], crown: &Fold, random: &mut impl RngCore) -> Model {
    let original = models[uniform_below(random, models.len() as u64) as usize];
    let block = original.entrant.seniority.block.0 + 1 + uniform_below(random, 300);
    let mut holders = crown.holders().iter().filter(|holder| holder.seniority.block < Block(block));
    let champion = holders.next_back().unwrap();
    let champion = models.iter().find(|model| model.entrant.root == champion.root).unwrap();
    let family = original.family;
    match uniform_below(random, 3) {
        // A clone: the same tensors under another key.
        0 => Model {
            entrant: Entrant { root: original.entrant.root, ..model(number, block, 0.0).entrant },
            ..original
        },
        // Packed anew: other bytes, and losses that differ by rounding. Where the original was
        // worth the crown before this one came, so was its copy, and it is too late.
        1 => {
            let quality = original.quality.min(champion.quality);
            Model { family, noise: 5e-5, ..model(number, block, quality) }
        }
        _ => {
            let tweak = champion.quality + EPSILON * (1.6 * uniform(random) - 1.0);
            Model { family: champion.family, noise: 0.002, ..model(number, block, tweak) }
        }
    }
}

#[test]
fn attack_clones_repackings_and_tweaks_below_epsilon_change_no_bit_of_any_weight() {
    let n_tournaments = if std::env::var_os("AGON_DUELS").is_some() { 10_000 } else { 300 };
    let mut n_crowns = 0;
    for tournament in 0..n_tournaments {
        let seed = Seed::of_number(SEED).derive(&format!("tournament {tournament}"));
        let mut random = seed.stream();
        let models = honest(&mut random);
        let before = fold(&models);
        n_crowns += before.holders().len();
        let mut all = models.clone();
        for number in 100..105 {
            all.push(stranger(number, &models, &before, &mut random));
        }
        let after = fold(&all);
        let context = format!("tournament {tournament}, seed {SEED}");
        assert_eq!(after.holders(), before.holders(), "{context}");
        let weights = [&before, &after].map(|fold| bits(&fold.weights(TEMPERATURE)));
        assert_eq!(weights[0], weights[1], "{context}");
        assert_eq!(after.champion().map(|champion| champion.uid), best(&models), "{context}");
    }
    assert!(n_crowns > n_tournaments + n_tournaments / 4, "{n_crowns} crowns");
}

/// Whoever deserves the crown by what the models are worth.
fn best(models: &[Model]) -> Option<Uid> {
    let mut champion = models.first()?;
    for model in models {
        if model.quality - champion.quality > EPSILON {
            champion = model;
        }
    }
    Some(champion.entrant.uid)
}

#[test]
fn a_fold_may_be_stored_anywhere_and_continued() {
    let qualities = [0.0, 0.02, 0.015, 0.021, 0.04];
    let models = (0u64..).zip(qualities).map(|(k, quality)| model(k, k, quality));
    let models: Vec<Model> = models.collect();
    let whole = fold(&models);
    let holders: Vec<u16> = whole.holders().iter().map(|holder| holder.uid.0).collect();
    assert_eq!(holders, [0, 1, 4]);
    for cut in 0..=models.len() {
        let text = serde_json::to_string(&fold(&models[..cut])).unwrap();
        let mut fold: Fold = serde_json::from_str(&text).unwrap();
        for model in &models[cut..] {
            fold.challenge(model.entrant, |pairing| decided(&models, pairing));
        }
        assert_eq!(fold, whole, "{cut}");
    }
}

#[test]
fn an_open_duel_leaves_the_champion_and_is_asked_for() {
    let models: Vec<Model> = (0u64..4).map(|k| model(k, k, 0.0)).collect();
    let entrants: Vec<Entrant> = models.iter().map(|model| model.entrant).collect();
    let pairing = |champion, challenger| Pairing {
        champion: number(champion),
        challenger: number(challenger),
    };
    let none = Fold::of(&entrants, |_| None);
    assert_eq!(none.champion().unwrap().uid, Uid(0));
    let open: Vec<Pairing> = none.open().copied().collect();
    assert_eq!(open, [pairing(0, 1), pairing(0, 2), pairing(0, 3)]);
    let weights = none.weights(TEMPERATURE);
    assert_eq!(weights, BTreeMap::from([(Uid(0), 1.0)]));

    // The third is decided; what the second might have been to the first no longer matters.
    let known = |asked: &Pairing| (*asked == pairing(0, 2)).then_some(Verdict::Dethroned);
    let fold = Fold::of(&entrants, known);
    assert_eq!(fold.champion().unwrap().uid, Uid(2));
    assert_eq!(fold.open().copied().collect::<Vec<_>>(), [pairing(2, 3)]);
    let weights = fold.weights(TEMPERATURE);
    assert!(weights[&Uid(2)] > 0.999 && weights.len() == 2);
    assert_eq!(Fold::of(&[], |_| None).weights(TEMPERATURE), BTreeMap::new());
    assert_eq!(Fold::default().champion(), None);
}

#[test]
fn the_order_in_which_entrants_are_listed_does_not_matter() {
    let mut random = Seed::of_number(SEED).derive("order").stream();
    for _ in 0..20 {
        let models = honest(&mut random);
        let mut shuffled = models.clone();
        for k in (1..shuffled.len()).rev() {
            shuffled.swap(k, uniform_below(&mut random, k as u64 + 1) as usize);
        }
        assert_eq!(fold(&shuffled), fold(&models));
    }
}
