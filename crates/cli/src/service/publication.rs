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
use protocol::{
    AccountId, Block, Digest, Repo,
    publication::{Seen, Slots},
};
use records::{Folder, INDEX_PATH, Index, RootCommitment, Source as _, Statement};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most records of a commit.
const RECORDS_MAX: usize = 100;
/// Bytes of records after which no more come into a commit.
const BYTES_MAX: usize = 16 << 20;
/// What to do about a repo that has other records.
const OTHER_REPO: &str = "name another repo with --records-repo";
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
    /// Competitions whose records here go on where the repo ended when it was last read.
    checked: BTreeSet<String>,
}

/// Says before which number records of a competition that the home lacks are lost; `None` while
/// records of it are on their way to the home.
pub type LostBefore<'a> = &'a dyn Fn(&str) -> Option<u64>;

/// Records that go into one commit.
#[derive(Default)]
struct Lot {
    files: Vec<(String, Vec<u8>)>,
    n_bytes: usize,
    /// The index with them; none without any record.
    index: Option<Index>,
    /// What is lost before some of them, in words.
    lost: Vec<String>,
}

impl Lot {
    fn is_full(&self) -> bool {
        self.files.len() >= RECORDS_MAX || self.n_bytes >= BYTES_MAX
    }

    /// The newest record of a competition that is there with it.
    fn head(&self, competition: &str) -> Option<records::Head> {
        self.index.as_ref()?.competitions.get(competition).copied()
    }
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

    /// Publishes the next records that wait, of each competition in order, in one commit; whether
    /// there were any.
    ///
    /// # Errors
    ///
    /// The hub fails; or of those that are left all have trouble, each competition its own.
    pub fn publish_some(&self, lost_before: LostBefore<'_>) -> anyhow::Result<bool> {
        let there = self.there()?;
        let (Lot { files, index, lost, .. }, trouble) = self.next_lot(there, lost_before)?;
        let Some(index) = index.filter(|_| !files.is_empty()) else {
            return trouble.map_or(Ok(false), Err);
        };
        let n_records = files.len();
        self.put(files, index)?;
        // After the commit: one that is tried again must not tell of the same loss twice.
        for lost in lost {
            tracing::warn!("{lost}");
        }
        tracing::debug!("{n_records} records are published to `{}`", self.repo);
        Ok(true)
    }

    /// Whether it is known what the repo has: the hub has answered when it was last asked.
    pub fn is_known(&self) -> bool {
        self.known().is_sure
    }

    /// Sees to it that the index lies in the repo under its root, for which it is found later.
    pub fn publish_root(&self) -> anyhow::Result<()> {
        let Some(index) = self.there()? else { return Ok(()) };
        let root = index.root();
        if self.root().is_some_and(|known| known.root == root) {
            return Ok(());
        }
        // In the repo before it may stand on the chain: whoever reads it there must find it.
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
        if let Some(index) = &index
            && index.validator != self.validator
        {
            return Err(anyhow::anyhow!(
                "`{}` holds the records of {}",
                self.repo,
                index.validator
            ))
            .hint(OTHER_REPO);
        }
        let mut known = self.known();
        known.checked.clear();
        (known.is_sure, known.index) = (true, index.clone());
        Ok(index)
    }

    /// Whether the records of a competition here go on where the repo ends.
    fn check(&self, competition: &str, head: records::Head, lost: u64) -> anyhow::Result<()> {
        let Some(newest) = self.folder.list(competition)?.pop() else { return Ok(()) };
        let (repo, number) = (&self.repo, head.n_records);
        let same = match self.folder.read(competition, number) {
            // An earlier version has published it, and its digest stays what it was.
            Err(error) if error.is_of_earlier_format() => {
                self.folder.digest(competition, number)?
            }
            same => same?.map(|same| same.digest()),
        };
        let differs = same.is_some_and(|same| same != head.digest);
        if differs || newest < number {
            return Err(anyhow::anyhow!(
                "`{repo}` holds a record {number} of `{competition}` that is not one of this home"
            ))
            .hint(OTHER_REPO);
        }
        let next = number.saturating_add(1);
        let is_whole =
            newest < next || next < lost || self.folder.path(competition, next).is_file();
        ensure!(is_whole, records::Error::Missing(records::path(competition, next)));
        Ok(())
    }

