//! Rows of parquet files that a competition pins, read in pieces from wherever they are.

mod layout;
mod pin;

#[cfg(test)]
mod tests;

pub use pin::{Pinner, pin_file, pin_footer};

use crate::{
    Document, Error, Lot, RangeRead, Source, Split, sample::Draw, table::Extent, table::Table,
};
use layout::{Layout, Order, Place};
use protocol::{
    Digest,
    competition::{HubDataset, PinnedFile},
};
use std::{
    collections::{HashMap, VecDeque},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Files whose footer is kept in memory.
const TABLES_MAX: usize = 64;
/// Row groups whose text is kept in memory.
const GROUPS_MAX: usize = 4;

/// Row groups of a file in which text is looked for before it is taken to have none.
const TRIED_MAX: usize = 8;

/// The texts of one row group.
type Texts = Arc<Vec<Option<String>>>;

/// A dataset of pinned parquet files.
///
/// Every tenth row group is for evaluation, the rest for training. A draw reads few row groups
/// and takes many documents from each; the rules are in `layout.rs`. A file is checked before a row
/// of it counts: its size, the digest that its place names, its footer.
pub struct PinnedSource {
    dataset: HubDataset,
    /// `owner/name@revision`, with which the names of rows begin.
    name: String,
    layout: Layout,
    files: Box<dyn RangeRead>,
    footers: Option<PathBuf>,
    tables: Mutex<HashMap<usize, Arc<Table>>>,
    groups: Mutex<VecDeque<(Place, Texts)>>,
}

impl PinnedSource {
    /// The rows of `dataset`, whose files `files` has; footers are kept in the folder `footers`.
    ///
    /// Nothing is read yet.
    pub fn new(
        dataset: HubDataset,
        files: Box<dyn RangeRead>,
        footers: Option<PathBuf>,
    ) -> Result<Self, Error> {
        let refuse = |detail: String| Error::NotDrawable { repo: dataset.repo.clone(), detail };
        dataset.check().map_err(|error| refuse(error.to_string()))?;
        let Some(revision) = dataset.pinned() else {
            let what = if dataset.revision.is_none() { "revision is" } else { "files are" };
            return Err(refuse(format!("no {what} pinned")));
        };
        let layout = Layout::new(&dataset);
        if !layout.is_enough() {
            return Err(refuse(layout.too_few()));
        }
        let name = format!("{}@{revision}", dataset.repo);
        let (tables, groups) = Default::default();
        Ok(Self { dataset, name, layout, files, footers, tables, groups })
    }

    /// The row that a record calls `id`, of whatever length and split.
    pub fn document_of(&self, id: &str) -> Result<Document, Error> {
        let no_row = || Error::NoRow(id.chars().take(200).collect());
        let rest = id.strip_prefix(&self.name).and_then(|rest| rest.strip_prefix('/'));
        let (path, number) = rest.and_then(|rest| rest.rsplit_once('#')).ok_or_else(no_row)?;
        let row: u64 = number.parse().map_err(|_| no_row())?;
        let file = self.layout.files.iter().position(|part| part.file.path == path);
        let file = file.ok_or_else(no_row)?;
        let pinned = &self.layout.files[file].file;
        if row >= pinned.n_rows || row.to_string() != number {
            return Err(no_row());
        }
        let place = Place { file, group: row / pinned.rows_per_group };
        self.row(place, row % pinned.rows_per_group)
    }

    /// Reads a row group of each file as a draw would, which finds most of what keeps rounds from
    /// being drawn: a file that has changed, that the decoder does not read, or that has no text.
    ///
    /// `progress` is told after each file how many are done.
    pub fn try_each_file(&self, progress: &dyn Fn(u64)) -> Result<(), Error> {
        for (file, part) in self.layout.files.iter().enumerate() {
            // A file of few row groups may have none for evaluation: then the first is as good.
            let first = part.groups(Split::Evaluation).next().unwrap_or(0);
            let more = part.groups(Split::Evaluation).skip(1);
            let groups = std::iter::once(first).chain(more).take(TRIED_MAX);
            self.table(file)?.expect_text(&*self.files, groups)?;
            progress(file as u64 + 1);
        }
        Ok(())
    }

    /// The pinned files, in order.
    pub fn files(&self) -> impl Iterator<Item = &PinnedFile> {
        self.layout.files.iter().map(|part| &part.file)
    }

    /// The places in file number `file` that rounds read: its footer, and the text of its row
    /// groups for evaluation.
    pub(crate) fn extents(&self, file: usize) -> Result<Vec<Extent>, Error> {
        let Some(part) = self.layout.files.get(file) else { return Ok(Vec::new()) };
        let table = self.table(file)?;
        let groups = part.groups(Split::Evaluation).map(|group| table.extent(group));
        std::iter::once(Ok(footer_extent(&part.file))).chain(groups).collect()
    }

    /// Where the files are read from.
    pub(crate) fn place(&self) -> &dyn RangeRead {
        &*self.files
    }

    /// The footer of a file, once it has shown to be the pinned one.
    fn table(&self, file: usize) -> Result<Arc<Table>, Error> {
        if let Some(table) = held(&self.tables).get(&file) {
            return Ok(Arc::clone(table));
        }
        let pinned = &self.layout.files[file].file;
        check_place(&*self.files, pinned)?;
        let footer = self.footer(pinned)?;
        let column = Some(self.dataset.text_column.as_str());
        let table = Table::new(&pinned.path, pinned.size_bytes, &footer, column)?;
        let pinned_groups = (0..pinned.n_groups()).map(|group| pinned.rows_of_group(group));
        if !table.rows_of_groups().eq(pinned_groups) {
            return Err(not_pinned(pinned, "its row groups have other numbers of rows".to_owned()));
        }
        let table = Arc::new(table);
        let mut tables = held(&self.tables);
        if tables.len() >= TABLES_MAX {
            tables.clear();
        }
        tables.insert(file, Arc::clone(&table));
        Ok(table)
    }

    /// The bytes of a footer, from the folder of footers or from the file.
    fn footer(&self, pinned: &PinnedFile) -> Result<Vec<u8>, Error> {
        // The digest is the name: whatever repo or revision has this footer, it is the same.
        let kept = self.footers.as_ref().map(|folder| folder.join(pinned.footer_sha256.hex()));
        let is_right = |bytes: &Vec<u8>| Digest::of(bytes) == pinned.footer_sha256;
        if let Some(bytes) = kept.as_ref().and_then(|path| fs::read(path).ok()).filter(is_right) {
            return Ok(bytes);
        }
        let Extent { offset, size_bytes } = footer_extent(pinned);
        let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX)];
        self.files.read_at(&pinned.path, offset, &mut bytes)?;
        if !is_right(&bytes) {
            let detail = format!(
                "its footer has the digest {}, but {} is pinned",
                Digest::of(&bytes),
                pinned.footer_sha256
            );
            return Err(not_pinned(pinned, detail));
        }
        if let Some(path) = kept {
            // Whoever cannot keep a footer reads it once more in the next process.
            let _ = disk::write(&path, &bytes);
        }
        Ok(bytes)
    }

    fn texts(&self, place: Place) -> Result<Texts, Error> {
        if let Some((_, texts)) = held(&self.groups).iter().find(|(at, _)| *at == place) {
            return Ok(Arc::clone(texts));
        }
        let texts = Arc::new(self.table(place.file)?.texts(&*self.files, place.group)?);
        let mut groups = held(&self.groups);
        if groups.len() >= GROUPS_MAX {
            groups.pop_front();
        }
        groups.push_back((place, Arc::clone(&texts)));
        Ok(texts)
    }

    fn row(&self, place: Place, row: u64) -> Result<Document, Error> {
        let texts = self.texts(place)?;
        let text = usize::try_from(row).ok().and_then(|row| texts.get(row));
        let text = text.cloned().flatten().unwrap_or_default();
        Ok(Document { id: self.id(place, row), text, entropy_nats: None })
    }

    /// Name of a row: repo, revision, path, and its number in the file from zero.
    fn id(&self, place: Place, row: u64) -> String {
        let file = &self.layout.files[place.file].file;
        format!("{}/{}#{}", self.name, file.path, place.group * file.rows_per_group + row)
    }
}

