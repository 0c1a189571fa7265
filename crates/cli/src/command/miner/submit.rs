//! `agon miner submit`: from a folder to a commitment that validators find true.
//!
//! Whoever can list the files of a model can commit to them, so nobody can before the commitment
//! stands in a final block: the repo is private until then, and each model has one of its own.

use super::place::{Hubs, Place, SeenBy};
use crate::{
    args::SubmitArgs,
    command::{
        chain::{Session, Signer},
        check, upload,
    },
    competition_file,
    failure::{HintExt as _, Interrupted},
    terminal::{self, print_json},
};
use anyhow::Context as _;
use chain::{Call, Chain as _, Keypair};
use hugging_face::client::{RepoKind, Upload, Uploaded};
use hugging_face::{Folder, folder::LeftOut};
use protocol::{
    AccountId, Block, Commitment, Competition, Digest, Error, NetUid, Reason, Repo, Revision, Uid,
    commitment::COMMITMENT_BYTES_MAX, content::bound_hash,
};
use serde::Serialize;
use std::{process::ExitCode, sync::atomic::Ordering};

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

#[derive(Serialize)]
struct Submitted {
    netuid: NetUid,
    uid: Uid,
    hotkey: AccountId,
    repo: Repo,
    revision: Revision,
    url: String,
    commitment: String,
    /// Block of the commitment, from which on the model is in time.
    block: Block,
    /// Whether that block is final; nothing is published before it is.
    #[serde(rename = "final")]
    is_final: bool,
    /// Whether all was done before, and nothing now.
    already_submitted: bool,
    /// Block that seeds the first round that finds the model.
    measured_from_block: Block,
    /// Block that seeded the first round for which the model was public too late.
    missed_round: Option<Block>,
}

