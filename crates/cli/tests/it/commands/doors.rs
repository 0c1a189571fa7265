//! What a miner asks for before training, and commands whose output is the input of the next.

use super::{
    BLOCK_HASH,
    workshop::{SmallModel, Workshop, agon},
};
use crate::tree;
use dataset::Tokenizer;
use protocol::Competition;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// Columns of a terminal that nobody has widened.
const COLUMNS: usize = 80;

#[test]
fn competitions_are_listed_with_their_rules_and_tokenizers() {
    let workshop = Workshop::new();
    let names: Vec<&str> = Competition::builtin_names().collect();
    let list = agon(&["competition", "list"]);
    assert_eq!((list.code, list.err.as_str()), (0, ""));
    assert!(names.iter().all(|name| list.out.contains(name)), "{}", list.out);
    assert!(list.out.lines().all(|line| line.chars().count() <= COLUMNS), "{}", list.out);
    let all = agon(&["competition", "list", "--json"]).json();
    let listed: Vec<&Value> =
        all.as_array().unwrap().iter().map(|it| &it["rules"]["name"]).collect();
    assert_eq!(
        listed,
        names.iter().map(|name| json!(name)).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );

    for name in names {
        let rules = Competition::builtin(name).unwrap();
        let toml = agon(&["competition", "show", name, "--toml"]);
        assert_eq!(Competition::from_toml(&toml.out).unwrap(), rules);
        let shown = agon(&["competition", "show", name]).out;
        assert!(shown.contains(&rules.digest().to_string()), "{shown}");
        let json = agon(&["competition", "show", name, "--json"]).json();
        assert_eq!(json["digest"], json!(rules.digest()));
    }

    let file = workshop.path("tokenizer.json");
    let shown = agon(&["competition", "show", "tiny", "--tokenizer", &file, "--json"]).json();
    let tokenizer = Tokenizer::load(Path::new(&file), None, None).unwrap();
    let args = ["sample", "--competition", "tiny", "--block-hash", BLOCK_HASH, "--json"];
    let sample = agon(&args).json();
    assert_eq!(shown["tokenizer"]["sha256"], json!(tokenizer.digest()));
    assert_eq!(sample["tokenizer"], json!(tokenizer.digest()), "that which rounds use");
    // The file that a person may change is a competition like any other.
    let own = workshop.rules("own.toml", "n_batches = 100", "n_batches = 70");
    assert_eq!(
        agon(&["competition", "show", &own, "--json"]).json()["rules"]["evaluation"]["n_batches"],
        70
    );
    let wrong = agon(&["competition", "show", "tinny"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean"), "{}", wrong.err);
}

/// Shape and tokens of a file of NumPy's format with numbers of two bytes.
fn array(path: &str) -> (Vec<usize>, Vec<u32>) {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let n_header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + n_header) % 64, 0);
    let header = std::str::from_utf8(&bytes[10..10 + n_header]).unwrap();
    assert!(header.starts_with("{'descr': '<u2', 'fortran_order': False, 'shape': ("), "{header}");
    assert!(header.ends_with('\n'));
    let shape = header.split(['(', ')']).nth(1).unwrap();
    let shape = shape.split(", ").map(|n| n.parse().unwrap()).collect();
    let numbers = bytes[10 + n_header..].as_chunks::<2>().0;
    (shape, numbers.iter().map(|n| u32::from(u16::from_le_bytes(*n))).collect())
}

