//! The small commands, run as a user runs them: the real binary on real files.

mod bad_input;
mod competitions;
mod data;
mod doors;
mod health;
mod larger_than_memory;
mod sims;
mod wallets;
pub(crate) mod workshop;

use crate::tree;
use dataset::{Document, GeneratedSource, Tokenizer, pack::pack};
use protocol::{
    Digest,
    content::{file_root, reference_directory_hash, reference_file_hash},
};
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};
use workshop::{Ran, SmallModel, Workshop, agon, golden};

const BLOCK_HASH: &str = "0x00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn vectors(path: &str) -> Value {
    serde_json::from_str(&tree::read(path)).unwrap()
}

fn near(found: &Value, expected: &Value, tolerance: f64) -> bool {
    (found.as_f64().unwrap() - expected.as_f64().unwrap()).abs() <= tolerance
}

/// Two models; the later one is better by 0.8 % in perplexity on the first of two batches.
fn two_models(loss: &str) -> Value {
    json!({
        "rule": "wins", "loss": loss, "epsilon": {"kind": "fixed", "value": 0.005},
        "temperature": 0.5, "block": 1000,
        "models": [
            {"uid": 7, "block": 200, "cross_entropy": [1.992, 2.1]},
            {"uid": 3, "block": 100, "cross_entropy": [2.0, 2.0]},
        ],
    })
}

#[test]
fn score_gives_wins_and_weights_computed_by_hand_in_the_order_of_its_input() {
    let workshop = Workshop::new();
    let score = |name: &str, round: &Value| agon(&["score", &workshop.json(name, round)]).json();

    // exp(1.992) < 0.995 exp(2): one batch each.
    let scores = score("perplexity.json", &two_models("perplexity"));
    for (model, uid) in scores["models"].as_array().unwrap().iter().zip([7, 3]) {
        assert_eq!((&model["uid"], &model["wins"]), (&json!(uid), &json!(1)));
        assert_eq!((&model["win_rate"], &model["weight"]), (&json!(0.5), &json!(0.5)));
    }

    // 1.992 > 0.995 * 2: both batches to the earlier model; 1 / (1 + exp(-2)) of the weight.
    let scores = score("cross-entropy.json", &two_models("cross-entropy"));
    let [later, earlier] = &scores["models"].as_array().unwrap()[..] else { panic!("{scores}") };
    assert_eq!((&later["wins"], &earlier["wins"]), (&json!(0), &json!(2)));
    assert!(near(&earlier["weight"], &json!(0.880_797_077_977_882_3), 1e-15), "{earlier}");
    assert!(near(&later["weight"], &json!(0.119_202_922_022_117_6), 1e-15), "{later}");
}

#[test]
fn score_agrees_with_an_independent_implementation() {
    let workshop = Workshop::new();
    let cases = vectors("testdata/scoring/cases.json");
    for case in cases.as_array().unwrap() {
        let mut round = case.as_object().unwrap().clone();
        let (name, expected) = (round.remove("name").unwrap(), round.remove("expect").unwrap());
        // Lists of other lengths are for implementations; a file says `null` for what is missing.
        let models = round["models"].as_array_mut().unwrap();
        let lists = models.iter_mut().map(|model| model["cross_entropy"].as_array_mut().unwrap());
        let lists: Vec<&mut Vec<Value>> = lists.filter(|losses| !losses.is_empty()).collect();
        let n_batches = lists.iter().map(|losses| losses.len()).max().unwrap();
        lists.into_iter().for_each(|losses| losses.resize(n_batches, Value::Null));
        let scores = agon(&["score", &workshop.json("round.json", &round.into())]).json();
        let (found, expected) = (&scores["models"], &expected["models"]);
        assert_eq!(found.as_array().unwrap().len(), expected.as_array().unwrap().len());
        for (found, expected) in found.as_array().unwrap().iter().zip(expected.as_array().unwrap())
        {
            let agree = found["uid"] == expected["uid"]
                && found["wins"] == expected["wins"]
                && near(&found["win_rate"], &expected["win_rate"], 1e-12)
                && near(&found["weight"], &expected["weight"], 1e-12);
            assert!(agree, "{name}: {found} instead of {expected}");
        }
    }
}

