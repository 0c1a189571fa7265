//! What a person means by the name of a dataset.

use crate::{
    competition_file::{self, with_own_hint},
    data_files,
    failure::HintExt as _,
    pinning::{parquet_files, text_column, with_rows},
};
use dataset::{
    RangeRead, Source,
    remote::{Counting, Directory},
    source::pinned::{PinnedSource, pin_footer},
};
use protocol::{
    Competition, Digest, Revision,
    competition::{DatasetConfig, DatasetRules, DrawRules, HubDataset},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The files of a pinned dataset; what is read of them is counted.
pub struct Counted(pub Arc<Counting<Box<dyn RangeRead>>>);

impl RangeRead for Counted {
    fn size_bytes(&self, path: &str) -> Result<u64, dataset::Error> {
        self.0.size_bytes(path)
    }

    fn sha256(&self, path: &str) -> Result<Option<Digest>, dataset::Error> {
        self.0.sha256(path)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), dataset::Error> {
        self.0.read_at(path, offset, buffer)
    }
}

/// A source with what is read for it, where that is less than everything.
pub struct Opened {
    pub source: Arc<dyn Source>,
    pub reads: Option<Reads>,
}

/// What is read of pinned files.
pub struct Reads {
    pub counter: Arc<Counting<Box<dyn RangeRead>>>,
    /// Bytes of all files together.
    pub size_bytes: u64,
}

/// Opens a competition's dataset, or files of this machine.
pub fn open(target: &str, dir: Option<&Path>) -> anyhow::Result<Opened> {
    let path = Path::new(target);
    let is_competition = target.ends_with(".toml") || !path.exists();
    if is_competition {
        let competition = competition_file::rules(target)?;
        return match &competition.dataset {
            DatasetRules::Hub(_) => {
                let dataset = pinned_dataset(&competition)?;
                let files = data_files::open(&dataset.repo, &revision(&dataset), dir)?;
                counted(dataset, files, data_files::footers())
            }
            _ => {
                let source = competition_file::source(target, &competition, dir)?;
                Ok(Opened { source, reads: None })
            }
        };
    }
    let (root, paths) = parquet_files(path)?;
    if paths.is_empty() {
        let source = Arc::new(competition_file::corpus(path)?);
        return Ok(Opened { source, reads: None });
    }
    let files = Directory::new(&root);
    // Nobody pins these files, so nothing is compared with the digest of the whole.
    let mut pins = Vec::new();
    for path in &paths {
        pins.extend(with_rows(pin_footer(&files, path, None, Digest([0; 32])))?);
    }
    anyhow::ensure!(!pins.is_empty(), "no file of `{target}` has a row");
    let column = text_column(&files, paths.first().map(String::as_str))?;
    let dataset = HubDataset {
        repo: "local/files".to_owned(),
        text_column: column,
        revision: Some("0".repeat(40).parse()?),
        draw: DrawRules { rounds_apart: 1, ..DrawRules::default() },
        configs: vec![DatasetConfig { name: "files".to_owned(), weight: 1, files: pins }],
    };
    counted(dataset, Box::new(files), None)
}

/// The pinned dataset of a competition.
pub fn pinned_dataset(competition: &Competition) -> anyhow::Result<HubDataset> {
    match &competition.dataset {
        DatasetRules::Hub(dataset) if dataset.pinned().is_some() => Ok(dataset.clone()),
        _ => Err(anyhow::anyhow!("competition `{}` pins no parquet files", competition.name))
            .hint("`agon competition pin` makes a competition file that does"),
    }
}

/// The revision of a pinned dataset as text.
pub fn revision(dataset: &HubDataset) -> String {
    dataset.pinned().map(Revision::to_string).unwrap_or_default()
}

fn counted(
    dataset: HubDataset,
    files: Box<dyn RangeRead>,
    footers: Option<PathBuf>,
) -> anyhow::Result<Opened> {
    let counter = Arc::new(Counting::new(files));
    let pins = dataset.configs.iter().flat_map(|config| &config.files);
    let size_bytes = pins.map(|file| file.size_bytes).sum();
    let files = Box::new(Counted(Arc::clone(&counter)));
    let source = with_own_hint(PinnedSource::new(dataset, files, footers))?;
    Ok(Opened { source: Arc::new(source), reads: Some(Reads { counter, size_bytes }) })
}
