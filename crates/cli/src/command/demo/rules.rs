//! Which competition a demo runs: that of the program, or the user's own.

use super::calendar::Calendar;
use crate::contest::{Contest, TOKENIZER_FILE};
use crate::{args::DemoArgs, competition_file, failure::HintExt as _};
use anyhow::Context as _;
use dataset::{
    Source, Split, Tokenizer,
    source::{FilesSource, GeneratedSource},
};
use protocol::{Block, BlockHash, Competition, competition::DatasetRules};
use std::{fs, io::ErrorKind, path::Path, sync::Arc};

/// Architecture that the miners of a demo train.
const ARCHITECTURE: &str = "llama";

/// The competition with its text and tokenizer, all pinned, and when its rounds are; nothing is
/// written.
pub fn contest(args: &DemoArgs) -> anyhow::Result<(Contest, Calendar)> {
    let mut contest = match &args.competition {
        Some(name) => own(name)?,
        None => tiny(args)?,
    };
    let calendar = Calendar::new(&contest.competition, args.rounds, args.steps).hint(
        "change the competition file; `agon competition show tiny --toml` has small numbers",
    )?;
    contest.competition.from_block = calendar.first_seed;
    // No round begins while the weights of the last are still hidden.
    contest.competition.until_block = Some(calendar.last_seed() + 1);
    contest.pin();
    contest.competition.check()?;
    // Better now than at the first round: the same documents are there whatever the seed.
    contest
        .draw(Block(0), BlockHash([0; 32]))
        .hint("a competition needs more text; a megabyte is plenty")?;
    Ok((contest, calendar))
}

/// Writes rules and tokenizer of a run into its home folder; a run that goes on has these rules,
/// and no others.
pub fn keep(home: &Path, contest: &Contest) -> anyhow::Result<()> {
    keep_rules(&home.join("competition.toml"), &toml::to_string(&contest.competition)?)?;
    // After the rules: a text that has changed since must not take the place of this run's.
    Ok(contest.tokenizer.save(&home.join(TOKENIZER_FILE))?)
}

fn keep_rules(path: &Path, rules: &str) -> anyhow::Result<()> {
    match fs::read_to_string(path) {
        Ok(before) if before == rules => Ok(()),
        Ok(_) => Err(anyhow::anyhow!(
            "rules or text are others than when this run began: `{}`",
            path.display()
        ))
        .hint("put them back to go on, or begin another run with --home"),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            fs::write(path, rules).with_context(|| format!("cannot write `{}`", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

/// The competition called `name`, if the miners of a demo can enter it.
fn own(name: &str) -> anyhow::Result<Contest> {
    let rules = competition_file::rules(name)?;
    let admitted = &rules.model.architectures;
    if !admitted.iter().any(|admitted| admitted == ARCHITECTURE) {
        return Err(anyhow::anyhow!(
            "competition `{}` does not admit `{ARCHITECTURE}`, which the miners of a demo train",
            rules.name
        ))
        .hint("add it to `architectures` under [model]");
    }
    let mut contest = competition_file::contest(name, None)?;
    // The file of this run lies in another folder.
    if let DatasetRules::Files { path, .. } = &mut contest.competition.dataset {
        *path = competition_file::path_in(name, path).display().to_string();
    }
    Ok(contest)
}

/// Has a round take as many documents as a small text has, each in a sequence of its own: whole
/// looks of duels, and no fewer than they begin with.
fn fit(competition: &mut Competition, n_documents: usize) {
    let Some(duels) = competition.scoring.duel_rules() else { return };
    let [per_look, least] =
        [duels.n_documents_per_look, duels.n_documents_min].map(|n| n.max(1) as usize);
    let whole = (n_documents / per_look * per_look).max(least.next_multiple_of(per_look));
    let evaluation = &mut competition.evaluation;
    evaluation.n_batches = evaluation.n_batches.min(whole);
}

/// The competition `tiny` on generated text or the user's.
fn tiny(args: &DemoArgs) -> anyhow::Result<Contest> {
    let mut competition = Competition::builtin("tiny")?;
    let source: Arc<dyn Source> = match &args.corpus {
        Some(path) => {
            let source = FilesSource::open(path).hint(
                "the corpus is UTF-8 text: a file, or a folder of .txt, .md and .jsonl files",
            )?;
            competition.dataset =
                DatasetRules::Files { path: path.display().to_string(), sha256: None };
            fit(&mut competition, source.n_documents(Split::Evaluation) as usize);
            Arc::new(source)
        }
        None => {
            competition.dataset = DatasetRules::Generated { world: args.seed };
            Arc::new(GeneratedSource::new(args.seed))
        }
    };
    let vocabulary = competition.text.vocabulary();
    let tokenizer = Tokenizer::train(&*source, vocabulary).context("cannot train the tokenizer")?;
    Ok(Contest { competition, source, tokenizer: Arc::new(tokenizer) })
}
