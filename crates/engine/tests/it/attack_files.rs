//! Files that are not what they seem: links, pipes, devices, sparse giants, too many, too long.

use crate::{
    assert_refused,
    attacks::{TIME_MAX, assert_refused_cheaply, tiny},
    folder, load,
    memory::peak_bytes,
    published::{INDEX, Published, RawTensor, file, one_each, shard_name},
};
use engine::{inspect, no_limits, scan};
use protocol::ReasonCode::{FileRefused, HeaderRefused, TensorMismatch, TooLarge};
use serde_json::json;
use std::{
    fs::{self, File},
    io::Write as _,
    os::{fd::AsRawFd as _, unix::fs::symlink, unix::net::UnixListener},
    path::Path,
    time::Instant,
};
use tempfile::TempDir;

/// All files that a model can have.
const NAMES: [&str; 3] = ["config.json", "model.safetensors", INDEX];

/// Most bytes for a refusal that needs nothing but the eight bytes before a header.
const PREFIX_BYTES_MAX: usize = 64 << 10;

/// A good folder in which one file of the three is something else.
fn replaced(name: &str, replace: impl FnOnce(&Path)) -> TempDir {
    let dir = folder(&tiny());
    let path = dir.path().join(name);
    if name == INDEX {
        fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    } else {
        fs::remove_file(&path).unwrap();
    }
    replace(&path);
    dir
}

/// A file that says it has `n_bytes` and starts with `bytes`, but takes no space.
fn sparse(path: &Path, bytes: &[u8], n_bytes: u64) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(n_bytes).unwrap();
}

#[test]
fn attack_what_is_not_a_file_is_refused_and_never_waited_for() {
    // Reading from any of them would wait or never end.
    let (reader, _writer) = std::io::pipe().unwrap();
    let pipe = format!("/proc/self/fd/{}", reader.as_raw_fd());
    for name in NAMES {
        let because = format!("`{name}` is not a regular file");
        let refused = |replace: &dyn Fn(&Path)| {
            assert_refused_cheaply(replaced(name, replace).path(), FileRefused, &because);
        };
        refused(&|path| fs::create_dir(path).unwrap());
        refused(&|path| drop(UnixListener::bind(path).unwrap()));
        refused(&|path| symlink("/dev/zero", path).unwrap());
        refused(&|path| symlink("/", path).unwrap());
        if cfg!(target_os = "linux") {
            refused(&|path| symlink(&pipe, path).unwrap());
        }
    }
}

#[test]
fn attack_links_that_lead_nowhere_are_refused_by_name() {
    for name in NAMES {
        let because = format!("`{name}` is a link that leads nowhere");
        for target in ["no such file", name, "model.safetensors/x"] {
            let dir = replaced(name, |path| symlink(target, path).unwrap());
            assert_refused_cheaply(dir.path(), FileRefused, &because);
        }
    }
}

#[test]
fn attack_a_link_to_a_file_elsewhere_is_judged_like_any_file() {
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret");
    fs::write(&secret, "password = hunter2\n").unwrap();
    for name in NAMES {
        let dir = replaced(name, |path| symlink(&secret, path).unwrap());
        let reason = crate::refusal(dir.path());
        assert!(reason.detail.contains(name) && !reason.detail.contains("hunter2"), "{reason}");
    }
}

/// The cache of a hub has a folder of links for each revision.
#[test]
fn a_folder_of_links_as_the_cache_of_a_hub_has_it_is_read() {
    let cache = tempfile::tempdir().unwrap();
    let (blobs, snapshot) = (cache.path().join("blobs"), cache.path().join("snapshots/1"));
    fs::create_dir(&blobs).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    let plain = folder(&tiny());
    for (blob, name) in ["config.json", "model.safetensors"].into_iter().enumerate() {
        fs::copy(plain.path().join(name), blobs.join(blob.to_string())).unwrap();
        symlink(format!("../../blobs/{blob}"), snapshot.join(name)).unwrap();
    }
    assert_eq!(load(&snapshot).inspection(), load(plain.path()).inspection());
    let root = |dir: &Path| scan(dir, &no_limits()).unwrap().unwrap();
    assert_eq!(root(&snapshot), root(plain.path()));
}

