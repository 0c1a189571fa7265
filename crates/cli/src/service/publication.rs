//! Records of a validator on a hub, besides those in its home: a commit for all that wait, with the
//! index of all that are there then.
//!
//! What the repo holds is read from its index at the start, and after each trouble. So an outage, a
//! crash or an answer that was lost delays records and repeats none.

use crate::{
    args::{AddressArgs, RecordsArgs, RunValidatorArgs},
    failure::HintExt as _,
    hub_records::HubRecords,
    hugging_face::{client, explained},
    terminal::is_stopping,
};
use anyhow::{Context as _, ensure};
use hugging_face::{
    Folder as Files, HubClient,
    client::{Others, Upload, is_same_hub},
};
use protocol::{AccountId, Digest, Repo};
use records::{Folder, INDEX_PATH, Index, RootCommitment, Source as _};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most records of a commit.
const RECORDS_MAX: usize = 100;
/// Bytes of records after which no more come into a commit.
const BYTES_MAX: usize = 16 << 20;
/// Folder of what is on its way, in the home of a validator.
const OUTGOING: &str = "outgoing";

/// Records of a validator on their way to a repo of a hub.
pub struct Publication {
    folder: Folder,
    client: HubClient,
    repo: Repo,
    validator: AccountId,
    /// Copies of what is on its way.
    outgoing: PathBuf,
    known: Mutex<Known>,
}

/// What is known of the repo.
#[derive(Default)]
struct Known {
    /// Whether the index is the one that the repo has.
    is_sure: bool,
    /// The index of the repo; none where it has no records.
    index: Option<Index>,
    /// The last index that lies in the repo under its root.
    root: Option<RootCommitment>,
}

/// Records that go into one commit.
struct Lot {
    files: Vec<(String, Vec<u8>)>,
    /// The index with them.
    index: Index,
}

impl Publication {
    /// The one that the options ask for; nothing is asked of the hub yet.
    pub fn open(
        args: &RunValidatorArgs,
        validator: AccountId,
        folder: Folder,
    ) -> anyhow::Result<Option<Self>> {
        let Some(repo) = &args.records.records_repo else { return Ok(None) };
        let client = client_for(args, repo)?;
        let outgoing = args.service.home.join(OUTGOING);
        Ok(Some(Self::of(client, repo.clone(), validator, (folder, outgoing))))
    }

    fn of(
        client: HubClient,
        repo: Repo,
        validator: AccountId,
        (folder, outgoing): (Folder, PathBuf),
    ) -> Self {
        Self { folder, client, repo, validator, outgoing, known: Mutex::default() }
    }

    /// Publishes the next records that wait, in order, in one commit; whether there were any.
    pub fn publish_some(&self) -> anyhow::Result<bool> {
        let there = self.there()?;
        let Some(Lot { files, index }) = self.next_lot(there)? else { return Ok(false) };
        let n_records = files.len();
        self.put(files, index)?;
        tracing::debug!("{n_records} records are published to `{}`", self.repo);
        Ok(true)
    }

    /// Sees to it that the index lies in the repo under its root, for which it is found later.
    pub fn publish_root(&self) -> anyhow::Result<()> {
        let Some(index) = self.there()? else { return Ok(()) };
        let root = index.root();
        if self.root().is_some_and(|known| known.root == root) {
            return Ok(());
        }
        self.put(vec![(Index::path_of(root), index.to_json())], index)?;
        self.known().root = Some(RootCommitment { repo: self.repo.clone(), root });
        Ok(())
    }

