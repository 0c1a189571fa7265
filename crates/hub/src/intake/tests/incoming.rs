//! Downloads that break off go on where they were, and what is left of them stays small.

use super::*;

/// A hub whose connections break off after 100 bytes, with a model that no other has.
fn breaking(number: usize) -> LyingHub {
    LyingHub {
        breaks_off_after: Some(100),
        ..LyingHub::with(&[("config.json", "{}"), ("model.safetensors", &text(number))])
    }
}

fn text(number: usize) -> String {
    format!("{number:>10}").repeat(35)
}

fn admit(door: &Door, hub: &LyingHub) -> Result<Result<Admitted, Reason>, Error> {
    // A process of its own each time.
    let intake = Intake::open(&door.folder).unwrap().with_quota(1_000);
    let commitment = hub.commitment(OWNER, &door.competition);
    intake.admit(hub, &door.competition, OWNER, &commitment)
}

fn incoming(door: &Door) -> Vec<PathBuf> {
    let entries = fs::read_dir(door.folder.join("incoming")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_download_that_broke_off_goes_on_in_the_next_process() {
    let (door, hub) = (Door::new(), breaking(1));
    for i in 1..=3 {
        let error = admit(&door, &hub).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        let [dir] = &incoming(&door)[..] else { panic!("try {i}") };
        assert_eq!(fs::read(dir.join(".part")).unwrap().len(), 100 * i);
    }
    let admitted = admit(&door, &hub).unwrap().unwrap();
    assert_eq!(fs::read_to_string(admitted.dir.join("model.safetensors")).unwrap(), text(1));
    assert_eq!(incoming(&door).len(), 0);
}

#[test]
fn of_a_model_of_shards_those_that_came_whole_are_not_fetched_again() {
    const SHARDS: [&str; 3] = ["a.safetensors", "b.safetensors", "c.safetensors"];
    let (index, texts) = (index(&SHARDS), [text(1), text(2), text(3)]);
    let mut files = vec![("config.json", "{}"), ("model.safetensors.index.json", &*index)];
    files.extend(SHARDS.into_iter().zip(texts.iter().map(String::as_str)));
    let hub = LyingHub { breaks_off_after: Some(100), ..LyingHub::with(&files) };
    let door = Door { competition: large(), ..Door::new() };
    let mut n_tries = 1;
    let admitted = loop {
        let intake = Intake::open(&door.folder).unwrap();
        let commitment = hub.commitment(OWNER, &door.competition);
        match intake.admit(&hub, &door.competition, OWNER, &commitment) {
            Ok(admitted) => break admitted.unwrap(),
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error}"),
        }
        n_tries += 1;
    };
    // Each shard breaks off three times, and then comes.
    assert_eq!(n_tries, 10);
    let fetched = hub.fetched();
    for shard in SHARDS {
        assert_eq!(fetched.iter().filter(|path| **path == shard).count(), 4, "{shard}");
    }
    assert_eq!(fs::read_to_string(admitted.dir.join("b.safetensors")).unwrap(), text(2));
    assert_eq!(incoming(&door).len(), 0);
}

/// Rules for a model of several shards.
fn large() -> Competition {
    let mut competition = competition();
    competition.model.size_bytes_max = 10_000;
    competition
}

#[test]
fn attack_what_came_and_is_wrong_is_thrown_away_and_fetched_anew() {
    let (door, hub) = (Door::new(), breaking(1));
    admit(&door, &hub).unwrap_err();
    let dir = incoming(&door).remove(0);
    fs::write(dir.join(".part"), "x".repeat(300)).unwrap();
    let error = admit(&door, &hub).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert_eq!(incoming(&door).len(), 0);
    for _ in 0..3 {
        admit(&door, &hub).unwrap_err();
    }
    admit(&door, &hub).unwrap().unwrap();
    // One that was whole when its process died is taken as it is, or not at all.
    for (left, n_fetched) in [(text(2), 0), ("y".repeat(350), 1)] {
        let hub = breaking(2);
        let files = hub.listed.lock().unwrap().clone();
        let dir = door.folder.join("incoming").join(file_root(&files).hex());
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(files[1].sha256.hex()), left).unwrap();
        let admitted = admit(&door, &hub);
        if let Ok(Ok(admitted)) = &admitted {
            let mode = fs::metadata(admitted.dir.join("model.safetensors")).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o444, "as any other");
        }
        let fetched = hub.fetched().iter().filter(|path| path.ends_with("safetensors")).count();
        assert_eq!((admitted.is_ok(), fetched), (n_fetched == 0, n_fetched));
        let _ = fs::remove_dir_all(door.folder.join("models"));
        let _ = fs::remove_dir_all(door.folder.join("files"));
    }
}

#[test]
fn attack_models_that_never_come_whole_leave_little_and_make_room() {
    let door = Door::new();
    for number in 0..20 {
        let error = admit(&door, &breaking(number)).unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{number}: {error}");
        assert!(incoming(&door).len() <= 4, "{number}");
    }
    // The rest of one of them fits with what there is of it, and not with all the others.
    let hub = breaking(19);
    for _ in 0..2 {
        admit(&door, &hub).unwrap_err();
    }
    admit(&door, &hub).unwrap().unwrap();
    // A whole model needs the room.
    let whole = LyingHub::with(&[("config.json", "{}"), ("model.safetensors", &"z".repeat(640))]);
    admit(&door, &whole).unwrap().unwrap();
    assert_eq!(incoming(&door).len(), 0);
}
