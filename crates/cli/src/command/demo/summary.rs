//! The end of a demo for people: curve, leaderboard, earnings, files, what to try next.

use super::{
    report::{ModelRow, Report, Round},
    words::{self, N_COLUMNS},
};
use crate::rules_text::plural;
use protocol::Merit;
use std::fmt::Write as _;

const CHART_ROWS: usize = 12;
const CHART_COLUMNS: usize = 60;

/// The whole summary as text.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let (board, sureness) = match report.duels {
        Some(rules) => (duels(report), Some(words::rests_on(&rules, report.epsilon))),
        None => (leaderboard(report), None),
    };
    let parts = [Some(chart(report)), Some(board), sureness];
    for part in parts.into_iter().flatten().chain([earnings(report), files(report)]) {
        text.push_str(&part);
        text.push('\n');
    }
    text
}

/// Rounds with the champion's perplexity, or that of the last round in which somebody wanted to
/// know it.
fn points(report: &Report) -> Vec<(&Round, f64)> {
    let mut known = None;
    let mut points = Vec::new();
    for round in &report.rounds {
        known = match round.perplexity {
            Some(perplexity) => Some((round.champion_uid, perplexity)),
            None => known.filter(|(uid, _)| *uid == round.champion_uid),
        };
        points.extend(known.map(|(_, perplexity)| (round, perplexity)));
    }
    points
}

/// As many points as a narrow terminal has columns for, evenly spaced, the first and the last
/// among them.
fn thinned<T: Copy>(points: &[T]) -> Vec<T> {
    match points.len() {
        n if n > CHART_COLUMNS => {
            let at = |column: usize| points[column * (n - 1) / (CHART_COLUMNS - 1)];
            (0..CHART_COLUMNS).map(at).collect()
        }
        _ => points.to_vec(),
    }
}

/// Loss of the network over time, as figure 2 of the paper: the champion's perplexity per round.
fn chart(report: &Report) -> String {
    let all = points(report);
    let points = thinned(&all);
    let which = match (points.len(), all.len()) {
        (n, n_all) if n < n_all => format!("{n} of {}", plural(n_all, "round")),
        _ => "each round".to_owned(),
    };
    let mut text = format!("Loss of the network: perplexity of the champion in {which}\n\n");
    if points.is_empty() {
        return text + "  (no round had a champion)\n";
    }
    // On other text than that of the last round, a champion may be below the optimum of that one.
    let values = points.iter().map(|(_, perplexity)| *perplexity).chain(report.entropy_perplexity);
    let bottom = values.clone().fold(f64::INFINITY, f64::min);
    let top = values.fold(bottom, f64::max);
    let span = (top.ln() - bottom.ln()).max(1e-9);
    let row_of = |perplexity: f64| {
        let height = (perplexity.ln() - bottom.ln()) / span;
        CHART_ROWS - 1 - (height * (CHART_ROWS - 1) as f64).round() as usize
    };
    let step = (CHART_COLUMNS / points.len()).clamp(1, 6);
    let mut rows = vec![vec![' '; points.len() * step]; CHART_ROWS];
    if let Some(optimum) = report.entropy_perplexity {
        rows[row_of(optimum)].fill('·');
    }
    for (index, (round, perplexity)) in points.iter().enumerate() {
        rows[row_of(*perplexity)][index * step] = symbol(round.champion.unwrap_or("?"));
    }
    for (index, row) in rows.iter().enumerate() {
        let value = (top.ln() - span * index as f64 / (CHART_ROWS - 1) as f64).exp();
        let line: String = row.iter().collect();
        let _ = writeln!(text, "  {value:>8.2} │ {}", line.trim_end());
    }
    let _ = writeln!(text, "           └─{}", "─".repeat(points.len() * step));
    let _ = writeln!(text, "     block   {}", labels(&points, step));
    let _ = writeln!(text, "{}", legend(&points, report.entropy_perplexity));
    let _ = writeln!(text, "  the crown changed hands {}", plural(report.n_crown_changes, "time"));
    text
}

