//! Bad input gets one line that names the thing, the right exit code, soon, and never a panic.

use super::{
    BLOCK_HASH,
    workshop::{Ran, SmallModel, Workshop, agon, golden, with_header},
};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a refusal may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// On a busy machine one try may be slow.
const N_TRIES: usize = 3;

/// A command line, and what its error must say.
struct Case {
    args: Vec<String>,
    says: &'static str,
}

fn case(args: &[&str], says: &'static str) -> Case {
    Case { args: args.iter().map(|arg| (*arg).to_owned()).collect(), says }
}

/// Each case ends with code 2, one line `error: …` that says what it must, and at most a hint.
fn expect_refusals(cases: &[Case]) {
    for Case { args, says } in cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let Ran { code, out, err, .. } = run_soon(&args);
        let about = format!("`agon {}` said:\n{err}", args.join(" "));
        assert_eq!(code, 2, "{about}");
        assert_eq!(out, "", "{about}");
        let lines: Vec<&str> = err.lines().collect();
        let (first, rest) = lines.split_first().unwrap_or_else(|| panic!("{about}"));
        assert!(first.starts_with("error: ") && first.contains(says), "no `{says}`: {about}");
        assert!(rest.len() <= 1 && rest.iter().all(|line| line.starts_with("hint: ")), "{about}");
        let parts: Vec<&str> = first.split(": ").collect();
        assert!(parts.windows(2).all(|pair| pair[0] != pair[1]), "said twice: {about}");
        assert!(!err.contains("panicked"), "{about}");
        assert!(err.len() < 2000, "too long to read: {about}");
    }
}

/// Runs a command that must be quick.
fn run_soon(args: &[&str]) -> Ran {
    let mut ran = agon(args);
    for _ in 1..N_TRIES {
        if ran.took < PATIENCE {
            break;
        }
        ran = agon(args);
    }
    assert!(ran.took < PATIENCE, "`agon {}` took {:?}", args.join(" "), ran.took);
    ran
}

/// A round that can be scored.
fn round() -> Value {
    json!({
        "rule": "wins", "loss": "perplexity", "epsilon": {"kind": "fixed", "value": 0.005},
        "temperature": 0.01, "block": 1000,
        "models": [{"uid": 1, "block": 100, "cross_entropy": [2.0]}],
    })
}

#[test]
fn rounds_that_cannot_be_scored_are_refused() {
    let workshop = Workshop::new();
    let file = |name: &str, text: &str| workshop.file(name, text);
    let changed = |name: &str, key: &str, value: Value| {
        let mut changed = round();
        changed[key] = value;
        workshop.json(name, &changed)
    };
    let model = |uid: u32, losses: Value| json!({"uid": uid, "block": 1, "cross_entropy": losses});
    let score = |path: &str, says| case(&["score", path], says);
    let missing = round().to_string().replace("\"block\":1000,", "");
    expect_refusals(&[
        score(&workshop.path("nowhere.json"), "nowhere.json`: No such file"),
        score(&workshop.path(""), "Is a directory"),
        score(&file("empty.json", ""), "EOF while parsing"),
        score(&file("cut.json", &round().to_string()[..60]), "cut.json` is not"),
        score(&file("deep.json", &"[".repeat(100_000)), "deep.json` is not"),
        score(&workshop.file("binary.json", [b'"', 0xff, b'"']), "binary.json` is not"),
        score(&file("missing.json", &missing), "missing field `block`"),
        score(&changed("field.json", "epsilom", json!(1)), "unknown field `epsilom`"),
        score(&changed("long.json", &"x".repeat(100_000), json!(1)), "unknown field"),
        score(&changed("rule.json", "rule", json!("best")), "unknown variant `best`"),
        score(&changed("duel.json", "rule", json!("duel")), "which the losses of one round do not"),
        score(&changed("cold.json", "temperature", json!(0)), "`temperature` is `0`"),
        score(
            &changed("epsilon.json", "epsilon", json!({"kind": "fixed", "value": 1.5})),
            "`epsilon.value` is `1.5`",
        ),
        score(&changed("below.json", "models", json!([model(1, json!([-1.0]))])), "`-1` is not a"),
        score(&changed("uid.json", "models", json!([model(70_000, json!([1]))])), "70000"),
        score(
            &changed("twice.json", "models", json!([model(1, json!([1])), model(1, json!([2]))])),
            "`uid` 1 stands in `models` twice",
        ),
        score(
            &changed("many.json", "models", (0..5000).map(|uid| model(uid, json!([1]))).collect()),
            "5000 models, more than the 4096 slots",
        ),
        score(
            &changed("none.json", "models", json!([model(1, json!([])), model(2, json!([]))])),
            "no model has a loss",
        ),
    ]);
}