impl Source for PinnedSource {
    fn describe(&self) -> String {
        format!("column `{}` of {}", self.dataset.text_column, self.name)
    }

    fn digest(&self) -> Digest {
        self.dataset.digest()
    }

    fn n_documents(&self, split: Split) -> u64 {
        self.layout.n_rows(split)
    }

    /// The row at `index`; its text is empty where the row has none.
    fn document(&self, split: Split, index: u64) -> Result<Document, Error> {
        let (place, row) = self.layout.find(split, index).ok_or_else(|| {
            let (corpus, n_documents) = (self.describe(), self.n_documents(split));
            Error::NoDocument { corpus, split, index, n_documents }
        })?;
        self.row(place, row)
    }

    fn draw(
        &self,
        split: Split,
        lot: Lot,
    ) -> Box<dyn Iterator<Item = Result<Document, Error>> + '_> {
        Box::new(Rows { source: self, lot, order: self.layout.order(split, lot), group: None })
    }
}

/// Rows in the order of a draw.
struct Rows<'a> {
    source: &'a PinnedSource,
    lot: Lot,
    order: Order<'a>,
    group: Option<Group>,
}

/// The row group that is drawn from now.
struct Group {
    place: Place,
    texts: Texts,
    rows: Draw,
    n_left: u64,
}

