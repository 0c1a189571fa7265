//! Sets of competitions on the disk: rules and tokenizers by their digests, verified when they come
//! and when they are read again.

use crate::{args::OwnerArgs, competition_file, hugging_face::explained, input};
use anyhow::Context as _;
use hugging_face::{
    HubClient,
    client::{Pinned, RepoKind},
};
use protocol::{
    Competition, CompetitionSet, Digest, SetCommitment,
    competition::TokenizerRules,
    set::{RULES_BYTES_MAX, SetIndex},
};
use std::{
    collections::BTreeSet,
    fmt, fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// The index of a set, in a repo.
pub const INDEX: &str = "competitions.json";
/// Folder of rules, in a repo and here.
const RULES: &str = "rules";
/// Folder of tokenizers, in a repo and here.
const TOKENIZERS: &str = "tokenizers";
/// Folder of competition files, here.
const FILES: &str = "files";
/// A competition file.
const FILE: &str = "competition.toml";
/// Longest tokenizer.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;

/// Where rules are, in a repo.
pub fn rules_path(rules: Digest) -> String {
    format!("{RULES}/{}.json", rules.hex())
}

/// Where a tokenizer is, in a repo.
pub fn tokenizer_path(name: &str) -> String {
    format!("{TOKENIZERS}/{name}")
}

/// What a set may ask for.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    n_versions_max: usize,
    model_bytes_max: u64,
}

impl Bounds {
    /// Those of the options.
    pub fn new(args: &OwnerArgs) -> Self {
        let model_bytes_max = args.owner_model_max.as_u64();
        Self { n_versions_max: args.owner_competitions_max, model_bytes_max }
    }

    /// Whatever can be a set at all.
    pub fn none() -> Self {
        Self { n_versions_max: usize::MAX, model_bytes_max: u64::MAX }
    }

    fn of_number(&self, index: &SetIndex) -> Result<(), String> {
        let (n, max) = (index.competitions().len(), self.n_versions_max);
        if n <= max {
            return Ok(());
        }
        Err(format!(
            "it has {n} versions of competitions, more than {max} (owner_competitions_max)"
        ))
    }

    fn of_rules(&self, set: &CompetitionSet) -> Result<(), String> {
        for rules in set.schedule().versions() {
            let (name, bytes) = (&rules.name, rules.model.size_bytes_max);
            if bytes > self.model_bytes_max {
                let max = self.model_bytes_max;
                return Err(format!(
                    "`{name}` admits models of {bytes} bytes, more than {max} (owner_model_max)"
                ));
            }
            competition_file::check_architectures(rules)
                .map_err(|error| format!("`{name}`: {error:#}"))?;
        }
        Ok(())
    }
}

/// What became of fetching a set.
pub enum Fetched {
    /// All of it is here.
    Set(SetIndex, CompetitionSet),
    /// It is nothing that is taken, whoever gives it.
    Refused(String),
}

/// What an error is about where the hub answers, and does not give what was committed to: it has
/// nothing there, has other bytes, or does not show them to us.
#[derive(Debug)]
pub struct Missing;

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the hub does not give what was committed to")
    }
}