#[test]
fn subnets_that_cannot_have_an_epoch_are_refused() {
    let workshop = Workshop::new();
    let subnet = json!({
        "n": 2, "block": 100, "tempo": 10, "activity_cutoff": 5000, "kappa": 32767,
        "bonds_moving_average": 900_000, "max_allowed_validators": 1, "stake_rao": [1000, 0],
        "validator_permit_before": [true, false], "last_update": [95, 0],
        "block_at_registration": [0, 0], "weights_u16": [[[1, 65535]], []],
        "bonds_before_u16": [[], []],
    });
    assert_eq!(agon(&["yuma", &workshop.json("good.json", &subnet)]).code, 0);
    let changed = |name: &str, key: &str, value: Value| {
        let mut changed = subnet.clone();
        changed[key] = value;
        workshop.json(name, &changed)
    };
    let yuma = |path: &str, says| case(&["yuma", path], says);
    expect_refusals(&[
        yuma(&workshop.path("nowhere.json"), "nowhere.json`: No such file"),
        yuma(&workshop.json("list.json", &json!([subnet])), "list.json` is not"),
        yuma(&changed("field.json", "kapa", json!(1)), "unknown field `kapa`"),
        yuma(&changed("huge.json", "n", json!(1_000_000_000_u64)), "`n` is 1000000000"),
        yuma(&changed("short.json", "stake_rao", json!([1])), "`stake_rao` has 1 entries"),
        yuma(&changed("uid.json", "weights_u16", json!([[[9, 1]], []])), "names uid 9"),
        yuma(&changed("twice.json", "weights_u16", json!([[[1, 1], [1, 2]], []])), "uid 1 twice"),
        yuma(&changed("stake.json", "stake_rao", json!([u64::MAX, u64::MAX])), "sums to more"),
        yuma(&changed("kappa.json", "kappa", json!(65_536)), "65536"),
    ]);
}

