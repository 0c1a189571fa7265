//! Room on the disk: files that models share, refusals by content, and disks that are full.

use super::*;
use std::os::unix::fs::MetadataExt as _;

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// A model of two shards, which have these bytes.
fn in_shards(first: &str, second: &str) -> LyingHub {
    let index = index(&SHARDS);
    LyingHub::with(&[(CONFIG, "{}"), (INDEX, &index), (SHARDS[0], first), (SHARDS[1], second)])
}

fn admit(intake: &Intake, hub: &LyingHub) -> Result<Result<Admitted, Reason>, Error> {
    let commitment = hub.commitment(OWNER, &competition());
    intake.admit(hub, &competition(), OWNER, &commitment)
}

fn n_entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn attack_refused_content_is_not_fetched_again_for_another_hotkey_or_repo() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let admitted = door.admit(&hub).unwrap().unwrap();
    assert_eq!(hub.fetched().len(), 2);
    let reason = Reason::new(ReasonCode::TensorMismatch, "a tensor too many");
    door.intake.refuse(&door.competition, &admitted, &reason).unwrap();
    door.assert_nothing_admitted();

    // The same files from elsewhere, under keys that were never seen, after a restart too.
    for key in 2..5 {
        let hotkey = AccountId([key; 32]);
        let commitment = Commitment {
            repo: format!("eve/model-{key}").parse().unwrap(),
            ..hub.commitment(hotkey, &door.competition)
        };
        let intake = Intake::open(&door.folder).unwrap();
        let again = intake.admit(&hub, &door.competition, hotkey, &commitment).unwrap();
        assert_eq!(again.unwrap_err(), reason);
        assert!(hub.fetched().is_empty(), "not a byte is asked for");
    }

    // Under other rules the same files are another question.
    let mut other = door.competition.clone();
    other.text.sequence_length += 1;
    let commitment = hub.commitment(OWNER, &other);
    assert!(door.intake.admit(&hub, &other, OWNER, &commitment).unwrap().is_ok());
    assert_eq!(hub.fetched().len(), 2);
}

#[test]
fn refused_content_that_a_running_competition_has_stays_on_the_disk() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let admitted = door.admit(&hub).unwrap().unwrap();
    let reason = Reason::new(ReasonCode::VocabularyMismatch, "too few tokens");
    door.intake.keep(&admitted.file_root);
    door.intake.refuse(&door.competition, &admitted, &reason).unwrap();
    assert!(admitted.dir.exists());
    assert_eq!(door.admit(&hub).unwrap().unwrap_err(), reason);
}

#[test]
fn files_that_changed_while_they_were_judged_condemn_nobody() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let admitted = door.admit(&hub).unwrap().unwrap();
    let path = admitted.dir.join("model.safetensors");
    fs::remove_file(&path).unwrap();
    fs::write(&path, "Parameters").unwrap();
    let reason = Reason::new(ReasonCode::TensorMismatch, "what the disk made of it");
    let error = door.intake.refuse(&door.competition, &admitted, &reason).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(door.admit(&hub).unwrap().is_ok(), "fetched again, and judged anew");
}

#[test]
fn a_file_that_models_share_is_fetched_and_stored_once() {
    let door = Door::new();
    let (a, b) = (in_shards("same", "one"), in_shards("same", "other"));
    let first = door.admit(&a).unwrap().unwrap();
    assert_eq!(a.fetched().len(), 4);
    let second = door.admit(&b).unwrap().unwrap();
    assert_eq!(b.fetched(), [SHARDS[1]]);
    let inode = |dir: &Path| fs::metadata(dir.join(SHARDS[0])).unwrap().ino();
    assert_eq!(inode(&first.dir), inode(&second.dir));
    for (hub, admitted) in [(&a, &first), (&b, &second)] {
        let listed = list_folder(&admitted.dir).unwrap();
        let mut wanted = hub.listed.lock().unwrap().clone();
        wanted.sort();
        assert_eq!(listed, wanted);
    }
}

