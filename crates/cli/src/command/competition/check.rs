//! `agon competition check`: whether a competition can be run: is its text enough, also beside what
//! its models can know by heart, how noisy is a verdict on it, what does a round take.

use super::{by_heart, duels::Expected};
use crate::{
    args::CheckCompetitionArgs,
    command::validator::speed,
    competition_file,
    contest::Contest,
    findings::{Findings, State},
    plug::{self, Exam},
    rules_text,
    terminal::{print, print_json, spinner},
};
use dataset::{Source, Split, pack::Round};
use indicatif::HumanCount;
use protocol::{
    Block, BlockHash, Competition, CompetitionSet, Digest, SequenceLoss,
    competition::{Epsilon, LossKind},
    duel::DuelRules,
    loss, unigram,
};
use std::{collections::BTreeMap, path::Path, process::ExitCode};

/// Rounds before documents come again, from which on that is worth no word.
const ROUNDS_ENOUGH: u64 = 100;
/// Rounds that the text must be enough for.
const ROUNDS_MIN: u64 = 2;
/// Tokens of a round for each token of the vocabulary, from which on the bar of guessing is right.
const TOKENS_PER_WORD: u64 = 10;
/// Share of the time between two rounds that measuring may take, and from which on it is worth a
/// word.
const LOAD_MAX: f64 = 1.0;
const LOAD_NOTED: f64 = 0.7;

