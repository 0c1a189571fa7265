//! A model on its way to a commitment that validators find true.
//!
//! Whoever can list the files of a model can commit to them, so nobody can before the commitment
//! stands in a final block: the repo is private until then, and each model has one of its own.

use super::place::{Hubs, Place, SeenBy};
use crate::{
    args::AddressArgs,
    command::{
        chain::{Session, Signer, swapped},
        upload,
    },
    failure::{HintExt as _, Interrupted},
};
use anyhow::Context as _;
use chain::{Call, Chain as _, Keypair};
use hugging_face::{
    Folder,
    client::{RepoKind, Upload, Uploaded},
};
use protocol::{
    AccountId, Block, Commitment, Competition, Digest, Error, NetUid, Repo, Revision, Uid,
    commitment::COMMITMENT_BYTES_MAX,
    content::bound_hash,
    publication::{first_round, shown_round},
};
use serde::Serialize;
use std::{path::Path, sync::atomic::Ordering};

/// What became of a model that was entered.
#[derive(Serialize)]
pub struct Submitted {
    /// The subnet.
    pub netuid: NetUid,
    /// Slot of the hotkey.
    pub uid: Uid,
    /// The hotkey.
    pub hotkey: AccountId,
    /// Where the model is.
    pub repo: Repo,
    /// Which one it is.
    pub revision: Revision,
    /// Where people look at it.
    pub url: String,
    /// The text on the chain.
    pub commitment: String,
    /// Block of the commitment, from which on the model is in time.
    pub block: Block,
    /// Whether that block is final; nothing is published before it is.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Whether all was done before, and nothing now.
    pub already_submitted: bool,
    /// Block that seeds the first round that finds the model.
    pub measured_from_block: Block,
    /// Block that seeded the first round for which the model was public too late.
    pub missed_round: Option<Block>,
}

/// A hotkey that enters a model, whose files were judged and have this root.
pub struct Entrant<'a> {
    /// The chain.
    pub session: &'a Session<'a>,
    /// Who commits.
    pub hotkey: &'a Keypair,
    /// The subnet.
    pub netuid: NetUid,
    /// The hub.
    pub address: &'a AddressArgs,
    /// The competition that is entered.
    pub competition: &'a Competition,
    /// Where the model lies.
    pub dir: &'a Path,
    /// Its files.
    pub folder: &'a Folder,
    /// Root over them.
    pub root: &'a Digest,
    /// Where it goes; without it where the hotkey has committed to it already, or to a repo that is
    /// named by its files.
    pub repo: Option<&'a Repo>,
    /// Who may see it before the commitment is final.
    pub exposure: Exposure,
    /// Called right before a call that commits is signed; an error of it ends the submission.
    pub before_call: &'a dyn Fn() -> anyhow::Result<()>,
}

/// Who may see a model before its commitment is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Nobody.
    Hidden,
    /// Whoever sees the repo.
    Insisted,
}

/// A commitment of the hotkey to the model, in the state after a final block.
struct Standing {
    commitment: Commitment,
    block: Block,
}