#[test]
fn attack_header_bombs_are_refused_after_eight_bytes() {
    let path = |dir: &TempDir| dir.path().join("model.safetensors");
    for (prefix, because) in [
        (100_u64 << 20, "header of 104857600 bytes"),
        ((8 << 20) + 1, "header of 8388609 bytes"),
        (1 << 40, "header of 1099511627776 bytes"),
        (u64::MAX, "header of 18446744073709551615 bytes"),
        (0, "does not start"),
    ] {
        let dir = folder(&tiny());
        sparse(&path(&dir), &prefix.to_le_bytes(), 200 << 30);
        let start = Instant::now();
        let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
        assert!(start.elapsed() < TIME_MAX && n_bytes < PREFIX_BYTES_MAX, "{n_bytes} bytes");
        assert_eq!(verdict.unwrap_err().code, HeaderRefused);
        assert_refused(dir.path(), HeaderRefused, because);
    }
}

/// Headers of eight mebibytes from one kind of text; each is answered in the memory of a few.
#[test]
fn attack_long_headers_of_any_kind_are_judged_in_little_memory() {
    let fill = |piece: &dyn Fn(usize) -> String| {
        let mut text = String::from("{");
        let mut i = 0;
        while text.len() < (8 << 20) - 600 {
            text += &piece(i);
            i += 1;
        }
        text
    };
    let long = "x".repeat(500);
    for (text, because) in [
        (fill(&|_| " ".repeat(100)), "expected"),
        (fill(&|_| "[".repeat(100)), "expected"),
        (fill(&|_| "\"a\":{".repeat(20)), "has the key `a`"),
        (fill(&|i| format!("\"__metadata__\":{{\"{i}\":\"{long}\"}},")), "stands twice"),
        (format!("{{\"__metadata__\":{}", fill(&|i| format!("\"{i}\":\"\",\n\n"))), "20100 keys"),
        (format!("{{\"__metadata__\":{}", fill(&|i| format!("\"{i}\":\"{long}\","))), "expected"),
        (format!("{{\"{}", fill(&|_| "\\u0061".into())), "string without end"),
        (fill(&|i| format!("\"{i}\":{{\"dtype\":\"F32\",\"shape\":[]}},")), "lacks"),
        (
            format!("{{\"a\":{{\"shape\":[{}", fill(&|_| "1,".into()).replace('{', "")),
            "more than 4",
        ),
    ] {
        let dir = folder(&tiny());
        let bytes = file(text.as_bytes(), &[]);
        sparse(&dir.path().join("model.safetensors"), &bytes, 900 << 20);
        let start = Instant::now();
        let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
        let elapsed = start.elapsed();
        eprintln!("{because}: {elapsed:?}, {n_bytes} bytes");
        assert!(elapsed < TIME_MAX, "{because}: {elapsed:?}");
        assert!(n_bytes < 64 << 20, "{because}: {n_bytes} bytes");
        let reason = verdict.unwrap_err();
        assert_eq!(reason.code, HeaderRefused);
        assert!(reason.detail.contains(because), "{reason} does not speak of {because:?}");
    }
}

/// Each header is as long as its file allows, which many files would allow many times.
#[test]
fn attack_many_files_may_not_make_many_long_headers() {
    let model = Published { tensors: Vec::new(), ..one_each().remove(0) };
    let dir = model.write_shards(2);
    let mut map = serde_json::Map::new();
    for shard in 0..2 {
        let name = format!("t{shard}");
        let entry = json!({&name: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}});
        let text = format!("{entry}{}", " ".repeat(5 << 20));
        let path = dir.path().join(shard_name(shard, 2));
        sparse(&path, &file(text.as_bytes(), &[]), 600 << 20);
        map.insert(name, json!(shard_name(shard, 2)));
    }
    fs::write(dir.path().join(INDEX), json!({"weight_map": map}).to_string()).unwrap();
    // The first is found to hide bytes before anybody looks at the second.
    assert_refused(dir.path(), HeaderRefused, "in a file that holds");
    // A first one without fault.
    let n = (600_u64 << 20) - 8 - (5 << 20) - 100;
    let n = n / 4 * 4;
    let entry = json!({"t0": {"dtype": "F32", "shape": [n / 4], "data_offsets": [0, n]}});
    let text = format!("{entry}{}", " ".repeat(5 << 20));
    let path = dir.path().join(shard_name(0, 2));
    sparse(&path, &file(text.as_bytes(), &[]), 8 + text.len() as u64 + n);
    let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
    assert!(n_bytes < 64 << 20, "{n_bytes} bytes");
    let reason = verdict.unwrap_err();
    assert_eq!(reason.code, HeaderRefused);
    assert!(reason.detail.contains("headers of all files"), "{reason}");
}