/// Looks at everything, and says how it stands.
pub fn run(args: &CheckCompetitionArgs) -> anyhow::Result<ExitCode> {
    check_numbers(args)?;
    let rules = competition_file::rules(&args.competition)?;
    let mut found = Findings::default();
    found.add("rules", State::Ok, format!("{}, {}", rules.name, rules.digest()));
    match rules_text::unpinned(&rules) {
        Some(lack) => {
            let text = format!("{lack}: `agon competition pin {}` pins them", args.competition);
            found.add("pins", State::Bad, text);
            by_heart::of_files(&rules, &mut found);
        }
        None => of_text(args, &rules, &mut found)?,
    }
    of_publication(&rules, &mut found);
    of_cost(args, &rules, &mut found)?;
    if args.json {
        print_json(&found)?;
    } else {
        print(&found.text())?;
    }
    Ok(if found.is_bad() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Refuses speeds and times by which any round is in time.
fn check_numbers(args: &CheckCompetitionArgs) -> anyhow::Result<()> {
    let numbers = [
        ("--block-seconds", Some(args.block_seconds)),
        ("--tokens-per-second", args.tokens_per_second),
    ];
    for (option, number) in numbers {
        let Some(number) = number else { continue };
        let is_one = number.is_finite() && number > 0.0;
        anyhow::ensure!(is_one, "{option} takes a number above 0, and {number} is none");
    }
    Ok(())
}

/// Whether others can have the same.
fn of_publication(rules: &Competition, found: &mut Findings) {
    match CompetitionSet::new(vec![rules.clone()]) {
        Ok(_) => found.add("others", State::Ok, "everybody can have the same text and tokenizer"),
        Err(error) => {
            found.add("others", State::Note, format!("it cannot be published as it is: {error}"));
        }
    }
}

/// How much text there is, and how far luck moves a verdict on it.
fn of_text(
    args: &CheckCompetitionArgs,
    rules: &Competition,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let bar = spinner("drawing the text of a round");
    let drawn = drawn(args, rules);
    bar.finish_and_clear();
    let (contest, round) = match drawn {
        Ok(drawn) => drawn,
        Err(error) => {
            found.add("text", State::Bad, format!("{error:#}"));
            by_heart::of_files(rules, found);
            return Ok(());
        }
    };
    of_documents(&*contest.source, &round, rules, found);
    by_heart::of_round(&*contest.source, &round, rules, found);
    of_vocabulary(&round, rules, found);
    match args.models.as_slice() {
        [] => of_luck_of_the_draw(&round, rules, found),
        [one, other] => {
            let models = [one.as_path(), other.as_path()];
            of_two_models(args, models, &round, rules, found)?;
        }
        models => anyhow::bail!("{} models are named: a difference is one of two", models.len()),
    }
    Ok(())
}

/// The text of some round.
fn drawn(args: &CheckCompetitionArgs, rules: &Competition) -> anyhow::Result<(Contest, Round)> {
    let contest = competition_file::contest(&args.competition, args.data.as_deref())?;
    let hash = BlockHash(Digest::of(b"agon competition check").0);
    let round = contest.draw(Block(rules.evaluation.blocks_per_round), hash)?;
    Ok((contest, round))
}

fn of_documents(source: &dyn Source, round: &Round, rules: &Competition, found: &mut Findings) {
    let (n, all) = (round.documents.len() as u64, source.n_documents(Split::Evaluation));
    let rounds = all / n.max(1);
    let text = format!(
        "{} documents to measure on, {n} in a round: {} rounds, {} blocks, before they come again",
        HumanCount(all),
        HumanCount(rounds),
        HumanCount(rounds.saturating_mul(rules.evaluation.blocks_per_round)),
    );
    let state = match rounds {
        rounds if rounds < ROUNDS_MIN => State::Bad,
        rounds if rounds < ROUNDS_ENOUGH => State::Note,
        _ => State::Ok,
    };
    found.add("documents", state, text);
}

fn of_vocabulary(round: &Round, rules: &Competition, found: &mut Findings) {
    let (tokens, words) = (n_predicted(round), rules.text.vocabulary() as u64);
    let guessing = unigram(sequences(round)).value();
    let text = format!(
        "{} tokens are predicted in a round, of a vocabulary of {}: guessing loses {guessing:.3} \
         nats, and a model must lose less",
        HumanCount(tokens),
        HumanCount(words)
    );
    let is_enough = tokens >= words.saturating_mul(TOKENS_PER_WORD);
    found.add("guessing", if is_enough { State::Ok } else { State::Note }, text);
}

/// Without models: how far the loss of a whole round moves from draw to draw.
fn of_luck_of_the_draw(round: &Round, rules: &Competition, found: &mut Findings) {
    let Some(error) = standard_error(&guesses(round)) else {
        return found.add("noise", State::Bad, "one sequence says nothing");
    };
    let margin = margin(rules, unigram(sequences(round)).value());
    found.add(
        "noise",
        State::Note,
        format!(
            "the loss of a round moves by {error:.4} nats from draw to draw, and epsilon is \
             {margin:.4}; that of two models differs by less on the same text: `--model A --model \
             B` measures it"
        ),
    );
}

/// With two models: how far luck moves their difference, against epsilon.
fn of_two_models(
    args: &CheckCompetitionArgs,
    models: [&Path; 2],
    round: &Round,
    rules: &Competition,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let mut measured = Vec::new();
    for dir in models {
        match losses(args, dir, round, rules)? {
            Ok(losses) => measured.push(losses),
            Err(reason) => {
                found.add("noise", State::Bad, format!("`{}`: {reason}", dir.display()));
                return Ok(());
            }
        }
    }
    let [one, other] = &measured[..] else { return Ok(()) };
    let pairs = one.iter().zip(other);
    let differences: Vec<f64> =
        pairs.map(|(a, b)| b.cross_entropy.value() - a.cross_entropy.value()).collect();
    let Some(error) = standard_error(&differences) else {
        found.add("noise", State::Bad, "one sequence says nothing");
        return Ok(());
    };
    let [one, other] = [one, other].map(|losses| loss::of_sequences(losses).value());
    let margin = margin(rules, one);
    let text = format!(
        "{one:.4} and {other:.4} nats: a difference of {:.4}, which luck moves by {error:.4}; \
         epsilon is {margin:.4}",
        other - one
    );
    if let Some(duel_rules) = rules.scoring.duel_rules() {
        let gains: Vec<f64> = differences.iter().map(|difference| -difference / one).collect();
        let (state, more) = of_duels(duel_rules, rules.scoring.epsilon.settled(), &gains)?;
        found.add("noise", state, format!("{text}. {more}"));
        return Ok(());
    }
    let state = if error > margin {
        State::Bad
    } else if error > margin / 2.0 {
        State::Note
    } else {
        State::Ok
    };
    found.add("noise", state, text);
    Ok(())
}

/// What the spread of two models' gains makes of duels: what a crown must prove, and on how many
/// documents.
fn of_duels(rules: DuelRules, epsilon: f64, gains: &[f64]) -> anyhow::Result<(State, String)> {
    let (n, clip) = (gains.len() as f64, rules.clip);
    let clipped: Vec<f64> = gains.iter().map(|gain| gain.clamp(-clip, clip)).collect();
    // Of the mean, that is: of one gain it is by the root of their number greater.
    let spread = standard_error(&clipped).unwrap_or(0.0) * n.sqrt();
    let by_noise = rules.margin_per_spread * spread;
    let margin = epsilon.max(by_noise);
    let expected = |mean: f64| Expected::of(rules, epsilon, gains, mean);
    let (equal, better) = (expected(0.0)?, expected(2.0 * margin)?);
    let text = format!(
        "Gains of such a pair move by {:.2} % from document to document, so that a crown must \
         prove more than {:.2} %: a model as good as the champion is turned away after some {:.0} \
         documents, and one better by {:.2} % is crowned in {:.0} of 100 duels, of some {:.0} \
         documents",
        100.0 * spread,
        100.0 * margin,
        equal.n_documents,
        200.0 * margin,
        100.0 * better.crowned,
        better.n_documents
    );
    // Where noise asks for more than epsilon, it is noise that keeps better models from the crown.
    Ok((if by_noise > epsilon { State::Note } else { State::Ok }, text))
}

/// The losses of a model on the sequences of a round, or why validators would refuse it.
fn losses(
    args: &CheckCompetitionArgs,
    dir: &Path,
    round: &Round,
    rules: &Competition,
) -> anyhow::Result<Result<Vec<SequenceLoss>, protocol::Reason>> {
    let inspected = match plug::check(dir, rules)? {
        Ok(inspected) => inspected,
        Err(reason) => return Ok(Err(reason)),
    };
    let sequences: Vec<Vec<u32>> = sequences(round).into_iter().map(<[u32]>::to_vec).collect();
    let exam = Exam {
        competition: rules,
        tensor_root: inspected.tensor_root,
        sequences: &sequences,
        n_threads: n_threads(args),
        memory_limit: None,
    };
    let bar = spinner("measuring a model");
    let mut losses = Vec::new();
    let measured = plug::losses(dir, &exam, &mut |some| {
        losses.extend_from_slice(some);
        Ok(())
    });
    bar.finish_and_clear();
    Ok(measured?.map(|()| losses))
}

/// What a round takes, in tokens, in work and in time.
fn of_cost(
    args: &CheckCompetitionArgs,
    rules: &Competition,
    found: &mut Findings,
) -> anyhow::Result<()> {
    let (evaluation, largest) = (&rules.evaluation, rules.model.n_parameters_max.max(1) as f64);
    let asked = speed::asked(rules);
    let n_models = evaluation.n_models_kept + 1;
    // A multiplication and an addition for each parameter and token.
    let teraflop = 2.0 * asked / 1e12;
    let n_tokens = asked / largest / n_models as f64;
    let speed = match args.tokens_per_second {
        Some(tokens) => tokens * largest,
        None => {
            let bar = spinner("measuring how fast this machine is");
            let speed = speed::of_this_machine(n_threads(args));
            bar.finish_and_clear();
            speed?
        }
    };
    let load = speed::load(speed, args.block_seconds, [rules]);
    let usual = speed::usual_documents(rules).map_or_else(String::new, |(usual, most)| {
        format!(
            "; that is the most, and duels of the usual mix take {usual:.0} of {most} documents"
        )
    });
    let text = format!(
        "{n_tokens:.0} tokens for each of {n_models} models, {teraflop:.1} TFLOP and {:.2} hours at \
         {:.0} tokens a second of the largest: {:.0} % of the time between two rounds{usual}",
        asked / speed / 3_600.0,
        speed / largest,
        100.0 * load
    );
    let state = if load > LOAD_MAX {
        State::Bad
    } else if load > LOAD_NOTED {
        State::Note
    } else {
        State::Ok
    };
    found.add("cost", state, text);
    Ok(())
}

fn n_threads(args: &CheckCompetitionArgs) -> usize {
    args.threads.unwrap_or_else(engine::n_processors).max(1)
}

/// The sequences of a round, in order.
fn sequences(round: &Round) -> Vec<&[u32]> {
    round.batches.iter().flat_map(|batch| &batch.sequences).map(Vec::as_slice).collect()
}

fn n_predicted(round: &Round) -> u64 {
    sequences(round).iter().map(|sequence| sequence.len().saturating_sub(1) as u64).sum()
}

/// What the table of how often each token of a round is predicted loses on each sequence, in nats
/// per token.
fn guesses(round: &Round) -> Vec<f64> {
    let sequences = sequences(round);
    let mut counts: BTreeMap<u32, f64> = BTreeMap::new();
    for token in sequences.iter().flat_map(|sequence| sequence.iter().skip(1)) {
        *counts.entry(*token).or_default() += 1.0;
    }
    let all: f64 = counts.values().sum();
    let of = |sequence: &&[u32]| {
        let predicted = sequence.iter().skip(1);
        let nats: f64 = predicted.map(|token| (all / counts[token]).ln()).sum();
        nats / sequence.len().saturating_sub(1).max(1) as f64
    };
    sequences.iter().map(of).collect()
}

/// Standard error of a mean; `None` of fewer than two numbers.
fn standard_error(numbers: &[f64]) -> Option<f64> {
    if numbers.len() < 2 {
        return None;
    }
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    let squares: f64 = numbers.iter().map(|number| (number - mean) * (number - mean)).sum();
    Some((squares / (n - 1.0) / n).sqrt())
}

/// Epsilon of the oldest champion as nats per token, at this loss.
fn margin(rules: &Competition, cross_entropy: f64) -> f64 {
    let epsilon = match rules.scoring.epsilon {
        Epsilon::Fixed { value } => value,
        Epsilon::Linear { end, .. } => end,
    };
    match rules.scoring.loss {
        LossKind::Perplexity => -(-epsilon).ln_1p(),
        LossKind::CrossEntropy => epsilon * cross_entropy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luck_is_the_standard_error_and_epsilon_is_told_in_nats() {
        assert_eq!(standard_error(&[1.0]), None);
        // Variance 2 over two numbers.
        let error = standard_error(&[1.0, 3.0]).unwrap();
        assert!((error - 1.0).abs() < 1e-12, "{error}");
        let mut rules = Competition::builtin("tiny").unwrap();
        rules.scoring.loss = LossKind::Perplexity;
        assert!((margin(&rules, 3.0) - 0.005_012_5).abs() < 1e-6);
        rules.scoring.loss = LossKind::CrossEntropy;
        assert!((margin(&rules, 3.0) - 0.015).abs() < 1e-12);
    }
    #[test]
    fn the_noise_of_a_pair_tells_what_duels_ask_for() {
        let gains =
            |spread: f64| -> Vec<f64> { (0..100).map(|i| [spread, -spread][i % 2]).collect() };
        let rules = DuelRules::default();
        // 0.28 times the standard deviation, which n - 1 makes a little more than the gains are.
        let (state, text) = of_duels(rules, 0.005, &gains(0.01)).unwrap();
        assert!(state == State::Ok && text.contains("move by 1.01 % from"), "{text}");
        assert!(text.contains("prove more than 0.50 %"), "{text}");
        let (state, text) = of_duels(rules, 0.005, &gains(0.03)).unwrap();
        assert!(state == State::Note && text.contains("prove more than 0.84 %"), "{text}");
    }

    fn args(tokens_per_second: f64, block_seconds: f64) -> CheckCompetitionArgs {
        CheckCompetitionArgs {
            competition: "tiny".to_owned(),
            data: None,
            models: Vec::new(),
            tokens_per_second: Some(tokens_per_second),
            block_seconds,
            threads: Some(1),
            json: false,
        }
    }

    #[test]
    fn numbers_by_which_every_round_is_in_time_are_refused_before_anything_is_measured() {
        for wrong in [0.0, -12.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = run(&args(1.0, wrong)).unwrap_err().to_string();
            assert!(error.contains("--block-seconds takes a number above 0"), "{error}");
            let error = run(&args(wrong, 12.0)).unwrap_err().to_string();
            assert!(error.contains("--tokens-per-second takes a number above 0"), "{error}");
        }
        check_numbers(&CheckCompetitionArgs { tokens_per_second: None, ..args(1.0, 0.25) })
            .unwrap();
    }

    #[test]
    fn what_a_round_takes_is_held_against_the_time_between_two() {
        let rules = Competition::builtin("tiny").unwrap();
        let seconds = rules.evaluation.blocks_per_round as f64 * 12.0;
        let largest = rules.model.n_parameters_max as f64;
        for (load, state) in
            [(0.1, State::Ok), (0.69, State::Ok), (0.71, State::Note), (0.99, State::Note)]
                .into_iter()
                .chain([(1.01, State::Bad), (1e6, State::Bad)])
        {
            let tokens = speed::asked(&rules) / (load * seconds) / largest;
            let mut found = Findings::default();
            of_cost(&args(tokens, 12.0), &rules, &mut found).unwrap();
            assert_eq!(found.states(), [state], "{load}");
            // Blocks of half the time leave half the time.
            let mut faster = Findings::default();
            of_cost(&args(2.0 * tokens, 6.0), &rules, &mut faster).unwrap();
            assert_eq!(faster.states(), [state], "{load}");
        }
    }
}
