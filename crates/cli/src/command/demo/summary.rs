//! The end of a demo for people: curve, leaderboard, earnings, files, what to try next.

use super::{
    report::{ModelRow, Report, Round},
    words,
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

/// Loss of the network over time, as figure 2 of the paper: the champion's perplexity per round.
fn chart(report: &Report) -> String {
    let mut text = "Loss of the network: perplexity of the champion in each round\n\n".to_owned();
    let points = points(report);
    if points.is_empty() {
        return text + "  (no round had a champion)\n";
    }
    let values = points.iter().map(|(_, perplexity)| *perplexity);
    let bottom = values.clone().chain(report.entropy_perplexity).fold(f64::INFINITY, f64::min);
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
    let mut labels = String::new();
    for (index, (round, _)) in points.iter().enumerate() {
        let label = format!("{}", round.block);
        if labels.chars().count() <= index * step {
            let _ = write!(
                labels,
                "{:>width$}{label} ",
                "",
                width = index * step - labels.chars().count()
            );
        }
    }
    let _ = writeln!(text, "     block   {}", labels.trim_end());
    let mut names: Vec<&str> = points.iter().filter_map(|(round, _)| round.champion).collect();
    names.sort_unstable();
    names.dedup();
    let names: Vec<String> = names.iter().map(|name| format!("{} {name}", symbol(name))).collect();
    let _ = write!(text, "  {}", names.join("   "));
    if let Some(optimum) = report.entropy_perplexity {
        let _ = write!(text, "   · optimum {optimum:.2}, the entropy of the text");
    }
    let _ =
        writeln!(text, "\n  the crown changed hands {}", plural(report.n_crown_changes, "time"));
    text
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
        let _ = write!(text, "  {:>3}  {:<10} {:>6} ", model.uid, model.role, model.commit_block);
        let Some(perplexity) = model.perplexity else {
            let reason = model.reason.as_deref().unwrap_or("");
            let _ = writeln!(text, "{}: {reason}", model.outcome);
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
            "{perplexity:>10.3} {:>8.3} {:>7.4} {:>7.2} %  {standing}",
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
