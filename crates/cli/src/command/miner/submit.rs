//! `agon miner submit`: from a folder to a commitment that validators find true.

use super::entrant::{Entrant, Exposure, Submitted};
use crate::{
    args::SubmitArgs,
    command::{chain::Session, check},
    competition_file,
    terminal::{self, print_json},
};
use hugging_face::{Folder, folder::LeftOut};
use protocol::{NetUid, Reason};
use serde::Serialize;
use std::process::ExitCode;

/// Exit code of a model that a validator would refuse.
const REFUSED: u8 = 1;

/// What is printed.
#[derive(Serialize)]
struct Report {
    competition: String,
    /// Why a validator would refuse the model; then nothing was submitted.
    refused: Option<Reason>,
    /// How to make a model of the folder, where its parameters have another form.
    hint: Option<&'static str>,
    /// What of the folder is no part of what is submitted, and why.
    left_out: Vec<LeftOut>,
    #[serde(flatten)]
    submitted: Option<Submitted>,
}

/// Checks, uploads, commits, publishes; steps that are done already are not done again.
pub fn run(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    let competition = competition_file::rules(&args.competition)?;
    anyhow::ensure!(args.dir.is_dir(), "`{}` is not a folder with a model", args.dir.display());
    let folder = Folder::of_model(&args.dir)?;
    let (code, refused, submitted) = match check::verdict(&folder, &args.dir, &competition)? {
        Err(reason) => (ExitCode::from(REFUSED), Some(reason), None),
        Ok(admission) => {
            let session = Session::open(&args.sign)?;
            let entrant = Entrant {
                session: &session,
                hotkey: &session.keys.hotkey()?,
                netuid: NetUid(args.netuid),
                address: &args.address,
                competition: &competition,
                dir: &args.dir,
                folder: &folder,
                root: &admission.file_root,
                repo: args.repo.as_ref(),
                exposure: match args.public_before_commitment {
                    true => Exposure::Insisted,
                    false => Exposure::Hidden,
                },
                before_call: &|| Ok(()),
            };
            (ExitCode::SUCCESS, None, Some(entrant.submit()?))
        }
    };
    let hint = folder.advice().filter(|_| refused.is_some());
    let left_out = folder.left_out().to_vec();
    let report = Report { competition: competition.name, refused, hint, left_out, submitted };
    if args.sign.endpoint.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people())?;
    }
    Ok(code)
}

impl Report {
    fn for_people(&self) -> String {
        let left_out = LeftOut::for_people(&self.left_out);
        let Some(submitted) = &self.submitted else {
            let reason = self.refused.as_ref().map(ToString::to_string).unwrap_or_default();
            let hint = self.hint.map_or(String::new(), |hint| format!("hint: {hint}\n"));
            return format!("{left_out}refused: {reason}\n{hint}nothing has left this machine\n");
        };
        let Submitted { netuid, uid, url, commitment, block, measured_from_block, .. } = submitted;
        let first = if submitted.already_submitted {
            "already submitted; nothing was to be done\n"
        } else {
            ""
        };
        let mut text = format!(
            "{left_out}{first}\
             admitted    validators will find nothing against it\n\
             committed   {commitment}\n\
             in block    {block}, which is final, by uid {uid}\n\
             published   {url}\n\
             measured    from the round of block {measured_from_block} on\n"
        );
        if let Some(missed) = submitted.missed_round {
            text += &format!(
                "missed      the round of block {missed}: validators that looked then may not have \
                 found the model,\n            and leave it out until you commit anew, which costs \
                 the age of this commitment:\n            agon chain commit \
                 --netuid {netuid} '{commitment}'\n"
            );
        }
        text
    }
}