/// Checks, uploads, commits, publishes; steps that are done already are not done again.
pub fn run(args: &SubmitArgs) -> anyhow::Result<ExitCode> {
    let competition = competition_file::rules(&args.competition)?;
    anyhow::ensure!(args.dir.is_dir(), "`{}` is not a folder with a model", args.dir.display());
    let folder = Folder::of_model(&args.dir)?;
    let (code, refused, submitted) = match check::verdict(&folder, &args.dir, &competition)? {
        Err(reason) => (ExitCode::from(REFUSED), Some(reason), None),
        Ok(root) => {
            let session = Session::open(&args.sign)?;
            let hotkey = session.keys.hotkey()?;
            let (competition, root) = (&competition, &root);
            let entrant = Entrant { args, folder: &folder, session, hotkey, competition, root };
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

/// A hotkey that enters a model, whose files were judged and have this root.
struct Entrant<'a> {
    args: &'a SubmitArgs,
    folder: &'a Folder,
    session: Session<'a>,
    hotkey: Keypair,
    competition: &'a Competition,
    root: &'a Digest,
}

/// A commitment of the hotkey to the model, in the state after a final block.
struct Standing {
    commitment: Commitment,
    block: Block,
}

impl Entrant<'_> {
    fn submit(&self) -> anyhow::Result<Submitted> {
        let uid = self.slot()?;
        let standing = self.standing()?;
        let hubs = Hubs::new(&self.args.address)?;
        self.check_hub(&hubs)?;
        let repo = match (&self.args.repo, &standing) {
            (Some(repo), _) => repo.clone(),
            // Another repo would need another commitment, and cost the age of this one.
            (None, Some(standing)) => standing.commitment.repo.clone(),
            (None, None) => hubs.own_repo(&self.competition.name, self.root)?,
        };
        self.check_length(&repo)?;
        let place = Place { hubs: &hubs, repo: &repo, root: self.root };
        let standing = match standing.filter(|standing| standing.commitment.repo == repo) {
            Some(standing) if place.holds(&standing.commitment.revision)? => Some(standing),
            _ => None,
        };
        if let Some(standing) = &standing
            && place.shows(&standing.commitment.revision)?
        {
            return self.submitted(uid, &place, standing, None);
        }
        let standing = match standing {
            Some(standing) => standing,
            None => self.commit_to(&place)?,
        };
        self.check_stop()?;
        place.publish(&standing.commitment.revision, self.session.stop())?;
        let head = self.session.chain.head().context("the model is submitted and public")?;
        self.submitted(uid, &place, &standing, Some(head.block))
    }

    /// Ends what the user wants to end.
    fn check_stop(&self) -> anyhow::Result<()> {
        if self.session.stop().load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
    }

    /// The slot of the hotkey.
    fn slot(&self) -> anyhow::Result<Uid> {
        let (netuid, hotkey) = (self.netuid(), self.hotkey.public());
        let slot = self.session.chain.slot(netuid, hotkey).context("cannot read the slots")?;
        let missing = || anyhow::anyhow!("{hotkey} has no slot on subnet {netuid}");
        slot.ok_or_else(missing).hint("`agon chain register` buys a slot")
    }

    /// Refuses what the chain would refuse after the upload, when others can see the files and
    /// commit to them first. A commitment costs no fee, so a slot and the pace are all it takes.
    fn check_pace(&self) -> anyhow::Result<()> {
        let chain = &self.session.chain;
        let next = chain.next_commitment(self.netuid(), self.hotkey.public());
        let next = next.context("cannot tell when the hotkey may commit again")?;
        let now = chain.head().context("cannot read the newest block")?.block;
        if next.0 <= now.0.saturating_add(1) {
            return Ok(());
        }
        Err(anyhow::anyhow!(
            "the hotkey has committed lately: the next commitment goes from block {next} on, and \
             this is block {now}; nothing was uploaded"
        ))
        .hint(format!("run this again from block {next} on"))
    }

    /// Asks where a chain of one's own and a hub of everybody's look like an oversight.
    fn check_hub(&self, hubs: &Hubs) -> anyhow::Result<()> {
        let (chain, hub) = (self.session.chain.url(), hubs.own.endpoint());
        if self.session.is_public() || self.args.address.hub.is_some() || is_near(hub) {
            return Ok(());
        }
        let question =
            format!("publish on `{hub}` what is entered on a chain of your own, `{chain}`?");
        let asked = self.session.ask(&question);
        asked.hint(
            "--hub or HF_ENDPOINT names a hub of your own, which `agon hub` runs; --yes goes on",
        )
    }

    fn netuid(&self) -> NetUid {
        NetUid(self.args.netuid)
    }

    /// The commitment of the hotkey, if it is to this model, wherever that is.
    fn standing(&self) -> anyhow::Result<Option<Standing>> {
        let (chain, hotkey) = (&self.session.chain, self.hotkey.public());
        let head = chain.head().context("cannot read the newest block")?.block;
        let stored = chain.commitments(self.netuid(), head);
        let stored = stored.context("cannot read the commitments")?;
        let Some(own) = stored.into_iter().find(|stored| stored.hotkey == hotkey) else {
            return Ok(None);
        };
        let id = self.competition.id;
        let hash = bound_hash(self.root, &hotkey, id);
        let is_ours = |found: &Commitment| found.secure_hash == hash && found.competition == id;
        let found = Commitment::parse(&own.data).ok().filter(is_ours);
        Ok(found.map(|commitment| Standing { commitment, block: own.block }))
    }

    /// What the hotkey commits to when the model is at a revision of a repo.
    fn bound(&self, repo: &Repo, revision: &Revision) -> Commitment {
        Commitment::bound(repo, revision, self.root, &self.hotkey.public(), self.competition.id)
    }

    /// Refuses a repo whose name leaves no room for the rest of a commitment.
    fn check_length(&self, repo: &Repo) -> anyhow::Result<()> {
        // All revisions are of one length.
        let revision: Revision = "0".repeat(40).parse()?;
        let size_bytes = match self.bound(repo, &revision).to_text() {
            Ok(_) => return Ok(()),
            Err(Error::CommitmentTooLong { size_bytes, .. }) => size_bytes,
            Err(error) => return Err(error.into()),
        };
        let length = repo.to_string().len();
        let max = length.saturating_sub(size_bytes.saturating_sub(COMMITMENT_BYTES_MAX));
        Err(anyhow::anyhow!(
            "`{repo}` has {length} characters, and a commitment has room for {max}"
        ))
        .hint("--repo OWNER/NAME names a repo with a shorter name")
    }

    /// Uploads the model to where nobody sees it, and commits to it.
    fn commit_to(&self, place: &Place<'_>) -> anyhow::Result<Standing> {
        let Place { hubs, repo, .. } = *place;
        let (args, session) = (self.args, &self.session);
        self.check_pace()?;
        session
            .confirm(&format!("commit to `{repo}` on subnet {}", args.netuid), Signer::Hotkey)?;
        if !args.public_before_commitment {
            place.hide()?;
        } else if place.seen_by()? == SeenBy::Everybody {
            eprintln!(
                "`{repo}` is public: whoever watches it can commit to the same files before the \
                 commitment is final"
            );
        }
        let upload = Upload { is_private: true, ..Upload::new(RepoKind::Model, repo, self.folder) };
        let (Uploaded { revision, .. }, _) = upload::shown(&hubs.own, upload, session.stop())?;
        anyhow::ensure!(
            place.holds(&revision)?,
            "the hub lists other files than `{}` holds; they may have changed meanwhile",
            args.dir.display()
        );
        if !args.public_before_commitment {
            place.check_hidden()?;
        }
        self.commit(&self.bound(repo, &revision))
    }

    /// Makes a commitment, and waits until it is final.
    fn commit(&self, commitment: &Commitment) -> anyhow::Result<Standing> {
        let text = commitment.to_text()?;
        let is_it = |standing: &Standing| standing.commitment == *commitment;
        if let Some(standing) = self.standing()?.filter(is_it) {
            return Ok(standing);
        }
        self.check_stop()?;
        let call = Call::SetCommitment { netuid: self.netuid(), data: text.into_bytes() };
        let included = self.session.include(&call, &self.hotkey);
        let standing = match &included {
            Err(error) if error.is::<Interrupted>() => None,
            // One that an earlier run sent may be what keeps this one out.
            _ => self.standing()?.filter(is_it),
        };
        match (standing, included) {
            (Some(standing), _) => Ok(standing),
            (None, Err(error)) => Err(error.context("the model is uploaded, but not committed to")),
            (None, Ok(_)) => Err(anyhow::anyhow!(
                "the hotkey has committed to something else meanwhile; the model is not public"
            )),
        }
    }

    /// The report on a model that was made public before the state after `published`; on one that
    /// was public before, without it.
    fn submitted(
        &self,
        uid: Uid,
        place: &Place<'_>,
        standing: &Standing,
        published: Option<Block>,
    ) -> anyhow::Result<Submitted> {
        let Standing { commitment, block } = standing;
        let Commitment { repo, revision, .. } = commitment;
        let first = seed_from(self.competition, counts_from(self.competition, *block));
        let missed_round = published.filter(|published| first <= *published).map(|_| first);
        let measured_from_block = match published {
            Some(published) if missed_round.is_some() => {
                seed_from(self.competition, Block(published.0.saturating_add(1)))
            }
            _ => first,
        };
        Ok(Submitted {
            netuid: self.netuid(),
            uid,
            hotkey: self.hotkey.public(),
            repo: repo.clone(),
            revision: revision.clone(),
            url: format!("{}/{repo}/tree/{revision}", place.hubs.own.endpoint()),
            commitment: commitment.to_text()?,
            block: *block,
            // What stands was read after a final block.
            is_final: true,
            already_submitted: published.is_none(),
            measured_from_block,
            missed_round,
        })
    }
}

/// Whether a hub is on this machine or in its network, by the address alone: it decides whether to
/// ask, and nothing else.
fn is_near(hub: &str) -> bool {
    let host = hub.split_once("://").map_or(hub, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => {
            address.is_loopback() || address.is_private() || address.is_unspecified()
        }
        Ok(std::net::IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unspecified()
        }
        // Names without a dot, and those that never leave a network.
        Err(_) => !name.contains('.') || name.ends_with(".local") || name.ends_with(".internal"),
    }
}

/// The first block whose round counts a commitment of `block`.
fn counts_from(competition: &Competition, block: Block) -> Block {
    let old_enough = block.0.saturating_add(competition.evaluation.commitment_age_min);
    Block(old_enough.max(competition.from_block))
}

/// The first block from `block` on that seeds a round.
fn seed_from(competition: &Competition, block: Block) -> Block {
    let every = competition.evaluation.blocks_per_round.max(1);
    Block(block.0.checked_next_multiple_of(every).unwrap_or(u64::MAX))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_of_ones_own_is_known_by_its_address() {
        for near in [
            "http://127.0.0.1:9950",
            "http://localhost:9950/x",
            "http://[::1]:9950",
            "http://hub:9950",
            "https://models.lab.local",
            "http://10.1.2.3",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in ["https://huggingface.co", "http://127.0.0.1.example.com", "https://8.8.8.8"] {
            assert!(!is_near(far), "{far}");
        }
    }

    #[test]
    fn a_commitment_counts_in_the_first_round_that_it_is_old_enough_for() {
        let mut tiny = Competition::builtin("tiny").unwrap();
        tiny.evaluation.blocks_per_round = 10;
        tiny.evaluation.commitment_age_min = 3;
        let first = |competition: &Competition, block| {
            seed_from(competition, counts_from(competition, Block(block))).0
        };
        for (block, seed) in [(1, 10), (7, 10), (8, 20), (10, 20), (17, 20), (18, 30)] {
            assert_eq!(first(&tiny, block), seed, "{block}");
        }
        tiny.from_block = 25;
        assert_eq!(first(&tiny, 1), 30);
        assert_eq!(first(&tiny, u64::MAX), u64::MAX);
    }
}
