//! Strangers at the door: names, sizes, bytes and hashes that are not what they seem.

use super::*;

#[test]
fn attack_an_index_that_names_files_elsewhere_or_cannot_be_read() {
    let shard = "model-00001-of-00001.safetensors";
    for text in [index(&["../config.json"]), index(&["config.json"]), "{".to_owned()] {
        let door = Door::new();
        let hub = LyingHub::with(&[MODEL[0], (INDEX, &text), (shard, "parameters")]);
        let reason = door.admit(&hub).unwrap().unwrap_err();
        assert_eq!(reason.code, ReasonCode::FileRefused, "{text}");
        assert!(!hub.fetched().contains(&shard.to_owned()), "{text}");
        door.assert_nothing_admitted();
    }
}

#[test]
fn attack_the_hash_of_another_model() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let other = LyingHub::with(&[MODEL[0], ("model.safetensors", "Parameters")]);
    let commitment = other.commitment(OWNER, &door.competition);
    let reason =
        door.intake.admit(&hub, &door.competition, OWNER, &commitment).unwrap().unwrap_err();
    assert_eq!(reason.code, ReasonCode::HashMismatch);
    assert!(hub.fetched().is_empty(), "no byte is needed to see it");
    door.assert_nothing_admitted();
}

#[test]
fn attack_a_copied_commitment_is_refused_and_the_owner_is_not() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let commitment = hub.commitment(OWNER, &door.competition);
    let admit = |hotkey| door.intake.admit(&hub, &door.competition, hotkey, &commitment).unwrap();
    assert_eq!(admit(AccountId([2; 32])).unwrap_err().code, ReasonCode::HashMismatch);
    assert!(admit(OWNER).is_ok());
    let mut other = door.competition.clone();
    other.id = CompetitionId(other.id.0 + 1);
    let reason = door.intake.admit(&hub, &other, OWNER, &commitment).unwrap().unwrap_err();
    assert_eq!(reason.code, ReasonCode::HashMismatch, "a hash is bound to one competition");
}

#[test]
fn attack_files_renamed_after_the_commitment() {
    let door = Door::new();
    let names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    let index = index(&names);
    let hub = |first, second| {
        LyingHub::with(&[MODEL[0], (INDEX, &index), (names[0], first), (names[1], second)])
    };
    let (sharded, swapped) = (hub("1", "2"), hub("2", "1"));
    let commitment = sharded.commitment(OWNER, &door.competition);
    let admit = |hub| door.intake.admit(hub, &door.competition, OWNER, &commitment).unwrap();
    assert_eq!(admit(&swapped).unwrap_err().code, ReasonCode::HashMismatch);
}

#[test]
fn attack_a_file_with_code_is_never_fetched() {
    let door = Door::new();
    for path in [
        "modeling_llama.py",
        "MODELING.PY",
        "a/b/c.py",
        "hidden.pyc",
        "pytorch_model.bin",
        "training_args.bin",
        "model.pt",
        "x.pkl",
        "x.pickle",
        "x.joblib",
        "lib.so",
        "setup.sh",
        "weights.safetensors",
        "sub/model.safetensors",
        "MODEL.safetensors",
    ] {
        assert_eq!(door.refused(&with_extra(path)), ReasonCode::FileRefused, "{path}");
    }
}

#[test]
fn attack_paths_that_leave_the_folder() {
    let door = Door::new();
    for path in [
        "",
        ".",
        "..",
        "/",
        "../config.json",
        "../../etc/passwd",
        "a/../../b",
        "a/..",
        "./config.json",
        "/etc/passwd",
        "//x",
        "a//b",
        "a/",
        "\\\\server\\x",
        "..\\x",
        "C:\\x",
        "C:x",
        "config.json\0.md",
        "a\nb",
        "\u{202e}gnp.md",
        "\u{2024}\u{2024}/x",
        "\u{ff0e}\u{ff0e}/x",
        "\u{2215}etc",
        "%2e%2e/x",
        "x.",
        "x ",
        " x",
        "...",
        "a/.../b",
        "~/x",
        "$HOME/x",
        "x:stream",
        "-rf/..",
        "caf\u{e9}",
        "config.json ",
        "config.json.",
        "CONFIG.JSON\u{301}",
    ] {
        assert_eq!(door.refused(&with_extra(path)), ReasonCode::FileRefused, "{path:?}");
    }
    let long = "x".repeat(201);
    assert_eq!(door.refused(&with_extra(&long)), ReasonCode::FileRefused);
}

#[test]
fn attack_two_files_of_one_name() {
    let door = Door::new();
    for path in ["config.json", "Config.json", "model.safetensors"] {
        assert_eq!(door.refused(&with_extra(path)), ReasonCode::FileRefused, "{path}");
    }
}