#[test]
fn score_treats_a_model_that_lacks_a_loss_as_absent() {
    let workshop = Workshop::new();
    let score = |name: &str, round: &Value| agon(&["score", &workshop.json(name, round)]).json();
    let alone = score("two.json", &two_models("perplexity"));
    for (number, lacking) in [json!([0.1, null]), json!([])].iter().enumerate() {
        let mut round = two_models("perplexity");
        let third = json!({"uid": 1, "block": 1, "cross_entropy": lacking});
        round["models"].as_array_mut().unwrap().push(third);
        let mut scores = score(&format!("{number}.json"), &round);
        let absent = scores["models"].as_array_mut().unwrap().pop().unwrap();
        assert_eq!(scores, alone);
        assert_eq!((&absent["wins"], &absent["weight"]), (&json!(0), &json!(0.0)));
    }
}

#[test]
fn score_refuses_lists_of_losses_that_are_not_of_one_length() {
    let workshop = Workshop::new();
    let mut round = two_models("perplexity");
    round["models"][1]["cross_entropy"] = json!([2.0]);
    let Ran { code, err, .. } = agon(&["score", &workshop.json("round.json", &round)]);
    assert_eq!(code, 2);
    assert!(err.contains("uid 7 has 2 losses") && err.contains("uid 3 has 1"), "{err}");
}

#[test]
fn score_says_why_each_model_counts_or_does_not() {
    let workshop = Workshop::new();
    let root = |n: u8| format!("sha256:{}", format!("{n:02x}").repeat(32));
    let round = json!({
        "rule": "succession", "loss": "perplexity",
        "epsilon": {"kind": "fixed", "value": 0.005}, "temperature": 0.01,
        "block": 1000, "unigram": 5.5,
        "models": [
            {"uid": 1, "block": 10, "cross_entropy": [3.0, 3.0], "root": root(1)},
            {"uid": 2, "block": 20, "cross_entropy": [2.999, 3.0], "root": root(2)},
            {"uid": 3, "block": 30, "cross_entropy": [2.98, 2.98], "root": root(3)},
            {"uid": 4, "block": 40, "cross_entropy": [2.98, 2.98], "root": root(3)},
            {"uid": 5, "block": 5, "cross_entropy": [5.6, 5.5]},
            {"uid": 6, "block": 50, "cross_entropy": [2.9, null]},
        ],
    });
    let scores = agon(&["score", &workshop.json("round.json", &round)]).json();
    assert_eq!(scores["champion"], 3);
    let models = scores["models"].as_array().unwrap();
    let merits: Vec<&Value> = models.iter().map(|model| &model["merit"]).collect();
    let expected = [
        json!({"succeeded-by": 3}),
        json!({"beaten-by": 1}),
        json!("counts"),
        json!("absent"),
        json!("absent"),
        json!("absent"),
    ];
    assert_eq!(merits, expected.iter().collect::<Vec<_>>());
    let codes: Vec<&Value> = models.iter().map(|model| &model["refused"]["code"]).collect();
    let null = Value::Null;
    let (duplicate, guessing) = (json!("duplicate"), json!("degenerate-output"));
    assert_eq!(codes, [&null, &null, &null, &duplicate, &guessing, &null]);
    assert!(near(&models[2]["weight"], &json!(1.0), 1e-40));
}

#[test]
fn yuma_agrees_with_a_real_runtime() {
    let workshop = Workshop::new();
    let vectors = vectors("testdata/yuma/runtime-143.json");
    for case in vectors["cases"].as_array().unwrap() {
        let expected = case["expect"].as_object().unwrap();
        let emission = |of: &Value| -> Vec<u64> {
            of.as_array().unwrap().iter().map(|rao| rao.as_u64().unwrap()).collect()
        };
        let mut subnet = case.clone();
        subnet["emission_rao"] = emission(&expected["emission"]).iter().sum::<u64>().into();
        let with_expect = agon(&["yuma", &workshop.json("case.json", &subnet)]).json();
        subnet.as_object_mut().unwrap().remove("expect");
        let found = agon(&["yuma", &workshop.json("case.json", &subnet)]).json();
        assert_eq!(found, with_expect, "`expect` must not matter");
        for (key, expected) in expected {
            if key == "emission" {
                let pairs = emission(&found[key]).into_iter().zip(emission(expected));
                assert!(pairs.clone().all(|(a, b)| a.abs_diff(b) <= 6), "{pairs:?}");
            } else {
                assert_eq!(&found[key], expected, "{key}");
            }
        }
    }
}

/// The losses of a golden model on its golden tokens.
fn evaluate_golden(name: &str, options: &[&str]) -> Value {
    let dir = golden(name);
    let tokens = dir.join("golden.json");
    let (dir, tokens) = (dir.to_str().unwrap(), tokens.to_str().unwrap());
    let args = ["evaluate", "--model", dir, "--tokens", tokens, "--per-token", "--json"];
    agon(&[&args, options].concat()).json()
}