#[test]
fn attack_more_files_than_may_be_open_at_once_are_refused_before_any_is_opened() {
    let model = one_each().remove(0);
    for (n_files, because) in [(257, "names 257 files"), (20_000, "names 20000 files")] {
        let dir = model.write_shards(1);
        let map: serde_json::Map<_, _> =
            (0..n_files).map(|i| (format!("t{i}"), json!(shard_name(i, n_files)))).collect();
        fs::write(dir.path().join(INDEX), json!({"weight_map": map}).to_string()).unwrap();
        let start = Instant::now();
        let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
        assert!(start.elapsed() < TIME_MAX && n_bytes < 16 << 20, "{n_bytes} bytes");
        assert_eq!(verdict.unwrap_err().code, FileRefused);
        assert_refused(dir.path(), FileRefused, because);
    }
}

/// As many tensors in as many files with names as long as all limits together allow.
#[test]
fn attack_the_most_that_files_may_hold_is_judged_in_little_memory() {
    let tensor =
        RawTensor { name: String::new(), dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] };
    let name = |i: usize| format!("{i:0200}");
    let named = |i: usize| RawTensor { name: name(i), ..tensor.clone() };
    let tensors = (0..20_000).map(named).collect();
    let dir = Published { tensors, ..one_each().remove(0) }.write_shards(256);
    let start = Instant::now();
    let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &no_limits()).unwrap());
    let elapsed = start.elapsed();
    eprintln!("{elapsed:?}, {n_bytes} bytes");
    assert!(elapsed < TIME_MAX && n_bytes < 64 << 20, "{elapsed:?}, {n_bytes} bytes");
    assert_eq!(verdict.unwrap_err().code, TensorMismatch);
    // One more is too many, in the index already.
    let tensors = (0..20_001).map(named).collect();
    let dir = Published { tensors, ..one_each().remove(0) }.write_shards(256);
    assert_refused(dir.path(), FileRefused, "more than 20000 tensors");
}

#[test]
fn attack_sparse_giants_count_with_the_bytes_that_they_claim() {
    let dir = folder(&tiny());
    let path = dir.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    sparse(&path, &bytes, 1 << 40);
    assert_refused_cheaply(dir.path(), HeaderRefused, "in a file that holds");
    let mut limits = no_limits();
    limits.size_bytes_max = 1 << 30;
    let (verdict, n_bytes) = peak_bytes(|| inspect(dir.path(), &limits).unwrap());
    assert_eq!(verdict.unwrap_err().code, TooLarge);
    assert!(n_bytes < PREFIX_BYTES_MAX, "{n_bytes} bytes");
    for (name, n_bytes) in [("config.json", 1_u64 << 40), (INDEX, 1 << 40)] {
        let dir = replaced(name, |path| sparse(path, b"{}", n_bytes));
        assert_refused_cheaply(dir.path(), FileRefused, "has 1099511627776 bytes");
    }
}

#[test]
fn attack_a_tensor_in_two_files_is_refused_whatever_the_index_says() {
    for model in one_each() {
        let mut twice = model.clone();
        // The same name in both files; only the last bytes differ.
        let mut copy = twice.tensors[0].clone();
        *copy.bytes.last_mut().unwrap() ^= 1;
        twice.tensors.insert(1, copy);
        let dir = twice.write_shards(2);
        assert_refused(dir.path(), HeaderRefused, "stands in two files");
        let name = &model.tensors[0].name;
        assert_refused(dir.path(), HeaderRefused, &format!("`{name}`"));
    }
}

#[test]
fn a_model_has_one_root_however_often_and_from_however_many_files_it_is_read() {
    for model in one_each() {
        let root = |dir: &TempDir| scan(dir.path(), &no_limits()).unwrap().unwrap().tensor_root;
        let expected = root(&model.write());
        for n_shards in [1, 2, 3, 7] {
            let dir = model.write_shards(n_shards);
            assert!((0..10).all(|_| root(&dir) == expected), "{}", model.architecture());
        }
    }
}

#[test]
fn attack_an_index_that_tells_of_other_files_is_refused() {
    for model in one_each() {
        let swapped = model.write_shards(2);
        let [a, b] = [0, 1].map(|shard| swapped.path().join(shard_name(shard, 2)));
        let aside = swapped.path().join("aside");
        fs::rename(&a, &aside).unwrap();
        fs::rename(&b, &a).unwrap();
        fs::rename(&aside, &b).unwrap();
        assert_refused(swapped.path(), TensorMismatch, "has no tensor");
        let lacking = model.write_shards(2);
        fs::remove_file(lacking.path().join(shard_name(1, 2))).unwrap();
        assert_refused(lacking.path(), FileRefused, &shard_name(1, 2));
    }
}