#[test]
fn training_text_is_exported_in_tokens_too_and_never_that_of_rounds() {
    let workshop = Workshop::new();
    let dir = workshop.path("data");
    let export = |more: &[&str]| {
        let args = ["data", "export", "tiny", "--to", &dir, "--documents", "300", "--json"];
        agon(&[&args[..], more].concat()).json()
    };
    let report = export(&[]);
    let text = fs::read_to_string(format!("{dir}/train.jsonl")).unwrap();
    let documents: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((documents.len(), &report["n_documents"]), (300, &json!(300)));
    let ids: BTreeSet<&str> = documents.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 300);
    assert!(ids.iter().all(|id| id.starts_with("generated:1/train/")), "{ids:?}");

    let tokenizer =
        Tokenizer::load(Path::new(&format!("{dir}/tokenizer.json")), None, None).unwrap();
    let (shape, found) = array(&format!("{dir}/train.npy"));
    let mut expected = Vec::new();
    for document in &documents {
        expected.extend(tokenizer.encode(document["text"].as_str().unwrap()).unwrap());
        expected.push(tokenizer.end_of_text());
    }
    assert_eq!(report["n_tokens"], json!(expected.len()));
    expected.truncate(expected.len() - expected.len() % 128);
    assert_eq!(shape, [expected.len() / 128, 128]);
    assert_eq!(found, expected);
    let written: Value =
        serde_json::from_slice(&fs::read(format!("{dir}/export.json")).unwrap()).unwrap();
    assert_eq!(written, report);

    // The same again, other documents by another seed, and the text of rounds by its name alone.
    export(&[]);
    assert_eq!(fs::read_to_string(format!("{dir}/train.jsonl")).unwrap(), text);
    export(&["--seed", "2"]);
    assert_ne!(fs::read_to_string(format!("{dir}/train.jsonl")).unwrap(), text);
    export(&["--split", "evaluation"]);
    let exam = fs::read_to_string(format!("{dir}/evaluation.jsonl")).unwrap();
    assert!(exam.lines().all(|line| line.contains("generated:1/evaluation/")), "{exam}");
    let names: BTreeSet<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.ends_with(".partial")), "{names:?}");
    let shown = agon(&["data", "export", "tiny", "--to", &dir, "--documents", "3"]).out;
    assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS + 20), "{shown}");
}

#[test]
fn all_documents_of_a_small_corpus_are_exported_in_order() {
    let workshop = Workshop::new();
    let text: String = (0..4_000)
        .map(|i| format!("Document {i} tells of nothing but {i}, and of {}.\n\n", i * i))
        .collect();
    let corpus = workshop.file("corpus.txt", text);
    let dataset = format!("kind = \"files\"\npath = {corpus:?}");
    let rules = workshop.rules("own.toml", "kind = \"generated\"\nworld = 1", &dataset);
    let rules = {
        let text = fs::read_to_string(&rules).unwrap();
        workshop.file("small.toml", text.replace("vocabulary = 512", "vocabulary = 300"))
    };
    let dir = workshop.path("data");
    let report = agon(&["data", "export", &rules, "--to", &dir, "--all", "--json"]).json();
    assert_eq!(report["n_documents"], report["of_documents"]);
    let drawn = agon(&["data", "export", &rules, "--to", &dir, "--json"]).json();
    assert_eq!(drawn["n_documents"], report["of_documents"], "no more than there are");
}

#[test]
fn one_export_at_a_time_writes_to_a_folder_and_only_there() {
    let workshop = Workshop::new();
    let (dir, victim) = (workshop.path("data"), workshop.file("victim", "precious"));
    fs::create_dir(&dir).unwrap();
    let export = || agon(&["data", "export", "tiny", "--to", &dir, "--documents", "3", "--json"]);
    let folder = fs::File::open(&dir).unwrap();
    folder.try_lock().unwrap();
    let refused = export();
    assert!(refused.code == 2 && refused.err.contains("another export"), "{}", refused.err);
    drop(folder);
    for name in ["train.npy", "train.jsonl", "export.json"] {
        std::os::unix::fs::symlink(&victim, format!("{dir}/{name}")).unwrap();
    }
    assert_eq!(export().json()["n_documents"], 3);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious", "links are replaced");

    // What speaks of the files is gone before one of them changes.
    fs::remove_file(format!("{dir}/train.npy")).unwrap();
    fs::create_dir(format!("{dir}/train.npy")).unwrap();
    let failed = export();
    assert!(failed.code == 2 && failed.err.contains("train.npy"), "{}", failed.err);
    assert!(!Path::new(&format!("{dir}/export.json")).exists());
}

