//! Where the files of a pinned dataset are read from: a folder, a hub, or a mirror.

use crate::{
    args::AddressArgs,
    hugging_face::{self, explained, resolved},
};
use ::hugging_face::{
    HubClient,
    client::{Listed, Pinned, RepoKind},
};
use dataset::{
    Mirror, RangeRead,
    remote::{Directory, WithReserve},
};
use protocol::{Digest, Repo, Revision};
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Names the folder of the mirror.
const MIRROR_VARIABLE: &str = "AGON_MIRROR";
/// What opens a dataset that is there and not for everybody.
const AGREE: &str = "agree to its terms on the hub, and set HF_TOKEN to a token of yours or run \
                     `hf auth login`";
/// How often a hub is asked before it counts as out of reach. The round is tried again later.
const N_TRIES: u32 = 2;

/// The files of a revision of a repo: in the folder `dir` if one is given, else on the hub, and in
/// the mirror where the hub does not answer.
pub fn open(repo: &str, revision: &str, dir: Option<&Path>) -> anyhow::Result<Box<dyn RangeRead>> {
    if let Some(dir) = dir {
        return Ok(Box::new(Directory::new(dir)));
    }
    let mirror = mirror().map(|root| mirror_folder(&root, repo, revision));
    match mirror.filter(|folder| folder.is_dir()) {
        // Whoever wants no hub to be asked may have all of it here.
        Some(mirror) if hugging_face::is_offline() => Ok(Box::new(Mirror::new(&mirror))),
        Some(mirror) => {
            let hub = open_remote(repo, revision, 1)?;
            Ok(Box::new(WithReserve::new(hub, Mirror::new(&mirror))))
        }
        None => open_remote(repo, revision, N_TRIES),
    }
}

/// A revision of a dataset on the hub that the environment names: the one of this name, and its
/// parquet files in order.
pub fn on_hub(
    repo: &str,
    revision: &str,
) -> anyhow::Result<(Revision, Vec<String>, Box<dyn RangeRead>)> {
    let (client, repo) = (hugging_face::client(&AddressArgs::default())?, repo.parse()?);
    let revision = resolved(&client, RepoKind::Dataset, &repo, revision)?;
    let pinned = Pinned { kind: RepoKind::Dataset, repo: &repo, revision: &revision };
    let listed = client.files(pinned).map_err(explained)?.unwrap_or_default();
    let known: BTreeMap<String, Listed> = listed
        .into_iter()
        .filter(|file| file.path.ends_with(".parquet"))
        .map(|file| (file.path.clone(), file))
        .collect();
    let paths = known.keys().cloned().collect();
    let files = HubFiles { client, repo, revision: revision.clone(), known: Mutex::new(known) };
    Ok((revision, paths, Box::new(files)))
}

/// The mirror that the environment names.
pub fn mirror() -> Option<PathBuf> {
    env::var_os(MIRROR_VARIABLE).map(PathBuf::from)
}

/// Folder of a revision of a repo in a mirror.
pub fn mirror_folder(root: &Path, repo: &str, revision: &str) -> PathBuf {
    root.join(repo).join(revision)
}

/// Folder in which footers are kept; `None` where the system names no place for such things.
pub fn footers() -> Option<PathBuf> {
    cache("footers")
}

/// Folder for things of a kind that can be had again; `None` where the system names no place.
pub fn cache(kind: &str) -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    Some(cache.or_else(home)?.join("agon").join(kind))
}

/// The files of a revision of a dataset on the hub that the environment names.
fn open_remote(repo: &str, revision: &str, n_tries: u32) -> anyhow::Result<Box<dyn RangeRead>> {
    let client = hugging_face::usual_client(n_tries)?;
    let (repo, revision) = (repo.parse()?, revision.parse()?);
    Ok(Box::new(HubFiles { client, repo, revision, known: Mutex::default() }))
}

/// A revision of a dataset on a hub.
struct HubFiles {
    client: HubClient,
    repo: Repo,
    revision: Revision,
    /// What the hub has said of files: of a revision it never says anything else.
    known: Mutex<BTreeMap<String, Listed>>,
}

impl HubFiles {
    fn pinned(&self) -> Pinned<'_> {
        Pinned { kind: RepoKind::Dataset, repo: &self.repo, revision: &self.revision }
    }

    fn listed(&self, path: &str) -> Result<Listed, dataset::Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listed) = known.get(path) {
            return Ok(listed.clone());
        }
        let listed = self.client.file(self.pinned(), path).map_err(|error| self.fault(&error))?;
        let listed = listed.ok_or_else(|| dataset::Error::Unreachable {
            place: self.place(),
            detail: format!("it has no file `{path}`"),
            is_transient: false,
        })?;
        known.insert(path.to_owned(), listed.clone());
        Ok(listed)
    }

    fn place(&self) -> String {
        format!("{}/datasets/{}@{}", self.client.endpoint(), self.repo, self.revision)
    }

    fn fault(&self, error: &hub::Error) -> dataset::Error {
        let detail = match error {
            hub::Error::Denied { .. } => format!("{error}; {AGREE}"),
            _ => error.to_string(),
        };
        let is_transient = error.is_transient();
        dataset::Error::Unreachable { place: self.place(), detail, is_transient }
    }
}

impl RangeRead for HubFiles {
    fn size_bytes(&self, path: &str) -> Result<u64, dataset::Error> {
        self.listed(path).map(|listed| listed.size_bytes)
    }