impl Rows<'_> {
    fn open(&self, place: Place) -> Result<Group, Error> {
        let texts = self.source.texts(place)?;
        let path = &self.source.layout.files[place.file].file.path;
        let seed = self.lot.seed.derive(&format!("rows of group {} of {path}", place.group));
        let rows = Draw::new(seed, texts.len() as u64);
        Ok(Group { place, texts, rows, n_left: self.source.layout.draw.documents_per_group })
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(group) = &mut self.group {
                let text_bytes_min = self.source.layout.draw.text_bytes_min;
                if let Some((row, text)) = group.next_long_enough(text_bytes_min) {
                    let id = self.source.id(group.place, row);
                    return Some(Ok(Document { id, text, entropy_nats: None }));
                }
            }
            let place = self.order.next()?;
            match self.open(place) {
                Ok(group) => self.group = Some(group),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Group {
    /// The next row whose text is long enough, unless the row group has given its share.
    fn next_long_enough(&mut self, text_bytes_min: u64) -> Option<(u64, String)> {
        if self.n_left == 0 {
            return None;
        }
        let texts = &self.texts;
        let found = self.rows.find_map(|row| {
            let text = usize::try_from(row).ok().and_then(|row| texts.get(row))?.as_ref()?;
            let is_long = text.len() as u64 >= text_bytes_min && !text.trim().is_empty();
            is_long.then(|| (row, text.clone()))
        });
        self.n_left -= 1;
        found
    }
}

/// What can be said of a file before anything of it is read.
fn check_place(files: &dyn RangeRead, pinned: &PinnedFile) -> Result<(), Error> {
    let size_bytes = files.size_bytes(&pinned.path)?;
    if size_bytes != pinned.size_bytes {
        let detail = format!("it has {size_bytes} bytes instead of {}", pinned.size_bytes);
        return Err(not_pinned(pinned, detail));
    }
    match files.sha256(&pinned.path)? {
        Some(found) if found != pinned.sha256 => {
            let detail = format!("it has the digest {found}, but {} is pinned", pinned.sha256);
            Err(not_pinned(pinned, detail))
        }
        _ => Ok(()),
    }
}

fn footer_extent(file: &PinnedFile) -> Extent {
    let offset = file.size_bytes.saturating_sub(file.footer_bytes);
    Extent { offset, size_bytes: file.footer_bytes }
}

fn not_pinned(file: &PinnedFile, detail: String) -> Error {
    Error::NotPinned { name: file.path.clone(), detail }
}

/// What is behind a lock; a panic elsewhere leaves these caches whole.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
