//! Which files of a repo are the model, and what a folder of files is as hashes.

use crate::{Error, FileEntry, Progress};
use protocol::{
    Digest,
    content::{self, ContentHash},
    files::{CONFIG, INDEX, N_FILES_MAX, is_shard_name},
    text::{is_joiner, is_plain, shown},
};
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::sync_channel,
    },
};

/// Most bytes of a path inside a repo.
const PATH_BYTES_MAX: usize = 200;
/// Most bytes of a path of a file that is no part of a model, and of a name in it.
const SAFE_PATH_BYTES_MAX: usize = 1_024;
const SAFE_NAME_BYTES_MAX: usize = 255;
/// Bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 18;
/// Chunks that are read before they are hashed, at most.
const CHUNKS_AHEAD: usize = 4;

/// Endings of files that hold code, or parameters that only code can read.
const REFUSED_ENDINGS: [&str; 25] = [
    "bat", "bin", "ckpt", "cmd", "dll", "dylib", "exe", "gguf", "h5", "ipynb", "jar", "joblib",
    "js", "msgpack", "npy", "npz", "onnx", "pickle", "pkl", "ps1", "pt", "pth", "py", "sh", "so",
];
/// Endings that begin like this are refused too: `pyc`, `pyx`, …
const REFUSED_PREFIX: &str = "py";

/// What a path in a repo is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Part of the model: fetched, hashed, read.
    Model,
    /// Text, pictures, tokenizers: allowed, but never fetched.
    Ignored,
    /// Code, unsafe formats, odd names: a repo that has one is refused whole.
    Refused,
}

/// What a path in a repo is to us, by its name alone.
pub fn kind(path: &str) -> Kind {
    if path == CONFIG || path == INDEX || is_shard_name(path) {
        return Kind::Model;
    }
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name).to_ascii_lowercase();
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is_refused = ending == "safetensors"
        || ending.starts_with(REFUSED_PREFIX)
        || REFUSED_ENDINGS.contains(&ending);
    if is_refused || !is_plain_path(path) { Kind::Refused } else { Kind::Ignored }
}

/// The files that an index names; an error for one that is none, or names what cannot be a shard.
pub fn shards_of_index(index: &[u8]) -> Result<BTreeSet<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index)
        .map_err(|_| format!("`{INDEX}` does not say which file has which tensor"))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    match names.iter().find(|name| !is_shard_name(name)) {
        Some(odd) => {
            Err(format!("`{INDEX}` names `{}`", shown(odd, PATH_BYTES_MAX).escape_default()))
        }
        None => Ok(names),
    }
}

/// Whether a path stays inside its folder and is the same on every system.
///
/// Parts between `/` have ASCII letters, digits, and ` ._-+` between the first and the last
/// character; a name may begin with one dot or underscore.
pub fn is_plain_path(path: &str) -> bool {
    let is_part = |part: &str| {
        let name = part.strip_prefix(['.', '_']).unwrap_or(part);
        let is_inner = |c: char| c.is_ascii_alphanumeric() || " ._-+".contains(c);
        name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.ends_with(|c: char| c.is_ascii_alphanumeric() || "_-+".contains(c))
            && name.chars().all(is_inner)
    };
    path.len() <= PATH_BYTES_MAX && path.split('/').all(is_part)
}

/// Whether a path stays inside its folder on systems like this one, and shows what it is.
///
/// For whatever is not a model: names of the world have letters of every script, and ` =()#?@`.
pub fn is_safe_path(path: &str) -> bool {
    let is_part = |part: &str| {
        let is_inner = |c: char| c != '\\' && (is_plain(c) || is_joiner(c));
        !["", ".", ".."].contains(&part)
            && part.len() <= SAFE_NAME_BYTES_MAX
            && part.chars().all(is_inner)
    };
    path.len() <= SAFE_PATH_BYTES_MAX && path.split('/').all(is_part)
}

