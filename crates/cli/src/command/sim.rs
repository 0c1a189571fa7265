//! `agon sim`: seasons of strategies on virtual time.

use crate::{
    args::{CommonSimArgs, RunSimArgs, SimArgs, SimCommand, SweepSimArgs, ZooSimArgs},
    failure::{HintExt as _, hinted},
    input,
    terminal::{PatientBar, print, print_json},
};
use anyhow::Context as _;
use sim::{
    Attack, Effort, Interval, Rules, Scenario,
    report::{Payoff, Summary, gain_chart, quality_chart},
    svg::Chart,
};
use std::{path::Path, process::ExitCode};

/// Longest scenario file that is read.
const SIZE_BYTES_MAX: u64 = 1 << 20;
/// What the bar looks like to whoever waits.
const BAR: &str = "{bar:40} {pos}/{len} seasons, {eta} left {msg}";

/// Runs one command.
pub fn run(args: &SimArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        SimCommand::Run(args) => run_scenario(args),
        SimCommand::Zoo(args) => zoo(args),
        SimCommand::Sweep(args) => sweep(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// What a simulation is made of.
struct Setting {
    scenario: Scenario,
    rules: Vec<Rules>,
    effort: Effort,
}

fn setting(name: &str, common: &CommonSimArgs) -> anyhow::Result<Setting> {
    let mut scenario = scenario(name)?;
    if let Some(blocks) = common.blocks {
        scenario.blocks = blocks;
    }
    let rules = scenario.some_rules(&common.rules)?;
    let threads = common.threads.map_or_else(engine::n_processors, usize::from);
    Ok(Setting { scenario, rules, effort: Effort { seeds: common.seeds, threads } })
}

/// The scenario of a file, or of this name.
fn scenario(name: &str) -> anyhow::Result<Scenario> {
    let path = Path::new(name);
    if Scenario::builtin_names().any(|known| known == name) {
        return Ok(Scenario::builtin(name)?);
    }
    if !path.exists() && !name.contains(['/', '.']) {
        let known: Vec<&str> = Scenario::builtin_names().collect();
        let hint = format!("give the path of a file, or one of {}", known.join(", "));
        return Scenario::builtin(name).hint(hint);
    }
    let text = input::read_text(path, SIZE_BYTES_MAX)?;
    let hint = "docs/incentives.md lists the keys of a scenario";
    Scenario::from_toml(&text).with_context(|| input::name(path)).hint(hint)
}

/// Runs something that tells how many seasons of all are done.
fn with_bar<T>(work: impl FnOnce(sim::Progress<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let bar = PatientBar::new(BAR)?;
    let result = work(&|done, all| bar.set(done as u64, all as u64, String::new));
    bar.finish();
    result
}

fn run_scenario(args: &RunSimArgs) -> anyhow::Result<()> {
    let Setting { scenario, rules, effort } = setting(&args.scenario, &args.common)?;
    let summaries = with_bar(|progress| sim::run(&scenario, &rules, effort, progress))?;
    tell(&scenario, &summaries, &args.common)
}

fn sweep(args: &SweepSimArgs) -> anyhow::Result<()> {
    let Setting { scenario, rules, effort } = setting(&args.scenario, &args.common)?;
    let epsilons = &args.epsilon;
    let summaries = with_bar(|progress| sim::sweep(&scenario, &rules, epsilons, effort, progress))?;
    tell(&scenario, &summaries, &args.common)
}

fn zoo(args: &ZooSimArgs) -> anyhow::Result<()> {
    let Setting { scenario, rules, effort } = setting(&args.scenario, &args.common)?;
    let attacks = attacks(&args.attacks)?;
    let payoffs = with_bar(|progress| sim::zoo(&scenario, &rules, &attacks, effort, progress))?;
    draw(args.common.svg.as_deref(), || gain_chart(&payoffs))?;
    if args.common.json {
        return print_json(&payoffs);
    }
    print(&payoff_table(&payoffs))
}

/// The attacks of these names; without names, all.
fn attacks(names: &[String]) -> anyhow::Result<Vec<Attack>> {
    if names.is_empty() {
        return Ok(Attack::all());
    }
    let all: Vec<&str> = Attack::all().into_iter().map(Attack::name).collect();
    let of = |name: &String| {
        Attack::named(name).map_err(|nearest| {
            let hint = match nearest {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("there are {}", all.join(", ")),
            };
            hinted(anyhow::anyhow!("there is no attack `{name}`"), hint)
        })
    };
    names.iter().map(of).collect()
}

/// Draws a chart, if a file for it is named.
fn draw(path: Option<&Path>, chart: impl FnOnce() -> Chart) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let svg = chart().to_svg();
    disk::write(path, svg.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

fn tell(scenario: &Scenario, summaries: &[Summary], common: &CommonSimArgs) -> anyhow::Result<()> {
    draw(common.svg.as_deref(), || quality_chart(scenario, summaries))?;
    if common.json {
        return print_json(&summaries);
    }
    print(&format!("{}\n{}", summary_table(summaries), earnings_table(summaries)))
}

/// A share in percent with its interval.
fn percent(interval: &Interval) -> String {
    format!("{} ± {:.2} %", two_decimals(interval.mean * 100.0), interval.half_width * 100.0)
}

fn number(interval: &Interval) -> String {
    format!("{} ± {:.2}", two_decimals(interval.mean), interval.half_width)
}

/// A number with two decimals; what is shown as zero has no sign.
fn two_decimals(number: f64) -> String {
    let text = format!("{number:.2}");
    if text == "-0.00" { "0.00".to_owned() } else { text }
}

/// Columns as wide as their widest cell: the first `n_names` to the left, figures to the right.
fn table(head: &[&str], rows: &[Vec<String>], n_names: usize) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut out = String::new();
    for row in all() {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width.saturating_sub(cell.chars().count()));
            let padded = if column < n_names { cell.clone() + &space } else { space + cell };
            line += &padded;
            line += "  ";
        }
        out = out + line.trim_end() + "\n";
    }
    out
}

fn summary_table(summaries: &[Summary]) -> String {
    let head = [
        "rules",
        "right crown",
        "agreement",
        "crown changes",
        "hoarded",
        "to attackers",
        "final loss",
        "suspended",
    ];
    let row = |summary: &Summary| {
        vec![
            summary.rules.clone(),
            percent(&summary.right),
            percent(&summary.agreement),
            number(&summary.crowns),
            percent(&summary.hoarded),
            percent(&summary.paid_to_attackers),
            number(&summary.final_loss),
            summary.n_suspended.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = summaries.iter().map(row).collect();
    let n_rounds: u64 = summaries.iter().map(|summary| summary.n_rounds).sum();
    let n_models: u64 = summaries.iter().map(|summary| summary.n_models).sum();
    let table = table(&head, &rows, 1);
    format!("{table}\n{n_rounds} rounds of validators judged {n_models} models.\n")
}

fn earnings_table(summaries: &[Summary]) -> String {
    let mut rows = Vec::new();
    for summary in summaries {
        for (strategy, share) in &summary.strategies {
            rows.push(vec![(*strategy).to_owned(), summary.rules.clone(), percent(share)]);
        }
    }
    table(&["strategy", "rules", "paid of what miners are"], &rows, 2)
}

fn payoff_table(payoffs: &[Payoff]) -> String {
    let head = ["attack", "rules", "earned", "honest instead", "gain", "right crown", "agreement"];
    let row = |payoff: &Payoff| {
        vec![
            payoff.attack.to_owned(),
            payoff.rules.clone(),
            percent(&payoff.earned),
            percent(&payoff.honest),
            percent(&payoff.gain),
            percent(&payoff.right),
            percent(&payoff.agreement),
        ]
    };
    let rows: Vec<Vec<String>> = payoffs.iter().map(row).collect();
    table(&head, &rows, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["copy".to_owned(), "1.00 ± 0.50 %".to_owned()]];
        let expected = "attack           gain\ncopy    1.00 ± 0.50 %\n";
        assert_eq!(table(&["attack", "gain"], &rows, 1), expected);
    }

    #[test]
    fn what_is_shown_as_zero_has_no_sign() {
        let of = |mean: f64| percent(&Interval { mean, half_width: 0.0123, n: 3 });
        for (mean, told) in [
            (0.0, "0.00 ± 1.23 %"),
            (-0.0, "0.00 ± 1.23 %"),
            (-0.00004, "0.00 ± 1.23 %"),
            (-0.00006, "-0.01 ± 1.23 %"),
            (1.0, "100.00 ± 1.23 %"),
        ] {
            assert_eq!(of(mean), told, "{mean}");
        }
        assert_eq!(number(&Interval { mean: -0.001, half_width: 0.0, n: 1 }), "0.00 ± 0.00");
    }

    #[test]
    fn attacks_and_scenarios_that_are_not_there_are_named_with_what_helps() {
        assert_eq!(attacks(&[]).unwrap(), Attack::all());
        for known in Attack::all() {
            assert_eq!(attacks(&[known.name().to_owned()]).unwrap(), [known]);
            let mistyped = known.name().to_owned() + "x";
            let error = attacks(std::slice::from_ref(&mistyped)).unwrap_err();
            assert!(error.to_string().contains(&mistyped), "{error}");
            assert!(format!("{error:#?}").contains("did you mean `"), "{error:?}");
        }
        assert!(attacks(&["\u{1b}[2J".to_owned()]).is_err());
        for name in Scenario::builtin_names() {
            assert!(scenario(name).is_ok(), "{name}");
        }
        let error = format!("{:#?}", scenario("nowhere").unwrap_err());
        assert!(error.contains("nowhere") && error.contains("path of a file"), "{error}");
        let error = format!("{:#}", scenario("no/such.toml").unwrap_err());
        assert!(error.contains("cannot read `no/such.toml`"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        for (text, part) in [("x = ", "s.toml"), ("\n\nunheard = 1\n", "s.toml")] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", scenario(path.to_str().unwrap()).unwrap_err());
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn rows_with_names_of_every_script_stand_under_their_heads() {
        let cell = |text: &str| text.to_owned();
        let rows = [
            vec![cell("ä日"), cell("1 %")],
            vec![cell("a longer name"), cell("100 %")],
            vec![cell(""), cell("")],
        ];
        let told = table(&["name", "share of all"], &rows, 1);
        let lines: Vec<&str> = told.lines().collect();
        let widths: Vec<usize> = lines[..3].iter().map(|line| line.chars().count()).collect();
        assert_eq!(widths, [27, 27, 27], "figures end in one column: {told}");
        assert_eq!(lines[3], "", "no blanks at the end");
    }
}
