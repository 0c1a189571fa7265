//! Where records come from: files, folders, homes, and repos on a hub.

use super::{
    home::Home,
    report::{Part, Step},
};
use crate::{
    args::AddressArgs,
    failure::{HintExt as _, Interrupted},
    hub_records::HubRecords,
    hugging_face::{client, resolved},
    input,
    terminal::is_stopping,
};
use anyhow::{Context as _, Error};
use chain::Chain;
use hugging_face::HubClient;
use protocol::{AccountId, Digest, NetUid, Repo, Revision};
use records::{
    Folder, INDEX_PATH, Index, RECORDS_FOLDER, RootCommitment, Signed, index::INDEX_BYTES_MAX,
    signed::SIGNED_BYTES_MAX,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Most records that are read of an index without `--latest`: a stranger says how many there are.
const N_RECORDS_MAX: u64 = 100_000;
/// Most entries of a folder that are looked through for folders of records.
const N_ENTRIES_MAX: usize = 10_000;

/// A record that is read when its turn comes.
pub struct Item {
    /// The file, or its address.
    pub name: String,
    place: Place,
    /// Competition and number of what lies there.
    pub expected: Option<(String, u64)>,
}

enum Place {
    File(PathBuf),
    Repo(Arc<RecordRepo>, String),
}

/// Records of one validator in one competition, in order of number.
pub struct Series {
    /// The records.
    pub items: Vec<Item>,
    /// How many at the front are read only for what they say of those after them.
    pub n_before: usize,
    /// Digest of the newest, as the index says.
    pub newest: Option<Digest>,
    /// What was found of the place where they lie.
    pub steps: Vec<Step>,
}

/// A repo of records on a hub, at one of its revisions.
struct RecordRepo {
    client: HubClient,
    repo: Repo,
    revision: Revision,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Only the newest so many of each competition.
    pub latest: Option<u64>,
    /// The hub, and who we are there.
    pub address: &'a AddressArgs,
}

impl Item {
    fn of_file(path: PathBuf, expected: Option<(String, u64)>) -> Self {
        Self { name: path.display().to_string(), place: Place::File(path), expected }
    }

    /// The signed record, or why it is none; an `Err` is that nothing can be read.
    pub fn read(&self) -> anyhow::Result<Result<Signed, String>> {
        let bytes = match &self.place {
            Place::File(path) => input::read(path, SIGNED_BYTES_MAX as u64)?,
            Place::Repo(repo, path) => match repo.bytes(path, SIGNED_BYTES_MAX)? {
                Some(bytes) => bytes,
                None => return Ok(Err("the repo has no such file".to_owned())),
            },
        };
        Ok(Signed::from_json(&bytes).map_err(|error| error.to_string()))
    }
}

/// The records that words of the command line name.
pub fn named(names: &[String], wanted: Wanted<'_>) -> anyhow::Result<Vec<Series>> {
    let (mut found, mut loose) = (Vec::new(), Vec::new());
    for name in names {
        let path = Path::new(name);
        if let Some(address) = Address::parse(name) {
            found.extend(of_address(address, wanted)?);
        } else if path.is_dir() {
            found.extend(of_folder(path, wanted.latest)?);
        } else {
            loose.push(Item::of_file(path.to_owned(), None));
        }
    }
    found.extend(of_files(loose, wanted.latest)?);
    found.retain(|series| !series.items.is_empty() || !series.steps.is_empty());
    if found.is_empty() {
        return Err(anyhow::anyhow!("no record is there: {}", names.join(", ")))
            .hint("a validator keeps its records in the folder `records` of its home");
    }
    Ok(found)
}

/// The records in homes.
pub fn of_homes(homes: &[Home], latest: Option<u64>) -> anyhow::Result<Vec<Series>> {
    let mut found = Vec::new();
    for home in homes {
        found.extend(of_folder(home.path(), latest)?);
    }
    Ok(found)
}

/// Leaves the records of one validator, by what the newest of each series says.
pub fn retain(series: &mut Vec<Series>, validator: AccountId) -> anyhow::Result<()> {
    let mut kept = Vec::new();
    for one in series.drain(..) {
        let newest = one.items.last().map(Item::read).transpose()?;
        let is_its = |signed: &Signed| signed.record.round.validator == validator;
        if newest.is_some_and(|newest| newest.as_ref().is_ok_and(is_its)) {
            kept.push(one);
        }
    }
    *series = kept;
    Ok(())
}

/// Single files, put together by validator and competition; what cannot be read stands alone.
fn of_files(items: Vec<Item>, latest: Option<u64>) -> anyhow::Result<Vec<Series>> {
    let mut series: BTreeMap<(AccountId, String), Vec<(u64, Item)>> = BTreeMap::new();
    let mut found = Vec::new();
    for item in items {
        match item.read()? {
            Ok(signed) => {
                let round = &signed.record.round;
                let key = (round.validator, round.competition.clone());
                series.entry(key).or_default().push((round.number, item));
            }
            Err(_) => found.push(Series::of(vec![item], latest)),
        }
    }
    for mut items in series.into_values() {
        items.sort_by_key(|(number, _)| *number);
        let items = items.into_iter().map(|(_, item)| item).collect();
        found.push(Series::of(items, latest));
    }
    Ok(found)
}

impl Series {
    /// A series of which only the newest count.
    fn of(items: Vec<Item>, latest: Option<u64>) -> Self {
        let n = latest.and_then(|latest| usize::try_from(latest).ok()).unwrap_or(usize::MAX);
        let n_before = items.len().saturating_sub(n);
        Self { items, n_before, newest: None, steps: Vec::new() }
    }
}

/// All records of a folder, a home, or a copy of a repo.
fn of_folder(path: &Path, latest: Option<u64>) -> anyhow::Result<Vec<Series>> {
    let mut found = Vec::new();
    for root in record_folders(path)? {
        let folder = Folder::new(root.clone());
        let index = index_beside(&root)?;
        let mut heads = match &index {
            Some(Ok(index)) => index.competitions.clone(),
            _ => BTreeMap::new(),
        };
        for competition in folder.competitions()? {
            let numbers = folder.list(&competition)?;
            if numbers.is_empty() && !heads.contains_key(&competition) {
                continue;
            }
            let item = |number: &u64| {
                let expected = Some((competition.clone(), *number));
                Item::of_file(folder.path(&competition, *number), expected)
            };
            let mut series = Series::of(numbers.iter().map(item).collect(), latest);
            series.steps = gaps(&root, &competition, &numbers);
            if let Some(Err(error)) = &index {
                let at = root.with_file_name(INDEX_PATH).display().to_string();
                series.steps.push(Step::differs(Part::Link, at, ("an index of records", error)));
            }
            if let Some(head) = heads.remove(&competition) {
                series.newest = Some(head.digest);
                series.steps.extend(lacking(&root, &competition, (head.n_records, &numbers)));
            }
            found.push(series);
        }
        for (competition, head) in heads {
            let mut series = Series::of(Vec::new(), latest);
            series.steps.extend(lacking(&root, &competition, (head.n_records, &[])));
            found.push(series);
        }
    }
    Ok(found)
}

/// Folders of records in a folder that may be one itself.
fn record_folders(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let own = path.join(RECORDS_FOLDER);
    if own.is_dir() {
        return Ok(vec![own]);
    }
    let entries =
        fs::read_dir(path).with_context(|| format!("cannot list `{}`", path.display()))?;
    let mut below = Vec::new();
    for entry in entries.take(N_ENTRIES_MAX) {
        let folder = entry?.path().join(RECORDS_FOLDER);
        if folder.is_dir() {
            below.push(folder);
        }
    }
    below.sort();
    Ok(if below.is_empty() { vec![path.to_owned()] } else { below })
}

/// The index beside a folder of records, as a copy of a repo has one; or why it is none.
fn index_beside(root: &Path) -> anyhow::Result<Option<Result<Index, String>>> {
    let path = root.with_file_name(INDEX_PATH);
    if !root.ends_with(RECORDS_FOLDER) || !path.is_file() {
        return Ok(None);
    }
    let bytes = input::read(&path, INDEX_BYTES_MAX as u64)?;
    Ok(Some(Index::from_json(&bytes).map_err(|error| error.to_string())))
}

/// A step for each gap between two records of a folder.
fn gaps(root: &Path, competition: &str, numbers: &[u64]) -> Vec<Step> {
    let gap = |pair: &[u64]| {
        let (before, after) = (pair[0], pair[1]);
        let expected = before.saturating_add(1);
        let at = format!("the folder `{}` of {competition}", root.display());
        let records = (format!("record {expected}"), format!("record {after} after {before}"));
        (after != expected).then(|| Step::differs(Part::Link, at, records))
    };
    numbers.windows(2).filter_map(gap).collect()
}

/// A step if an index has another number of records than the folder's newest.
fn lacking(root: &Path, competition: &str, (n, numbers): (u64, &[u64])) -> Option<Step> {
    let newest = numbers.last().copied().unwrap_or(0);
    let at = format!("the folder `{}` of {competition}", root.display());
    let records = (format!("record {n}, the newest of the index"), format!("record {newest}"));
    (newest != n).then(|| Step::differs(Part::Link, at, records))
}

impl RecordRepo {
    fn open(address: &AddressArgs, repo: Repo, name: &str) -> anyhow::Result<Self> {
        let client = client(address)?;
        let revision = resolved(&client, HubRecords::KIND, &repo, name)?;
        Ok(Self { client, repo, revision })
    }

    /// The bytes of a file, if it is there and not longer than anybody reads.
    fn bytes(&self, path: &str, size_bytes_max: usize) -> anyhow::Result<Option<Vec<u8>>> {
        let Self { client, repo, revision } = self;
        let files = HubRecords::at(client, repo, revision.clone());
        // A hub that was given up for a signal is no trouble of a file.
        let stopped = |error: records::Error| match is_stopping() {
            true => Error::from(Interrupted),
            false => Error::from(error),
        };
        files.bytes(path, size_bytes_max).map_err(stopped)
    }

    fn name(&self, path: &str) -> String {
        let (hub, Self { repo, revision, .. }) = (self.client.endpoint(), self);
        format!("{hub}/datasets/{repo}/resolve/{revision}/{path}")
    }

    /// The records that an index names.
    fn series(self: Arc<Self>, index: &Index, latest: Option<u64>) -> anyhow::Result<Vec<Series>> {
        let mut found = Vec::new();
        for (competition, head) in &index.competitions {
            let n_wanted = latest.unwrap_or(head.n_records).min(head.n_records);
            if n_wanted > N_RECORDS_MAX {
                return Err(anyhow::anyhow!(
                    "the index counts {n_wanted} records of {competition}"
                ))
                .hint("--latest takes the newest of them");
            }
            // The one before the first says what came before.
            let first = (head.n_records - n_wanted).max(1);
            let item = |number: u64| {
                let path = records::path(competition, number);
                let (name, expected) = (self.name(&path), Some((competition.clone(), number)));
                Item { name, place: Place::Repo(Arc::clone(&self), path), expected }
            };
            let mut series = Series::of((first..=head.n_records).map(item).collect(), latest);
            series.newest = Some(head.digest);
            found.push(series);
        }
        Ok(found)
    }
}

/// The records that a validator commits to on the chain.
pub fn committed(
    chain: &dyn Chain,
    (netuid, validator): (NetUid, AccountId),
    wanted: Wanted<'_>,
) -> anyhow::Result<Vec<Series>> {
    let at = chain.head()?.block;
    let commitments = chain.commitments(netuid, at)?;
    let own = commitments.iter().find(|stored| stored.hotkey == validator);
    let root = own.and_then(|stored| RootCommitment::parse(&stored.data));
    let RootCommitment { repo, root } = root
        .with_context(|| format!("{validator} commits to no records on subnet {netuid}"))
        .hint("name the repo or the folder of its records instead")?;
    let repo = RecordRepo::open(wanted.address, repo, "main")?;
    let path = Index::path_of(root);
    let bytes = repo.bytes(&path, INDEX_BYTES_MAX)?;
    let bytes = bytes.with_context(|| format!("{} is not there", repo.name(&path)))?;
    let found = Digest::of(&bytes);
    if found != root {
        let mut series = Series::of(Vec::new(), None);
        series.steps.push(Step::differs(Part::Link, repo.name(&path), (root, found)));
        return Ok(vec![series]);
    }
    let index = Index::from_json(&bytes).with_context(|| repo.name(&path))?;
    anyhow::ensure!(index.validator == validator, "{} is of another validator", repo.name(&path));
    anyhow::ensure!(index.netuid == netuid, "{} is of another subnet", repo.name(&path));
    Arc::new(repo).series(&index, wanted.latest)
}

/// A repo on a hub, or a file in it.
#[derive(Debug, PartialEq, Eq)]
struct Address {
    hub: String,
    repo: Repo,
    revision: String,
    path: Option<String>,
}

impl Address {
    /// Reads `URL/datasets/OWNER/NAME` with `/resolve/REVISION/PATH` behind it or not; `None` for
    /// what is none. What browsers put behind an address, such as `?download=true`, says nothing.
    fn parse(url: &str) -> Option<Self> {
        let (url, _) = url.split_once(['?', '#']).unwrap_or((url, ""));
        let (scheme, rest) = url.split_once("://")?;
        let (host, rest) = rest.split_once("/datasets/")?;
        let mut parts = rest.trim_end_matches('/').splitn(5, '/');
        let repo = format!("{}/{}", parts.next()?, parts.next()?).parse().ok()?;
        let (revision, path) = match (parts.next(), parts.next()) {
            (None, _) => ("main", None),
            (Some("resolve" | "blob" | "raw" | "tree"), Some(name)) => (name, parts.next()),
            _ => return None,
        };
        let (revision, path) = (revision.to_owned(), path.map(str::to_owned));
        Some(Self { hub: format!("{scheme}://{host}"), repo, revision, path })
    }
}

/// The records at an address.
fn of_address(address: Address, wanted: Wanted<'_>) -> anyhow::Result<Vec<Series>> {
    let Address { hub, repo, revision, path } = address;
    let at = AddressArgs { hub: Some(hub), token_file: wanted.address.token_file.clone() };
    let repo = Arc::new(RecordRepo::open(&at, repo, &revision)?);
    if let Some(path) = path {
        let item = Item { name: repo.name(&path), place: Place::Repo(repo, path), expected: None };
        return Ok(vec![Series::of(vec![item], wanted.latest)]);
    }
    let bytes = repo.bytes(INDEX_PATH, INDEX_BYTES_MAX)?;
    let bytes = bytes
        .with_context(|| format!("{} is not there", repo.name(INDEX_PATH)))
        .hint("a repo of records has an index")?;
    let index = Index::from_json(&bytes).with_context(|| repo.name(INDEX_PATH))?;
    repo.series(&index, wanted.latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_repos_and_files_are_read() {
        let parse = |url: &str| Address::parse(url).unwrap();
        let whole = parse("https://hub.example/datasets/lab/records");
        assert_eq!((whole.hub.as_str(), whole.revision.as_str()), ("https://hub.example", "main"));
        assert_eq!(whole.repo.as_str(), "lab/records");
        assert_eq!(whole.path, None);
        let file = "http://127.0.0.1:1/datasets/a/b/resolve/main/records/tiny/000000/000001.json";
        let file = parse(file);
        assert_eq!(file.hub, "http://127.0.0.1:1");
        assert_eq!(file.path.as_deref(), Some("records/tiny/000000/000001.json"));
        for none in ["records/", "https://hub.example/a/b", "http://h/datasets/a", "datasets/a/b"] {
            assert_eq!(Address::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_gap_in_a_folder_is_named() {
        let steps = gaps(Path::new("r"), "tiny", &[1, 2, 4, 5]);
        assert_eq!(steps.len(), 1);
        let text = format!("{:?}", steps[0]);
        assert!(text.contains("record 3") && text.contains("record 4 after 2"), "{text}");
        assert!(gaps(Path::new("r"), "tiny", &[7, 8]).is_empty(), "older ones may lie elsewhere");
        assert!(lacking(Path::new("r"), "tiny", (3, &[1, 2])).is_some());
        assert!(lacking(Path::new("r"), "tiny", (2, &[1, 2])).is_none());
    }

    #[test]
    fn what_browsers_put_behind_an_address_says_nothing() {
        let file =
            "https://hub.example/datasets/lab/r/resolve/main/records/tiny/000000/000001.json";
        let plain = Address::parse(file).unwrap();
        for behind in ["?download=true", "#L1", "?a=b#L1", "?x=/datasets/a/b", "?"] {
            assert_eq!(
                Address::parse(&format!("{file}{behind}")).as_ref(),
                Some(&plain),
                "{behind}"
            );
        }
        let repo = "https://hub.example/base/datasets/lab/r";
        let whole = Address::parse(repo).unwrap();
        assert_eq!(whole.hub, "https://hub.example/base", "a hub may lie below a path");
        for same in ["/", "/tree/main", "/tree/main/", "/resolve/main", "?x"] {
            assert_eq!(Address::parse(&format!("{repo}{same}")).as_ref(), Some(&whole), "{same}");
        }
        let pinned = format!("{repo}/blob/{}/a/b.json", "0".repeat(40));
        let pinned = Address::parse(&pinned).unwrap();
        assert_eq!((pinned.revision.len(), pinned.path.as_deref()), (40, Some("a/b.json")));
        for none in
            ["https://h/datasets/lab/r/commits/main", "https://h/datasets/../r", "https://h"]
        {
            assert_eq!(Address::parse(none), None, "{none}");
        }
    }

    #[test]
    fn only_the_newest_count_and_those_before_are_read_for_what_they_say() {
        let items = |n: usize| -> Vec<Item> {
            (0..n).map(|n| Item::of_file(PathBuf::from(n.to_string()), None)).collect()
        };
        for (n, latest, n_before) in [
            (5, None, 0),
            (5, Some(1), 4),
            (5, Some(5), 0),
            (5, Some(u64::MAX), 0),
            (0, Some(3), 0),
            (1, Some(1), 0),
        ] {
            let series = Series::of(items(n), latest);
            assert_eq!((series.items.len(), series.n_before), (n, n_before), "{n} {latest:?}");
        }
    }

    #[test]
    fn records_of_several_validators_are_put_together_whatever_the_order_of_files() {
        use super::super::losses::tests::{losses, record};
        use protocol::Seed;
        let dir = tempfile::tempdir().unwrap();
        let key = |number: u64| keys::Keypair::from_seed(Seed::of_number(number));
        let mut names = Vec::new();
        for (validator, number) in [(1, 10), (2, 1), (1, 2), (1, 9), (2, 3)] {
            let mut record = record(vec![losses(1, 1.0)]);
            record.round.number = number;
            record.round.validator = key(validator).public();
            let path = dir.path().join(format!("{validator}-{number}.json"));
            fs::write(&path, Signed::sign(record, &key(validator)).to_json()).unwrap();
            names.push(path.display().to_string());
        }
        let (broken, address) = (dir.path().join("broken.json"), AddressArgs::default());
        fs::write(&broken, "{}").unwrap();
        names.push(broken.display().to_string());
        let wanted = Wanted { latest: Some(1), address: &address };
        let mut series = named(&names, wanted).unwrap();
        let numbers = |series: &Series| -> Vec<Option<u64>> {
            let number = |item: &Item| item.read().unwrap().ok().map(|s| s.record.round.number);
            series.items.iter().map(number).collect()
        };
        let mut all: Vec<_> = series.iter().map(numbers).collect();
        all.sort();
        let expected = [vec![None], vec![Some(1), Some(3)], vec![Some(2), Some(9), Some(10)]];
        assert_eq!(all, expected);
        assert!(series.iter().all(|one| one.n_before + 1 == one.items.len()));
        retain(&mut series, key(2).public()).unwrap();
        assert_eq!(series.iter().map(numbers).collect::<Vec<_>>(), [[Some(1), Some(3)]]);
        names.push(dir.path().join("gone.json").display().to_string());
        let error = named(&names, wanted).map(|_| ()).unwrap_err();
        assert!(format!("{error:#}").contains("gone.json"), "{error:#}");
    }

    #[test]
    fn attack_what_a_stranger_wrote_into_a_record_is_cut_and_begins_no_line() {
        use super::super::losses::tests::{losses, record};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.json");
        let key = keys::Keypair::from_seed(protocol::Seed::of_number(1));
        let json = Signed::sign(record(vec![losses(1, 1.0)]), &key).to_json();
        let json = String::from_utf8(json).unwrap();
        let hostile =
            r"\n  equal        signature  \u202e\u001b[2J".to_owned() + &"x".repeat(5_000);
        let json = json.replacen("\"round\":", &format!("\"{hostile}\":"), 1);
        fs::write(&path, json).unwrap();
        let why = Item::of_file(path, None).read().unwrap().unwrap_err();
        assert!(why.chars().count() <= 500, "{} letters", why.chars().count());
        assert!(why.chars().all(protocol::text::is_plain), "{why:?}");
        assert!(why.contains("unknown field"), "{why}");
    }
}
