//! Many seasons: runs, the zoo, and sweeps, each with its figures.

use crate::{
    cast::{Attack, Cast},
    scenario::{Rules, Scenario},
    season::{Season, season},
    stats::Interval,
    strategy::Kind,
    svg::{Bar, Chart, Curve},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// How much is simulated.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Seeds, from 1.
    pub seeds: u64,
    /// Seasons at the same time.
    pub threads: usize,
}

/// What is told of progress: seasons done, and all.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// What a scenario came to by one set of rules.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Name of the rules.
    pub rules: String,
    /// Share of the blocks in which the best model whose time had come held the crown, or one that
    /// it is not clearly better than.
    pub right: Interval,
    /// Share of the stake that crowned the same.
    pub agreement: Interval,
    /// Times that the crown changed hands.
    pub crowns: Interval,
    /// Improvement that was there and unpublished, as a fraction of the loss.
    pub hoarded: Interval,
    /// Share of what miners were paid that went to attackers.
    pub paid_to_attackers: Interval,
    /// True loss of the champion at the end, in nats per token.
    pub final_loss: Interval,
    /// Share of what miners were paid, by strategy.
    pub strategies: BTreeMap<&'static str, Interval>,
    /// True loss of the champion over time, averaged over seeds.
    pub quality: Vec<f64>,
    /// Rounds that validators decided, of all seeds together.
    pub n_rounds: u64,
    /// Models that these judged.
    pub n_models: u64,
    /// Rounds that could not go on at some block.
    pub n_suspended: u64,
}

/// What an attack came to by one set of rules.
#[derive(Clone, Debug, Serialize)]
pub struct Payoff {
    /// Name of the attack.
    pub attack: &'static str,
    /// Name of the rules.
    pub rules: String,
    /// What it earned: a share of what miners, or all, were paid.
    pub earned: Interval,
    /// What honest play earned in its place, of the same seeds.
    pub honest: Interval,
    /// The difference, seed by seed.
    pub gain: Interval,
    /// Share of the blocks with the right crown while it was there.
    pub right: Interval,
    /// Share of the stake that crowned the same while it was there.
    pub agreement: Interval,
}

/// A season that is to be played.
struct Job<'a> {
    rules: &'a Rules,
    cast: &'a Cast,
    seed: u64,
}

/// Plays all seasons, some at a time; what came of each, in order.
fn play(
    scenario: &Scenario,
    jobs: &[Job<'_>],
    threads: usize,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Season>> {
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let has_failed = AtomicBool::new(false);
    let results: Mutex<Vec<Option<anyhow::Result<Season>>>> =
        Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || {
        while !has_failed.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(place) else { return };
            let played = season(scenario, job.rules, job.cast, job.seed);
            has_failed.fetch_or(played.is_err(), Ordering::Relaxed);
            let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(result) = results.get_mut(place) {
                *result = Some(played);
            }
            drop(results);
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, jobs.len());
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            scope.spawn(work);
        }
    });
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The first that failed says why; those after it may not have been played.
    results
        .into_iter()
        .map(|result| result.unwrap_or_else(|| Err(anyhow::anyhow!("a season was not played"))))
        .collect()
}

