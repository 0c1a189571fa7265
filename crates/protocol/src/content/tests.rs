//! Hashes: frozen, those of the reference, and what changes them.

use super::*;
use proptest::prelude::*;

#[test]
fn reference_hashes_are_those_of_the_reference() {
    let (hello, world, mark) =
        (reference_file_hash(b"hello"), reference_file_hash(b"world"), reference_file_hash(b"!"));
    assert_eq!(hello.to_string(), "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=");
    let files = [("sub/c.txt", mark), ("b.txt", world), ("a.txt", hello)];
    let directory = reference_directory_hash(&files);
    assert_eq!(directory.to_string(), "pISBE1Pqm59qxSfewgsDVj6trMsur05QCyJR9R8pXdc=");
    let empty = reference_directory_hash(&[]);
    assert_eq!(empty.to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
}

#[test]
fn the_reference_hash_is_bound_to_the_address_of_the_hotkey() {
    let directory = "pISBE1Pqm59qxSfewgsDVj6trMsur05QCyJR9R8pXdc=";
    // Not an address, but what the vector was made with.
    let joined = hash_of_joined(directory, "5F3sa2TJAWMqDhXG6jhV4N8ko9SxwGy8TpaNS1repo5EYjX");
    assert_eq!(joined.to_string(), "L7+xZZL5BMVe690Pv135AnCOmvB+PCERa3/SyK2oVFE=");
    let hotkey: AccountId = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY".parse().unwrap();
    let secure = reference_secure_hash(&directory.parse().unwrap(), &hotkey);
    assert_eq!(secure.to_string(), "YuzPeiZVIc6gkqR7xGGiZW0WMKq+ejn2ZUvHm/SMYP4=");
}

#[test]
fn a_walk_takes_files_before_directories_and_each_by_name() {
    let mut paths = ["b/z", "b/a/x", "a.b/c", "a/y", "c", "a", "b.txt", "b/b"];
    paths.sort_by(|a, b| walk_order(a, b));
    assert_eq!(paths, ["a", "b.txt", "c", "a/y", "a.b/c", "b/b", "b/z", "b/a/x"]);
}

#[test]
fn only_the_canonical_spelling_of_a_hash_is_read() {
    let text = "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=";
    assert_eq!(text.parse::<ContentHash>().unwrap().to_string(), text);
    let spellings = [
        "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCR=",
        "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ",
        "LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
        "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ =",
        "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmA==",
        "",
    ];
    for spelling in spellings {
        assert!(spelling.parse::<ContentHash>().is_err(), "{spelling}");
    }
}

#[test]
fn our_roots_and_the_bound_hash_are_frozen() {
    let files = [("config.json", 2, Digest::of(b"{}")), ("model.safetensors", 1, Digest::of(b"m"))];
    let root = file_root(&files);
    assert_eq!(root.hex(), "4e08379a1aa0e2f717ffadb3a33d54197652e07f60deba67be836ce50b963d0e");
    let numbers = [Digest::of(b"a"), Digest::of(b"b")];
    assert_eq!(
        tensor_root(b"description", &numbers).hex(),
        "c1cc3c9713e46f0f36d4fd0969c0f40ded5fe0515a77dbfe5fd1d8ed28791568"
    );
    let bound = bound_hash(&root, &AccountId([1; 32]), CompetitionId(100));
    assert_eq!(bound.to_string(), "EQGQ74BCBjuv8veV0CXfaRNiQmhBk7cksccUP3+W+nc=");
}

#[test]
fn a_bound_hash_is_worthless_to_another_hotkey_and_in_another_competition() {
    let (root, other) = (Digest::of(b"root"), Digest::of(b"other"));
    let bound = |root, key, id| bound_hash(root, &AccountId([key; 32]), CompetitionId(id));
    let own = bound(&root, 1, 100);
    assert_ne!(own, bound(&root, 2, 100));
    assert_ne!(own, bound(&root, 1, 101));
    assert_ne!(own, bound(&other, 1, 100));
    assert_eq!(own, bound(&root, 1, 100));
}

#[test]
fn description_and_numbers_of_a_model_count_and_their_order_does() {
    let [a, b] = [b"a", b"b"].map(|bytes| Digest::of(bytes));
    let root = tensor_root(b"model", &[a, b]);
    for other in [
        tensor_root(b"models", &[a, b]),
        tensor_root(b"model", &[b, a]),
        tensor_root(b"model", &[a]),
        tensor_root(b"model", &[a, b, b]),
        tensor_root(&[&b"model"[..], &a.0].concat(), &[b]),
    ] {
        assert_ne!(other, root);
    }
}

/// Root of files given by path and bytes.
fn root_of(files: &[(String, Vec<u8>)]) -> Digest {
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.len() as u64, Digest::of(bytes)))
        .collect();
    file_root(&files)
}

fn files() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let bytes = prop::collection::vec(0u8..4, 0..6);
    prop::collection::btree_map("[a-c]{1,2}(/[a-c]{1,2})?", bytes, 1..6)
        .prop_map(|files| files.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_file_root_covers_names_and_borders(files in files(), i in 0usize..6, cut in 0usize..6) {
        let root = root_of(&files);
        let (i, next) = (i % files.len(), (i + 1) % files.len());

        let mut reversed = files.clone();
        reversed.reverse();
        prop_assert_eq!(root_of(&reversed), root, "the order of listing does not matter");

        let mut renamed = files.clone();
        renamed[i].0.push('x');
        prop_assert_ne!(root_of(&renamed), root, "rename");

        let mut swapped = files.clone();
        let other = swapped[next].0.clone();
        swapped[next].0 = std::mem::replace(&mut swapped[i].0, other);
        prop_assert_eq!(root_of(&swapped) == root, i == next || files[i].1 == files[next].1, "reorder");

        let mut split = files.clone();
        let rest = split[i].1.split_off(cut.min(files[i].1.len()));
        let path = format!("{}x", files[i].0);
        split.push((path, rest));
        prop_assert_ne!(root_of(&split), root, "split");

        let mut joined = files;
        if i != next {
            let (path, tail) = joined[next].clone();
            joined[i].1.extend(tail);
            joined.retain(|file| file.0 != path);
            prop_assert_ne!(root_of(&joined), root, "concat");
        }
    }
}
