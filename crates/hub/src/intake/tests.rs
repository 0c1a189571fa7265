//! The door: what gets in, what is refused and why, and what is trouble of our own.

use super::*;
use crate::{FaultyHub, StoreHub, content::list_folder, faulty::Faults};
use protocol::{CompetitionId, Repo, Revision, Seed};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    sync::{Arc, Mutex},
};

mod ahead;
mod attacks;
mod incoming;
mod room;
mod stage;

use stage::{Door, LyingHub, MODEL, OWNER, competition, index, repo, with_extra};

#[test]
fn an_honest_model_is_admitted_read_only_with_its_hashes() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    hub.add("README.md", "# hello");
    hub.add("tokenizer.json", "{}");
    hub.add(".gitattributes", "");
    let admitted = door.admit(&hub).unwrap().unwrap();
    assert_eq!(hub.fetched(), ["config.json", "model.safetensors"], "extras are not fetched");
    let files = list_folder(&admitted.dir).unwrap();
    assert_eq!(
        files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        MODEL.map(|(path, _)| path)
    );
    let Hashes { file_root, reference_directory_hash, size_bytes } = Hashes::of(&files);
    assert_eq!(admitted.file_root, file_root);
    assert_eq!(admitted.reference_directory_hash, reference_directory_hash);
    assert_eq!((admitted.size_bytes, size_bytes), (12, 12));
    for (path, text) in MODEL {
        let path = admitted.dir.join(path);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o444);
    }
    assert_eq!(fs::read_dir(door.folder.join("quarantine")).unwrap().count(), 0);
}

#[test]
fn the_same_content_is_fetched_once_whoever_commits_to_it() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let first = door.admit(&hub).unwrap().unwrap();
    assert_eq!(hub.fetched().len(), 2);
    let other = AccountId([2; 32]);
    let commitment = hub.commitment(other, &door.competition);
    let again = Intake::open(&door.folder).unwrap();
    let second = again.admit(&hub, &door.competition, other, &commitment).unwrap().unwrap();
    assert_eq!(second, first);
    assert!(hub.fetched().is_empty());
}

#[test]
fn a_model_in_shards_needs_those_that_its_index_names_and_no_other() {
    let conventions = [
        ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"],
        ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"],
        [
            "model.safetensors-00001-of-00002.safetensors",
            "model.safetensors-00002-of-00002.safetensors",
        ],
    ];
    for shards in conventions {
        let door = Door::new();
        let index = index(&shards);
        let hub = |paths: &[&str]| {
            let text = |path: &str| if path == INDEX { index.clone() } else { path.to_owned() };
            let texts: Vec<String> = paths.iter().map(|path| text(path)).collect();
            let files = paths.iter().zip(&texts).map(|(path, text)| (*path, text.as_str()));
            LyingHub::with(&files.collect::<Vec<_>>())
        };
        // What the index names is in the index, which has to be read for it.
        let refused = |hub: &LyingHub| {
            let reason = door.admit(hub).unwrap().unwrap_err();
            assert!(hub.fetched().iter().all(|path| [CONFIG, INDEX].contains(&path.as_str())));
            door.assert_nothing_admitted();
            reason.code
        };
        let all = [&[CONFIG, INDEX][..], &shards].concat();
        for left_out in 0..4 {
            let mut paths = all.clone();
            paths.remove(left_out);
            assert_eq!(refused(&hub(&paths)), ReasonCode::FileRefused, "{paths:?}");
        }
        for extra in ["model.safetensors", "model-00003-of-00002.safetensors", "x.safetensors"] {
            let paths = [&all[..], &[extra]].concat();
            assert_eq!(refused(&hub(&paths)), ReasonCode::FileRefused, "{extra}");
        }
        assert_eq!(refused(&hub(&[CONFIG, INDEX])), ReasonCode::FileRefused);
        let beside = [CONFIG, INDEX, "model.safetensors"];
        assert_eq!(refused(&hub(&beside)), ReasonCode::FileRefused);
        assert_eq!(door.admit(&hub(&all)).unwrap().unwrap().dir.read_dir().unwrap().count(), 4);
    }
}

#[test]
fn a_list_damaged_on_its_way_is_trouble_of_the_hub_and_no_verdict() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let commitment = hub.commitment(OWNER, &door.competition);
    let mut damaged = hub.listed.lock().unwrap().clone();
    damaged[0].sha256 = Digest::of(b"{");
    *hub.listed_first.lock().unwrap() = Some(damaged);
    let admit = || door.intake.admit(&hub, &door.competition, OWNER, &commitment);
    let error = admit().unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.is_transient(), "{error}");
    assert!(admit().unwrap().is_ok(), "nothing of it is remembered");
}

#[test]
fn a_file_of_a_model_without_a_digest_is_named() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    hub.listed.lock().unwrap()[1].sha256 = Digest([0; 32]);
    let reason = door.admit(&hub).unwrap().unwrap_err();
    assert_eq!(reason.code, ReasonCode::FileRefused);
    assert!(reason.detail.contains("no digest of `model.safetensors`"), "{reason}");
}

#[test]
fn a_model_that_is_not_there_may_come_later() {
    let door = Door::new();
    let hub = LyingHub::default();
    let later = LyingHub::with(&MODEL);
    let commitment = later.commitment(OWNER, &door.competition);
    let admit = |hub: &LyingHub| door.intake.admit(hub, &door.competition, OWNER, &commitment);
    assert_eq!(admit(&hub).unwrap().unwrap_err().code, ReasonCode::NotPublished);
    assert!(admit(&later).unwrap().is_ok(), "a miner may publish after it committed");
}