/// The blocks of rounds below a chart, as many as there is room for.
fn labels(points: &[(&Round, f64)], step: usize) -> String {
    let mut labels = String::new();
    for (index, (round, _)) in points.iter().enumerate() {
        let n_letters = labels.chars().count();
        if n_letters <= index * step {
            let width = index * step - n_letters;
            let _ = write!(labels, "{:width$}{} ", "", round.block);
        }
    }
    labels.trim_end().to_owned()
}

/// What the letters of a chart stand for.
fn legend(points: &[(&Round, f64)], optimum: Option<f64>) -> String {
    let mut names: Vec<&str> = points.iter().filter_map(|(round, _)| round.champion).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.iter().map(|name| format!("{} {name}", symbol(name))).collect();
    let names = format!("  {}", names.join("   "));
    let Some(optimum) = optimum else { return names };
    let optimum = format!("· optimum {optimum:.2}, the entropy of the text");
    let fits = names.chars().count() + 3 + optimum.chars().count() <= N_COLUMNS;
    let gap = if fits { "   " } else { "\n  " };
    format!("{names}{gap}{optimum}")
}

/// One letter per miner.
fn symbol(name: &str) -> char {
    match name {
        "honest-1" => '1',
        "honest-2" => '2',
        other => other.chars().next().map_or('?', |c| c.to_ascii_uppercase()),
    }
}

