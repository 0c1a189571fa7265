//! What a validator must not forget: moving averages, champions, pools, verdicts.

use anyhow::Context as _;
use protocol::{
    AccountId, Block, Digest, Reason, Uid,
    queue::SIGNIFICANT_WEIGHT,
    weights::{Miner, MovingAverage},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

const FILE: &str = "state.json";

/// Everything a validator carries from round to round.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    contests: BTreeMap<String, ContestState>,
    /// Whether the weights have changed since they were last set.
    pub weights_due: bool,
}

/// State of one competition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContestState {
    /// Block that seeded the last round.
    pub seed_block: Block,
    /// Rounds so far.
    pub n_rounds: u64,
    /// Rounds in a row that were given up.
    pub n_suspended: u64,
    /// Block that seeded the last round that was given up; it is not tried again.
    pub suspended: Block,
    /// Digest of the last record.
    pub record: Option<Digest>,
    /// Moving average of the weights.
    pub average: MovingAverage,
    /// Holder of the crown.
    pub champion: Option<Holder>,
    /// Hotkeys that are measured again in the next round.
    pub kept: Vec<AccountId>,
    /// What intake said of each hotkey's commitment.
    pub verdicts: BTreeMap<String, Verdict>,
}

impl ContestState {
    /// Whether a miner would lose something by not being measured.
    pub(crate) fn has_weight(&self, miner: &Miner) -> bool {
        // Softmax gives everybody a trace, and a trace must not stop a round.
        self.average.of(miner) >= SIGNIFICANT_WEIGHT
            || self.champion.is_some_and(|holder| holder.hotkey == miner.hotkey)
    }
}

/// Who holds the crown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Slot.
    pub uid: Uid,
    /// Key in that slot.
    pub hotkey: AccountId,
}

/// What intake and inspection said of one commitment; never asked twice for the same one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Text of the commitment.
    pub commitment: String,
    /// Block of the commitment.
    pub block: Block,
    /// The admitted model, or why there is none.
    pub outcome: Result<Admission, Reason>,
}

/// A model in the store that passed every check at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admission {
    /// Folder of the files.
    pub dir: std::path::PathBuf,
    /// Digest over names, sizes and bytes of the files: what the commitment is bound to.
    pub file_root: Digest,
    /// Digest over config and tensors.
    pub tensor_root: Digest,
    /// Number of parameters.
    pub n_parameters: u64,
}

impl State {
    /// The state saved under `home`, or a fresh one where nothing was saved yet.
    pub fn load(home: &Path) -> anyhow::Result<Self> {
        let path = home.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("`{}` is not the state of a validator", path.display())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
        }
    }

    /// Saves the state under `home`; after a crash either the old or the new one is there.
    pub fn save(&self, home: &Path) -> anyhow::Result<()> {
        write_atomically(&home.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// State of a competition that had a round.
    pub fn contest(&self, name: &str) -> Option<&ContestState> {
        self.contests.get(name)
    }

    /// All models that are known to have passed every check at rest, in whatever competition.
    pub(crate) fn admissions(&self) -> impl Iterator<Item = &Admission> {
        let verdicts = self.contests.values().flat_map(|contest| contest.verdicts.values());
        verdicts.filter_map(|verdict| verdict.outcome.as_ref().ok())
    }

    /// State of a competition, fresh where there was none.
    pub fn contest_mut(&mut self, name: &str) -> &mut ContestState {
        self.contests.entry(name.to_owned()).or_default()
    }
}

/// Writes a file whole or not at all: temporary file, fsync, rename, fsync of the folder.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a file needs a folder")?;
    let write = || -> std::io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))
}