#[test]
fn evaluate_agrees_with_transformers_within_1e_4_nats_per_token() {
    for name in ["plain", "grouped-query", "attention-bias", "rope-llama3", "everything"] {
        let golden = vectors(&format!("testdata/llama/{name}/golden.json"));
        let report = evaluate_golden(name, &[]);
        let (mut sum, mut n) = (0.0, 0);
        let expected = golden["token_nll"].as_array().unwrap();
        for (found, expected) in report["sequences"].as_array().unwrap().iter().zip(expected) {
            let (nats, expected) =
                (found["token_nll"].as_array().unwrap(), expected.as_array().unwrap());
            assert_eq!((nats.len(), &found["tokens"]), (expected.len(), &json!(nats.len())));
            assert!(nats.iter().zip(expected).all(|(a, b)| near(a, b, 1e-4)), "{name}: {nats:?}");
            let own_sum: f64 = expected.iter().map(|nats| nats.as_f64().unwrap()).sum();
            let mean = json!(own_sum / nats.len() as f64);
            assert!(near(&found["cross_entropy"], &mean, 1e-4), "{name}: {mean}");
            (sum, n) = (sum + own_sum, n + nats.len());
        }
        let mean = sum / n as f64;
        assert!(near(&report["mean_cross_entropy"], &json!(mean), 1e-4), "{name}: {mean}");
        assert!(near(&report["perplexity"], &json!(mean.exp()), 2e-4 * mean.exp()), "{name}");
        assert!(report["tokens_per_second"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn losses_are_the_same_bits_for_any_threads_and_batches() {
    let losses = |options: &[&str]| {
        let report = evaluate_golden("grouped-query", options);
        // Numbers are written in the shortest form that reads back to the same bits.
        (report["sequences"].to_string(), report["mean_cross_entropy"].to_string())
    };
    let once = losses(&["--threads", "1", "--batch", "1"]);
    assert_eq!(once, losses(&["--threads", "2", "--batch", "1"]));
    assert_eq!(once, losses(&["--threads", "1", "--batch", "3"]));
    assert_eq!(once, losses(&["--threads", "2", "--batch", "3"]));
}

#[test]
fn a_text_is_measured_as_its_packed_tokens_are() {
    let workshop = Workshop::new();
    let tokenizer = Tokenizer::train(&GeneratedSource::new(1), 300).unwrap();
    let path = workshop.path("tokenizer.json");
    tokenizer.save(Path::new(&path)).unwrap();
    let text = "The crown goes to whoever is better, and stays there. ".repeat(20);
    let document = Document { id: "text".to_owned(), text: text.clone(), entropy_nats: None };
    let sequences = pack(&[document], &tokenizer, 64).unwrap();
    assert!(sequences.len() > 3);

    let model = workshop.model("model", &SmallModel::new());
    let tokens = workshop.json("tokens.json", &json!({ "sequences": sequences }));
    let plain = text.clone();
    let text = workshop.file("text.txt", text);
    let evaluate = |rest: &[&str]| {
        let ran = agon(&[&["evaluate", "--model", &model, "--json"], rest].concat());
        ran.json()["sequences"].clone()
    };
    let of =
        |text: &str| evaluate(&["--text", text, "--tokenizer", &path, "--sequence-length", "64"]);
    let of_text = of(&text);
    // A mark in front and the ends of lines of another system make no other tokens, here as in
    // corpora.
    let [lines, marked] = ["\n", "\r\n"].map(|end| plain.replace(". ", &format!(".{end}")));
    let lines = workshop.file("lines.txt", lines);
    let marked = workshop.file("marked.txt", format!("\u{feff}{marked}"));
    assert_eq!(of(&lines), of(&marked));
    assert_eq!(of_text, evaluate(&["--tokens", &tokens]));
    assert_eq!(of_text.as_array().unwrap().len(), sequences.len());
    assert_eq!(of_text[0]["tokens"], 63);
    assert_eq!(of_text[0]["token_nll"], Value::Null, "only with --per-token");
}

#[test]
fn a_text_has_the_first_token_of_its_tokenizer_in_front_of_each_sequence() {
    let workshop = Workshop::new();
    let tokenizer = Tokenizer::train(&GeneratedSource::new(1), 300).unwrap();
    let path = workshop.path("tokenizer.json");
    tokenizer.save(Path::new(&path)).unwrap();
    let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let (first, name) = (tokenizer.end_of_text(), &file["added_tokens"][0]["content"]);
    let name = name.as_str().unwrap().to_owned();
    let token = json!({"SpecialToken": {"id": name, "type_id": 0}});
    let part = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    file["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [token, part("A")],
        "pair": [token, part("A"), part("B")],
        "special_tokens": {&name: {"id": name, "ids": [first], "tokens": [name]}},
    });
    let path = workshop.json("with-first.json", &file);

    let text = "The crown goes to whoever is better, and stays there. ".repeat(20);
    let document = Document { id: "text".to_owned(), text: text.clone(), entropy_nats: None };
    let packed = |length: usize| pack(std::slice::from_ref(&document), &tokenizer, length).unwrap();
    let with_first: Vec<Vec<u32>> =
        packed(63).into_iter().map(|rest| [&[first][..], &rest].concat()).collect();
    let model = workshop.model("model", &SmallModel::new());
    let text = workshop.file("text.txt", text);
    let of =
        |rest: &[&str]| agon(&[&["evaluate", "--model", &model, "--json"], rest].concat()).json();
    let of_text = |more: &[&str]| {
        let args = ["--text", &text, "--tokenizer", &path, "--sequence-length", "64"];
        of(&[&args[..], more].concat())
    };
    let of_tokens = |name: &str, sequences: &[Vec<u32>]| {
        let file = workshop.json(name, &json!({ "sequences": sequences }));
        of(&["--tokens", &file])["sequences"].clone()
    };
    for more in [&[][..], &["--first-token", "bos"]] {
        let report = of_text(more);
        assert_eq!(report["first_token"], first, "{more:?}");
        assert_eq!(report["sequences"], of_tokens("first.json", &with_first), "{more:?}");
    }
    let report = of_text(&["--first-token", "none"]);
    assert_eq!(report["first_token"], Value::Null);
    assert_eq!(report["sequences"], of_tokens("none.json", &packed(64)));
}

#[test]
fn evaluate_tells_people_the_loss_without_json() {
    let dir = golden("tied");
    let tokens = dir.join("golden.json");
    let (dir, tokens) = (dir.to_str().unwrap(), tokens.to_str().unwrap());
    let Ran { code, out, err, .. } = agon(&["evaluate", "--model", dir, "--tokens", tokens]);
    assert_eq!((code, err.as_str()), (0, ""));
    let mean = &evaluate_golden("tied", &[])["mean_cross_entropy"];
    let line = format!("cross-entropy  {:.6} nats per token", mean.as_f64().unwrap());
    assert!(out.contains(&line), "{out}");
}

#[test]
fn an_interrupted_evaluation_ends_cleanly_with_code_130() {
    let dir = golden("everything");
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["evaluate", "--model", dir.to_str().unwrap(), "--tokens", "-", "--threads", "1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Far more than a pipe holds: when it is written, the child has long begun to read. Uncut, the
    // evaluation would take minutes.
    let sequence = json!(vec![1; 120]).to_string();
    let mut stdin = child.stdin.take().unwrap();
    write!(stdin, "{{\"sequences\": [{sequence}").unwrap();
    stdin.write_all(format!(",{sequence}").repeat(20_000).as_bytes()).unwrap();
    let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupted.unwrap().success());
    stdin.write_all(b"]}").unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), err.as_str()), (Some(130), "error: interrupted\n"));
    assert!(output.stdout.is_empty());
}

