//! `agon data`: pinned once, drawn by anyone, kept for outages.

use super::workshop::{Ran, Workshop, agon};
use crate::tree;
use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

const REVISION: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub that does not answer: nothing listens where it should be.
const NO_HUB: &str = "http://127.0.0.1:9";

/// Runs the real binary with a cache of its own, and with a mirror if one is named.
fn with_mirror(workshop: &Workshop, mirror: Option<&str>, args: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    command.args(args).env("XDG_CACHE_HOME", workshop.path("cache")).env_remove("AGON_MIRROR");
    command.env("HF_ENDPOINT", NO_HUB).env("HF_HOME", workshop.path("hf")).env_remove("HF_TOKEN");
    command.envs(mirror.map(|mirror| ("AGON_MIRROR", mirror)));
    let Output { status, stdout, stderr } = command.output().unwrap();
    Ran {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
        took: Duration::ZERO,
    }
}

fn data() -> String {
    tree::root().join("testdata/fineweb").to_str().unwrap().to_owned()
}

/// A folder with one file, and a competition file that pins it.
fn competition(workshop: &Workshop) -> (String, String) {
    let bytes = std::fs::read(Path::new(&data()).join("small.parquet")).unwrap();
    workshop.file("repo/sample/10BT/000_00000.parquet", bytes);
    let dir = workshop.path("repo");
    let pinned = agon(&[
        "data",
        "pin",
        &dir,
        "--dataset",
        "fineweb",
        "--config",
        "sample-10BT",
        "--revision",
        REVISION,
    ]);
    assert_eq!((pinned.code, pinned.err.as_str()), (0, ""));
    let source = dataset::GeneratedSource::new(1);
    let tokenizer = dataset::Tokenizer::train(&source, 300).unwrap();
    tokenizer.save(Path::new(&workshop.path("words.json"))).unwrap();
    let rules = tree::read("testdata/scoring/competition.toml")
        .replace("[dataset]\nkind = \"generated\"\nworld = 1\n", &pinned.out)
        .replace("sequence_length = 128", "sequence_length = 16\npacking = \"per-document\"")
        .replace(
            "n_batches = 24\nsequences_per_batch = 4",
            "n_batches = 2\nsequences_per_batch = 2",
        )
        .replace(
            "{ kind = \"trained\", vocabulary = 512 }",
            &format!(
                "{{ kind = \"file\", path = \"words.json\", vocabulary = {}, end_of_text = {}, \
                 sha256 = \"{}\" }}",
                tokenizer.vocabulary(),
                tokenizer.end_of_text(),
                tokenizer.digest()
            ),
        );
    (workshop.file("my.toml", rules), dir)
}

#[test]
fn pinned_rows_are_drawn_again_by_anyone_and_shown_by_their_names() {
    let workshop = Workshop::new();
    let (rules, dir) = competition(&workshop);
    let run = |args: &[&str]| with_mirror(&workshop, None, args);
    let draw = ["data", "sample", &rules, "--dir", &dir, "--documents", "9", "--seed", "3"];
    let drawn = run(&[&draw[..], &["--json"]].concat()).json();
    assert_eq!(run(&[&draw[..], &["--json"]].concat()).json()["documents"], drawn["documents"]);
    let documents = drawn["documents"].as_array().unwrap();
    assert!(!documents.is_empty() && drawn["read"]["n_bytes"].as_u64().unwrap() > 0);
    let people = run(&draw).out;
    assert!(people.contains("bytes read") && people.contains(documents[0]["id"].as_str().unwrap()));
    for document in documents {
        let id = document["id"].as_str().unwrap();
        assert!(id.starts_with(&format!("HuggingFaceFW/fineweb@{REVISION}/sample/10BT/000_00000")));
        let row = run(&["data", "row", id, "--competition", &rules, "--dir", &dir, "--json"]);
        assert_eq!(row.json(), *document);
    }
    let info = run(&["data", "info", &rules, "--json"]).json();
    assert_eq!(info["digest"], drawn["dataset"]);
    assert_eq!(info["n_documents_evaluation"], json!(36));
}