/// A folder of sets.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// The sets in a folder, which need not be there.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Fetches what a commitment names and is not here yet. Whatever comes with another digest is
    /// an error: the hub may give the right bytes later. It is [`Missing`] where the hub answered.
    pub fn fetch(
        &self,
        client: &HubClient,
        commitment: &SetCommitment,
        bounds: Bounds,
    ) -> anyhow::Result<Fetched> {
        let SetCommitment { repo, revision, index } = commitment;
        let pinned = Pinned { kind: RepoKind::Dataset, repo, revision };
        let bytes = fetched(client, pinned, SetFile { path: INDEX, sha256: *index })?;
        let index = match SetIndex::from_json(&bytes) {
            Ok(index) => index,
            Err(error) => return Ok(Fetched::Refused(error.to_string())),
        };
        if let Err(refusal) = bounds.of_number(&index) {
            return Ok(Fetched::Refused(refusal));
        }
        for listed in index.competitions() {
            let file = SetFile { path: &rules_path(listed.rules), sha256: listed.rules };
            self.have(client, pinned, file, &self.rules(listed.rules))?;
        }
        let set = match self.assembled(&index)? {
            Ok(set) => set,
            Err(refusal) => return Ok(Fetched::Refused(refusal)),
        };
        if let Err(refusal) = bounds.of_rules(&set) {
            return Ok(Fetched::Refused(refusal));
        }
        for (name, sha256) in set.tokenizer_files() {
            let file = SetFile { path: &tokenizer_path(name), sha256 };
            self.have(client, pinned, file, &self.tokenizer(sha256))?;
        }
        Ok(Fetched::Set(index, set))
    }

    /// The set of an index whose rules are here.
    pub fn set(&self, index: &SetIndex) -> anyhow::Result<CompetitionSet> {
        self.assembled(index)?.map_err(anyhow::Error::msg)
    }

    /// The same, if its tokenizers are here as well.
    pub fn whole(&self, index: &SetIndex) -> anyhow::Result<CompetitionSet> {
        let set = self.set(index)?;
        for sha256 in set.tokenizer_files().into_values() {
            self.tokenizer_bytes(sha256)?;
        }
        Ok(set)
    }

    /// Paths of competition files for all rules of a set, written where they are not there, with
    /// their tokenizers beside them.
    pub fn files(&self, set: &CompetitionSet) -> anyhow::Result<Vec<String>> {
        set.schedule().versions().map(|rules| self.file(rules)).collect()
    }

    /// The path of the competition file of these rules.
    pub fn file(&self, rules: &Competition) -> anyhow::Result<String> {
        let folder = self.dir.join(FILES).join(rules.digest().hex());
        let path = folder.join(FILE);
        if let TokenizerRules::File { path, sha256, .. } = &rules.text.tokenizer {
            write(&folder.join(path), &self.tokenizer_bytes(*sha256)?)?;
        }
        write(&path, toml::to_string(rules)?.as_bytes())?;
        let name = path.to_str().context("the path of the home is not UTF-8")?;
        Ok(name.to_owned())
    }

    /// Keeps a tokenizer.
    pub fn keep_tokenizer(&self, bytes: &[u8]) -> anyhow::Result<()> {
        write(&self.tokenizer(Digest::of(bytes)), bytes)
    }

    /// The bytes of a tokenizer that is kept.
    pub fn tokenizer_bytes(&self, sha256: Digest) -> anyhow::Result<Vec<u8>> {
        self.verified(&self.tokenizer(sha256), sha256, TOKENIZER_BYTES_MAX)
    }

    /// Deletes what these indices do not name.
    pub fn keep_only(&self, indices: &[&SetIndex]) -> anyhow::Result<()> {
        let listed = indices.iter().flat_map(|index| index.competitions());
        let wanted: BTreeSet<Digest> = listed.map(|listed| listed.rules).collect();
        let mut tokenizers = BTreeSet::new();
        for index in indices {
            tokenizers.extend(self.set(index)?.tokenizer_files().into_values());
        }
        let json = |digest: &Digest| format!("{}.json", digest.hex());
        remove_others(&self.dir.join(RULES), &wanted.iter().map(json).collect())?;
        remove_others(&self.dir.join(TOKENIZERS), &tokenizers.iter().map(json).collect())?;
        remove_others(&self.dir.join(FILES), &wanted.iter().map(Digest::hex).collect())
    }

    fn rules(&self, rules: Digest) -> PathBuf {
        self.dir.join(rules_path(rules))
    }

    fn tokenizer(&self, sha256: Digest) -> PathBuf {
        self.dir.join(TOKENIZERS).join(format!("{}.json", sha256.hex()))
    }

    /// The set of an index, or why it is none.
    fn assembled(&self, index: &SetIndex) -> anyhow::Result<Result<CompetitionSet, String>> {
        let mut all = Vec::with_capacity(index.competitions().len());
        for listed in index.competitions() {
            let path = self.rules(listed.rules);
            let bytes = self.verified(&path, listed.rules, RULES_BYTES_MAX as u64)?;
            match Competition::from_json(&bytes) {
                Ok(rules) => all.push(rules),
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        Ok(index.assemble(all).map_err(|error| error.to_string()))
    }

    /// The bytes of a file of ours, which have this digest.
    fn verified(&self, path: &Path, sha256: Digest, bytes_max: u64) -> anyhow::Result<Vec<u8>> {
        let bytes = input::read(path, bytes_max)?;
        expect(sha256, &bytes, &input::name(path))?;
        Ok(bytes)
    }

    /// Has a file of a repo here, unless it is.
    fn have(
        &self,
        client: &HubClient,
        pinned: Pinned<'_>,
        file: SetFile<'_>,
        path: &Path,
    ) -> anyhow::Result<()> {
        if self.verified(path, file.sha256, TOKENIZER_BYTES_MAX).is_ok() {
            return Ok(());
        }
        write(path, &fetched(client, pinned, file)?)
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    disk::write(path, bytes).with_context(|| format!("cannot write {}", input::name(path)))
}

/// A file of a set in its repo.
#[derive(Clone, Copy)]
struct SetFile<'a> {
    path: &'a str,
    sha256: Digest,
}

/// The bytes of a small file of a repo, which have their digest.
fn fetched(client: &HubClient, pinned: Pinned<'_>, file: SetFile<'_>) -> anyhow::Result<Vec<u8>> {
    let SetFile { path, sha256 } = file;
    let Pinned { repo, revision, .. } = pinned;
    let listed = client.file(pinned, path).map_err(unread)?;
    let none = || format!("`{repo}@{revision}` has no `{path}` on {}", client.endpoint());
    let listed = listed.with_context(none).context(Missing)?;
    let bytes = client.read(pinned, &listed).map_err(unread)?;
    expect(sha256, &bytes, &format!("`{path}` of {repo}@{revision}")).context(Missing)?;
    Ok(bytes)
}

/// Why a file of a repo was not read.
fn unread(error: hub::Error) -> anyhow::Error {
    use hub::Error::{Denied, NoFile, Refused, TooLarge};
    // Of a hub that is away nobody knows what it has.
    let is_missing =
        matches!(error, Denied { .. } | NoFile { .. } | Refused { .. } | TooLarge { .. });
    let error = explained(error);
    if is_missing { error.context(Missing) } else { error }
}

fn expect(sha256: Digest, bytes: &[u8], name: &str) -> anyhow::Result<()> {
    let found = Digest::of(bytes);
    anyhow::ensure!(found == sha256, "{name} has the digest {found}, and not {sha256}");
    Ok(())
}

/// Deletes whatever else a folder of ours holds.
fn remove_others(folder: &Path, names: &BTreeSet<String>) -> anyhow::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| input::name(folder))?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
            continue;
        }
        let path = entry.path();
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.with_context(|| format!("cannot delete {}", input::name(&path)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::names;

    #[test]
    fn attack_a_set_that_asks_for_more_than_the_operator_gives_is_refused_by_what_it_asks_for() {
        let tiny = Competition::builtin("tiny").unwrap();
        let later = Competition { from_block: 9, ..tiny.clone() };
        let set = CompetitionSet::new(vec![tiny.clone(), later]).unwrap();
        let of = |n_versions_max, model_bytes_max| Bounds { n_versions_max, model_bytes_max };
        let size_bytes = tiny.model.size_bytes_max;
        assert_eq!(of(2, size_bytes).of_number(&set.index()), Ok(()));
        assert_eq!(of(2, size_bytes).of_rules(&set), Ok(()));
        let many = of(1, size_bytes).of_number(&set.index()).unwrap_err();
        assert!(many.contains("owner_competitions_max"), "{many}");
        let large = of(2, size_bytes - 1).of_rules(&set).unwrap_err();
        assert!(large.contains("owner_model_max"), "{large}");
        let mut unknown = tiny;
        unknown.model.architectures = vec!["gpt_of_tomorrow".to_owned()];
        let unknown = CompetitionSet::new(vec![unknown]).unwrap();
        let refused = Bounds::none().of_rules(&unknown).unwrap_err();
        assert!(refused.contains("gpt_of_tomorrow"), "{refused}");
    }

    #[test]
    fn bytes_are_missing_where_the_hub_answers_and_not_where_it_is_away() {
        let said = || "no".to_owned();
        assert!(unread(hub::Error::Denied { status: 401, said: said() }).is::<Missing>());
        assert!(unread(hub::Error::Refused { status: 410, said: said() }).is::<Missing>());
        assert!(!unread(hub::Error::Unavailable(said())).is::<Missing>());
        assert!(!unread(hub::Error::Stopped).is::<Missing>());
    }

    #[test]
    fn attack_rules_that_were_changed_on_the_disk_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned());
        let tiny = Competition::builtin("tiny").unwrap();
        let set = CompetitionSet::new(vec![tiny.clone()]).unwrap();
        let path = store.rules(tiny.digest());
        write(&path, &tiny.to_json()).unwrap();
        assert_eq!(store.set(&set.index()).unwrap(), set);
        let mut other = tiny;
        other.reward_share = 0.5;
        write(&path, &other.to_json()).unwrap();
        let error = store.set(&set.index()).unwrap_err().to_string();
        assert!(error.contains("has the digest"), "{error}");
    }

    /// Rules whose tokenizer is a file with these bytes.
    fn with_tokenizer(path: &str, bytes: &[u8]) -> Competition {
        let mut rules = Competition::builtin("tiny").unwrap();
        let (path, sha256) = (path.to_owned(), Digest::of(bytes));
        rules.text.tokenizer =
            TokenizerRules::File { path, vocabulary: 512, end_of_text: 511, sha256 };
        rules
    }

    #[test]
    fn a_set_is_whole_with_its_tokenizers_and_its_files_read_as_the_same_rules() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned());
        let rules = with_tokenizer("t.json", b"{}");
        let set = CompetitionSet::new(vec![rules.clone()]).unwrap();
        write(&store.rules(rules.digest()), &rules.to_json()).unwrap();
        assert_eq!(store.set(&set.index()).unwrap(), set);
        assert!(store.whole(&set.index()).is_err(), "the tokenizer is not there yet");
        assert!(store.files(&set).is_err());
        store.keep_tokenizer(b"{}").unwrap();
        assert_eq!(store.whole(&set.index()).unwrap(), set);
        let files = store.files(&set).unwrap();
        assert_eq!(store.files(&set).unwrap(), files, "the same paths each time");
        assert_eq!(competition_file::rules(&files[0]).unwrap(), rules);
        let beside = Path::new(&files[0]).with_file_name("t.json");
        assert_eq!(fs::read(&beside).unwrap(), b"{}");
        // What was damaged beside the file is written again; what is damaged in the store is told.
        fs::write(&beside, "").unwrap();
        store.files(&set).unwrap();
        assert_eq!(fs::read(&beside).unwrap(), b"{}");
        for damaged in ["", "{", "{}\n"] {
            fs::write(store.tokenizer(Digest::of(b"{}")), damaged).unwrap();
            let error = store.whole(&set.index()).unwrap_err().to_string();
            assert!(error.contains("has the digest"), "{damaged:?}: {error}");
        }
    }

    #[test]
    fn attack_what_no_index_names_is_deleted_and_nothing_behind_a_link() {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let thesis = outside.path().join("thesis.tex");
        fs::write(&thesis, "years").unwrap();
        let store = Store::new(dir.path().to_owned());
        let tiny = Competition::builtin("tiny").unwrap();
        let index = CompetitionSet::new(vec![tiny.clone()]).unwrap().index();
        write(&store.rules(tiny.digest()), &tiny.to_json()).unwrap();
        store.file(&tiny).unwrap();
        write(&store.rules(Digest([9; 32])), b"of before").unwrap();
        store.keep_tokenizer(b"of before").unwrap();
        for folder in [RULES, FILES] {
            let link = dir.path().join(folder).join("link");
            std::os::unix::fs::symlink(outside.path(), link).unwrap();
            fs::create_dir_all(dir.path().join(folder).join("stray/deep")).unwrap();
        }
        store.keep_only(&[&index]).unwrap();
        let hex = tiny.digest().hex();
        assert_eq!(names(&dir.path().join(RULES)), [format!("{hex}.json")]);
        assert_eq!(names(&dir.path().join(FILES)), [hex]);
        assert_eq!(names(&dir.path().join(TOKENIZERS)), [""; 0]);
        assert_eq!(fs::read_to_string(&thesis).unwrap(), "years");
        // Of rules that cannot be read nobody knows the tokenizers: none is deleted.
        store.keep_tokenizer(b"needed").unwrap();
        fs::write(store.rules(tiny.digest()), "damaged").unwrap();
        assert!(store.keep_only(&[&index]).is_err());
        assert_eq!(store.tokenizer_bytes(Digest::of(b"needed")).unwrap(), b"needed");
        store.keep_only(&[]).unwrap();
        assert_eq!(names(&dir.path().join(TOKENIZERS)), [""; 0]);
        Store::new(dir.path().join("none")).keep_only(&[]).unwrap();
    }
}
