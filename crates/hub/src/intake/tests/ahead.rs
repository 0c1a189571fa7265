//! What is seen of a model before its parameters are fetched.

use super::*;

/// A file of safetensors with this header and so many bytes of parameters.
fn safetensors(header: &str, n_bytes: usize) -> String {
    let length = (header.len() as u64).to_le_bytes();
    let length = String::from_utf8(length.to_vec()).unwrap();
    format!("{length}{header}{}", "p".repeat(n_bytes))
}

fn found(door: &Door, hub: &LyingHub) -> Found {
    let commitment = hub.commitment(OWNER, &door.competition);
    door.intake.find(hub, &door.competition, OWNER, &commitment).unwrap().unwrap()
}

fn large_door() -> Door {
    let mut door = Door::new();
    door.competition.model.size_bytes_max = 1 << 30;
    door
}

#[test]
fn a_preview_has_config_index_headers_and_lengths_and_no_parameters() {
    let door = large_door();
    let long = " ".repeat(100) + &"{".repeat(20);
    let files = [safetensors("{}", 300_000), safetensors(&long, 0)];
    let names = ["a.safetensors", "b.safetensors"];
    let index = index(&names);
    let hub =
        LyingHub::with(&[MODEL[0], (INDEX, &index), (names[0], &files[0]), (names[1], &files[1])]);
    let found = found(&door, &hub);
    assert!(!found.is_here());
    assert_eq!(hub.fetched(), [CONFIG, INDEX]);
    let preview = door.intake.preview(&hub, &found).unwrap().unwrap();
    assert!(hub.fetched().is_empty());
    let read = |name: &str| fs::read(preview.dir().join(name)).unwrap();
    assert_eq!((read(CONFIG), read(INDEX)), (b"{}".to_vec(), index.into_bytes()));
    assert_eq!(read(names[0]).len(), files[0].len());
    assert_eq!(read(names[0])[..10], files[0].as_bytes()[..10]);
    assert_eq!(read(names[1]), files[1].as_bytes());
    assert!(*hub.n_part_bytes.lock().unwrap() <= 2 * (64 << 10) + 2 * files[1].len());
    let folder = preview.dir().to_owned();
    drop(preview);
    assert!(!folder.exists());
    // What was looked at is fetched as whatever is not, and only what is missing.
    let admitted = door.intake.fetch(&hub, found).unwrap();
    assert_eq!(hub.fetched(), names);
    assert_eq!(fs::read(admitted.dir.join(names[0])).unwrap(), files[0].as_bytes());
    let again = self::found(&door, &hub);
    assert!(again.is_here() && door.intake.preview(&hub, &again).unwrap().is_none());
}

#[test]
fn attack_a_header_of_any_length_costs_little() {
    let door = large_door();
    for length in ["\u{1}\0\0\0\0\0\0\0", "\0\0\0\u{40}\0\0\0\0", "zzzzzzzz", "", "x"] {
        let text = length.to_owned() + &"z".repeat(if length.len() < 8 { 0 } else { 200_000 });
        let hub = LyingHub::with(&[MODEL[0], ("model.safetensors", &text)]);
        let found = found(&door, &hub);
        door.intake.preview(&hub, &found).unwrap().unwrap();
        assert!(*hub.n_part_bytes.lock().unwrap() <= 2 * (64 << 10), "{length:?}");
    }
    // Of more files than any model may have no header is read.
    let names: Vec<String> = (0..300).map(|i| format!("{i}.safetensors")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let index = index(&names);
    let shards = names.iter().map(|name| (*name, "some header and parameters"));
    let files: Vec<(&str, &str)> = [MODEL[0], (INDEX, &index)].into_iter().chain(shards).collect();
    let hub = LyingHub::with(&files);
    door.intake.preview(&hub, &found(&door, &hub)).unwrap().unwrap();
    assert_eq!(*hub.n_part_bytes.lock().unwrap(), 0);
}

#[test]
fn headers_that_differ_each_time_are_trouble_of_the_hub() {
    let door = large_door();
    let mut hub = LyingHub::with(&[MODEL[0], ("model.safetensors", &safetensors("{}", 10))]);
    hub.wavers = true;
    let found = found(&door, &hub);
    let error = door.intake.preview(&hub, &found).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.is_transient(), "{error}");
    drop(found);
    door.assert_nothing_admitted();
}
