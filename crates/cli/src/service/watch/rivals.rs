//! Models that stand in the way of ours: fetched from the hub, judged and measured as validators
//! do it, since they are strangers'.

use super::judge::Whose;
use crate::terminal::shown;
use anyhow::Context as _;
use chain::{Chain, StoredCommitment};
use miner::find_champion;
use protocol::{
    AccountId, Block, Commitment, Competition, ContentHash, NetUid, Reason, SequenceLoss,
};
use std::collections::BTreeMap;
use validator::{
    Admission, Ask, Committed, Evaluate as _, FetchedModels, Had, Models as _, Terms, Trouble,
};

/// Admissions that are remembered while the process lives.
const KNOWN_MAX: usize = 64;

/// Models of others, in a folder of their own.
pub struct Rivals {
    models: FetchedModels,
    known: BTreeMap<ContentHash, Admission>,
}

/// A model that stands in the way, and is here.
#[derive(Clone, Debug)]
pub struct Rival {
    /// Whose it is.
    pub whose: Whose,
    /// Block of its commitment.
    pub block: Block,
    /// What it is.
    pub admission: Admission,
}

/// Who enters what.
#[derive(Clone, Copy)]
pub struct Ours<'a> {
    /// The subnet.
    pub netuid: NetUid,
    /// Our key.
    pub hotkey: AccountId,
    /// The competition.
    pub competition: &'a Competition,
}

/// A commitment that may stand in the way.
struct Named {
    whose: Whose,
    block: Block,
    committed: Committed,
}

impl Rivals {
    /// Rivals that come from a hub.
    pub fn new(models: FetchedModels) -> Self {
        Self { models, known: BTreeMap::new() }
    }

    /// Whoever wears the crown by what the chain pays, and our own model where it is another; both
    /// are here then. Models that validators would refuse stand in nobody's way.
    ///
    /// # Errors
    ///
    /// Trouble of the chain, of the hub or of ours: then nothing is known of who would win.
    pub fn find(&mut self, chain: &dyn Chain, ours: Ours<'_>) -> anyhow::Result<Vec<Rival>> {
        let mut found = Vec::new();
        for Named { whose, block, committed } in named(chain, ours)? {
            if let Some(admission) = self.have(ours.competition, whose, &committed)? {
                found.push(Rival { whose, block, admission });
            }
        }
        let roots = found.iter().map(|rival| rival.admission.file_root).collect();
        self.models.retain(&roots).context("cannot delete the rivals of before")?;
        Ok(found)
    }

    /// What a model is, which is here then; `None` for one that a validator would refuse.
    fn have(
        &mut self,
        competition: &Competition,
        whose: Whose,
        committed: &Committed,
    ) -> anyhow::Result<Option<Admission>> {
        let hash = committed.commitment.secure_hash;
        let terms = Terms { known: self.known.get(&hash), bytes_max: u64::MAX };
        let had = self.models.have(competition, committed, terms).map_err(plain);
        let name = format!("`{}`", committed.commitment.repo);
        match had.with_context(|| format!("cannot fetch {name} to compare with"))? {
            Had::Here { admission, .. } => {
                if self.known.len() >= KNOWN_MAX {
                    self.known.clear();
                }
                self.known.insert(hash, admission.clone());
                Ok(Some(admission))
            }
            Had::Refused { reason, .. } | Had::Hopeless(reason) => {
                let reason = shown(&reason.to_string());
                tracing::info!("{whose:?} {name} stands in nobody's way: {reason}");
                Ok(None)
            }
            Had::Postponed { n_bytes } => anyhow::bail!("{name} has {n_bytes} bytes more"),
        }
    }

    /// The losses of what is asked, or why a validator would refuse the model.
    pub fn losses(&self, ask: Ask<'_>) -> anyhow::Result<Result<Vec<SequenceLoss>, Reason>> {
        let mut all = Vec::new();
        let mut learn = |losses: &[SequenceLoss]| -> anyhow::Result<()> {
            all.extend_from_slice(losses);
            Ok(())
        };
        let end = self.models.losses(ask, &mut learn).map_err(plain)?;
        Ok(end.map(|()| all))
    }
}

/// The commitments that stand in the way.
fn named(chain: &dyn Chain, ours: Ours<'_>) -> anyhow::Result<Vec<Named>> {
    let Ours { netuid, hotkey, competition } = ours;
    let champion = find_champion(chain, netuid, competition);
    let champion = champion.context("cannot look for the champion")?.map(|champion| Named {
        whose: Whose::Champion,
        block: champion.block,
        committed: Committed {
            hotkey: champion.hotkey,
            commitment: Commitment {
                repo: champion.repo,
                revision: champion.revision,
                secure_hash: champion.secure_hash,
                competition: competition.id,
            },
        },
    });
    if champion.as_ref().is_some_and(|champion| champion.committed.hotkey == hotkey) {
        return Ok(champion.into_iter().collect());
    }
    let at = chain.head().context("cannot read the newest block")?.block;
    let stored = chain.commitments(netuid, at).context("cannot read the commitments")?;
    // One that is older than the slot was made in an earlier one.
    let is_own =
        |stored: &&StoredCommitment| stored.hotkey == hotkey && stored.block >= stored.registered;
    let own = stored.iter().find(is_own).and_then(|stored| {
        let commitment = Commitment::parse(&stored.data).ok()?;
        let is_ours = commitment.competition == competition.id;
        let committed = Committed { hotkey, commitment };
        is_ours.then_some(Named { whose: Whose::Own, block: stored.block, committed })
    });
    Ok(champion.into_iter().chain(own).collect())
}

fn plain(trouble: Trouble) -> anyhow::Error {
    match trouble {
        Trouble::Refused(error)
        | Trouble::Unanswered(error)
        | Trouble::Own(error)
        | Trouble::Stopped(error) => error,
    }
}
