//! Finds and fetches the model that currently earns.

use crate::publish::told;
use anyhow::Context as _;
use chain::{Chain, StoredCommitment};
use hub::{Hub, intake::Intake};
use protocol::{
    AccountId, Block, Commitment, Competition, ContentHash, NetUid, Repo, Revision, Uid,
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    path::{Path, PathBuf},
};

/// The model with the highest incentive in its competition, as its owner committed to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Champion {
    /// Slot of the owner.
    pub uid: Uid,
    /// Key of the owner.
    pub hotkey: AccountId,
    /// Block of the commitment.
    pub block: Block,
    /// Where the model is.
    pub repo: Repo,
    /// Which one it is.
    pub revision: Revision,
    /// Hash of the files, bound to the owner.
    pub secure_hash: ContentHash,
}

/// The champion of `competition`: of those who are paid and have a commitment to it, whoever is
/// paid most.
///
/// A subnet may run several competitions, and its best paid miner may be in another one. `None`
/// while nobody in this one has earned anything. Ties go to the lower uid.
pub fn find_champion(
    chain: &dyn Chain,
    netuid: NetUid,
    competition: &Competition,
) -> Result<Option<Champion>, chain::Error> {
    let at = chain.head()?.block;
    let incentives = chain.rewards(netuid, at)?.incentives;
    let paid = |stored: &StoredCommitment| {
        incentives.get(usize::from(stored.uid.0)).copied().filter(|incentive| *incentive > 0)
    };
    let entered = chain.commitments(netuid, at)?.into_iter().filter_map(|stored| {
        let incentive = paid(&stored)?;
        let commitment = Commitment::parse(&stored.data).ok()?;
        // One that is older than its slot was made by whoever had the slot before.
        let counts = commitment.competition == competition.id && stored.block >= stored.registered;
        counts.then_some((incentive, stored, commitment))
    });
    let best = entered.min_by_key(|(incentive, stored, _)| (Reverse(*incentive), stored.uid));
    Ok(best.map(|(_, stored, commitment)| Champion {
        uid: stored.uid,
        hotkey: stored.hotkey,
        block: stored.block,
        repo: commitment.repo,
        revision: commitment.revision,
        secure_hash: commitment.secure_hash,
    }))
}

impl Champion {
    /// Downloads the model into the store under `models`, verified against the commitment; others
    /// that are there go, since a miner builds upon one at a time.
    ///
    /// `None` when the hub does not have exactly the committed bytes, or not within the limits:
    /// a miner that took them anyway would build on something no validator measured. Trouble of the
    /// hub is given in words; an `Err` is ours.
    pub fn fetch(
        &self,
        hub: &dyn Hub,
        competition: &Competition,
        models: &Path,
    ) -> anyhow::Result<Result<Option<PathBuf>, String>> {
        let commitment = Commitment {
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            secure_hash: self.secure_hash,
            competition: competition.id,
        };
        let intake = Intake::open(models)?;
        match intake.admit(hub, competition, self.hotkey, &commitment) {
            Ok(Ok(admitted)) => {
                let retained = intake.retain(&[admitted.file_root].into());
                retained.context("cannot delete the champions of before")?;
                Ok(Ok(Some(admitted.dir)))
            }
            Ok(Err(_)) => Ok(Ok(None)),
            Err(error) => told(error, format!("cannot fetch the champion `{}`", self.repo)),
        }
    }
}
