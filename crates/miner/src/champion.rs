//! Finds and fetches the model that currently earns.

use anyhow::Context as _;
use chain::Chain;
use hub::{Hub, intake::Intake};
use protocol::{
    AccountId, Block, Commitment, Competition, ContentHash, NetUid, Repo, Revision, Uid,
};
use std::path::{Path, PathBuf};

/// The model with the highest incentive on the subnet, as its owner committed to it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// The champion of `competition`: of the miners with incentive, the one with the most.
///
/// `None` while nobody has earned anything, or when the winner's commitment is not for this
/// competition (any more). Ties go to the lower uid.
pub fn find_champion(
    chain: &dyn Chain,
    netuid: NetUid,
    competition: &Competition,
) -> anyhow::Result<Option<Champion>> {
    let metagraph = chain.metagraph(netuid).context("cannot read the metagraph")?;
    let commitments =
        chain.commitments(netuid, metagraph.block).context("cannot read the commitments")?;
    let earning = metagraph.neurons.iter().filter(|neuron| neuron.incentive > 0);
    let Some(best) = earning.min_by_key(|neuron| (std::cmp::Reverse(neuron.incentive), neuron.uid))
    else {
        return Ok(None);
    };
    let Some(stored) = commitments.iter().find(|stored| stored.hotkey == best.hotkey) else {
        return Ok(None);
    };
    let Ok(commitment) = Commitment::parse(&stored.data) else { return Ok(None) };
    if commitment.competition != competition.id {
        return Ok(None);
    }
    Ok(Some(Champion {
        uid: best.uid,
        hotkey: best.hotkey,
        block: stored.block,
        repo: commitment.repo,
        revision: commitment.revision,
        secure_hash: commitment.secure_hash,
    }))
}

impl Champion {
    /// Downloads the model into the store under `models`, verified against the commitment.
    ///
    /// `None` when the hub does not have exactly the committed bytes, or not within the limits:
    /// a miner that took them anyway would build on something no validator measured.
    pub fn fetch(
        &self,
        hub: &dyn Hub,
        competition: &Competition,
        models: &Path,
    ) -> anyhow::Result<Option<PathBuf>> {
        let commitment = Commitment {
            repo: self.repo.clone(),
            revision: self.revision.clone(),
            secure_hash: self.secure_hash,
            competition: competition.id,
        };
        let intake = Intake::open(models)?;
        let admitted = intake
            .admit(hub, competition, self.hotkey, &commitment)
            .with_context(|| format!("cannot fetch the champion `{}`", self.repo))?;
        Ok(admitted.ok().map(|admitted| admitted.dir))
    }
}