#[test]
fn a_round_is_drawn_from_a_mirror_when_the_hub_cannot_be_read() {
    let workshop = Workshop::new();
    let (rules, dir) = competition(&workshop);
    let mirror = workshop.path("mirror");
    let block_hash = format!("0x{}", "5a".repeat(32));
    let sample =
        ["sample", "--competition", &rules, "--block-hash", &block_hash, "--block", "20", "--json"];
    let refused = with_mirror(&workshop, None, &sample);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("fineweb") && refused.err.contains("hint: "), "{}", refused.err);

    let fill = ["data", "mirror", &rules, "--to", &mirror, "--dir", &dir, "--json"];
    let first = with_mirror(&workshop, None, &[&fill[..], &["--whole"]].concat()).json();
    assert_eq!((&first["n_pieces"], &first["read_bytes"]), (&json!(5), &first["size_bytes"]));
    assert_eq!(with_mirror(&workshop, None, &fill).json()["read_bytes"], json!(0));
    let round = with_mirror(&workshop, Some(&mirror), &sample).json();
    assert_eq!(with_mirror(&workshop, Some(&mirror), &sample).json(), round);
    let sequences = |batch: &Value| batch["sequences"].as_array().unwrap().len();
    let batches = round["batches"].as_array().unwrap();
    assert_eq!(batches.iter().map(sequences).collect::<Vec<_>>(), [2, 2]);

    let without_block = with_mirror(&workshop, Some(&mirror), &sample[..5]);
    assert!(without_block.err.contains("--block"), "{}", without_block.err);
}