#[test]
fn attack_more_bytes_than_the_competition_allows() {
    let door = Door::new();
    let text = "x".repeat(990);
    let fits = LyingHub::with(&[MODEL[0], ("model.safetensors", &text[..988])]);
    assert!(door.admit(&fits).unwrap().is_ok(), "the limit is inclusive");
    let door = Door::new();
    let large = LyingHub::with(&[MODEL[0], ("model.safetensors", &text)]);
    large.add("README.md", "all files count, fetched or not");
    assert_eq!(door.refused(&large), ReasonCode::TooLarge);
    let overflowing = LyingHub::with(&MODEL);
    for i in 0..3 {
        overflowing.add(&format!("{i}.md"), "");
        overflowing.listed.lock().unwrap().last_mut().unwrap().size_bytes = u64::MAX / 2;
    }
    assert_eq!(door.refused(&overflowing), ReasonCode::TooLarge);
    let mut door = Door::new();
    door.competition.model.size_bytes_max = u64::MAX;
    let bomb = LyingHub::with(&MODEL);
    bomb.listed.lock().unwrap()[0].size_bytes = CONFIG_BYTES_MAX + 1;
    assert_eq!(door.refused(&bomb), ReasonCode::FileRefused, "a config of a megabyte");
}

#[test]
fn attack_more_files_than_anybody_needs() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    (0..N_FILES_MAX - 1).for_each(|i| hub.add(&format!("{i}.md"), ""));
    assert_eq!(door.refused(&hub), ReasonCode::FileRefused);
}

#[test]
fn attack_a_body_longer_or_shorter_than_listed() {
    let cases = [
        ("parameters and much more", false),
        ("parameters and more", true),
        ("param", false),
        ("", true),
    ];
    for (body, ignores_caps) in cases {
        let door = Door::new();
        let mut hub = LyingHub::with(&MODEL);
        hub.ignores_caps = ignores_caps;
        hub.swap("model.safetensors", body);
        if body.starts_with("parameters") && !ignores_caps {
            // Cut at the listed length, the bytes are the committed ones.
            assert!(door.admit(&hub).unwrap().is_ok());
            continue;
        }
        let error = door.admit(&hub).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{body}: {error}");
        door.assert_nothing_admitted();
        hub.swap("model.safetensors", "parameters");
        assert!(door.admit(&hub).unwrap().is_ok(), "the owner is not blamed for the hub");
    }
}

#[test]
fn attack_other_bytes_under_the_same_revision() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    hub.swap("model.safetensors", "PARAMETERS");
    assert!(matches!(door.admit(&hub), Err(Error::Damaged { .. })));
    door.assert_nothing_admitted();
    // Where the hub changes its list too, the committed hash tells.
    let commitment = LyingHub::with(&MODEL).commitment(OWNER, &door.competition);
    let changed = LyingHub::with(&[MODEL[0], ("model.safetensors", "PARAMETERS")]);
    let reason = door.intake.admit(&changed, &door.competition, OWNER, &commitment).unwrap();
    assert_eq!(reason.unwrap_err().code, ReasonCode::HashMismatch);
    door.assert_nothing_admitted();
}

#[test]
fn attack_a_link_instead_of_a_file() {
    let door = Door::new();
    let elsewhere = door.folder.join("elsewhere");
    fs::write(&elsewhere, "{}").unwrap();
    let mut hub = LyingHub::with(&MODEL);
    hub.links_to = Some(elsewhere);
    assert!(matches!(door.admit(&hub), Err(Error::Damaged { .. })));
    door.assert_nothing_admitted();
}

#[test]
fn attack_an_admitted_model_changed_on_disk_is_fetched_again() {
    let door = Door::new();
    let hub = LyingHub::with(&MODEL);
    let dir = door.admit(&hub).unwrap().unwrap().dir;
    let file = dir.join("model.safetensors");
    let elsewhere = door.folder.join("elsewhere");
    fs::write(&elsewhere, "parameters").unwrap();
    let tampers: [&dyn Fn(); 5] = [
        &|| fs::write(&file, "Parameters").unwrap(),
        &|| (),
        &|| symlink(&elsewhere, &file).unwrap(),
        &|| fs::write(dir.join("extra.py"), "x").unwrap(),
        &|| {
            fs::rename(&dir, door.folder.join("moved")).unwrap();
            symlink(door.folder.join("moved"), &dir).unwrap();
        },
    ];
    for (i, tamper) in tampers.into_iter().enumerate() {
        hub.fetched();
        if i < 3 {
            fs::remove_file(&file).unwrap();
        }
        tamper();
        let admitted = door.admit(&hub).unwrap().unwrap();
        // The files that were moved away are whole, and lie under their digests too.
        let n_fetched = if i == 4 { 0 } else { 2 };
        assert_eq!(hub.fetched().len(), n_fetched, "case {i} was not noticed");
        assert!(fs::symlink_metadata(&admitted.dir).unwrap().is_dir());
        assert_eq!(Hashes::of(&list_folder(&admitted.dir).unwrap()).file_root, admitted.file_root);
    }
}
