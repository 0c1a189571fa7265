//! Folders as trainers, clones and caches leave them.

use super::*;
use std::os::unix::fs::symlink;

fn folder(paths: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in paths {
        let to = dir.path().join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, path).unwrap();
    }
    dir
}

fn left_out(folder: &Folder) -> Vec<&str> {
    folder.left_out().iter().map(|left| left.path.as_str()).collect()
}

#[test]
fn of_what_a_trainer_and_a_clone_leave_behind_the_model_is_taken_and_the_rest_is_listed() {
    let dir = folder(&[
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "README.md",
        "training_args.bin",
        "optimizer.pt",
        "scheduler.pt",
        "rng_state.pth",
        "trainer_state.json",
        "consolidated.safetensors",
        "flax_model.msgpack",
        "adapter_config.json",
        "adapter_model.safetensors",
        "original/consolidated.00.pth",
        "checkpoint-10/model.safetensors",
        ".git/config",
        ".cache/huggingface/x",
        ".gitattributes",
        ".DS_Store",
        "na\u{ef}ve.md",
    ]);
    let model = Folder::of_model(dir.path()).unwrap();
    let taken =
        ["README.md", "config.json", "model.safetensors", "tokenizer.json", "trainer_state.json"];
    assert_eq!(model.files, taken);
    let mut expected = vec![
        ".DS_Store",
        ".cache/",
        ".git/",
        ".gitattributes",
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoint-10/",
        "consolidated.safetensors",
        "flax_model.msgpack",
        "na\u{ef}ve.md",
        "optimizer.pt",
        "original/",
        "rng_state.pth",
        "scheduler.pt",
        "training_args.bin",
    ];
    expected.sort_unstable();
    assert_eq!(left_out(&model), expected);
    let told = LeftOut::for_people(model.left_out());
    assert_eq!(told.lines().count(), expected.len());
    let all = Folder::of_everything(dir.path()).unwrap();
    assert_eq!(left_out(&all), [".DS_Store", ".cache/", ".git/"]);
    assert_eq!(all.files.len(), 17);
}

#[test]
fn the_shards_of_a_model_are_those_that_its_index_names() {
    let shards = ["model-00001-of-000002.safetensors", "model-00002-of-000002.safetensors"];
    let dir = folder(&["config.json", shards[0], shards[1], "model-00003-of-000003.safetensors"]);
    let index = format!(r#"{{"weight_map":{{"a":"{}","b":"{}"}}}}"#, shards[0], shards[1]);
    fs::write(dir.path().join(INDEX), index).unwrap();
    let model = Folder::of_model(dir.path()).unwrap();
    assert_eq!(model.files, ["config.json", shards[0], shards[1], INDEX]);
    assert_eq!(left_out(&model), ["model-00003-of-000003.safetensors"]);
    // What an index that cannot be read names is for the judge to say.
    fs::write(dir.path().join(INDEX), "{").unwrap();
    assert_eq!(Folder::of_model(dir.path()).unwrap().files.len(), 5);
}

#[test]
fn a_snapshot_of_the_cache_is_a_folder_of_links() {
    let blobs = folder(&["a", "b"]);
    let dir = folder(&[]);
    symlink(blobs.path().join("a"), dir.path().join("config.json")).unwrap();
    symlink(blobs.path().join("b"), dir.path().join("model.safetensors")).unwrap();
    let model = Folder::of_model(dir.path()).unwrap();
    let listed = model.list(&|_, _| true).unwrap();
    let listed: Vec<_> = listed.iter().map(|file| (&*file.path, file.size_bytes)).collect();
    assert_eq!(listed, [("config.json", 1), ("model.safetensors", 1)]);
    assert!(model.left_out().is_empty());
}

#[test]
fn attack_links_to_folders_devices_and_hidden_files_publish_nothing() {
    let secrets = folder(&["keys/id", "x"]);
    let dir = folder(&["a.txt", ".env", "sub/.netrc", "sub/.ssh/id"]);
    symlink(secrets.path().join("keys"), dir.path().join("keys")).unwrap();
    symlink("/dev/zero", dir.path().join("zero")).unwrap();
    symlink(dir.path(), dir.path().join("sub/again")).unwrap();
    symlink("nowhere", dir.path().join("gone")).unwrap();
    for listed in [Folder::of_everything(dir.path()), Folder::of_model(dir.path())] {
        let listed = listed.unwrap();
        assert_eq!(listed.files, ["a.txt"]);
        let expected = [".env", "gone", "keys", "sub/.netrc", "sub/.ssh/", "sub/again", "zero"];
        assert_eq!(left_out(&listed), expected);
    }
}

#[test]
fn a_folder_with_parameters_in_another_form_is_told_how_to_make_a_model_of_them() {
    let advice = |paths: &[&str]| Folder::of_model(folder(paths).path()).unwrap().advice();
    let bin = advice(&["config.json", "pytorch_model.bin"]).unwrap();
    assert!(bin.contains("safe_serialization=True"), "{bin}");
    let adapter = advice(&["adapter_config.json", "adapter_model.safetensors"]).unwrap();
    assert!(adapter.contains("merge_and_unload()"), "{adapter}");
    assert_eq!(advice(&["config.json", "model.safetensors", "training_args.bin"]), None);
    assert_eq!(advice(&["config.json"]), None);
}

#[test]
fn ordinary_names_of_the_world_go_and_names_that_deceive_stay() {
    let dir = folder(&["lang=en/na\u{ef}ve (1).txt", "\u{202e}gnp.md"]);
    let all = Folder::of_everything(dir.path()).unwrap();
    assert_eq!(all.files, ["lang=en/na\u{ef}ve (1).txt"]);
    assert_eq!(left_out(&all), ["\u{202e}gnp.md"]);
    assert!(!LeftOut::for_people(all.left_out()).contains('\u{202e}'));
    assert!(Folder::of_everything(folder(&[]).path()).is_err());
    assert!(Folder::of_everything(Path::new("missing")).is_err());
}

#[test]
fn attack_what_the_owner_keeps_out_by_gitignore_is_published_in_no_way() {
    let dir = folder(&["config.json", "model.safetensors", "notes.txt", "keys/k.txt", "a.log"]);
    fs::write(dir.path().join(IGNORE), "notes.txt\nkeys/\n*.log\n*.safetensors\n").unwrap();
    let model = Folder::of_model(dir.path()).unwrap();
    // Whoever names a folder as a model asks for its parameters.
    assert_eq!(model.files, ["config.json", "model.safetensors"]);
    for path in ["a.log", "keys/k.txt", "notes.txt"] {
        assert!(left_out(&model).contains(&path), "{path}");
    }
    let all = Folder::of_everything(dir.path()).unwrap();
    assert_eq!(all.files, [".gitignore", "config.json"]);
    fs::write(dir.path().join(IGNORE), "x\n".repeat(2_000)).unwrap();
    assert!(Folder::of_everything(dir.path()).is_err(), "what is not read is not passed over");
}
