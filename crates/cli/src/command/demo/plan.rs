//! What a user asked for, read and found fit before an earlier run makes room for it.

use super::{calendar::Calendar, cast::Role, home::Claim, pages, recipes, rules};
use crate::{args::DemoArgs, competition_file, contest::Contest, failure::HintExt as _, plug};
use protocol::{
    Competition,
    competition::{DatasetRules, TokenizerRules},
};
use std::path::{Path, PathBuf};

/// A run that can be set up; nothing was written yet.
pub struct Plan {
    /// The contest with its text.
    pub contest: Contest,
    /// When its rounds are.
    pub calendar: Calendar,
}

impl Plan {
    /// Reads rules, text and the user's own model, and looks whether the miners of a demo can enter
    /// and the address of the pages is free.
    pub fn new(args: &DemoArgs, claim: &Claim) -> anyhow::Result<Self> {
        if !claim.goes_on {
            for input in inputs(args)? {
                expect_outside(&args.home, &input)?;
            }
        }
        let (contest, calendar) = rules::contest(args)?;
        let roles = Role::cast(args.miner.as_deref());
        for role in roles.into_iter().filter(|role| role.trains()) {
            recipes::of(role, &contest.competition, &calendar)?;
        }
        if let Some(model) = &args.miner {
            admit(model, &contest.competition, args)?;
        }
        pages::expect_free(args.dashboard)?;
        Ok(Self { contest, calendar })
    }
}

/// All files and folders that a run reads.
fn inputs(args: &DemoArgs) -> anyhow::Result<Vec<PathBuf>> {
    let mut inputs: Vec<PathBuf> = args.miner.iter().chain(&args.corpus).cloned().collect();
    let Some(name) = &args.competition else { return Ok(inputs) };
    inputs.extend(competition_file::file(name));
    let rules = competition_file::rules(name)?;
    if let DatasetRules::Files { path, .. } = &rules.dataset {
        inputs.push(competition_file::path_in(name, path));
    }
    if let TokenizerRules::File { path, .. } = &rules.text.tokenizer {
        inputs.push(competition_file::path_in(name, path));
    }
    Ok(inputs)
}

/// Refuses what lies in the folder of an earlier run: it goes with that run before it was read to
/// its end, or is wanted again.
fn expect_outside(home: &Path, input: &Path) -> anyhow::Result<()> {
    let places = home.canonicalize().and_then(|home| Ok((home, input.canonicalize()?)));
    // What is not there is said by whoever reads it.
    let Ok((home, at)) = places else { return Ok(()) };
    if !at.starts_with(&home) {
        return Ok(());
    }
    let (input, home) = (input.display(), home.display());
    Err(anyhow::anyhow!("`{input}` lies in `{home}`, the folder of an earlier run that makes room"))
        .hint("copy it elsewhere, or name another folder with --home")
}

/// Refuses a model of the user's that no validator would measure.
fn admit(model: &Path, competition: &Competition, args: &DemoArgs) -> anyhow::Result<()> {
    let Err(reason) = plug::check(model, competition)? else { return Ok(()) };
    let (model, name) = (model.display(), args.competition.as_deref().unwrap_or("tiny"));
    let tokenizer = match (&args.competition, &args.corpus) {
        (Some(_), _) => {
            format!("text and tokenizer to train with: `agon data export {name} --to FOLDER`")
        }
        // The text is that of the run alone, and so is its tokenizer.
        (None, Some(_)) => {
            "the same demo without --miner leaves its tokenizer in --home".to_owned()
        }
        (None, None) => "with `--competition tiny` the text and the tokenizer to train with are \
             those of `agon data export tiny --to FOLDER`"
            .to_owned(),
    };
    Err(anyhow::anyhow!("the model in `{model}` would not be measured: {reason}"))
        .hint(format!("`agon check --model {model} --competition {name}` says more; {tokenizer}"))
}
