//! Models as files: fetched from a hub through the intake, judged and measured by an engine.
//!
//! This is what a validator on a real network is given as [`Models`] and [`Evaluate`]. It alone
//! knows where a model lies; the service knows it by content.

use crate::ports::{Admission, Ask, Committed, Evaluate, Had, Models, Sight, Terms, Trouble};
use hub::{Error, Hub, Intake};
use protocol::{Competition, Digest, Reason, ReasonCode, SequenceLoss, record::Card};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// What is known of a model after inspection, before anything of it is run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspected {
    /// Digest over config and tensors, the same however the tensors are spread over files.
    pub tensor_root: Digest,
    /// What the model is.
    pub card: Card,
}

impl Inspected {
    /// The admission of the files with this root, which were inspected.
    pub fn admission(self, file_root: Digest) -> Admission {
        let Self { tensor_root, card } = self;
        Admission { file_root, tensor_root, n_parameters: card.n_parameters, card: Some(card) }
    }
}

/// What reads the files of a model; an `Err` is our own trouble and never a verdict.
pub trait Engine: Send + Sync {
    /// Names the definition of a loss's bits.
    fn name(&self) -> &str;

    /// Judges a model of which nothing is here but its config, its index, its headers and the
    /// lengths of its files: whatever of [`Engine::inspect`] needs no parameters.
    fn inspect_ahead(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<(), Reason>>;

    /// Judges the files of a model without running it.
    fn inspect(
        &self,
        dir: &Path,
        competition: &Competition,
    ) -> anyhow::Result<Result<Inspected, Reason>>;

    /// The losses of sequences in their order, handed over in pieces, or the rule that is broken.
    ///
    /// Files that hold another model than the admitted one are an `Err`.
    fn losses(
        &self,
        dir: &Path,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> anyhow::Result<Result<(), Reason>>;

    /// Whether an error only says that we are to end.
    fn is_stop(&self, error: &anyhow::Error) -> bool;
}

/// Models fetched from a hub into a folder, and the engine that reads them there.
pub struct FetchedModels {
    hub: Arc<dyn Hub>,
    engine: Arc<dyn Engine>,
    folder: PathBuf,
    quota_bytes: u64,
    reserve_bytes: u64,
    kept: Mutex<Vec<Digest>>,
}

impl FetchedModels {
    /// Models of `hub`, kept in `folder`, read by `engine`.
    pub fn new(hub: Arc<dyn Hub>, engine: Arc<dyn Engine>, folder: PathBuf) -> Self {
        let (quota_bytes, reserve_bytes) = (u64::MAX, disk::RESERVE_BYTES);
        Self { hub, engine, folder, quota_bytes, reserve_bytes, kept: Mutex::default() }
    }

    /// Lets all models together have at most so many bytes.
    pub fn with_quota(mut self, quota_bytes: u64) -> Self {
        self.quota_bytes = quota_bytes;
        self
    }

    /// Takes in no new models where that would leave less than so many bytes of the disk free.
    pub fn with_reserve(mut self, reserve_bytes: u64) -> Self {
        self.reserve_bytes = reserve_bytes;
        self
    }

    /// The folder's intake. A new one each time: what one of them has let in stays as long as it
    /// lives, and a round has to get by with room for one model besides those that are kept.
    fn intake(&self) -> Result<Intake, Error> {
        let intake = Intake::open(&self.folder)?
            .with_quota(self.quota_bytes)
            .with_reserve(self.reserve_bytes);
        self.kept().iter().for_each(|root| intake.keep(root));
        Ok(intake)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Digest>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of the engine.
    fn engine_failed(&self, error: anyhow::Error) -> Trouble {
        if self.engine.is_stop(&error) { Trouble::Stopped(error) } else { Trouble::Own(error) }
    }
}

/// Whose trouble an error of a hub may be.
fn trouble(error: Error) -> Trouble {
    match error {
        // The hub answered, and not with what the owner of the repo promised.
        Error::Denied { .. }
        | Error::NoFile { .. }
        | Error::TooLarge { .. }
        | Error::Refused { .. }
        | Error::Redirect { .. } => Trouble::Refused(error.into()),
        Error::Damaged { .. } | Error::Unavailable(_) => Trouble::Unanswered(error.into()),
        Error::Stopped => Trouble::Stopped(error.into()),
        Error::Io { .. }
        | Error::NotPublishable { .. }
        | Error::NoRoom { .. }
        | Error::DiskFull { .. }
        | Error::Endpoint { .. }
        | Error::Token
        | Error::NoToken { .. } => Trouble::Own(error.into()),
    }
}

impl Models for FetchedModels {
    fn look(&self, competition: &Competition, committed: &Committed) -> Result<Sight, Trouble> {
        let Committed { hotkey, commitment } = committed;
        let intake = self.intake().map_err(trouble)?;
        let seen = intake.look(&*self.hub, competition, *hotkey, commitment).map_err(trouble)?;
        Ok(match seen {
            Ok(listed) => {
                let hub::intake::Listed { file_root, size_bytes, .. } = listed;
                Sight::Published { file_root, size_bytes }
            }
            Err(reason) if reason.code == ReasonCode::NotPublished => Sight::Absent(reason),
            Err(reason) => Sight::Refused(reason),
        })
    }

    fn is_up(&self) -> bool {
        self.hub.is_up()
    }

    fn delivers(&self, committed: &Committed, admission: &Admission) -> bool {
        let intake = self.intake();
        intake.is_ok_and(|intake| {
            intake.is_delivered(&*self.hub, &committed.commitment, &admission.file_root)
        })
    }

    fn have(
        &self,
        competition: &Competition,
        committed: &Committed,
        terms: Terms<'_>,
    ) -> Result<Had, Trouble> {
        let Committed { hotkey, commitment } = committed;
        let hub = &*self.hub;
        let intake = self.intake().map_err(trouble)?;
        let found = match intake.find(hub, competition, *hotkey, commitment).map_err(trouble)? {
            Ok(found) => found,
            Err(reason) => return Ok(Had::Refused { reason, n_fetched: 0 }),
        };
        if let Some(preview) = intake.preview(hub, &found).map_err(trouble)? {
            let ahead = self.engine.inspect_ahead(preview.dir(), competition);
            if let Err(reason) = ahead.map_err(|error| self.engine_failed(error))? {
                return Ok(Had::Hopeless(reason));
            }
        }
        let n_fetched = if found.is_here() { 0 } else { found.size_bytes() };
        if n_fetched > terms.bytes_max {
            return Ok(Had::Postponed { n_bytes: n_fetched });
        }
        let admitted = intake.fetch(hub, found).map_err(trouble)?;
        // The commitment is bound to these very files: what was found of them once still holds,
        // unless an earlier version found less.
        let holds =
            |known: &&Admission| known.file_root == admitted.file_root && known.card.is_some();
        if let Some(known) = terms.known.filter(holds) {
            return Ok(Had::Here { admission: known.clone(), n_fetched });
        }
        let inspected = self.engine.inspect(&admitted.dir, competition);
        match inspected.map_err(|error| self.engine_failed(error))? {
            Ok(inspected) => {
                Ok(Had::Here { admission: inspected.admission(admitted.file_root), n_fetched })
            }
            Err(reason) => {
                intake.refuse(competition, &admitted, &reason).map_err(trouble)?;
                Ok(Had::Refused { reason, n_fetched })
            }
        }
    }

    fn keep(&self, file_roots: &[Digest], room_bytes: u64) -> anyhow::Result<()> {
        let intake = Intake::open(&self.folder)?;
        let mut left = self.quota_bytes.saturating_sub(room_bytes);
        let mut kept = Vec::new();
        for root in file_roots {
            let size_bytes = intake.size_bytes(root);
            if size_bytes > left {
                break;
            }
            left -= size_bytes;
            kept.push(*root);
        }
        *self.kept() = kept;
        Ok(())
    }

    fn retain(&self, file_roots: &BTreeSet<Digest>) -> anyhow::Result<()> {
        Ok(self.intake()?.retain(file_roots)?)
    }
}

impl Evaluate for FetchedModels {
    fn engine(&self) -> &str {
        self.engine.name()
    }

    fn losses(
        &self,
        ask: Ask<'_>,
        learn: &mut dyn FnMut(&[SequenceLoss]) -> anyhow::Result<()>,
    ) -> Result<Result<(), Reason>, Trouble> {
        let intake = self.intake().map_err(trouble)?;
        let dir = intake.place(&ask.admission.file_root);
        self.engine.losses(&dir, ask, learn).map_err(|error| self.engine_failed(error))
    }
}