fn leaderboard(report: &Report) -> String {
    let Some(round) = report.rounds.last() else { return String::new() };
    let mut text = format!("Leaderboard of the last round, seeded by block {}\n\n", round.block);
    let _ = writeln!(
        text,
        "  {:>3}  {:<10} {:>6} {:>10} {:>8} {:>7} {:>9}",
        "uid", "miner", "block", "perplexity", "win rate", "weight", "incentive"
    );
    let last = report.tempos.last();
    let mut models: Vec<_> = round.models.iter().collect();
    models.sort_by(|a, b| {
        let key = |perplexity: Option<f64>| perplexity.unwrap_or(f64::INFINITY);
        key(a.perplexity).total_cmp(&key(b.perplexity)).then(a.uid.cmp(&b.uid))
    });
    for model in models {
        let head = format!("  {:>3}  {:<10} {:>6} ", model.uid, model.role, model.commit_block);
        let Some(perplexity) = model.perplexity else {
            let reason = model.reason.as_deref().unwrap_or("");
            let line = words::wrapped(&format!("{head}{}: {reason}", model.outcome), 25);
            let _ = writeln!(text, "{line}");
            continue;
        };
        let incentive = last.and_then(|tempo| tempo.incentive.get(&model.uid)).unwrap_or(&0.0);
        let standing = match model.merit {
            _ if round.champion_uid == Some(model.uid) => "← champion".to_owned(),
            Merit::BeatenBy(uid) => format!("beaten by {uid}"),
            Merit::SucceededBy(uid) => format!("succeeded by {uid}"),
            Merit::Counts | Merit::Absent => String::new(),
        };
        let line = format!(
            "{head}{perplexity:>10.3} {:>8.3} {:>7.4} {:>7.2} %  {standing}",
            model.win_rate,
            model.weight,
            100.0 * incentive
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The last round where duels decide: how every challenger stands against the champion.
fn duels(report: &Report) -> String {
    let Some(round) = report.rounds.last() else { return String::new() };
    let mut text =
        format!("Duels as the last round leaves them, seeded by block {}\n\n", round.block);
    let _ = writeln!(
        text,
        "  {:>3}  {:<8} {:>6} {:>10} {:>9}  better by",
        "uid", "miner", "block", "perplexity", "incentive"
    );
    let last = report.tempos.last();
    let is_champion = |model: &ModelRow| round.champion_uid == Some(model.uid);
    let mut models: Vec<_> = round.models.iter().collect();
    models.sort_by(|a, b| {
        let gain = |model: &ModelRow| model.duel.map_or(f64::NEG_INFINITY, |duel| duel.gain);
        let first = is_champion(b).cmp(&is_champion(a));
        first.then(gain(b).total_cmp(&gain(a))).then(a.uid.cmp(&b.uid))
    });
    for model in models {
        let head = format!("  {:>3}  {:<8} {:>6} ", model.uid, model.role, model.commit_block);
        if model.outcome != "evaluated" {
            let reason = model.reason.as_deref().unwrap_or("");
            let line = words::wrapped(&format!("{head}{}: {reason}", model.outcome), 23);
            let _ = writeln!(text, "{line}");
            continue;
        }
        let perplexity = model.perplexity.map_or_else(String::new, |found| format!("{found:.3}"));
        let incentive = last.and_then(|tempo| tempo.incentive.get(&model.uid)).unwrap_or(&0.0);
        let standing = match (&model.duel, model.merit) {
            _ if is_champion(model) => "← champion".to_owned(),
            (Some(duel), _) => words::row(duel),
            (None, Merit::SucceededBy(uid)) => format!("succeeded by {uid}"),
            // Nobody duels who is junior to whoever took the crown in the same round.
            (None, Merit::BeatenBy(_)) if model.perplexity.is_none() => "waits".to_owned(),
            (None, Merit::BeatenBy(uid)) => format!("beaten by {uid}"),
            (None, Merit::Counts | Merit::Absent) => String::new(),
        };
        let line = format!("{head}{perplexity:>10} {:>7.2} %  {standing}", 100.0 * incentive);
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn earnings(report: &Report) -> String {
    let mut text = "Earnings of the whole run\n\n".to_owned();
    let mut earnings: Vec<_> = report.earnings.iter().collect();
    earnings.sort_by(|a, b| b.tao.total_cmp(&a.tao).then(a.uid.cmp(&b.uid)));
    for earning in earnings {
        let share = if earning.dividends > 0.0 {
            format!("{:>5.1} % of the validators' part", 100.0 * earning.dividends)
        } else {
            format!("{:>5.1} % of the miners' part", 100.0 * earning.incentive)
        };
        let _ = writeln!(
            text,
            "  {:>3}  {:<12} {:>9.3} TAO  {share}",
            earning.uid, earning.role, earning.tao
        );
    }
    text
}

fn files(report: &Report) -> String {
    let home = report.home.display();
    let memory = report
        .peak_memory_bytes
        .map(|bytes| format!(" and {} MiB of memory", bytes >> 20))
        .unwrap_or_default();
    let champion = report.rounds.last().and_then(|round| round.champion).unwrap_or("honest-1");
    let record = report.rounds.last().map(|round| round.record.as_str()).unwrap_or("none");
    format!(
        "The run took {:.0} s{memory}. Everything lies in {home}/
  competition.toml, tokenizer.json   the rules of this run, pinned
  hub/                               every published model
  validator-1/records/               what validator-1 measured, round by round
  last record                        {record}

Try next
  agon replay --home {home}           derive every record again
  agon check --model {home}/{champion}/published --competition {home}/competition.toml
  agon demo --seed 2                  other keys, other text, another story
  agon demo --corpus my-texts/        compete on your own text
  agon demo --miner my-model/         with a model of your own as one more miner
  agon demo --competition my.toml     by rules of your own
",
        report.wall_seconds
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::demo::report::{Earning, Tempo};
    use protocol::{
        Uid,
        competition::Epsilon,
        duel::{self, DuelRules, Interval, Strength},
    };
    use std::{collections::BTreeMap, path::PathBuf};
    use validator::Fought;

    /// A champion of a round and its perplexity.
    type Reigned = (Option<&'static str>, Option<f64>);

    /// A report of rounds ten blocks apart.
    fn report(rounds: &[Reigned]) -> Report {
        let round = |(index, (champion, perplexity)): (usize, &Reigned)| Round {
            block: 40 + 10 * index as u64,
            champion_uid: champion.map(uid_of),
            champion: *champion,
            perplexity: *perplexity,
            record: "sha256:0".to_owned(),
            validators: Vec::new(),
            models: Vec::new(),
        };
        Report {
            seed: 1,
            corpus: "generated".to_owned(),
            duels: None,
            epsilon: Epsilon::Fixed { value: 0.005 },
            rounds: rounds.iter().enumerate().map(round).collect(),
            tempos: Vec::new(),
            earnings: Vec::new(),
            n_crown_changes: 1,
            entropy_perplexity: None,
            wall_seconds: 1.0,
            peak_memory_bytes: None,
            home: PathBuf::from("home"),
        }
    }

    fn uid_of(name: &str) -> u16 {
        name.bytes().map(u16::from).sum()
    }

    fn model(uid: u16, role: &'static str) -> ModelRow {
        ModelRow {
            uid,
            role,
            commit_block: 12_345,
            outcome: "evaluated",
            reason: None,
            perplexity: Some(9.87654),
            merit: Merit::Counts,
            wins: 3,
            win_rate: 0.75,
            weight: 0.5,
            average: 0.5,
            duel: None,
        }
    }

    fn widest(text: &str) -> usize {
        text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
    }

    /// The rows of a chart, without what stands left of them.
    fn rows(chart: &str) -> Vec<&str> {
        chart.lines().filter_map(|line| line.split_once("│ ").map(|(_, row)| row)).collect()
    }

    #[test]
    fn a_champion_below_the_optimum_of_the_last_round_is_drawn_below_it() {
        // One round, and an optimum far above, just above, and equal.
        for optimum in [1_000.0, 10.000001, 10.0] {
            let one = [(Some("honest-1"), Some(10.0))];
            let report = Report { entropy_perplexity: Some(optimum), ..report(&one) };
            let chart = chart(&report);
            assert_eq!(rows(&chart).len(), CHART_ROWS, "{chart}");
            assert!(rows(&chart).concat().contains('1'), "{chart}");
        }
        let two = [(Some("honest-1"), Some(8.0)), (Some("rebaser"), Some(4.0))];
        let report = Report { entropy_perplexity: Some(6.0), ..report(&two) };
        let chart = chart(&report);
        let at = |letter: char| rows(&chart).iter().position(|row| row.contains(letter)).unwrap();
        assert!(at('1') < at('·') && at('·') < at('R'), "{chart}");
        assert!(chart.contains("    8.00 │") && chart.contains("    4.00 │"), "{chart}");
    }

    #[test]
    fn as_many_rounds_as_a_demo_may_have_fit_a_narrow_terminal() {
        for n in [1, 2, 59, 60, 61, 100, 119, 120, 121, 999, 1_000] {
            let rounds: Vec<_> = (0..n)
                .map(|index| {
                    let role = if index + 1 == n { "rebaser" } else { "honest-1" };
                    (Some(role), Some(50.0 / (1.0 + index as f64 / 100.0)))
                })
                .collect();
            let report = Report { entropy_perplexity: Some(2.0), ..report(&rounds) };
            let chart = chart(&report);
            assert!(widest(&chart) <= N_COLUMNS, "{n} rounds: {chart}");
            let letters = rows(&chart).concat();
            let n_drawn = letters.chars().filter(|c| matches!(c, '1' | 'R')).count();
            assert_eq!(n_drawn, n.min(CHART_COLUMNS), "{n} rounds: {chart}");
            assert_eq!(letters.matches('R').count(), 1, "the last is there: {chart}");
            let says = chart.contains("60 of ");
            assert_eq!(says, n > CHART_COLUMNS, "{chart}");
        }
        let ends: Vec<usize> = thinned(&(0..1_000).collect::<Vec<_>>());
        assert_eq!((ends[0], ends[CHART_COLUMNS - 1]), (0, 999));
        assert!(ends.is_sorted_by(|a, b| a < b), "no round twice: {ends:?}");
    }

    #[test]
    fn a_chart_without_a_champion_or_without_a_slope_is_one_all_the_same() {
        let none = chart(&report(&[(None, None), (None, None)]));
        assert!(none.contains("no round had a champion"), "{none}");
        let flat = chart(&report(&[(Some("honest-1"), Some(7.0)); 3]));
        assert!(rows(&flat).iter().filter(|row| row.contains('1')).count() == 1, "{flat}");
        // Whoever nobody wants to measure keeps its last figure; another champion has none.
        let kept =
            [(Some("honest-1"), Some(7.0)), (Some("honest-1"), None), (Some("broken"), None)];
        let kept = report(&kept);
        let known: Vec<u64> = points(&kept).iter().map(|(round, _)| round.block).collect();
        assert_eq!(known, [40, 50]);
        let infinite = chart(&report(&[(Some("yours"), Some(f64::INFINITY)); 2]));
        assert!(widest(&infinite) <= N_COLUMNS, "{infinite}");
    }

    #[test]
    fn everybody_as_champion_is_named_within_a_narrow_terminal() {
        let names = ["honest-1", "honest-2", "rebaser", "copycat", "broken", "yours"];
        let rounds: Vec<_> = names.map(|name| (Some(name), Some(5.0))).into();
        let report = Report { entropy_perplexity: Some(4.5), ..report(&rounds) };
        let chart = chart(&report);
        assert!(widest(&chart) <= N_COLUMNS, "{chart}");
        for name in names.into_iter().chain(["· optimum 4.50"]) {
            assert!(chart.contains(name), "no {name}: {chart}");
        }
    }

    #[test]
    fn boards_list_champion_and_refused_within_a_narrow_terminal() {
        let mut report = report(&[(Some("rebaser"), Some(9.0))]);
        let refused = ModelRow {
            outcome: "disqualified",
            perplexity: None,
            merit: Merit::Absent,
            reason: Some("file-refused: ".to_owned() + &"a long word ".repeat(24)),
            ..model(255, "broken")
        };
        let duel = Fought {
            verdict: Some(duel::Verdict::Undecided),
            n_documents: 600,
            gain: -0.0123456,
            interval: Interval { low: -0.05, high: 0.02 },
            alpha: 1e-3,
            crown: Strength::Nothing,
            reject: Strength::Nothing,
        };
        let champion = uid_of("rebaser");
        report.rounds[0].models = vec![
            refused,
            ModelRow { duel: Some(duel), ..model(2, "honest-2") },
            ModelRow { merit: Merit::BeatenBy(Uid(champion)), ..model(1, "honest-1") },
            model(champion, "rebaser"),
        ];
        let incentive = BTreeMap::from([(champion, 1.0)]);
        let (block, champion_uid) = (60, Some(champion));
        report.tempos = vec![Tempo { block, champion_uid, champion_incentive: 1.0, incentive }];
        for board in [leaderboard(&report), duels(&report)] {
            assert!(widest(&board) <= N_COLUMNS, "{board}");
            let is_champion = |line: &&str| line.contains("← champion");
            let of_champion: Vec<&str> = board.lines().filter(is_champion).collect();
            assert_eq!(of_champion.len(), 1, "{board}");
            assert!(of_champion[0].contains("100.00 %"), "{board}");
            let words = board.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(words.matches("a long word").count(), 24, "no word is lost: {board}");
        }
        let first = |board: &str| board.lines().nth(3).unwrap().to_owned();
        assert!(first(&duels(&report)).contains("rebaser"), "the champion comes first");
        assert!(duels(&report).contains("-1 % (-5 to 2), undecided"), "{}", duels(&report));
        let last = leaderboard(&report).lines().position(|line| line.contains("disqualified"));
        assert_eq!(last, Some(6), "whoever has no figure comes last");
    }

    #[test]
    fn earnings_go_from_most_to_least_and_the_whole_is_told_by_its_rules() {
        let earning = |uid, role, dividends, tao| {
            let incentive = 0.25;
            Earning { uid, role, incentive, dividends, tao }
        };
        let earnings = vec![
            earning(3, "honest-1", 0.0, 0.5),
            earning(0, "validator-1", 0.5, 2.0),
            earning(1, "copycat", 0.0, 0.5),
        ];
        let mut report = Report { earnings, ..report(&[(Some("honest-1"), Some(3.0))]) };
        let told = super::earnings(&report);
        let names: Vec<&str> =
            told.lines().skip(2).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(names, ["validator-1", "copycat", "honest-1"], "{told}");
        assert!(told.contains(" 50.0 % of the validators' part"), "{told}");
        assert!(told.contains(" 25.0 % of the miners' part"), "{told}");
        assert!(!text(&report).contains("What the verdicts rest on"));
        report.duels = Some(DuelRules::default());
        assert!(text(&report).contains("What the verdicts rest on"));
    }
}
