//! How often duels err, and how many documents they take, on gains of many shapes.
//!
//! `AGON_DUELS=100000 cargo test --release -p protocol --test it duel_rates -- --nocapture` fights
//! so many duels of each shape, of up to 1,500 documents; without it they are few, and end early.

use crate::duel::{begin, document, fight, gauss, uniform};
use protocol::{
    Seed,
    duel::{Document, Verdict},
};
use rand_core::RngCore;

const EPSILON: f64 = 0.005;
const CLIP: f64 = 0.05;
const SEED: u64 = 19;
/// Gains of a population: a power of two.
const N_GAINS: usize = 4_096;

/// Duels of each shape, and documents of each at most.
fn sizes() -> (u64, u32) {
    let duels = std::env::var("AGON_DUELS").ok().map(|text| text.parse::<u64>().unwrap());
    duels.map_or((2_000, 150), |n_duels| (n_duels, 1_500))
}

/// Gains to draw from, whose clipped mean is exactly epsilon: the challenger that comes nearest to
/// deserving the crown without deserving it.
struct Population {
    name: &'static str,
    gains: Vec<f64>,
}

impl Population {
    /// The population of gains from `draw`, all moved by what makes their clipped mean epsilon.
    fn new(name: &'static str, draw: impl FnMut(usize) -> f64) -> Self {
        let gains: Vec<f64> = (0..N_GAINS).map(draw).collect();
        let mean = |shift: f64| {
            let clipped = gains.iter().map(|gain| (gain + shift).clamp(-CLIP, CLIP));
            clipped.sum::<f64>() / N_GAINS as f64
        };
        let (mut low, mut high) = (-0.2, 0.2);
        for _ in 0..80 {
            let middle = (low + high) / 2.0;
            if mean(middle) > EPSILON {
                high = middle;
            } else {
                low = middle;
            }
        }
        Self { name, gains: gains.iter().map(|gain| gain + low).collect() }
    }

    fn draw(&self, random: &mut impl RngCore) -> f64 {
        self.gains[random.next_u64() as usize % N_GAINS]
    }
}

fn student(random: &mut impl RngCore, degrees: u32) -> f64 {
    let squares: f64 = (0..degrees).map(|_| gauss(random).powi(2)).sum();
    let degrees = f64::from(degrees);
    // Scaled to a deviation of 1.
    gauss(random) / (squares / degrees).sqrt() * ((degrees - 2.0) / degrees).sqrt()
}

/// Skewed to the right, with mean 0 and deviation 1.
fn lognormal(random: &mut impl RngCore) -> f64 {
    let (mean, e) = (0.5f64.exp(), 1f64.exp());
    (gauss(random).exp() - mean) / (mean * (e - 1.0).sqrt())
}

/// The six shapes of tails, the fourth both ways, and two that an attacker would choose.
fn populations() -> Vec<Population> {
    let mut random = Seed::of_number(SEED).derive("populations").stream();
    let random = &mut random;
    let rare = |n_rare: usize, gain: f64| move |k: usize| if k < n_rare { gain } else { 0.0 };
    vec![
        Population::new("normal", |_| 0.01 * gauss(random)),
        Population::new("Laplace", |k| {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            0.007 * sign * -uniform(random).ln()
        }),
        Population::new("Student t3", |_| 0.01 * student(random, 3)),
        Population::new("lognormal, skewed up", |_| 0.01 * lognormal(random)),
        Population::new("lognormal, skewed down", |_| -0.01 * lognormal(random)),
        Population::new("one in a hundred far worse", rare(41, -0.3)),
        Population::new("mixture", |k| gauss(random) * if k % 10 == 0 { 0.03 } else { 0.003 }),
        // Just below the share of far worse documents that costs a crown.
        Population::new("adversary: hidden catastrophes", rare(78, -0.3)),
        Population::new("adversary: rare windfalls", rare(82, 0.3)),
    ]
}

/// Upper 95 % bound of a rate of which `n_seen` of `n` were seen (Poisson, a little above the
/// binomial one).
fn upper_bound(n_seen: u64, n: u64) -> f64 {
    let chance_of_at_most = |mean: f64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for k in 1..=n_seen {
            term *= mean / k as f64;
            sum += term;
        }
        sum
    };
    let (mut low, mut high) = (0.0, 500.0 + 2.0 * n_seen as f64);
    for _ in 0..80 {
        let middle = (low + high) / 2.0;
        if chance_of_at_most(middle) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high / n as f64
}

/// A duel to its end, and the most evidence for a crown that any look saw.
fn fight_to_peak(n_documents_max: u32, mut gain: impl FnMut() -> f64) -> (Verdict, f64) {
    let mut duel = begin(n_documents_max);
    let (mut n, mut peak) = (0, 0.0f64);
    loop {
        let group: [Document; 5] = std::array::from_fn(|_| {
            n += 1;
            document(n, gain())
        });
        let verdict = duel.look(&group).unwrap();
        peak = peak.max(duel.evidence().e_crown());
        if let Some(verdict) = verdict {
            return (verdict, peak);
        }
    }
}

