//! `agon competition`: which competitions there are, their rules and their tokenizers.

mod accept;
mod by_heart;
mod check;
mod duels;
mod new;
mod offer;
mod pin;
mod propose;
mod publish;
mod published;

use crate::{
    args::{CompetitionArgs, CompetitionCommand, ShowCompetitionArgs},
    competition_file::{self, with_own_hint},
    rules_text,
    terminal::{self, print_json},
};
use indicatif::HumanCount;
use protocol::{Competition, Digest};
use serde::Serialize;
use std::{fmt::Write as _, process::ExitCode};

/// Rules with what follows from them.
#[derive(Serialize)]
struct Shown {
    digest: Digest,
    /// What the rules lack before anybody can draw text; absent if nothing.
    unpinned: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokenizer: Option<Written>,
    rules: Competition,
}

/// A tokenizer that was written.
#[derive(Serialize)]
struct Written {
    file: std::path::PathBuf,
    sha256: Digest,
    vocabulary: usize,
    /// The token that stands behind each document.
    end_of_text: u32,
}

impl From<Competition> for Shown {
    fn from(rules: Competition) -> Self {
        let (digest, unpinned) = (rules.digest(), rules_text::unpinned(&rules));
        Self { digest, unpinned, tokenizer: None, rules }
    }
}

/// Runs one command.
pub fn run(args: &CompetitionArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        CompetitionCommand::List(args) if args.json => {
            let all: Vec<Shown> = builtin()?.into_iter().map(Shown::from).collect();
            print_json(&all)
        }
        CompetitionCommand::List(_) => terminal::print(&list(&builtin()?)?),
        CompetitionCommand::Show(args) => show(args),
        CompetitionCommand::Pin(args) => pin::run(args),
        CompetitionCommand::New(args) => new::run(args),
        CompetitionCommand::Check(args) => return check::run(args),
        CompetitionCommand::Propose(args) => propose::run(args),
        CompetitionCommand::Publish(args) => publish::run(args),
        CompetitionCommand::Status(args) => published::run(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn builtin() -> anyhow::Result<Vec<Competition>> {
    Ok(Competition::builtin_names().map(Competition::builtin).collect::<Result<_, _>>()?)
}

/// A line for each, at most 80 columns wide.
fn list(competitions: &[Competition]) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    writeln!(text, "name      id  parameters      context  vocabulary  text")?;
    for competition in competitions {
        let limits = &competition.model;
        let [min, max] =
            [limits.n_parameters_min, limits.n_parameters_max].map(rules_text::parameters);
        let source = match rules_text::unpinned(competition) {
            Some(lack) => lack.to_owned(),
            None => rules_text::dataset(&competition.dataset),
        };
        let line = format!(
            "{:<8} {:>3}  {:<14} {:>8} {:>11}  {source}",
            competition.name,
            competition.id.to_string(),
            format!("{min} to {max}"),
            HumanCount(competition.text.sequence_length as u64).to_string(),
            HumanCount(competition.text.vocabulary() as u64).to_string(),
        );
        writeln!(text, "{}", line.trim_end())?;
    }
    writeln!(text, "\n`agon competition show NAME` prints the rules of one; the path of a")?;
    writeln!(text, "competition file works wherever a name does")?;
    Ok(text)
}

fn show(args: &ShowCompetitionArgs) -> anyhow::Result<()> {
    let mut shown = Shown::from(competition_file::rules(&args.competition)?);
    if let Some(file) = &args.tokenizer {
        let tokenizer = competition_file::contest(&args.competition, None)?.tokenizer;
        with_own_hint(tokenizer.save(file))?;
        shown.tokenizer = Some(Written {
            file: file.clone(),
            sha256: tokenizer.digest(),
            vocabulary: tokenizer.vocabulary(),
            end_of_text: tokenizer.end_of_text(),
        });
    }
    if args.json {
        return print_json(&shown);
    }
    if args.toml {
        return terminal::print(&competition_file::text(&args.competition)?);
    }
    terminal::print(&for_people(&shown, &args.competition)?)
}

fn for_people(shown: &Shown, name: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for (about, value) in rules_text::lines(&shown.rules) {
        writeln!(text, "{about:<14} {value}")?;
    }
    if let Some(lack) = shown.unpinned {
        writeln!(text, "\n{lack}: an organiser pins what everybody must have the same of before")?;
        writeln!(text, "the competition runs (`agon competition pin`)")?;
    }
    if let Some(written) = &shown.tokenizer {
        let Written { file, sha256, end_of_text, .. } = written;
        writeln!(text, "\nwrote the tokenizer to {}", file.display())?;
        writeln!(text, "  {sha256}, end of text {end_of_text}")?;
    }
    if shown.unpinned.is_none() {
        writeln!(text, "\nTry next")?;
        writeln!(
            text,
            "  agon data export {name} --to data/        its training text, in tokens, too"
        )?;
        writeln!(text, "  agon check --model DIR --competition {name}")?;
    }
    Ok(text)
}