#[test]
fn what_models_share_counts_once_and_outlives_the_one_that_goes() {
    let door = Door::new();
    let shared = "s".repeat(100);
    let model = |i: usize| in_shards(&shared, &i.to_string().repeat(50));
    // Two models with shards of 150 bytes fit into 210 only because 100 bytes are the same.
    let quota_bytes = 210 + index(&SHARDS).len() as u64;
    let open = || Intake::open(&door.folder).unwrap().with_quota(quota_bytes);
    let round = open();
    let (first, second) = (admit(&round, &model(0)), admit(&round, &model(1)));
    let (first, second) = (first.unwrap().unwrap().dir, second.unwrap().unwrap().dir);
    let full = admit(&round, &model(2)).unwrap_err();
    assert!(matches!(full, Error::NoRoom { size_bytes: 50, .. }), "{full}");
    let third = admit(&open(), &model(2)).unwrap().unwrap().dir;
    assert_eq!([&first, &second, &third].map(|dir| dir.exists()), [false, true, true]);
    assert_eq!(fs::read_to_string(second.join(SHARDS[0])).unwrap(), shared);
    assert!(admit(&open(), &model(1)).unwrap().is_ok(), "and it is whole");
    // The shared shard, config and index, and two shards of their own.
    assert_eq!(n_entries(&door.folder.join("files")), 5);
}

#[test]
fn attack_a_shared_file_that_changed_on_disk_is_fetched_again_and_not_passed_on() {
    let door = Door::new();
    let (a, b) = (in_shards("same", "one"), in_shards("same", "other"));
    let first = door.admit(&a).unwrap().unwrap();
    let path = first.dir.join(SHARDS[0]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, "SAME").unwrap();
    let second = door.admit(&b).unwrap().unwrap();
    assert_eq!(b.fetched(), [SHARDS[0], SHARDS[1]]);
    assert_eq!(fs::read_to_string(second.dir.join(SHARDS[0])).unwrap(), "same");
    a.fetched();
    let mended = door.admit(&a).unwrap().unwrap();
    assert_eq!(a.fetched(), [SHARDS[1]], "the second model has the rest");
    assert_eq!(fs::read_to_string(mended.dir.join(SHARDS[0])).unwrap(), "same");
}

#[test]
fn attack_models_that_would_fill_the_disk_are_paused_and_known_ones_go_on() {
    let door = Door::new();
    let known = LyingHub::with(&MODEL);
    let admitted = door.admit(&known).unwrap().unwrap();
    let full = Intake::open(&door.folder).unwrap().with_reserve(u64::MAX / 2);
    full.keep(&admitted.file_root);
    let hub = LyingHub::with(&[MODEL[0], ("model.safetensors", "new")]);
    let error = admit(&full, &hub).unwrap_err();
    assert!(hub.fetched().is_empty() && error.is_transient());
    let text = error.to_string();
    assert!(text.contains(&door.folder.display().to_string()), "{text}");
    let Error::DiskFull { size_bytes, free_bytes, reserve_bytes, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((size_bytes, reserve_bytes), (3, u64::MAX / 2), "`{{}}` is here already");
    assert!(free_bytes > 0);
    assert_eq!(n_entries(&door.folder.join("quarantine")), 0);

    assert_eq!(admit(&full, &known).unwrap().unwrap(), admitted, "what is known stays usable");
    assert_eq!(
        admit(&full, &with_extra("x.py")).unwrap().unwrap_err().code,
        ReasonCode::FileRefused
    );
    assert!(admit(&full.with_reserve(0), &hub).unwrap().is_ok(), "and goes on when there is room");
}

#[test]
fn on_a_full_disk_models_that_nobody_needs_make_room_first() {
    let door = Door::new();
    let dirs = ["one", "two"].map(|text| {
        let hub = LyingHub::with(&[MODEL[0], ("model.safetensors", text)]);
        door.admit(&hub).unwrap().unwrap()
    });
    let full = Intake::open(&door.folder).unwrap().with_reserve(u64::MAX / 2);
    full.keep(&dirs[0].file_root);
    let hub = LyingHub::with(&[MODEL[0], ("model.safetensors", "new")]);
    assert!(matches!(admit(&full, &hub), Err(Error::DiskFull { .. })));
    assert_eq!(dirs.map(|admitted| admitted.dir.exists()), [true, false]);
}

#[test]
fn a_disk_that_fills_up_on_the_way_leaves_nothing_behind_and_blames_nobody() {
    for (at, missing_bytes) in [(CONFIG, 2), ("model.safetensors", 10)] {
        let door = Door::new();
        let mut hub = LyingHub::with(&MODEL);
        hub.fills_disk_at = Some(at.to_owned());
        let error = door.admit(&hub).unwrap_err();
        let Error::DiskFull { size_bytes, .. } = error else { panic!("{error}") };
        assert_eq!(size_bytes, missing_bytes);
        door.assert_nothing_admitted();
        hub.fills_disk_at = None;
        assert!(door.admit(&hub).unwrap().is_ok(), "there was no verdict");
    }
}