/// What the files of a model are as hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Digest over names, sizes and bytes of the model's files; what a commitment binds.
    pub file_root: Digest,
    /// The reference's hash of the same files, blind to their names.
    pub reference_directory_hash: ContentHash,
    /// Bytes of the same files.
    pub size_bytes: u64,
}

impl Hashes {
    /// The hashes of the model's files among those listed; the others do not matter.
    pub fn of(files: &[FileEntry]) -> Self {
        let model: Vec<&FileEntry> = model_files(files).collect();
        let reference: Vec<(&str, ContentHash)> =
            model.iter().map(|file| (file.path.as_str(), ContentHash(file.sha256.0))).collect();
        Self {
            file_root: file_root(files),
            reference_directory_hash: content::reference_directory_hash(&reference),
            size_bytes: model.iter().fold(0, |sum, file| sum.saturating_add(file.size_bytes)),
        }
    }
}

/// Digest over names, sizes and bytes of the model's files, as a commitment binds it.
///
/// Files that are not part of the model do not matter: they are never fetched.
pub fn file_root(files: &[FileEntry]) -> Digest {
    let model: Vec<(&str, u64, Digest)> =
        model_files(files).map(|file| (file.path.as_str(), file.size_bytes, file.sha256)).collect();
    content::file_root(&model)
}

/// The files that are part of the model.
pub fn model_files(files: &[FileEntry]) -> impl Iterator<Item = &FileEntry> {
    files.iter().filter(|file| kind(&file.path) == Kind::Model)
}

/// The files of a folder that holds plain, visible files alone, as a hub would list them.
///
/// A folder of the user's own may hold more: see `Folder` of `hugging-face`.
pub fn list_folder(dir: &Path) -> Result<Vec<FileEntry>, Error> {
    list_files(publishable_files(dir)?, &|_, _| true)
}

/// The entries of files; `progress` is told how many bytes of all have been hashed, and `false`
/// stops it.
pub fn list_files(
    files: Vec<(String, PathBuf)>,
    progress: &(dyn Fn(u64, u64) -> bool + Sync),
) -> Result<Vec<FileEntry>, Error> {
    let mut all = 0_u64;
    for (_, file) in &files {
        all = all.saturating_add(fs::metadata(file).map_err(Error::io("find", file))?.len());
    }
    let done = AtomicU64::new(0);
    let entry = |(path, file): (String, PathBuf)| {
        let before = AtomicU64::new(0);
        let progress = |n: u64| {
            let more = n - before.swap(n, Ordering::Relaxed);
            progress(done.fetch_add(more, Ordering::Relaxed) + more, all)
        };
        let (size_bytes, sha256) = digest_of_file(&file, &progress)?;
        Ok(FileEntry { path, size_bytes, sha256 })
    };
    files.into_par_iter().map(entry).collect()
}

/// Files of a folder and its sub-folders with their paths inside it, in order.
///
/// Links, devices, hidden files (which may hold secrets) and odd names are errors.
pub fn publishable_files(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let refuse = |path: &Path, reason| Error::NotPublishable { path: path.to_owned(), reason };
    let mut files = Vec::new();
    let mut folders = vec![(String::new(), dir.to_owned())];
    let mut n_seen = 0;
    while let Some((prefix, folder)) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(Error::io("list", &folder))? {
            let entry = entry.map_err(Error::io("list", &folder))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| refuse(&path, "its name is not UTF-8"))?;
            if name.starts_with('.') {
                return Err(refuse(&path, "its name begins with a dot, which hides it"));
            }
            let inside = format!("{prefix}{name}");
            if !is_plain_path(&inside) {
                let reason = "its name is too long or has other characters than `A-Za-z0-9._-+ `";
                return Err(refuse(&path, reason));
            }
            n_seen += 1;
            if n_seen > N_FILES_MAX {
                return Err(refuse(dir, "it has more than 1024 files and folders"));
            }
            let kind = entry.file_type().map_err(Error::io("find", &path))?;
            if kind.is_dir() {
                folders.push((inside + "/", path));
            } else if kind.is_file() {
                files.push((inside, path));
            } else {
                return Err(refuse(&path, "it is neither a file nor a folder"));
            }
        }
    }
    files.sort_unstable();
    if files.is_empty() { Err(refuse(dir, "it has no files")) } else { Ok(files) }
}