#[test]
fn sample_depends_on_the_block_hash_and_on_nothing_else() {
    let sample =
        |hash: &str| agon(&["sample", "--competition", "tiny", "--block-hash", hash, "--json"]);
    let (first, again) = (sample(BLOCK_HASH), sample(&BLOCK_HASH[2..]));
    assert_eq!(first.out, again.out);
    let (first, other) = (first.json(), sample(&BLOCK_HASH.replace("00", "01")).json());
    assert_ne!(first["batches_digest"], other["batches_digest"]);
    let ids = |sample: &Value| -> Vec<String> {
        let documents = sample["documents"].as_array().unwrap();
        documents.iter().map(|document| document["id"].to_string()).collect()
    };
    assert!(ids(&first).iter().all(|id| !ids(&other).contains(id)));
    // Another seed is drawn from the same text, cut by the same tokenizer.
    assert_eq!(first["dataset"], other["dataset"]);
    assert_eq!(first["tokenizer"], other["tokenizer"]);

    // A document is a batch, cut at the length.
    let lengths = |sample: &Value| -> Vec<Vec<usize>> {
        let of_batch = |batch: &Value| {
            let sequences = batch["sequences"].as_array().unwrap().iter();
            sequences.map(|tokens| tokens.as_array().unwrap().len()).collect()
        };
        sample["batches"].as_array().unwrap().iter().map(of_batch).collect()
    };
    let found = lengths(&first);
    assert_eq!((found.len(), ids(&first).len()), (100, 100));
    let is_cut = |batch: &Vec<usize>| batch.len() == 1 && (2..=128).contains(&batch[0]);
    assert!(found.iter().all(is_cut), "{found:?}");
    // Packed, all sequences are of equal length.
    let packed = tree::root().join("testdata/scoring/competition.toml");
    let args = ["sample", "--json", "--competition", packed.to_str().unwrap()];
    let packed = agon(&[&args[..], &["--block-hash", BLOCK_HASH]].concat()).json();
    assert_eq!(lengths(&packed), vec![vec![128; 4]; 24]);
    let people = agon(&["sample", "--competition", "tiny", "--block-hash", BLOCK_HASH]);
    let digest = first["batches_digest"].as_str().unwrap();
    assert!(people.code == 0 && people.out.contains(digest), "{}", people.out);
}

