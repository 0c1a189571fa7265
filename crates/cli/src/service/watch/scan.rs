//! Checkpoints in folders of a trainer: which there are, which are whole, which have changed.
//!
//! Trainers write in place and delete what is old, so nothing that is found here is sure to be
//! there a moment later: what cannot be read is not there.

use hub::content::shards_of_index;
use protocol::{
    Digest,
    files::{
        CONFIG, CONFIG_BYTES_MAX, HEADER_BYTES_MAX, INDEX, INDEX_BYTES_MAX, SINGLE, is_shard_name,
    },
};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

/// Folders below those that are watched in which checkpoints are looked for.
const DEPTH_MAX: usize = 6;
/// Most files and folders of one look.
const N_ENTRIES_MAX: usize = 100_000;

/// A folder with a config and safetensors files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The folder.
    pub dir: PathBuf,
    /// Digest over where its files are, how large they are, and when they were written.
    pub fingerprint: Digest,
    /// When the newest of them was written: seconds and nanoseconds of the file system's clock.
    pub written: (i64, i64),
}

/// What one look finds.
#[derive(Debug, Default)]
pub struct Look {
    /// The checkpoints, the one that was written last first.
    pub checkpoints: Vec<Checkpoint>,
    /// Whether there was more than is looked at.
    pub is_cut: bool,
}

/// Looks for checkpoints in folders, at the tree `besides` never. Links to folders are not
/// followed.
pub fn look(dirs: &[PathBuf], besides: &Path) -> Look {
    let mut found = Look::default();
    let mut n_seen = 0;
    let mut open: Vec<(PathBuf, usize)> = dirs.iter().map(|dir| (dir.clone(), 0)).collect();
    while let Some((dir, depth)) = open.pop() {
        if dir.canonicalize().is_ok_and(|dir| dir == besides) {
            continue;
        }
        found.checkpoints.extend(Checkpoint::of(&dir));
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            n_seen += 1;
            if n_seen > N_ENTRIES_MAX {
                found.is_cut = true;
                break;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let is_hidden = entry.file_name().as_bytes().starts_with(b".");
            if is_folder && !is_hidden && depth < DEPTH_MAX {
                open.push((entry.path(), depth + 1));
            }
        }
    }
    // Two folders that are watched may be one in the other.
    found.checkpoints.sort_by(|a, b| (b.written, &b.dir).cmp(&(a.written, &a.dir)));
    found.checkpoints.dedup();
    found
}