#[test]
fn a_file_that_changed_and_a_dataset_that_nobody_knows_are_refused_with_a_hint() {
    let workshop = Workshop::new();
    let (rules, dir) = competition(&workshop);
    let path = Path::new(&dir).join("sample/10BT/000_00000.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mirror = workshop.path("mirror");
    let fill = ["data", "mirror", &rules, "--to", &mirror, "--dir", &dir, "--whole"];
    let refused = with_mirror(&workshop, None, &fill);
    assert!(refused.code == 2 && refused.err.contains("is not the file that is pinned"));
    assert!(refused.err.contains("hint: "), "{}", refused.err);
    bytes.pop();
    std::fs::write(&path, &bytes).unwrap();
    let refused = with_mirror(&workshop, None, &["data", "sample", &rules, "--dir", &dir]);
    assert!(refused.code == 2 && refused.err.contains("bytes instead of"), "{}", refused.err);
    for (args, says) in [
        (["data", "info", "pile"], "pile"),
        (["data", "sample", "7b"], "pins no parquet files"),
        (["data", "sample", "nowhere"], "nowhere"),
    ] {
        let ran = agon(&args);
        assert!(ran.code == 2 && ran.err.contains(says), "{args:?}: {}", ran.err);
    }
}

#[test]
fn known_datasets_and_files_of_this_machine_are_described() {
    let workshop = Workshop::new();
    let all = agon(&["data", "info", "--json"]).json();
    assert_eq!(all.as_array().unwrap().len(), 5);
    assert!(agon(&["data", "info"]).out.contains("wikitext-103"));
    let fineweb = agon(&["data", "info", "fineweb", "--json"]).json();
    assert_eq!(fineweb["repo"], json!("HuggingFaceFW/fineweb"));
    let file = format!("{}/small.parquet", data());
    let info = agon(&["data", "info", &file, "--json"]).json();
    assert_eq!(info["n_documents_train"], json!(324));
    let drawn = agon(&["data", "sample", &file, "--documents", "3", "--json"]).json();
    assert_eq!(drawn["documents"].as_array().unwrap().len(), 3);
    let ranks = workshop.file("ranks.tiktoken", "AA== 0\n");
    let out = workshop.path("tokenizer.json");
    let refused = agon(&["data", "tokenizer", "gpt2", "--ranks", &ranks, &out]);
    assert!(refused.code == 2 && refused.err.contains("r50k_base.tiktoken"), "{}", refused.err);
}

/// Pins the file of that name of the small ones, alone in a folder.
fn pinned(workshop: &Workshop, file: &str, column: &str) -> Ran {
    let bytes = std::fs::read(Path::new(&data()).join(file)).unwrap();
    workshop.file("alone/part.parquet", bytes);
    let dir = workshop.path("alone");
    let pin = ["data", "pin", &dir, "--repo", "acme/text", "--revision", REVISION];
    agon(&[&pin[..], &["--column", column]].concat())
}

#[test]
fn what_no_round_could_draw_is_never_pinned() {
    let workshop = Workshop::new();
    let few = pinned(&workshop, "codecs.parquet", "gzip");
    assert_eq!((few.code, few.out.as_str()), (2, ""));
    let says = "2 row groups, and 21 at least are needed";
    assert!(few.err.contains(says), "{}", few.err);
    let info = agon(&["data", "info", &format!("{}/codecs.parquet", data())]);
    assert!(info.code == 2 && info.err.contains("no column `text`"), "{}", info.err);
}

#[test]
fn lines_without_a_text_are_told() {
    let workshop = Workshop::new();
    let mut lines: String = (0..60).map(|i| format!("{{\"text\":\"line {i}\"}}\n")).collect();
    lines += "{\"text\":null}\n";
    let file = workshop.file("lines.jsonl", lines);
    let info = agon(&["data", "info", &file]);
    assert!(info.code == 0 && info.err.contains("1 lines or rows"), "{}", info.err);
}

#[test]
fn a_mirror_has_the_tokenizer_that_a_competition_trains() {
    let workshop = Workshop::new();
    let (rules, dir) = competition(&workshop);
    let text = std::fs::read_to_string(&rules).unwrap();
    let pinned = text.lines().find(|line| line.contains("words.json")).unwrap();
    let trained = "tokenizer = { kind = \"trained\", vocabulary = 300 }";
    let rules = workshop.file("trained.toml", text.replace(pinned, trained));
    let mirror = workshop.path("mirror");
    let fill = ["data", "mirror", &rules, "--to", &mirror, "--dir", &dir, "--json"];
    assert_eq!(with_mirror(&workshop, None, &fill).code, 0);
    let block_hash = format!("0x{}", "5a".repeat(32));
    let sample =
        ["sample", "--competition", &rules, "--block-hash", &block_hash, "--block", "20", "--json"];
    // From the files themselves, where it is trained, and from the mirror alone.
    let from_files = with_mirror(&workshop, None, &[&sample[..], &["--dir", &dir]].concat());
    let from_mirror = with_mirror(&workshop, Some(&mirror), &sample);
    assert_eq!(from_mirror.code, 0, "{}", from_mirror.err);
    assert_eq!(from_mirror.json(), from_files.json());
}

#[test]
fn a_folder_that_is_parted_by_keys_is_pinned_and_drawn_from() {
    let workshop = Workshop::new();
    let bytes = std::fs::read(Path::new(&data()).join("small.parquet")).unwrap();
    let parts =
        ["lang=de/part.parquet", "lang=en/year=2024/part 0.parquet", "lang=중/part.parquet"];
    for part in parts {
        workshop.file(&format!("parted/{part}"), &bytes);
    }
    // What writers of such folders leave beside the parts is none of it.
    workshop.file("parted/lang=de/_SUCCESS", "");
    let dir = workshop.path("parted");
    let pin = ["data", "pin", &dir, "--repo", "acme/parted", "--revision", REVISION];
    let pinned = agon(&pin);
    assert_eq!((pinned.code, pinned.err.as_str()), (0, ""));
    let rules =
        workshop.rules("own.toml", "[dataset]\nkind = \"generated\"\nworld = 1\n", &pinned.out);
    let info = agon(&["data", "info", &rules, "--json"]).json();
    assert_eq!(info["n_documents_evaluation"], json!(3 * 36));
    let draw = ["data", "sample", &rules, "--dir", &dir, "--documents", "60", "--json"];
    let drawn = agon(&draw).json();
    let documents = drawn["documents"].as_array().unwrap();
    let ids: Vec<&str> =
        documents.iter().map(|document| document["id"].as_str().unwrap()).collect();
    for part in parts {
        let name = format!("acme/parted@{REVISION}/{part}#");
        let id = ids.iter().find(|id| id.starts_with(&name));
        let id = id.unwrap_or_else(|| panic!("no row of `{part}` in {ids:?}"));
        let row =
            agon(&["data", "row", id, "--competition", &rules, "--dir", &dir, "--json"]).json();
        assert!(documents.contains(&row), "{row}");
    }
}