/// Models that break a rule, with the code of the reason.
fn broken_models(workshop: &Workshop) -> Vec<(String, &'static str)> {
    let good = SmallModel::new();
    let bytes = good.safetensors();
    let config = good.config.to_string();
    let raw = |name: &str, config: &str, bytes: &[u8]| workshop.raw_model(name, config, bytes);
    let not_finite = |name: &str, value: f32| {
        let mut model = good.clone();
        model.tensors[3].2[17] = value;
        workshop.model(name, &model)
    };
    let configured = |name: &str, changes: Value| {
        raw(name, &good.with_config(&changes).config.to_string(), &bytes)
    };
    let mut extra = good.clone();
    extra.tensors.push(("extra.weight".to_owned(), vec![1], vec![0.0]));
    let entry = |name: &str, offsets: &str| {
        format!(r#""{name}": {{"dtype": "F32", "shape": [1], "data_offsets": {offsets}}}"#)
    };
    let two_tensors =
        |first: String, second: String| with_header(&format!("{{{first}, {second}}}"), &[0; 8]);
    let overlapping = two_tensors(entry("a", "[0, 8]"), entry("b", "[4, 8]"));
    let twice = two_tensors(entry("a", "[0, 4]"), entry("a", "[4, 8]"));
    let bomb = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let unwritten = [&(90_u64 << 20).to_le_bytes()[..], b"{}"].concat();
    workshop.file("no-parameters/config.json", &config);
    workshop.file("no-config/model.safetensors", &bytes);
    std::fs::create_dir(workshop.path("nothing")).unwrap();
    vec![
        (not_finite("nan", f32::NAN), "non-finite-parameters"),
        (not_finite("infinite", f32::NEG_INFINITY), "non-finite-parameters"),
        (raw("cut", &config, &bytes[..bytes.len() - 100]), "header-refused"),
        (raw("cut-header", &config, &bytes[..50]), "header-refused"),
        (raw("empty", &config, &[]), "header-refused"),
        (raw("bomb", &config, &bomb), "header-refused"),
        (raw("unwritten", &config, &unwritten), "header-refused"),
        (raw("overlapping", &config, &overlapping), "header-refused"),
        (raw("twice", &config, &twice), "header-refused"),
        (raw("no-json", "{", &bytes), "config-refused"),
        (raw("deep", &"[".repeat(100_000), &bytes), "config-refused"),
        (configured("layers", json!({"num_hidden_layers": 1_000_000_000})), "config-refused"),
        (configured("zero", json!({"hidden_size": 0})), "config-refused"),
        (
            configured("layers-of-their-own", json!({"per_layer_config": {"0": {}}})),
            "config-refused",
        ),
        (configured("mismatch", json!({"intermediate_size": 32})), "tensor-mismatch"),
        (configured("two-layers", json!({"num_hidden_layers": 2})), "tensor-mismatch"),
        (workshop.model("extra", &extra), "tensor-mismatch"),
        (configured("other", json!({"model_type": "rwkv"})), "architecture-refused"),
        (workshop.path("no-parameters"), "file-refused"),
        (workshop.path("no-config"), "file-refused"),
        (workshop.path("nothing"), "file-refused"),
    ]
}

#[test]
fn models_that_break_a_rule_are_refused_by_evaluate_with_the_reason() {
    let workshop = Workshop::new();
    let tokens = workshop.json("tokens.json", &json!({"sequences": [[1, 2, 3]]}));
    let cases: Vec<Case> = broken_models(&workshop)
        .iter()
        .map(|(model, code)| case(&["evaluate", "--model", model, "--tokens", &tokens], code))
        .collect();
    expect_refusals(&cases);
}

#[test]
fn models_that_break_a_rule_are_refused_by_check_with_the_reason() {
    let workshop = Workshop::new();
    let good = SmallModel::new();
    let mut refused: Vec<(String, &str, String)> = broken_models(&workshop)
        .into_iter()
        .map(|(model, code)| (model, code, "tiny".to_owned()))
        .collect();
    let model = workshop.model("good", &good);
    let small = workshop.rules("small.toml", "12_582_912", "1_000");
    refused.push((model.clone(), "too-large", small));
    let many =
        workshop.rules("many.toml", "n_parameters_min = 10_000", "n_parameters_min = 50_000");
    refused.push((model.clone(), "parameter-count", many));
    let words = workshop.rules("words.toml", "vocabulary = 512", "vocabulary = 513");
    refused.push((model.clone(), "vocabulary-mismatch", words));
    let long = workshop.rules("long.toml", "sequence_length = 128", "sequence_length = 129");
    refused.push((model, "vocabulary-mismatch", long));
    for (model, code, competition) in refused {
        let args = ["check", "--model", &model, "--competition", &competition];
        let ran = run_soon(&args);
        assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{}", ran.out);
        assert!(ran.out.contains(code), "no `{code}`: {}", ran.out);
        let ran = run_soon(&[&args[..], &["--json"]].concat());
        let report: Value = serde_json::from_str(&ran.out).unwrap();
        let is_hashed = !["too-large", "file-refused"].contains(&code);
        assert_eq!(report["file_root"].is_string(), is_hashed, "{report}");
        assert_eq!((ran.code, &report["verdict"]), (1, &json!("refused")), "{report}");
        assert_eq!(report["reasons"][0]["code"], code, "{report}");
    }
}

#[test]
fn tokens_and_options_that_cannot_be_evaluated_are_refused() {
    let workshop = Workshop::new();
    let model = golden("plain").to_str().unwrap().to_owned();
    let good = workshop.json("good.json", &json!({"sequences": [[1, 2, 3]]}));
    let tokens = |name: &str, sequences: Value, says| {
        let file = workshop.json(name, &json!({ "sequences": sequences }));
        case(&["evaluate", "--model", &model, "--tokens", &file], says)
    };
    let option = |option: &str, value: &str, says| {
        case(&["evaluate", "--model", &model, "--tokens", &good, option, value], says)
    };
    let nowhere = workshop.path("nowhere");
    expect_refusals(&[
        case(&["evaluate", "--model", &nowhere, "--tokens", &good], "nowhere` is not a folder"),
        case(&["evaluate", "--model", &good, "--tokens", &good], "good.json` is not a folder"),
        case(&["evaluate", "--model", &model, "--tokens", &nowhere], "nowhere`: No such file"),
        tokens("none.json", json!([]), "none.json` holds no sequences"),
        tokens("empty.json", json!([[1, 2], []]), "sequence 2 of"),
        tokens("one.json", json!([[1]]), "has 1 tokens"),
        tokens("text.json", json!(["text"]), "invalid type: string"),
        tokens("negative.json", json!([[1, -2]]), "-2"),
        tokens("fraction.json", json!([[1, 2.5]]), "2.5"),
        tokens("huge.json", json!([[1, 4_294_967_296_u64]]), "4294967296"),
        tokens("range.json", json!([[1, 2], [1, 64]]), "sequence 2 has the token 64"),
        tokens("long.json", json!([vec![1; 100_000]]), "context"),
        option("--threads", "0", "`--threads` is 0"),
        option("--threads", "1000000", "`--threads` is 1000000"),
        option("--batch", "0", "`--batch` is 0"),
    ]);
}

#[test]
fn texts_that_cannot_be_evaluated_are_refused() {
    let workshop = Workshop::new();
    let model = workshop.model("model", &SmallModel::new());
    let text = workshop.file("text.txt", "Some text.");
    let tokenizer = workshop.path("tokenizer.json");
    let source = dataset::GeneratedSource::new(1);
    let trained = dataset::Tokenizer::train(&source, 300).unwrap();
    trained.save(std::path::Path::new(&tokenizer)).unwrap();
    let evaluate = |text: &str, tokenizer: &str, length: &str, says| {
        let args = ["evaluate", "--model", &model, "--text", text, "--tokenizer", tokenizer];
        case(&[&args[..], &["--sequence-length", length]].concat(), says)
    };
    let long = workshop.file("long.txt", "Some text. ".repeat(2_000));
    let foreign = workshop.file("foreign.json", r#"{"version": "9"}"#);
    expect_refusals(&[
        evaluate(&workshop.path("nowhere"), &tokenizer, "64", "nowhere`: No such file"),
        evaluate(&workshop.file("empty.txt", ""), &tokenizer, "64", "empty.txt` is empty"),
        evaluate(&workshop.file("latin.txt", b"caf\xe9"), &tokenizer, "64", "is not UTF-8"),
        evaluate(&text, &tokenizer, "64", "text.txt` is too short"),
        evaluate(&text, &tokenizer, "0", "`--sequence-length` is 0"),
        evaluate(&text, &tokenizer, "1", "`--sequence-length` is 1"),
        evaluate(&long, &tokenizer, "129", "has 129 tokens"),
        evaluate(&text, &workshop.path("nowhere.json"), "64", "nowhere.json"),
        evaluate(&text, &foreign, "64", "foreign.json"),
        evaluate(&text, &text, "64", "text.txt"),
    ]);
}

#[test]
fn competitions_and_block_hashes_that_mean_nothing_are_refused() {
    let workshop = Workshop::new();
    let model = workshop.model("model", &SmallModel::new());
    let check = |name: &str, says| case(&["check", "--model", &model, "--competition", name], says);
    let sample = |name: &str, hash: &str, says| {
        case(&["sample", "--competition", name, "--block-hash", hash], says)
    };
    let corpus = |path: &str, digest: &str| {
        let files = format!("kind = \"files\"\npath = \"{path}\"{digest}");
        workshop.rules("files.toml", "kind = \"generated\"\nworld = 1", &files)
    };
    expect_refusals(&[
        case(&["check", "--model", "nowhere", "--competition", "tiny"], "nowhere"),
        check("tinny", "did you mean `tiny`?"),
        check("", "no competition is called"),
        check(&"x".repeat(10_000), "no competition is called"),
        check(&workshop.path("nowhere.toml"), "nowhere.toml`: No such file"),
        check(&workshop.file("broken.toml", "name = "), "broken.toml`: line 1"),
        check(&workshop.rules("key.toml", "alpha", "alpa"), "unknown field `alpa`"),
        check(&workshop.rules("cold.toml", "temperature = 0.01", "temperature = 0"), "temperature"),
        check(&workshop.file("latin.toml", b"name = \"caf\xe9\""), "is not UTF-8"),
        sample("tiny", "0x12", "`0x12` is not a block hash"),
        sample("tiny", &"g".repeat(64), "is not a block hash"),
        sample("7b", BLOCK_HASH, "takes its text from `HuggingFaceFW/fineweb-edu-score-2`"),
        sample("tinny", BLOCK_HASH, "did you mean `tiny`?"),
        sample(&corpus(&workshop.path("nowhere"), ""), BLOCK_HASH, "nowhere`"),
    ]);
    let text = workshop.file("short.txt", "Too short to compete on.");
    expect_refusals(&[sample(&corpus(&text, ""), BLOCK_HASH, "short.txt`")]);
}