#[test]
fn what_sample_prints_is_what_evaluate_reads() {
    let workshop = Workshop::new();
    let model = workshop.model("model", &SmallModel::new());
    let args = ["sample", "--competition", "tiny", "--block-hash", BLOCK_HASH, "--json"];
    let sample = agon(&args);
    let mut evaluate = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["evaluate", "--model", &model, "--tokens", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    evaluate.stdin.take().unwrap().write_all(sample.out.as_bytes()).unwrap();
    let output = evaluate.wait_with_output().unwrap();
    assert!(output.status.success());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let losses = report["batches"].as_array().unwrap();
    assert_eq!(losses.len(), 100);
    // A batch alone has the same loss to the last bit.
    let batch = &sample.json()["batches"][3];
    let tokens = workshop.json("batch.json", &json!({ "sequences": batch["sequences"] }));
    let alone = agon(&["evaluate", "--model", &model, "--tokens", &tokens, "--json"]).json();
    assert_eq!(alone["mean_cross_entropy"].to_string(), losses[3].to_string());
    assert_eq!(alone["batches"], Value::Null);

    let changed = |change: &dyn Fn(&mut Value)| {
        let mut round = sample.json();
        change(&mut round);
        round
    };
    let instead = "the digest beside them";
    for (value, says) in [
        (changed(&|round| round["batches"][3]["sequences"][0][5] = json!(7)), "of batch 4 of"),
        (
            changed(&|round| round["batches"][3]["digest"] = round["batches"][2]["digest"].take()),
            instead,
        ),
        (changed(&|round| round["batches"].as_array_mut().unwrap().swap(0, 1)), "the batches of"),
        (changed(&|round| drop(round["batches"].as_array_mut().unwrap().pop())), instead),
        (json!({}), "neither `sequences` nor `batches`"),
        (json!({"sequences": [[1, 2]], "batches": []}), "both `sequences` and `batches`"),
        (json!({"batches": []}), "holds no sequences"),
        (json!({"batches": [{"sequences": []}]}), "a batch of"),
        (json!({"batches": [{"sequences": [[1]]}]}), "has 1 tokens"),
    ] {
        let file = workshop.json("wrong.json", &value);
        let ran = agon(&["evaluate", "--model", &model, "--tokens", &file]);
        assert!(ran.code == 2 && ran.err.contains(says), "{says}: {}", ran.err);
    }
}

#[test]
fn paths_in_a_competition_file_start_at_its_folder() {
    let workshop = Workshop::new();
    let lines = (0..3_000).map(|i| format!("{{\"text\": \"line {i} of {}\"}}\n", i * i % 97));
    let lines: String = lines.collect();
    workshop.file("there/texts/lines.jsonl", &lines);
    let rules = |name: &str, path: &str| {
        let rules = tree::read("testdata/scoring/competition.toml")
            .replace(
                "kind = \"generated\"\nworld = 1",
                &format!("kind = \"files\"\npath = {path:?}"),
            )
            .replace("n_batches = 24", "n_batches = 2");
        workshop.file(name, rules)
    };
    let own = rules("there/own.toml", "texts");
    let sample = |rules: &str, at: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_agon"))
            .args(["sample", "--competition", rules, "--block-hash", BLOCK_HASH, "--json"])
            .current_dir(at)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let (here, there) = (workshop.path(""), workshop.path("there"));
    let drawn = sample(&own, &here);
    assert_eq!(sample("own.toml", &there), drawn);
    assert_eq!(sample("there/own.toml", &here), drawn);
    let info = agon(&["data", "info", &own, "--json"]).json();
    assert_eq!(info["digest"], drawn["dataset"]);
    // A whole path is what it says, and the same files are the same text.
    let whole = rules("elsewhere/own.toml", &format!("{there}/texts"));
    assert_eq!(sample(&whole, &here)["dataset"], drawn["dataset"]);
}
