//! `agon miner submit`: from a folder to a commitment that validators find true.

use crate::{
    args::SubmitArgs,
    command::{chain::Session, check, upload},
    competition_file,
    failure::HintExt as _,
    hugging_face::{client, explained},
    terminal::{self, print_json},
};
use anyhow::Context as _;
use chain::{Call, Chain as _, Metagraph};
use hub::{
    Hub as _, HubClient,
    client::{RepoKind, Upload},
};
use protocol::{AccountId, Block, Commitment, Competition, Digest, NetUid, Reason, Repo, Uid};
use serde::Serialize;
use std::process::ExitCode;

/// Exit code of a model that a validator would refuse.
const REFUSED: u8 = 1;

/// What is printed.
#[derive(Serialize)]
struct Report {
    competition: String,
    /// Why a validator would refuse the model; then there is nothing else.
    refused: Option<Reason>,
    #[serde(flatten)]
    submitted: Option<Submitted>,
}

#[derive(Serialize)]
struct Submitted {
    uid: Uid,
    hotkey: AccountId,
    repo: Repo,
    revision: String,
    url: String,
    commitment: String,
    /// Block of the commitment, from which on the model is in time.
    block: Block,
    /// Block after which rounds measure it.
    measured_from_block: Block,
}

/// Checks, uploads, commits, publishes; steps that are done already are not done again.
pub fn run(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    let competition = competition_file::rules(&args.competition)?;
    anyhow::ensure!(args.dir.is_dir(), "`{}` is not a folder with a model", args.dir.display());
    let (code, refused, submitted) = match check::verdict(&args.dir, &competition)? {
        Err(reason) => (ExitCode::from(REFUSED), Some(reason), None),
        Ok(root) => (ExitCode::SUCCESS, None, Some(submit(args, &competition, &root)?)),
    };
    let report = Report { competition: competition.name, refused, submitted };
    if args.sign.endpoint.json {
        print_json(&report)?;
    } else {
        terminal::print(&report.for_people())?;
    }
    Ok(code)
}

/// Submits the model whose files were judged and have this root.
fn submit(
    args: &SubmitArgs,
    competition: &Competition,
    root: &Digest,
) -> anyhow::Result<Submitted> {
    let session = Session::open(&args.sign)?;
    let (hotkey, netuid) = (session.keys.hotkey()?, NetUid(args.netuid));
    let metagraph = session.chain.metagraph(netuid).context("cannot read the metagraph")?;
    let uid = slot(&metagraph, hotkey.public())?;
    let hub = client(args.hub.as_deref())?;
    let repo = match &args.repo {
        Some(repo) => repo.clone(),
        None => own_repo(&hub, competition)?,
    };
    session.confirm(&format!("commit to `{repo}` on subnet {netuid}"))?;
    let is_public = hub.is_private(RepoKind::Model, &repo).map_err(explained)? == Some(false);
    let before = hub.latest(&repo).map_err(explained)?;
    let upload = Upload { is_private: true, ..Upload::new(RepoKind::Model, &repo, &args.dir) };
    let (revision, _) = upload::shown(&hub, upload, session.stop())?;
    if is_public && before.as_ref() != Some(&revision) {
        eprintln!("`{repo}` is public: the model can be seen before the commitment is final");
    }
    let commitment = miner::commitment_to(&hub, &repo, &revision, hotkey.public(), competition)?;
    anyhow::ensure!(
        commitment == Commitment::bound(&repo, &revision, root, &hotkey.public(), competition.id),
        "the hub lists other files than `{}` holds; they may have changed meanwhile",
        args.dir.display()
    );
    let text = commitment.to_text()?;
    let block = match standing(&session, netuid, hotkey.public(), &text)? {
        Some(block) => block,
        None => {
            let call = Call::SetCommitment { netuid, data: text.clone().into_bytes() };
            let included = session.include(call, &hotkey);
            included.context("the model is uploaded, but not committed to")?.1
        }
    };
    let published = hub.set_private(RepoKind::Model, &repo, false).map_err(explained);
    published
        .context("committed, but cannot make the repo public")
        .hint("validators cannot fetch the model until it is: give the same command again")?;
    Ok(Submitted {
        uid,
        hotkey: hotkey.public(),
        url: format!("{}/{repo}/tree/{revision}", hub.endpoint()),
        repo,
        revision: revision.to_string(),
        commitment: text,
        block,
        measured_from_block: Block(block.0 + competition.evaluation.commitment_age_min),
    })
}

/// The slot of a hotkey.
fn slot(metagraph: &Metagraph, hotkey: AccountId) -> anyhow::Result<Uid> {
    let neuron = metagraph.neurons.iter().find(|neuron| neuron.hotkey == hotkey);
    let missing = || anyhow::anyhow!("{hotkey} has no slot on subnet {}", metagraph.netuid);
    Ok(neuron.ok_or_else(missing).hint("`agon chain register` buys a slot")?.uid)
}

/// The repo of the token's user that is called like the competition.
fn own_repo(hub: &HubClient, competition: &Competition) -> anyhow::Result<Repo> {
    let user = hub.user().map_err(explained).context("cannot tell whose token HF_TOKEN is")?;
    Ok(format!("{user}/{}", competition.name).parse()?)
}

/// The block of the commitment of `hotkey`, if it is this one.
fn standing(
    session: &Session<'_>,
    netuid: NetUid,
    hotkey: AccountId,
    text: &str,
) -> anyhow::Result<Option<Block>> {
    let head = session.chain.metagraph(netuid).context("cannot read the metagraph")?.block;
    let stored = session.chain.commitments(netuid, head).context("cannot read the commitments")?;
    let own = stored.iter().find(|stored| stored.hotkey == hotkey);
    Ok(own.filter(|own| own.data == text.as_bytes()).map(|own| own.block))
}

impl Report {
    fn for_people(&self) -> String {
        let Some(submitted) = &self.submitted else {
            let reason = self.refused.as_ref().map(ToString::to_string).unwrap_or_default();
            return format!("refused: {reason}\nnothing has left this machine\n");
        };
        let Submitted { uid, url, commitment, block, measured_from_block, .. } = submitted;
        format!(
            "admitted    validators will find nothing against it\n\
             published   {url}\n\
             committed   {commitment}\n\
             in block    {block}, by uid {uid}; rounds measure it from block \
             {measured_from_block} on\n"
        )
    }
}
