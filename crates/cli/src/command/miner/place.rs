//! Where a model goes on the hub, and who can see it there.

use crate::{
    args::AddressArgs,
    failure::{HintExt as _, Interrupted, hinted},
    hugging_face::{client, explained, stranger},
    terminal::spinner,
};
use anyhow::Context as _;
use hub::{Hub as _, content::file_root};
use hugging_face::{HubClient, client::RepoKind};
use protocol::{Digest, Repo, Revision};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// How often the hub is asked whether everybody sees what was made public.
const TICK: Duration = Duration::from_millis(200);
/// How many times, at most.
const N_TICKS_MAX: usize = 150;

/// What to do about a repo that everybody can see.
const WAYS_OUT: &str = "leave --repo away, or name one that is not there yet, and the model is \
                        private until the commitment is final; --public-before-commitment goes on \
                        all the same";

/// Who can see a repo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeenBy {
    /// It is not there, or not for us.
    Nobody,
    /// Whoever may read the private repos of its owner.
    Us,
    /// Whoever asks.
    Everybody,
}

/// A hub, asked with our token and without.
pub struct Hubs {
    /// Asks with our token.
    pub own: HubClient,
    /// Asks without a token: what it sees, everybody sees.
    stranger: HubClient,
}

impl Hubs {
    /// The hub of this address, or the one that the environment names.
    pub fn new(address: &AddressArgs) -> anyhow::Result<Self> {
        Ok(Self { own: client(address)?, stranger: stranger(address)? })
    }

    /// The repo of the token's user for the files of a root: another model goes to another repo, so
    /// that each is private until its own commitment is final.
    pub fn own_repo(&self, competition: &str, root: &Digest) -> anyhow::Result<Repo> {
        let user = self.own.user().map_err(explained);
        let user = user.context("cannot tell who you are on the hub")?;
        let digits: String = root.hex().chars().take(8).collect();
        Ok(format!("{user}/{competition}-{digits}").parse()?)
    }
}

/// A repo for a model.
pub struct Place<'a> {
    /// The hub.
    pub hubs: &'a Hubs,
    /// The repo.
    pub repo: &'a Repo,
    /// Root over the files of the model.
    pub root: &'a Digest,
}

impl Place<'_> {
    /// Who can see the repo.
    pub fn seen_by(&self) -> anyhow::Result<SeenBy> {
        let is_private = |hub: &HubClient| hub.is_private(RepoKind::Model, self.repo);
        if is_private(&self.hubs.stranger).map_err(explained)?.is_some() {
            return Ok(SeenBy::Everybody);
        }
        Ok(match is_private(&self.hubs.own).map_err(explained)? {
            None => SeenBy::Nobody,
            Some(true) => SeenBy::Us,
            // Such hubs show it to whoever has an account.
            Some(false) => SeenBy::Everybody,
        })
    }

    /// Whether the hub has the files of the root at a revision.
    pub fn holds(&self, revision: &Revision) -> anyhow::Result<bool> {
        self.lists(&self.hubs.own, revision)
    }

    /// Whether everybody finds the files of the root at a revision.
    pub fn shows(&self, revision: &Revision) -> anyhow::Result<bool> {
        self.lists(&self.hubs.stranger, revision)
    }

    fn lists(&self, hub: &HubClient, revision: &Revision) -> anyhow::Result<bool> {
        let files = hub.list(self.repo, revision).map_err(explained)?;
        Ok(files.is_some_and(|files| file_root(&files) == *self.root))
    }

    /// Makes sure that there is a repo and that it is private.
    pub fn hide(&self) -> anyhow::Result<()> {
        let Self { hubs, repo, .. } = self;
        let risk = "whoever watches it could commit to the same files first";
        match self.seen_by()? {
            SeenBy::Us => return Ok(()),
            SeenBy::Everybody => {
                return Err(anyhow::anyhow!("`{repo}` is public: {risk}")).hint(WAYS_OUT);
            }
            SeenBy::Nobody => {}
        }
        let made = hubs.own.create(RepoKind::Model, repo, true).map_err(explained);
        made.with_context(|| format!("cannot make `{repo}`"))?;
        match self.seen_by()? {
            SeenBy::Us => Ok(()),
            SeenBy::Everybody => Err(anyhow::anyhow!(
                "`{repo}` is public although it was to be private: {risk}"
            ))
            .hint(
                "look at the settings of the hub; --public-before-commitment goes on all the same",
            ),
            SeenBy::Nobody => {
                Err(anyhow::anyhow!("`{repo}` was made, but the hub does not show it to us"))
                    .hint("give a token that may read and write")
            }
        }
    }

    /// Refuses a repo that did not stay private while the model went there.
    pub fn check_hidden(&self) -> anyhow::Result<()> {
        if self.seen_by()? == SeenBy::Us {
            return Ok(());
        }
        let repo = self.repo;
        Err(anyhow::anyhow!("`{repo}` did not stay private: the model is not committed to"))
            .hint(WAYS_OUT)
    }

    /// Makes the repo public, and waits until everybody finds the model at a revision.
    pub fn publish(&self, revision: &Revision, stop: &AtomicBool) -> anyhow::Result<()> {
        const AGAIN: &str =
            "validators cannot fetch the model until it is public: give the same command again";
        let Self { hubs, repo, .. } = self;
        let published = hubs.own.set_private(RepoKind::Model, repo, false).map_err(explained);
        published
            .with_context(|| format!("committed, but cannot make `{repo}` public"))
            .hint(AGAIN)?;
        let bar = spinner("waiting for the hub to show the model to everybody");
        let mut shown = self.shows(revision);
        for _ in 0..N_TICKS_MAX {
            if !matches!(shown, Ok(false)) {
                break;
            }
            if stop.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                return Err(Interrupted.into());
            }
            std::thread::sleep(TICK);
            shown = self.shows(revision);
        }
        bar.finish_and_clear();
        if shown.context("committed, but cannot see whether the model is public").hint(AGAIN)? {
            return Ok(());
        }
        let hidden = "is committed to and made public, but the hub does not show it to everybody";
        Err(hinted(anyhow::anyhow!("the model in `{repo}` {hidden}"), AGAIN))
    }
}