    /// Records that wait, as many as go into one commit, and the first trouble that kept others
    /// from it.
    fn next_lot(
        &self,
        there: Option<Index>,
        lost_before: LostBefore<'_>,
    ) -> anyhow::Result<(Lot, Option<anyhow::Error>)> {
        let (mut lot, mut trouble) = (Lot { index: there, ..Lot::default() }, None);
        for competition in self.folder.competitions()? {
            // The home has them first.
            let Some(lost) = lost_before(&competition) else { continue };
            if let Err(error) = self.add_to(&mut lot, &competition, lost) {
                trouble.get_or_insert(error);
            }
        }
        Ok((lot, trouble))
    }

    /// Adds the records of a competition that wait to a lot, until it is full. What is not here and
    /// has a number before `lost` is lost, and so is what is here of an earlier format.
    fn add_to(&self, lot: &mut Lot, competition: &str, mut lost: u64) -> anyhow::Result<()> {
        let head = lot.head(competition);
        let is_checked = self.known().checked.contains(competition);
        if let Some(head) = head.filter(|_| !is_checked) {
            self.check(competition, head, lost)?;
            self.known().checked.insert(competition.to_owned());
        }
        let mut next = match head {
            Some(head) => head.n_records.checked_add(1),
            None => self.folder.list(competition)?.first().copied(),
        };
        while let Some(number) = next
            && !lot.is_full()
        {
            let signed = match self.folder.read(competition, number) {
                Err(error) if error.is_of_earlier_format() => {
                    lost = lost.max(number.saturating_add(1));
                    None
                }
                signed => signed?,
            };
            let Some(signed) = signed else {
                next = self.after_lost(competition, number, lost)?;
                continue;
            };
            let (genesis, netuid) = (signed.record.round.genesis, signed.record.round.netuid);
            let before = lot.head(competition).map(|head| head.n_records.saturating_add(1));
            let index =
                lot.index.get_or_insert_with(|| Index::new(self.validator, genesis, netuid));
            index.push_after_lost(&signed).with_context(|| {
                format!("cannot publish `{}`", records::path(competition, number))
            })?;
            if let Some(first) = before.filter(|first| *first < number) {
                let (repo, last) = (&self.repo, number - 1);
                lot.lost.push(format!(
                    "`{repo}` goes on without the records {first} to {last} of `{competition}`, \
                     which are lost"
                ));
            }
            let bytes = signed.to_json();
            lot.n_bytes += bytes.len();
            lot.files.push((records::path(competition, number), bytes));
            next = number.checked_add(1);
        }
        Ok(())
    }

    /// Number of the first record after one that is not here, if that one and all between are lost.
    fn after_lost(&self, competition: &str, number: u64, lost: u64) -> anyhow::Result<Option<u64>> {
        if number >= lost {
            return Ok(None);
        }
        let there = self.folder.list(competition)?;
        let Some(next) = there.into_iter().find(|next| *next > number) else { return Ok(None) };
        // The journal has this one, so it comes.
        ensure!(next <= lost, records::Error::Missing(records::path(competition, lost)));
        Ok(Some(next))
    }

    /// Adds files to the repo, which is made where it is missing, and their index, in one commit.
    fn put(&self, mut files: Vec<(String, Vec<u8>)>, index: Index) -> anyhow::Result<()> {
        // Whether the commit was made is not known until the hub has said so.
        self.known().is_sure = false;
        files.push((INDEX_PATH.to_owned(), index.to_json()));
        let here = || format!("cannot write to `{}`", self.outgoing.display());
        // All of the folder is sent: what a killed process left there must not go along.
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
        // Whichever competitions are to come: what is said of their models stands beside it.
        let seen = Some(Seen { as_of: Block(0), slots: Slots::default() });
        let statement = Statement { records: Some(root), seen };
        statement.fits().hint("name a shorter one, or set `records_root_blocks = 0`")?;
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