    fn sha256(&self, path: &str) -> Result<Option<Digest>, dataset::Error> {
        self.listed(path).map(|listed| listed.sha256)
    }

    fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<(), dataset::Error> {
        let read = self.client.read_range(self.pinned(), path, offset, buffer);
        read.map_err(|error| self.fault(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::hugging_face::Folder;
    use ::hugging_face::{
        ClientOptions, DevHub,
        client::{Patience, Upload},
        dev::{Config, Limits, Role, User},
    };
    use dataset::{
        Document, Error, PinnedSource, Source as _, Split,
        remote::Counting,
        source::pinned::{Pinner, pin_file},
    };
    use protocol::{
        Seed,
        competition::{DatasetConfig, DrawRules, HubDataset},
    };
    use std::fs;

    const TOKEN: &str = "hf_ann_may_write";
    const FILE: &str = "small.parquet";

    struct Setting {
        _hub: DevHub,
        endpoint: String,
        dir: tempfile::TempDir,
    }

    impl Setting {
        fn new(limits: Limits) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (name, token) = ("ann".to_owned(), TOKEN.to_owned());
            let users = vec![User { name, token, role: Role::Write, organisations: Vec::new() }];
            let listen = "127.0.0.1:0".parse().unwrap();
            let folder = dir.path().join("hub");
            fs::create_dir(&folder).unwrap();
            let front = ::hugging_face::dev::Front::default();
            let config = Config { listen, folder, users, limits, front };
            let hub = DevHub::start(&config).unwrap();
            Self { endpoint: hub.url(), _hub: hub, dir }
        }

        fn client(&self) -> HubClient {
            let token = Some(TOKEN.to_owned());
            let patience = Patience { n_tries: 1, ..Patience::default() };
            let options = ClientOptions::new(&self.endpoint);
            HubClient::new(&ClientOptions { token, patience, ..options }).unwrap()
        }

        /// Publishes a file of these bytes, and gives the files of that revision.
        fn publish(&self, bytes: &[u8]) -> HubFiles {
            let (repo, folder): (Repo, _) =
                ("ann/text".parse().unwrap(), self.dir.path().join("up"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(FILE), bytes).unwrap();
            let client = self.client();
            let folder = Folder::of_everything(&folder).unwrap();
            let uploaded = client.upload(&Upload::new(RepoKind::Dataset, &repo, &folder)).unwrap();
            let revision = uploaded.revision;
            HubFiles { client, repo, revision, known: Mutex::default() }
        }
    }

    fn folder() -> PathBuf {
        PathBuf::from("../../testdata/fineweb")
    }

    /// What is drawn of the file that `testdata/fineweb` has, read from elsewhere.
    fn draw(files: HubFiles) -> Result<Vec<Document>, Error> {
        let file = pin_file(&Directory::new(&folder()), FILE, None, &|_| {})?;
        let dataset = HubDataset {
            repo: files.repo.to_string(),
            text_column: "text".to_owned(),
            revision: Some(files.revision.clone()),
            draw: DrawRules {
                text_bytes_min: 61,
                documents_per_group: 5,
                groups_per_file: 2,
                rounds_apart: 2,
            },
            configs: vec![DatasetConfig { name: "all".to_owned(), weight: 1, files: vec![file] }],
        };
        let lot = dataset::Lot { seed: Seed::of_number(1), turn: 0 };
        PinnedSource::new(dataset, Box::new(files), None)?.draw(Split::Evaluation, lot).collect()
    }

    #[test]
    fn of_a_file_whose_digest_the_hub_names_footer_and_a_row_group_are_read_to_pin_it() {
        let original = fs::read(folder().join(FILE)).unwrap();
        let here = pin_file(&Directory::new(&folder()), FILE, None, &|_| {}).unwrap();
        let read = |inline_bytes_max: u64| {
            let setting = Setting::new(Limits { inline_bytes_max, ..Limits::default() });
            let files = Counting::new(setting.publish(&original));
            assert_eq!(Pinner::new(&files, None).pin(FILE, &|_| {}).unwrap(), here);
            files.n_bytes()
        };
        let n_bytes = read(1 << 10);
        assert!(here.footer_bytes <= n_bytes && n_bytes < here.size_bytes / 2);
        assert_eq!(read(1 << 20), n_bytes, "parquet has a digest there, whatever its size");
    }

    #[test]
    fn attack_a_changed_file_is_refused_over_http() {
        let setting = Setting::new(Limits::default());
        let original = fs::read(folder().join(FILE)).unwrap();
        assert!(draw(setting.publish(&original)).unwrap().len() >= 5);
        let flipped = |at: usize| {
            let mut bytes = original.clone();
            bytes[at] ^= 1;
            bytes
        };
        let footer = original.len() - 1_000;
        for changed in [[&original[..], &[0]].concat(), original[1..].to_vec(), flipped(footer)] {
            let error = draw(setting.publish(&changed)).unwrap_err();
            assert!(matches!(error, Error::NotPinned { .. }) && !error.is_transient(), "{error}");
        }
    }

    #[test]
    fn attack_a_file_that_goes_between_the_list_and_the_read_is_an_error() {
        let setting = Setting::new(Limits::default());
        let original = fs::read(folder().join(FILE)).unwrap();
        let files = setting.publish(&original);
        assert_eq!(files.size_bytes(FILE).unwrap(), original.len() as u64);
        let other = HubFiles {
            revision: "0".repeat(40).parse().unwrap(),
            known: Mutex::new(files.known.lock().unwrap().clone()),
            ..setting.publish(b"something else")
        };
        let error = draw(other).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}