impl Entrant<'_> {
    /// Uploads, commits, publishes; steps that are done already are not done again.
    pub fn submit(&self) -> anyhow::Result<Submitted> {
        let uid = self.slot()?;
        // Worth a word; what cannot be told now stops nothing.
        let swap = self.session.chain.swap_without_commitment(self.netuid, self.hotkey.public());
        if let Ok(Some(block)) = swap {
            eprintln!("{}", swapped(block));
        }
        let standing = self.standing()?;
        let hubs = Hubs::new(self.address)?;
        self.check_hub(&hubs)?;
        let repo = match (self.repo, &standing) {
            (Some(repo), _) => repo.clone(),
            // Another repo would need another commitment, and cost the age of this one.
            (None, Some(standing)) => standing.commitment.repo.clone(),
            (None, None) => hubs.own_repo(&self.competition.name, self.root)?,
        };
        check_length(self.hotkey, self.competition, &repo)?;
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
        let (netuid, hotkey) = (self.netuid, self.hotkey.public());
        let slot = self.session.chain.slot(netuid, hotkey).context("cannot read the slots")?;
        let missing = || anyhow::anyhow!("{hotkey} has no slot on subnet {netuid}");
        slot.ok_or_else(missing).hint("`agon chain register` buys a slot")
    }

    /// Refuses what the chain would refuse after the upload, when others can see the files and
    /// commit to them first. A commitment costs no fee, so a slot and the pace are all it takes.
    fn check_pace(&self) -> anyhow::Result<()> {
        let chain = &self.session.chain;
        let next = chain.next_commitment(self.netuid, self.hotkey.public());
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
        match oversight(self.session, hubs, self.address) {
            Some(question) => self.session.ask(&question).hint(
                "--hub or HF_ENDPOINT names a hub of your own, which `agon hub` runs; --yes goes on",
            ),
            None => Ok(()),
        }
    }

    /// Whether the hotkey has committed to this model, wherever that is.
    pub fn is_committed(&self) -> anyhow::Result<bool> {
        Ok(self.standing()?.is_some())
    }

    /// The commitment of the hotkey, if it is to this model, wherever that is.
    fn standing(&self) -> anyhow::Result<Option<Standing>> {
        let (chain, hotkey) = (&self.session.chain, self.hotkey.public());
        let head = chain.head().context("cannot read the newest block")?.block;
        let stored = chain.commitments(self.netuid, head);
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

    /// Uploads the model to where nobody sees it, and commits to it.
    fn commit_to(&self, place: &Place<'_>) -> anyhow::Result<Standing> {
        let Place { hubs, repo, .. } = *place;
        let session = self.session;
        self.check_pace()?;
        session
            .confirm(&format!("commit to `{repo}` on subnet {}", self.netuid), Signer::Hotkey)?;
        if self.exposure == Exposure::Hidden {
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
            self.dir.display()
        );
        if self.exposure == Exposure::Hidden {
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
        (self.before_call)()?;
        let call = Call::SetCommitment { netuid: self.netuid, data: text.into_bytes() };
        let included = self.session.include(&call, self.hotkey);
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
        let first = first_round(self.competition, *block);
        let missed_round = published.filter(|published| first <= *published).map(|_| first);
        let measured_from_block = match published {
            Some(published) if missed_round.is_some() => shown_round(self.competition, published),
            _ => first,
        };
        Ok(Submitted {
            netuid: self.netuid,
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

/// What to ask where a chain of one's own and a hub of everybody's look like an oversight.
pub fn oversight(session: &Session<'_>, hubs: &Hubs, address: &AddressArgs) -> Option<String> {
    let (chain, hub) = (session.chain.url(), hubs.own.endpoint());
    if session.is_public() || address.hub.is_some() || is_near(hub) {
        return None;
    }
    Some(format!("publish on `{hub}` what is entered on a chain of your own, `{chain}`?"))
}

/// Refuses a repo whose name leaves no room for the rest of a commitment.
pub fn check_length(
    hotkey: &Keypair,
    competition: &Competition,
    repo: &Repo,
) -> anyhow::Result<()> {
    // All revisions are of one length, and so are all roots.
    let revision: Revision = "0".repeat(40).parse()?;
    let (root, hotkey) = (Digest([0; 32]), hotkey.public());
    let bound = Commitment::bound(repo, &revision, &root, &hotkey, competition.id);
    let size_bytes = match bound.to_text() {
        Ok(_) => return Ok(()),
        Err(Error::CommitmentTooLong { size_bytes, .. }) => size_bytes,
        Err(error) => return Err(error.into()),
    };
    let length = repo.to_string().len();
    let max = length.saturating_sub(size_bytes.saturating_sub(COMMITMENT_BYTES_MAX));
    Err(anyhow::anyhow!("`{repo}` has {length} characters, and a commitment has room for {max}"))
        .hint("--repo OWNER/NAME names a repo with a shorter name")
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::Seed;

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
    fn the_room_for_a_name_that_is_told_is_the_room_that_there_is() {
        let (hotkey, tiny) =
            (Keypair::from_seed(Seed::of_number(1)), Competition::builtin("tiny").unwrap());
        let checked = |length: usize| {
            let repo: Repo = format!("me/{}", "m".repeat(length - "me/".len())).parse().unwrap();
            check_length(&hotkey, &tiny, &repo)
        };
        let first = (4..90).find(|length| checked(*length).is_err()).unwrap();
        checked(first - 1).unwrap();
        for length in first..first + 8 {
            let error = checked(length).unwrap_err().to_string();
            let told =
                format!("has {length} characters, and a commitment has room for {}", first - 1);
            assert!(error.contains(&told), "{error}");
        }
        // A commitment to such a repo is in fact what the chain takes.
        let repo: Repo = format!("me/{}", "m".repeat(first - 1 - "me/".len())).parse().unwrap();
        let revision: Revision = "f".repeat(40).parse().unwrap();
        let root = Digest([0xff; 32]);
        let bound = Commitment::bound(&repo, &revision, &root, &hotkey.public(), tiny.id);
        let text = bound.to_text().unwrap();
        assert!(text.len() <= COMMITMENT_BYTES_MAX);
        assert_eq!(Commitment::parse(text.as_bytes()).unwrap(), bound);
    }
}