/// Length and digest of a file's bytes.
pub fn digest_of_file(path: &Path, progress: Progress<'_>) -> Result<(u64, Digest), Error> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let (size_bytes, hasher) = hash((&file, path), progress)?;
    Ok((size_bytes, Digest(hasher.finalize().into())))
}

/// Length of what is left of a file, and a hasher that has seen it.
pub fn hash(
    (mut file, path): (&File, &Path),
    progress: Progress<'_>,
) -> Result<(u64, Sha256), Error> {
    let (to_hash, read) = sync_channel(CHUNKS_AHEAD);
    let (mut hasher, mut size_bytes) = (Sha256::new(), 0);
    std::thread::scope(|scope| {
        // Reading ahead, because hashing keeps one core busy.
        let reading = scope.spawn(move || -> io::Result<()> {
            loop {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                (&mut file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
                // Whoever hashes goes last, unless it was stopped.
                if chunk.is_empty() || to_hash.send(chunk).is_err() {
                    return Ok(());
                }
            }
        });
        for chunk in read {
            hasher.update(&chunk);
            size_bytes += chunk.len() as u64;
            if !progress(size_bytes) {
                return Err(Error::Stopped);
            }
        }
        let all_read = reading.join();
        let all_read = all_read.unwrap_or_else(|_| Err(io::Error::other("reading has panicked")));
        all_read.map_err(Error::io("read", path))
    })?;
    Ok((size_bytes, hasher))
}

/// Copies at most one byte more than `size_bytes_max`; gives the number of bytes and their digest.
pub fn copy(
    from: &mut impl Read,
    to: &mut impl Write,
    size_bytes_max: u64,
) -> io::Result<(u64, Digest)> {
    let mut limited = from.take(size_bytes_max.saturating_add(1));
    let (mut hasher, mut size_bytes) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let n = limited.read(&mut chunk)?;
        let Some(read) = chunk.get(..n).filter(|read| !read.is_empty()) else {
            return Ok((size_bytes, Digest(hasher.finalize().into())));
        };
        hasher.update(read);
        to.write_all(read)?;
        size_bytes += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn exactly_the_names_of_a_model_are_part_of_it() {
        let model = [
            "config.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00001-of-000002.safetensors",
            "model.safetensors-00001-of-00002.safetensors",
            "pytorch_model-1-of-2.safetensors",
            "adapter.safetensors",
        ];
        assert!(model.iter().all(|path| kind(path) == Kind::Model));
        let ignored = [
            "README.md",
            "tokenizer.json",
            "generation_config.json",
            ".gitattributes",
            "sub/config.json",
            "Config.json",
            "figures/loss curve.png",
            "config.json.md",
            "vocab+merges.txt",
        ];
        for path in ignored {
            assert_eq!(kind(path), Kind::Ignored, "{path}");
        }
        let refused = [
            "modeling.py",
            "MODEL.PY",
            "a/b.pyc",
            "pytorch_model.bin",
            "x.pt",
            "x.pkl",
            "x.so",
            "run.sh",
            "sub/model.safetensors",
            "model.SAFETENSORS",
            ".safetensors",
            "model safetensors.safetensors",
            "model-00001-of-00002.safetensors.py",
            "model-00001-of-0000２.safetensors",
            "model-+0001-of-00002.safetensors",
        ];
        for path in refused {
            assert_eq!(kind(path), Kind::Refused, "{path}");
        }
    }

    #[test]
    fn the_hashes_of_a_folder_agree_with_the_reference_and_name_what_they_cover() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(CONFIG), "hello").unwrap();
        fs::write(dir.path().join("model.safetensors"), "world").unwrap();
        let hashes = Hashes::of(&list_folder(dir.path()).unwrap());
        assert_eq!(hashes.size_bytes, 10);
        // SHA-256 of the two hashes' text joined, as the reference computes it.
        let file_hash = |text: &[u8]| content::reference_file_hash(text).to_string();
        let joined = file_hash(b"hello") + &file_hash(b"world");
        assert_eq!(
            hashes.reference_directory_hash,
            content::reference_file_hash(joined.as_bytes())
        );
        fs::write(dir.path().join("README.md"), "changes nothing").unwrap();
        assert_eq!(Hashes::of(&list_folder(dir.path()).unwrap()), hashes);
        fs::rename(
            dir.path().join("model.safetensors"),
            dir.path().join("model-00001-of-00001.safetensors"),
        )
        .unwrap();
        let renamed = Hashes::of(&list_folder(dir.path()).unwrap());
        assert_ne!(renamed.file_root, hashes.file_root, "names are covered");
        assert_eq!(renamed.reference_directory_hash, hashes.reference_directory_hash);
    }

    #[test]
    fn an_index_names_shards_and_nothing_else() {
        let index = |name: &str| format!(r#"{{"weight_map":{{"a":"{name}","b":"{name}"}}}}"#);
        let names = |name: &str| shards_of_index(index(name).as_bytes());
        for name in ["x.safetensors", "model-00001-of-000002.safetensors"] {
            assert_eq!(names(name).unwrap(), BTreeSet::from([name.to_owned()]));
        }
        let long = "x".repeat(120) + ".safetensors";
        for name in
            ["", "..", "../x.safetensors", "a/x.safetensors", ".x.safetensors", "x.bin", &long]
        {
            assert!(names(name).is_err(), "{name}");
        }
        for text in ["", "{}", "[]", r#"{"weight_map":[]}"#, r#"{"weight_map":{"a":1}}"#] {
            assert!(shards_of_index(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn ordinary_names_of_the_world_are_safe_and_what_leaves_or_deceives_is_not() {
        for path in [
            "na\u{ef}ve.txt",
            "lang=en/part-0.parquet",
            "model (1).txt",
            "\u{6570}\u{636e}/\u{1f468}\u{200d}\u{1f469}.md",
            "\u{645}\u{6cc}\u{200c}\u{631}.md",
            "a#b?c@d &$.md",
            "...",
            "x.",
            " x ",
            "~/x",
            "12:00.md",
            "%2e%2e/x",
        ] {
            assert!(is_safe_path(path), "{path:?}");
        }
        let (long, deep) = ("x".repeat(256), "x/".repeat(600) + "x");
        for path in [
            "",
            ".",
            "..",
            "/",
            "/x",
            "../x",
            "a/../b",
            "a/..",
            "a//b",
            "a/",
            "./x",
            "a\\b",
            "a\0b",
            "a\nb",
            "a\u{1b}b",
            "\u{202e}gnp.md",
            "\u{200b}",
            "\u{2066}a",
            "\u{feff}a",
            &long,
            &deep,
        ] {
            assert!(!is_safe_path(path), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn a_safe_path_stays_inside(path in "[a./\\\\~:%\u{2024}\u{ff0e}\u{e9} =A0_-]{0,12}") {
            if is_safe_path(&path) {
                let n_parts = path.split('/').count();
                prop_assert_eq!(Path::new("/x").join(&path).components().count(), 2 + n_parts);
            }
            for outside in ["../", "/", "./"] {
                prop_assert!(!is_safe_path(&[outside, &path].concat()));
            }
        }

        #[test]
        fn a_plain_path_stays_inside_its_folder(path in "[a./\\\\~:%\u{2024}\u{ff0e} A0_-]{0,12}") {
            if is_plain_path(&path) {
                prop_assert!(path.is_ascii() && !path.starts_with('/') && !path.contains('\\'));
                let is_name = |part: &str| !part.trim_matches('.').is_empty();
                prop_assert!(path.split('/').all(is_name));
                prop_assert_eq!(Path::new("/x").join(&path).components().count(), 2 + path.split('/').count());
            }
            for outside in ["../", "/", "./"] {
                prop_assert!(!is_plain_path(&[outside, &path].concat()));
            }
        }
    }
}