/// Plays a scenario by each set of rules.
pub fn run(
    scenario: &Scenario,
    rules: &[Rules],
    effort: Effort,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Summary>> {
    let cast = Cast::of(scenario);
    let seeds = 1..=effort.seeds;
    let of = |rules| seeds.clone().map(move |seed| (rules, seed));
    let jobs: Vec<Job<'_>> =
        rules.iter().flat_map(of).map(|(rules, seed)| Job { rules, cast: &cast, seed }).collect();
    let seasons = play(scenario, &jobs, effort.threads, progress)?;
    let per_rules = seasons.chunks(jobs.len().checked_div(rules.len()).unwrap_or(1).max(1));
    Ok(rules.iter().zip(per_rules).map(|(rules, seasons)| summary(rules, &cast, seasons)).collect())
}

/// Plays a scenario by each set of rules with each fixed epsilon.
pub fn sweep(
    scenario: &Scenario,
    rules: &[Rules],
    epsilons: &[f64],
    effort: Effort,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Summary>> {
    let mut swept = Vec::new();
    for rules in rules {
        for epsilon in epsilons {
            swept.push(scenario.with_epsilon(rules, *epsilon)?);
        }
    }
    run(scenario, &swept, effort, progress)
}

/// Plays every attack by every set of rules, and honest play in its place.
///
/// The attack has the last place of the scenario's miners.
pub fn zoo(
    scenario: &Scenario,
    rules: &[Rules],
    attacks: &[Attack],
    effort: Effort,
    progress: Progress<'_>,
) -> anyhow::Result<Vec<Payoff>> {
    let has_cabals = !scenario.cabals.is_empty();
    anyhow::ensure!(!has_cabals, "a zoo puts cabals in itself: its scenario has none");
    let base = Cast::of(scenario);
    // Honest play with the same number of slots is the same season: it is played once.
    let mut casts: Vec<Cast> = Vec::new();
    let mut place_of = |cast: Cast| {
        casts.iter().position(|known| *known == cast).unwrap_or_else(|| {
            casts.push(cast);
            casts.len() - 1
        })
    };
    let pairs: Vec<(Attack, usize, usize)> = attacks
        .iter()
        .map(|attack| {
            let (with, honest) = (base.with(*attack), base.with_honest_for(*attack));
            (*attack, place_of(with), place_of(honest))
        })
        .collect();
    let mut jobs = Vec::new();
    for rules in rules {
        for cast in &casts {
            jobs.extend((1..=effort.seeds).map(|seed| Job { rules, cast, seed }));
        }
    }
    let seasons = play(scenario, &jobs, effort.threads, progress)?;
    let n_seeds = usize::try_from(effort.seeds).unwrap_or(usize::MAX).max(1);
    let cells: Vec<&[Season]> = seasons.chunks(n_seeds).collect();
    let mut payoffs = Vec::new();
    for (rules, cells) in rules.iter().zip(cells.chunks(casts.len().max(1))) {
        for (attack, with, honest) in &pairs {
            let sides = [*with, *honest].map(|place| (&casts[place], cells[place]));
            payoffs.push(payoff(*attack, rules, sides));
        }
    }
    Ok(payoffs)
}

/// What the place of an attack earned in a season of this cast.
fn earned(attack: Attack, cast: &Cast, season: &Season) -> f64 {
    let (player, validator) = cast.place(attack);
    let miner = season.miners.get(player).copied().unwrap_or(0.0);
    let Some(first) = validator else { return miner };
    let own: f64 = season.validators.iter().skip(first).sum();
    season.miners_part * miner + (1.0 - season.miners_part) * own
}

fn payoff(attack: Attack, rules: &Rules, sides: [(&Cast, &[Season]); 2]) -> Payoff {
    let [with, honest] = sides.map(|(cast, seasons)| {
        seasons.iter().map(|season| earned(attack, cast, season)).collect::<Vec<f64>>()
    });
    let gains: Vec<f64> = with.iter().zip(&honest).map(|(with, honest)| with - honest).collect();
    let (_, seasons) = sides[0];
    Payoff {
        attack: attack.name(),
        rules: rules.name.clone(),
        earned: Interval::of(&with),
        honest: Interval::of(&honest),
        gain: Interval::of(&gains),
        right: over(seasons, |season| season.right),
        agreement: over(seasons, |season| season.agreement),
    }
}

/// A figure of each season, over all of them.
fn over(seasons: &[Season], figure: impl Fn(&Season) -> f64) -> Interval {
    Interval::of(&seasons.iter().map(figure).collect::<Vec<f64>>())
}

/// Share of what miners were paid that went to some players.
fn paid(season: &Season, is_one: impl Fn(usize) -> bool) -> f64 {
    let shares = season.miners.iter().enumerate();
    shares.filter(|(player, _)| is_one(*player)).map(|(_, share)| share).sum()
}

fn summary(rules: &Rules, cast: &Cast, seasons: &[Season]) -> Summary {
    let kind = |player: usize| cast.players.get(player).map(|part| part.kind);
    let is_attack = |player: usize| kind(player).is_some_and(|kind| kind.is_attack());
    let kinds: BTreeSet<Kind> = cast.players.iter().map(|part| part.kind).collect();
    let of_kind =
        |one: Kind| over(seasons, |season| paid(season, |player| kind(player) == Some(one)));
    let n_samples = seasons.iter().map(|season| season.quality.len()).min().unwrap_or(0);
    let at = |place: usize| over(seasons, |season| season.quality[place]).mean;
    Summary {
        rules: rules.name.clone(),
        right: over(seasons, |season| season.right),
        agreement: over(seasons, |season| season.agreement),
        crowns: over(seasons, |season| season.n_crowns as f64),
        hoarded: over(seasons, |season| season.hoarded),
        paid_to_attackers: over(seasons, |season| paid(season, is_attack)),
        final_loss: over(seasons, |season| season.quality.last().copied().unwrap_or(0.0)),
        strategies: kinds.into_iter().map(|kind| (kind.name(), of_kind(kind))).collect(),
        quality: (0..n_samples).map(at).collect(),
        n_rounds: seasons.iter().map(|season| season.n_rounds).sum(),
        n_models: seasons.iter().map(|season| season.n_models).sum(),
        n_suspended: seasons.iter().map(|season| season.n_suspended).sum(),
    }
}

/// The quality of champions over time, a curve for each set of rules.
pub fn quality_chart(scenario: &Scenario, summaries: &[Summary]) -> Chart {
    let curve = |summary: &Summary| {
        let n = summary.quality.len().max(1) as f64;
        let at = |place: usize| (place + 1) as f64 / n * scenario.blocks as f64;
        let points = summary.quality.iter().enumerate().map(|(place, loss)| (at(place), *loss));
        Curve { name: summary.rules.clone(), points: points.collect() }
    };
    Chart::Curves {
        title: "True loss of the champion".to_owned(),
        x: "block".to_owned(),
        y: "nats per token".to_owned(),
        curves: summaries.iter().map(curve).collect(),
    }
}

/// What attacks gain over honest play, a bar for each attack and set of rules.
pub fn gain_chart(payoffs: &[Payoff]) -> Chart {
    let bar = |payoff: &Payoff| Bar {
        name: format!("{}, {}", payoff.attack, payoff.rules),
        value: payoff.gain.mean * 100.0,
        half_width: payoff.gain.half_width * 100.0,
    };
    Chart::Bars {
        title: "Gain of attacks over honest play in their place".to_owned(),
        x: "percent of what is paid".to_owned(),
        bars: payoffs.iter().map(bar).collect(),
    }
}