#[test]
fn sample_reads_the_pinned_tokenizer_beside_a_competition_file() {
    let workshop = Workshop::new();
    let sample =
        |file: &str| agon(&["sample", "--competition", file, "--block-hash", BLOCK_HASH, "--json"]);
    let tokenizer = Tokenizer::train(&GeneratedSource::new(5), 300).unwrap();
    tokenizer.save(Path::new(&workshop.path("tokenizer.json"))).unwrap();
    let kind = r#"kind = "trained", vocabulary = 512"#;
    let pinned = |digest: &str| format!("{kind}, sha256 = \"{digest}\"");

    let digest = tokenizer.digest().to_string();
    let file = workshop.rules("competition.toml", kind, &pinned(&digest));
    assert_eq!(sample(&file).json()["tokenizer"], digest);

    let zeros = format!("sha256:{}", "0".repeat(64));
    let file = workshop.rules("other.toml", kind, &pinned(&zeros));
    let refused = sample(&file);
    assert!(refused.code == 2 && refused.err.contains(&zeros), "{}", refused.err);
}

#[test]
fn check_admits_a_good_model_and_says_what_it_is() {
    let workshop = Workshop::new();
    let model = SmallModel::new();
    let dir = workshop.model("model", &model);
    let args = ["check", "--model", &dir, "--competition", "tiny"];
    let report = agon(&[&args[..], &["--json"]].concat()).json();
    assert_eq!((&report["verdict"], &report["reasons"]), (&json!("admitted"), &json!([])));
    assert_eq!(report["architecture"], "llama");
    assert_eq!(report["n_parameters"], model.n_parameters());
    let files = [model.config.to_string().into_bytes(), model.safetensors()];
    assert_eq!(report["size_bytes"], files[0].len() + files[1].len());

    let hashes = files.each_ref().map(|bytes| reference_file_hash(bytes));
    let [config, parameters] =
        files.each_ref().map(|bytes| (bytes.len() as u64, Digest::of(bytes)));
    let names = ["config.json", "model.safetensors"];
    let directory = reference_directory_hash(&[(names[0], hashes[0]), (names[1], hashes[1])]);
    assert_eq!(report["directory_hash"], directory.to_string());
    let root = file_root(&[(names[0], config.0, config.1), (names[1], parameters.0, parameters.1)]);
    assert_eq!(report["file_root"], root.to_string());
    assert_eq!(report["tensor_root"], model.tensor_root().to_string());

    let people = agon(&args);
    assert_eq!((people.code, people.err.as_str()), (0, ""));
    for part in ["admitted", &root.to_string(), "llama"] {
        assert!(people.out.contains(part), "no `{part}`: {}", people.out);
    }
}

/// While it waits for the words of a key.
#[cfg(target_os = "linux")]
#[test]
fn attack_keys_in_memory_are_not_dumped_when_their_process_crashes() {
    let workshop = Workshop::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_agon"))
        .args(["wallet", "import", "--wallet-path", &workshop.path("wallets")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let limits = format!("/proc/{}/limits", child.id());
    let is_forbidden = || {
        let limits = std::fs::read_to_string(&limits).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        core.split_whitespace().skip(4).take(2).all(|limit| limit == "0")
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !is_forbidden() {
        assert!(std::time::Instant::now() < deadline, "a crash would leave keys on disk");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}
