//! Rows of a dataset on a hub, pinned so that everybody draws from the same bytes.

use crate::{Digest, Revision};
use serde::{Deserialize, Serialize};

/// A dataset of parquet files on a hub.
///
/// Names the files that may be drawn from. A competition can be written before an organiser has
/// pinned anything; rounds need a revision and at least one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HubDataset {
    /// Repo, such as `HuggingFaceFW/fineweb-edu-score-2`.
    pub repo: String,
    /// Column that holds the text.
    pub text_column: String,
    /// Revision of the repo; absent until an organiser has pinned it.
    pub revision: Option<Revision>,
    /// How rows are drawn.
    #[serde(default, skip_serializing_if = "DrawRules::is_default")]
    pub draw: DrawRules,
    /// The files, by part of the dataset; none until an organiser has pinned them, but parts may be
    /// named with their weights before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<DatasetConfig>,
}

impl HubDataset {
    /// Digest that pins which rows exist and how they are drawn.
    pub fn digest(&self) -> Digest {
        Digest::of_json(self)
    }

    /// The revision that rows are drawn from, if an organiser has pinned it with its files.
    pub fn pinned(&self) -> Option<&Revision> {
        let has_files = |config: &DatasetConfig| !config.files.is_empty();
        let is_pinned = !self.configs.is_empty() && self.configs.iter().all(has_files);
        self.revision.as_ref().filter(|_| is_pinned)
    }
}

/// How rows of a pinned dataset are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrawRules {
    /// Fewest bytes of a text as UTF-8; rows with shorter texts are passed over.
    pub text_bytes_min: u64,
    /// Most documents drawn from one row group before the next is read.
    pub documents_per_group: u64,
    /// Most row groups drawn from one file before the next is chosen.
    pub groups_per_file: u64,
    /// Rounds in a row that share no row.
    pub rounds_apart: u64,
}

impl Default for DrawRules {
    fn default() -> Self {
        Self { text_bytes_min: 100, documents_per_group: 50, groups_per_file: 4, rounds_apart: 3 }
    }
}

impl DrawRules {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A part of a dataset, with how often it is drawn from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetConfig {
    /// Its name, such as `sample-10BT`.
    pub name: String,
    /// How much more often a row is drawn than a row of a part with weight 1.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u64,
    /// Its files; the order matters. None until an organiser has pinned them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<PinnedFile>,
}

fn one() -> u64 {
    1
}

fn is_one(weight: &u64) -> bool {
    *weight == 1
}

/// A parquet file with everything that is checked before a row of it counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedFile {
    /// Path in the repo, such as `sample/10BT/000_00000.parquet`.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Number of rows.
    pub n_rows: u64,
    /// Rows of every row group but the last, which has the rest.
    pub rows_per_group: u64,
    /// Digest of the whole file.
    pub sha256: Digest,
    /// Bytes of its footer, with the eight that end the file.
    pub footer_bytes: u64,
    /// Digest of those bytes.
    pub footer_sha256: Digest,
}

impl PinnedFile {
    /// Number of row groups.
    pub fn n_groups(&self) -> u64 {
        self.n_rows.div_ceil(self.rows_per_group.max(1))
    }

    /// Rows of one of its row groups; none beyond the last.
    pub fn rows_of_group(&self, group: u64) -> u64 {
        let before = group.saturating_mul(self.rows_per_group);
        self.n_rows.saturating_sub(before).min(self.rows_per_group)
    }
}
