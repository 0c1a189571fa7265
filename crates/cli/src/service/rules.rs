//! Which competitions a service works for: those that are named, or those that the owner of its
//! subnet publishes.

use super::{
    go_on,
    setup::Place,
    story::{Story, Subject},
};
use crate::{
    args::ServiceArgs,
    competition_file,
    failure::hinted,
    owner_set::{Follower, Look, OWNER},
    terminal::shown,
};
use chain::{Chain as _, Head};
use protocol::{Block, Competition, Digest};
use std::{
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    thread,
    time::Duration,
};

/// How long it waits at once for what cannot be had, and how often before it asks again.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSES: u32 = 100;

/// Where the competitions of a service come from.
pub enum Rules {
    /// By their names.
    Named(Vec<String>),
    /// From the owner of the subnet.
    Owner(Box<Mutex<Follower>>),
}

impl Rules {
    /// Those that options name.
    pub fn of(names: &[String], service: &ServiceArgs) -> anyhow::Result<Self> {
        match names {
            [name] if name == OWNER => Self::of_owner(service),
            names if names.iter().any(|name| name == OWNER) => {
                anyhow::bail!("`{OWNER}` stands for all competitions: name no others beside it")
            }
            names => Ok(Self::Named(names.to_vec())),
        }
    }

    /// Those of the owner.
    pub fn of_owner(service: &ServiceArgs) -> anyhow::Result<Self> {
        let follower = Follower::open(&service.home, &service.owner)?;
        Ok(Self::Owner(Box::new(Mutex::new(follower))))
    }

    /// Looks what there is to begin with. What is kept will do where nothing else is to be had; and
    /// where the files of what holds are damaged, it waits for them: others have their notice.
    pub fn begin(
        &self,
        service: &ServiceArgs,
        place: &Place,
        stop: &AtomicBool,
    ) -> anyhow::Result<()> {
        let Self::Owner(follower) = self else { return Ok(()) };
        let story = Story::default();
        loop {
            let looked = match place.chain.head() {
                Ok(head) => {
                    story.block(head.block);
                    self.look(service, place, head)
                }
                Err(error) => Err(error.into()),
            };
            let (is_here, is_known) = {
                let follower = lock(follower);
                (follower.set().is_some(), follower.followed().held.is_some())
            };
            match looked {
                Err(error) if is_here => {
                    let told = shown(&format!("{error:#}"));
                    tracing::warn!("the owner's last competitions hold: {told}");
                    return Ok(());
                }
                Ok(()) if is_here => {
                    story.ends(Subject::Rules);
                    return Ok(());
                }
                Err(error) if is_known => story.trouble(Subject::Rules, &format!("{error:#}")),
                Err(error) => return Err(error),
                Ok(()) => return Err(none_published(place)),
            }
            if let Err(error) = story.pulse().write(&service.home) {
                tracing::debug!("cannot say how it stands: {error:#}");
            }
            pause(stop)?;
        }
    }

    /// Names of all competitions, for whoever opens them.
    pub fn names(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Named(names) => Ok(names.clone()),
            Self::Owner(follower) => lock(follower).files(),
        }
    }

    /// Digest of all competitions of the owner that hold; nothing where others are named.
    pub fn digest(&self) -> Option<Digest> {
        let Self::Owner(follower) = self else { return None };
        lock(follower).digest()
    }

    /// Digest of the rules of one competition of the owner at a block.
    pub fn digest_of(&self, competition: &str, at: Block) -> Option<Digest> {
        let Self::Owner(follower) = self else { return None };
        lock(follower).rules_of(competition, at).map(Competition::digest)
    }

    /// The name of one competition of the owner at a block, for whoever opens it.
    pub fn name_of(&self, competition: &str, at: Block) -> anyhow::Result<Option<String>> {
        let Self::Owner(follower) = self else { return Ok(None) };
        let follower = lock(follower);
        follower.rules_of(competition, at).map(|rules| follower.file(rules)).transpose()
    }

    /// Looks what the owner publishes.
    ///
    /// # Errors
    ///
    /// The newest competitions cannot be had, or are not taken; those of before hold.
    pub fn look(&self, service: &ServiceArgs, place: &Place, head: Head) -> anyhow::Result<()> {
        let Self::Owner(follower) = self else { return Ok(()) };
        let try_out = |names: &[String]| {
            let data = service.data.as_deref();
            names.iter().try_for_each(|name| competition_file::contest(name, data).map(drop))
        };
        lock(follower).look(&Look {
            chain: &place.chain,
            netuid: place.netuid,
            address: &service.address,
            head,
            try_out: &try_out,
        })
    }
}

/// Why there is nothing to begin with.
fn none_published(place: &Place) -> anyhow::Error {
    let netuid = place.netuid;
    hinted(
        anyhow::anyhow!("the owner of subnet {netuid} has no competitions here"),
        format!(
            "`agon competition status --netuid {netuid}` says what is published; `competitions` \
             names others"
        ),
    )
}

/// Waits for about a block, unless the service is told to end.
fn pause(stop: &AtomicBool) -> anyhow::Result<()> {
    for _ in 0..PAUSES {
        go_on(stop)?;
        thread::sleep(PAUSE);
    }
    go_on(stop)
}

fn lock(follower: &Mutex<Follower>) -> MutexGuard<'_, Follower> {
    follower.lock().unwrap_or_else(PoisonError::into_inner)
}