#[test]
fn a_hub_in_trouble_is_our_trouble_and_never_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreHub::open(&dir.path().join("hub")).unwrap();
    let down = Faults { unavailable: 1000, ..Faults::default() };
    let hub = FaultyHub::new(Arc::new(store), Seed::of_number(1), down);
    let door = Door::new();
    let commitment = LyingHub::with(&MODEL).commitment(OWNER, &door.competition);
    let error = door.intake.admit(&hub, &door.competition, OWNER, &commitment).unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[test]
fn a_refusal_is_remembered_across_restarts_and_the_hub_is_not_asked_again() {
    let door = Door::new();
    let hub = with_extra("modeling.py");
    let first = door.admit(&hub).unwrap().unwrap_err();
    let commitment = hub.commitment(OWNER, &door.competition);
    let restarted = Intake::open(&door.folder).unwrap();
    let again = restarted.admit(&hub, &door.competition, OWNER, &commitment).unwrap();
    assert_eq!(again.unwrap_err(), first);
    assert_eq!(*hub.n_lists.lock().unwrap(), 1);
    // Other limits are another question.
    let mut larger = competition();
    larger.model.size_bytes_max += 1;
    assert!(restarted.admit(&hub, &larger, OWNER, &commitment).unwrap().is_err());
    assert_eq!(*hub.n_lists.lock().unwrap(), 2);
}

#[test]
fn a_refusal_half_written_is_no_refusal() {
    let door = Door::new();
    let hub = with_extra("modeling.py");
    let first = door.admit(&hub).unwrap().unwrap_err();
    for file in fs::read_dir(door.folder.join("refused")).unwrap() {
        fs::write(file.unwrap().path(), "{\"code\":").unwrap();
    }
    assert_eq!(door.admit(&hub).unwrap().unwrap_err(), first);
    assert_eq!(*hub.n_lists.lock().unwrap(), 2);
}

#[test]
fn the_model_asked_for_longest_ago_makes_room_but_none_of_this_round() {
    let door = Door::new();
    let hub =
        |i: usize| LyingHub::with(&[MODEL[0], ("model.safetensors", &i.to_string().repeat(98))]);
    let open = || Intake::open(&door.folder).unwrap().with_quota(300);
    let admit = |intake: &Intake, i: usize| {
        let hub = hub(i);
        let commitment = hub.commitment(OWNER, &door.competition);
        let admitted = intake.admit(&hub, &door.competition, OWNER, &commitment)?;
        Ok::<_, Error>((admitted.unwrap().dir, hub.fetched().len()))
    };
    let first_round = open();
    let dirs: Vec<PathBuf> = (0..3).map(|i| admit(&first_round, i).unwrap().0).collect();
    let full = admit(&first_round, 3).unwrap_err();
    assert!(matches!(full, Error::NoRoom { .. }) && full.is_transient(), "{full}");
    let next_round = open();
    assert_eq!(admit(&next_round, 0).unwrap().1, 0, "asked for again, so 1 is the oldest");
    admit(&next_round, 4).unwrap();
    assert_eq!(dirs.iter().map(|dir| dir.exists()).collect::<Vec<_>>(), [true, false, true]);
    assert!(matches!(admit(&next_round, 5), Ok((_, 1))), "all have the same config");
    assert_eq!(dirs.iter().map(|dir| dir.exists()).collect::<Vec<_>>(), [true, false, false]);
}

#[test]
fn what_a_crash_left_in_quarantine_goes_when_nobody_fetches() {
    let door = Door::new();
    let left = door.folder.join("quarantine").join("left");
    fs::create_dir(&left).unwrap();
    let second = Intake::open(&door.folder).unwrap();
    assert!(left.exists(), "somebody may be fetching into it");
    drop((second, door.intake));
    Intake::open(&door.folder).unwrap();
    assert!(!left.exists());
}

#[test]
fn over_a_faulty_hub_a_model_is_admitted_with_the_right_bytes_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(StoreHub::open(&dir.path().join("hub")).unwrap());
    let faults = Faults { unavailable: 100, truncated: 200, flipped: 200 };
    let hub = FaultyHub::new(store.clone(), Seed::of_number(1), faults);
    let door = Door::new();
    let (mut n_admitted, mut n_tries) = (0, 0);
    for i in 0..10 {
        let source = dir.path().join("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir(&source).unwrap();
        fs::write(source.join("config.json"), "{}").unwrap();
        fs::write(source.join("model.safetensors"), i.to_string().repeat(50)).unwrap();
        let revision = store.publish(&repo(), &source).unwrap();
        let root = file_root(&list_folder(&source).unwrap());
        let competition = door.competition.id;
        let secure_hash = content::bound_hash(&root, &OWNER, competition);
        let commitment = Commitment { repo: repo(), revision, secure_hash, competition };
        for _ in 0..100 {
            n_tries += 1;
            match door.intake.admit(&hub, &door.competition, OWNER, &commitment) {
                Ok(admitted) => {
                    let dir = admitted.expect("an honest model is never refused").dir;
                    assert_eq!(list_folder(&dir).unwrap(), list_folder(&source).unwrap());
                    // Gone again, lest the first success ends the trial.
                    fs::remove_dir_all(dir).unwrap();
                    fs::remove_dir_all(door.folder.join("files")).unwrap();
                    fs::create_dir(door.folder.join("files")).unwrap();
                    n_admitted += 1;
                }
                Err(error) => {
                    assert!(error.is_transient(), "{error}");
                    door.assert_nothing_admitted();
                }
            }
        }
    }
    assert_eq!(n_tries, 1_000);
    assert!((100..600).contains(&n_admitted), "{n_admitted} of {n_tries} admitted");
}