    /// What may stand on the chain: all that it names is published.
    pub fn root(&self) -> Option<RootCommitment> {
        self.known().root.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of the repo.
    fn there(&self) -> anyhow::Result<Option<Index>> {
        {
            let known = self.known();
            if known.is_sure {
                return Ok(known.index.clone());
            }
        }
        let index = match HubRecords::newest(&self.client, &self.repo).map_err(explained)? {
            Some(found) => found.index()?,
            None => None,
        };
        if let Some(index) = &index {
            self.check(index)?;
        }
        let mut known = self.known();
        (known.is_sure, known.index) = (true, index.clone());
        Ok(index)
    }

    /// Whether the records here go on where the repo ends.
    fn check(&self, there: &Index) -> anyhow::Result<()> {
        let (repo, other) = (&self.repo, "name another repo with --records-repo");
        if there.validator != self.validator {
            return Err(anyhow::anyhow!("`{repo}` holds the records of {}", there.validator))
                .hint(other);
        }
        for (competition, head) in &there.competitions {
            let Some(newest) = self.folder.list(competition)?.pop() else { continue };
            let same = self.folder.read(competition, head.n_records)?;
            let differs = same.is_some_and(|same| same.digest() != head.digest);
            if differs || newest < head.n_records {
                let number = head.n_records;
                return Err(anyhow::anyhow!(
                    "`{repo}` holds a record {number} of `{competition}` that is not one of this \
                     home"
                ))
                .hint(other);
            }
            let next = head.n_records.saturating_add(1);
            let is_whole = newest < next || self.folder.path(competition, next).is_file();
            ensure!(is_whole, records::Error::Missing(records::path(competition, next)));
        }
        Ok(())
    }

    /// Records that wait, as many as go into one commit.
    fn next_lot(&self, there: Option<Index>) -> anyhow::Result<Option<Lot>> {
        let (mut index, mut files, mut n_bytes) = (there, Vec::new(), 0);
        for competition in self.folder.competitions()? {
            let head = index.as_ref().and_then(|index| index.competitions.get(&competition));
            let mut next = match head {
                Some(head) => head.n_records.checked_add(1),
                None => self.folder.list(&competition)?.first().copied(),
            };
            while let Some(number) = next
                && files.len() < RECORDS_MAX
                && n_bytes < BYTES_MAX
                && let Some(signed) = self.folder.read(&competition, number)?
            {
                let round = &signed.record.round;
                let begun = || Index::new(self.validator, round.genesis, round.netuid);
                let index = index.get_or_insert_with(begun);
                index.push(&signed).with_context(|| {
                    format!("cannot publish `{}`", records::path(&competition, number))
                })?;
                let bytes = signed.to_json();
                n_bytes += bytes.len();
                files.push((records::path(&competition, number), bytes));
                next = number.checked_add(1);
            }
        }
        Ok(index.filter(|_| !files.is_empty()).map(|index| Lot { files, index }))
    }

    /// Adds files to the repo, which is made where it is missing, and their index, in one commit.
    fn put(&self, mut files: Vec<(String, Vec<u8>)>, index: Index) -> anyhow::Result<()> {
        // Whether the commit was made is not known until the hub has said so.
        self.known().is_sure = false;
        files.push((INDEX_PATH.to_owned(), index.to_json()));
        let here = || format!("cannot write to `{}`", self.outgoing.display());
        clear(&self.outgoing).with_context(here)?;
        for (path, bytes) in &files {
            write(&self.outgoing.join(path), bytes).with_context(here)?;
        }
        let folder = Files::of_everything(&self.outgoing)?;
        let upload = Upload {
            others: Others::Kept,
            message: "Records",
            progress: &|_, _, _| !is_stopping(),
            ..Upload::new(HubRecords::KIND, &self.repo, &folder)
        };
        let uploaded = self.client.upload(&upload).map_err(explained);
        uploaded.with_context(|| format!("cannot publish records to `{}`", self.repo))?;
        clear(&self.outgoing).with_context(here)?;
        let mut known = self.known();
        (known.is_sure, known.index) = (true, Some(index));
        Ok(())
    }
}

/// A client of the hub that records go to, into this repo; nothing is asked of it yet.
pub fn client_for(args: &RunValidatorArgs, repo: &Repo) -> anyhow::Result<HubClient> {
    let RecordsArgs { records_hub, records_token_file, records_root_blocks, .. } = &args.records;
    if *records_root_blocks > 0 {
        let root = RootCommitment { repo: repo.clone(), root: Digest([0; 32]) };
        root.to_text().hint("name a shorter one, or set `records_root_blocks = 0`")?;
    }
    let models = &args.service.address;
    let is_of_models = |hub: &String| models.hub.as_ref().is_some_and(|own| is_same_hub(own, hub));
    // A token goes to nobody that it is not for.
    if let Some(hub) = records_hub
        && records_token_file.is_none()
        && !is_of_models(hub)
    {
        return Err(anyhow::anyhow!("there is no token for `{hub}`, where records are to go"))
            .hint("--records-token-file names a file with one");
    }
    let client = client(&AddressArgs {
        hub: records_hub.as_ref().or(models.hub.as_ref()).cloned(),
        token_file: records_token_file.as_ref().or(models.token_file.as_ref()).cloned(),
    })?;
    if !client.has_token() {
        let endpoint = client.endpoint().to_owned();
        return Err(explained(hub::Error::NoToken { endpoint })).context("cannot publish records");
    }
    Ok(client)
}

/// Deletes a folder, if it is there.
fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        cleared => cleared,
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests;