impl Checkpoint {
    /// The checkpoint in a folder, if there is one.
    pub fn of(dir: &Path) -> Option<Self> {
        let has = |name: &str| dir.join(name).is_file();
        let is_one = has(CONFIG) && (has(INDEX) || has(SINGLE));
        if !is_one {
            return None;
        }
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).ok()?.flatten().take(N_ENTRIES_MAX) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name != CONFIG && name != INDEX && !is_shard_name(name) {
                continue;
            }
            // A link to a file is that file.
            let Ok(file) = fs::metadata(entry.path()) else { continue };
            files.push((name.to_owned(), file.len(), file.mtime(), file.mtime_nsec(), file.ino()));
        }
        files.sort_unstable();
        let written = files.iter().map(|(_, _, seconds, nanos, _)| (*seconds, *nanos)).max()?;
        let looks = format!("{files:?}");
        let fields = [dir.as_os_str().as_bytes(), looks.as_bytes()];
        let fingerprint = Digest::of_fields("agon checkpoint", &fields);
        Some(Self { dir: dir.to_owned(), fingerprint, written })
    }

    /// When the newest of its files was written, as a time since 1970.
    pub fn since_1970(&self) -> Duration {
        let (seconds, nanos) = self.written;
        let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        whole.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default()))
    }

    /// Whether it is gone, or another than it was.
    pub fn has_changed(&self) -> bool {
        Self::of(&self.dir).is_none_or(|now| now.fingerprint != self.fingerprint)
    }

    /// Whether all of its files are there to their ends: what a trainer is still writing is not.
    /// What is whole and wrong is for others to judge.
    pub fn is_whole(&self) -> bool {
        self.find_whole().unwrap_or(false)
    }

    fn find_whole(&self) -> io::Result<bool> {
        let config = read_start(&self.dir.join(CONFIG), CONFIG_BYTES_MAX)?;
        if is_cut_json(&config, CONFIG_BYTES_MAX) {
            return Ok(false);
        }
        if !self.dir.join(INDEX).is_file() {
            return is_whole_shard(&self.dir.join(SINGLE));
        }
        let index = read_start(&self.dir.join(INDEX), INDEX_BYTES_MAX)?;
        if is_cut_json(&index, INDEX_BYTES_MAX) {
            return Ok(false);
        }
        let Ok(shards) = shards_of_index(&index) else { return Ok(true) };
        for shard in shards {
            if !is_whole_shard(&self.dir.join(shard))? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Opens a file, or a link to one: to open anything else, such as a pipe that nobody writes into,
/// may take for ever.
fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path)?.is_file() {
        File::open(path)
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// The first bytes of a file: so many, and one more by which it is known to be longer.
fn read_start(path: &Path, n_bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(n_bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a JSON document ends before its end; one that is longer than any that is read is wrong
/// in another way.
fn is_cut_json(bytes: &[u8], n_bytes_max: u64) -> bool {
    let is_read = bytes.len() as u64 <= n_bytes_max;
    is_read && serde_json::from_slice::<Value>(bytes).is_err_and(|error| error.is_eof())
}

/// Whether a safetensors file is as long as its header says, or wrong in another way.
fn is_whole_shard(path: &Path) -> io::Result<bool> {
    let mut file = open(path)?;
    let size_bytes = file.metadata()?.len();
    let mut length = [0; 8];
    if size_bytes < 8 {
        return Ok(false);
    }
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER_BYTES_MAX {
        return Ok(true);
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header)?;
    if (header.len() as u64) < length {
        return Ok(false);
    }
    let Ok(Value::Object(header)) = serde_json::from_slice(&header) else { return Ok(true) };
    let end = |tensor: &Value| tensor.get("data_offsets")?.get(1)?.as_u64();
    let end = header.values().filter_map(end).max().unwrap_or(0);
    Ok(size_bytes >= end.saturating_add(length).saturating_add(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A safetensors file of one tensor with so many bytes.
    fn shard(n_bytes: usize) -> Vec<u8> {
        let tensor = json!({ "dtype": "U8", "shape": [n_bytes], "data_offsets": [0, n_bytes] });
        let header = json!({ "__metadata__": { "format": "pt" }, "x": tensor }).to_string();
        let length = (header.len() as u64).to_le_bytes();
        [&length[..], header.as_bytes(), &vec![7; n_bytes]].concat()
    }

    fn write(dir: &Path, name: &str, bytes: &[u8]) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
    }

    fn is_whole(dir: &Path) -> bool {
        Checkpoint::of(dir).is_some_and(|checkpoint| checkpoint.is_whole())
    }

    #[test]
    fn a_checkpoint_is_whole_when_the_last_byte_of_its_last_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let whole = shard(100);
        write(dir, CONFIG, b"{}");
        assert!(!is_whole(dir), "no parameters yet");
        for n_bytes in 0..whole.len() {
            write(dir, SINGLE, &whole[..n_bytes]);
            assert!(!is_whole(dir), "{n_bytes} bytes");
        }
        write(dir, SINGLE, &whole);
        assert!(is_whole(dir));
        write(dir, CONFIG, b"{\"a\": ");
        assert!(!is_whole(dir), "half a config");
        // What is wrong in another way is judged, and refused there.
        write(dir, CONFIG, b"}");
        assert!(is_whole(dir));
    }

    #[test]
    fn shards_are_whole_when_all_that_the_index_names_are() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let [first, second] = ["model-00001-of-00002", "model-00002-of-00002"]
            .map(|name| format!("{name}.safetensors"));
        write(dir, CONFIG, b"{}");
        write(dir, &first, &shard(10));
        assert_eq!(Checkpoint::of(dir), None, "the index comes last");
        let index = json!({ "weight_map": { "x": &first, "y": &second } }).to_string();
        write(dir, INDEX, &index.as_bytes()[..20]);
        assert!(!is_whole(dir));
        write(dir, INDEX, index.as_bytes());
        assert!(!is_whole(dir), "a shard is missing");
        write(dir, &second, &shard(10)[..30]);
        assert!(!is_whole(dir), "a shard is cut");
        write(dir, &second, &shard(10));
        assert!(is_whole(dir));
    }

    #[test]
    fn attack_a_pipe_in_the_place_of_a_shard_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().to_owned();
        let shard_name = "model-00001-of-00001.safetensors";
        write(&dir, CONFIG, b"{}");
        write(&dir, "shard", &shard(4));
        let index = json!({ "weight_map": { "x": shard_name } }).to_string();
        write(&dir, INDEX, index.as_bytes());
        let made = std::process::Command::new("mkfifo").arg(dir.join(shard_name)).status().unwrap();
        assert!(made.success());
        let (tell, hear) = std::sync::mpsc::channel();
        let looked = dir.clone();
        std::thread::spawn(move || tell.send(is_whole(&looked)));
        assert_eq!(hear.recv_timeout(Duration::from_secs(5)), Ok(false));
        fs::remove_file(dir.join(shard_name)).unwrap();
        std::os::unix::fs::symlink("shard", dir.join(shard_name)).unwrap();
        assert!(is_whole(&dir), "a link to a file is that file");
    }

    #[test]
    fn the_newest_comes_first_and_links_and_our_own_folder_are_left_alone() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        for name in ["a", "b/checkpoint-1", "home/candidate", ".cache/x"] {
            write(&top.join(name), CONFIG, b"{}");
            write(&top.join(name), SINGLE, &shard(4));
        }
        std::os::unix::fs::symlink(&top, top.join("circle")).unwrap();
        let dirs = [top.clone(), top.join("b")];
        let found = look(&dirs, &top.join("home"));
        let mut names: Vec<PathBuf> = found.checkpoints.iter().map(|c| c.dir.clone()).collect();
        assert!(found.checkpoints.is_sorted_by(|a, b| a.written >= b.written));
        names.sort();
        assert_eq!(names, [top.join("a"), top.join("b/checkpoint-1")]);
        assert!(!found.is_cut);

        // Optimizer states that come later change nothing; parameters do; nothing is left, too.
        let checkpoint = Checkpoint::of(&top.join("a")).unwrap();
        write(&top.join("a"), "optimizer.pt", b"state");
        assert!(!checkpoint.has_changed());
        write(&top.join("a"), SINGLE, &shard(5));
        assert!(checkpoint.has_changed());
        fs::remove_dir_all(top.join("a")).unwrap();
        assert!(checkpoint.has_changed());
        assert!(look(&[top.join("none")], &top).checkpoints.is_empty());
    }

    #[test]
    fn what_is_longer_than_anything_that_is_read_is_left_to_whoever_judges() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        // A text that has no end, with so many bytes.
        let open = |n_bytes: u64| {
            let n_bytes = usize::try_from(n_bytes).unwrap();
            let mut text = b"{\"a\": \"".to_vec();
            text.resize(n_bytes, b'x');
            text
        };
        write(dir, SINGLE, &shard(4));
        write(dir, CONFIG, &open(CONFIG_BYTES_MAX));
        assert!(!is_whole(dir), "half a config that may yet be read");
        write(dir, CONFIG, &open(CONFIG_BYTES_MAX + 1));
        assert!(is_whole(dir), "it will be refused, and that is told");
        write(dir, CONFIG, b"{}");
        write(dir, INDEX, &open(INDEX_BYTES_MAX));
        assert!(!is_whole(dir));
        write(dir, INDEX, &open(INDEX_BYTES_MAX + 1));
        assert!(is_whole(dir));
    }

    #[test]
    fn attack_headers_that_say_absurd_things_are_left_to_whoever_judges() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        write(dir, CONFIG, b"{}");
        let shard = |header: &str, length: u64| {
            write(dir, SINGLE, &[&length.to_le_bytes()[..], header.as_bytes()].concat());
            is_whole(dir)
        };
        for (length, expected) in
            [(0, true), (HEADER_BYTES_MAX, false), (HEADER_BYTES_MAX + 1, true), (u64::MAX, true)]
        {
            assert_eq!(shard("", length), expected, "{length}");
        }
        for (header, expected) in [
            ("[1]", true),
            ("{}", true),
            ("{\"x\":7}", true),
            ("{\"x\":{\"data_offsets\":[0]}}", true),
            ("{\"x\":{\"data_offsets\":[0,-1]}}", true),
            ("{\"x\":{\"data_offsets\":[0,1]}}", false),
            ("{\"x\":{\"data_offsets\":[0,18446744073709551615]}}", false),
        ] {
            assert_eq!(shard(header, header.len() as u64), expected, "{header}");
        }
    }
}