#[test]
fn attack_whoever_is_not_better_by_epsilon_is_not_crowned_whatever_the_tails() {
    let (n_duels, n_documents_max) = sizes();
    let (mut n_all, mut n_crowned_of_all) = (0, 0);
    for population in populations() {
        let seed = Seed::of_number(SEED).derive(population.name);
        let mut random = seed.stream();
        let (mut n_crowned, mut n_rejected, mut n_above) = (0, 0, 0);
        for _ in 0..n_duels {
            let (verdict, peak) = fight_to_peak(n_documents_max, || population.draw(&mut random));
            match verdict {
                Verdict::Dethroned => n_crowned += 1,
                Verdict::Rejected => n_rejected += 1,
                Verdict::Undecided => {}
            }
            n_above += u64::from(peak >= 20.0);
        }
        let bound = upper_bound(n_crowned, n_duels);
        eprintln!(
            "{}: {n_crowned} of {n_duels} crowned by luck (95 % bound {bound:.2e}), {n_rejected} \
             rejected, {n_above} with evidence of 20 at a look; {n_documents_max} documents at \
             most, seed {SEED}",
            population.name
        );
        // The chance is 5e-4 at most; few duels of one shape can bound it no better.
        let bound_max = if n_duels >= 100_000 { 1e-3 } else { 5e-3 };
        assert!(n_duels < 2_000 || bound <= bound_max, "{}: {bound:e}", population.name);
        // Evidence reaches x with a chance of 1 / x at most: here few duels tell much.
        for (n_seen, chance) in [(n_above, 0.05), (n_rejected, 0.01)] {
            let expected = chance * n_duels as f64;
            let most = expected + 4.0 * expected.sqrt();
            assert!(n_seen as f64 <= most, "{}: {n_seen}, {chance}", population.name);
        }
        (n_all, n_crowned_of_all) = (n_all + n_duels, n_crowned_of_all + n_crowned);
    }
    let bound = upper_bound(n_crowned_of_all, n_all);
    eprintln!("all: {n_crowned_of_all} of {n_all} crowned by luck (95 % bound {bound:.2e})");
    assert!(n_all < 18_000 || bound <= 1e-3, "{bound:e}");
}

#[test]
fn whoever_is_better_by_one_percent_is_crowned_within_300_documents() {
    let n_duels = sizes().0 / 4;
    let mut random = Seed::of_number(SEED).derive("power").stream();
    let (mut n_late, mut n_documents) = (0, 0);
    for _ in 0..n_duels {
        let (verdict, duel) = fight(begin(300), || 0.01 + 0.01 * student(&mut random, 5));
        n_late += u64::from(verdict != Verdict::Dethroned);
        n_documents += u64::from(duel.evidence().n_documents());
    }
    let mean = n_documents as f64 / n_duels as f64;
    eprintln!("{n_late} of {n_duels} not crowned, {mean:.0} documents a duel, seed {SEED}");
    assert!(n_late as f64 <= 0.01 * n_duels as f64, "{n_late} of {n_duels}, seed {SEED}");
}

/// Of ten challengers six are far worse, two are copies, one and a half are near, and half of one
/// is better.
#[test]
fn a_duel_takes_few_documents_on_the_usual_mix_of_challengers() {
    let n_duels = sizes().0 / 2;
    let mut random = Seed::of_number(SEED).derive("mix").stream();
    let (mut n_documents, mut n_better, mut n_missed, mut n_false) = (0, 0, 0, 0);
    for _ in 0..n_duels {
        let (kind, place) = (uniform(&mut random), uniform(&mut random));
        let (gain, spread) = if kind < 0.6 {
            (-0.03 - 0.27 * place, 0.01 + 0.05 * uniform(&mut random))
        } else if kind < 0.8 {
            (0.0, 0.001)
        } else if kind < 0.95 {
            (-0.01 + 0.0125 * place, 0.01)
        } else {
            (0.0075 + 0.0125 * place, 0.01)
        };
        let is_better = gain > EPSILON;
        let (verdict, duel) = fight(begin(1_500), || gain + spread * student(&mut random, 5));
        n_documents += u64::from(duel.evidence().n_documents());
        n_better += u64::from(is_better);
        n_missed += u64::from(is_better && verdict != Verdict::Dethroned);
        n_false += u64::from(!is_better && verdict == Verdict::Dethroned);
    }
    let mean = n_documents as f64 / n_duels as f64;
    eprintln!(
        "{mean:.1} documents a duel over {n_duels}; {n_missed} of {n_better} better ones missed, \
         {n_false} others crowned, seed {SEED}"
    );
    assert!(mean <= 60.0, "{mean}, seed {SEED}");
    assert!(50 * n_missed <= n_better, "{n_missed} of {n_better}, seed {SEED}");
    assert!(n_false as f64 <= 1e-3 * n_duels as f64, "{n_false}, seed {SEED}");
}
