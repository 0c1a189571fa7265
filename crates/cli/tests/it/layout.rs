//! The datasets of the paper's competitions as they lie on the real hub: names, numbers and sizes
//! of files, row groups and footers; what pinning and drawing ask of it is counted.
//!
//! Seen there: the names, the sizes of the first files of FineWeb and Wikitext, the bytes of all of
//! RefinedWeb, and 1,000 rows and some 4 KB of footer for each row group of FineWeb. Row groups
//! have fewer rows here, as many as a draw takes and some more.

mod parquet;
mod real;

use crate::{
    commands::workshop::{Ran, Workshop},
    tree,
};
use parquet::{File, Shape};
use protocol::Digest;
use real::{Content, Quotas, RealHub, SHA, Tree};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

/// Files of Falcon RefinedWeb, and bytes of each on average.
const REFINED_WEB: (u64, u64) = (5_534, 84_370_000);

const TOKENIZER: &str = "models/distilbert/distilgpt2";

fn command(hub: &RealHub, workshop: &Workshop, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agon"));
    command.args(args).env("HF_ENDPOINT", &hub.url).env("HF_HOME", workshop.path("hf"));
    command.env("XDG_CACHE_HOME", workshop.path("cache"));
    for name in ["HF_TOKEN", "HF_HUB_OFFLINE", "AGON_MIRROR"] {
        command.env_remove(name);
    }
    command
}

fn run(hub: &RealHub, workshop: &Workshop, args: &[&str]) -> Ran {
    let output = command(hub, workshop, args).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        took: Duration::ZERO,
    }
}

/// Fails with what was told unless it went well.
fn json_of(ran: &Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

/// A repo of files that are alike.
fn repo(paths: impl IntoIterator<Item = String>, shape: Shape) -> Tree {
    let file = Arc::new(File::new(shape));
    let entries = paths.into_iter().map(|path| (path, Content::Large(Arc::clone(&file))));
    let card = ("README.md".to_owned(), Content::Small(b"# A card".to_vec()));
    entries.chain([card]).collect()
}

/// So many of the files of RefinedWeb, whose names have a hash in them.
fn refined_web(n_files: u64) -> Tree {
    let (all, size_bytes) = REFINED_WEB;
    let path = |number: u64| {
        let hash = match number {
            0 => "b8fc5348cbe605a5".to_owned(),
            _ => Digest::of(&number.to_le_bytes()).hex()[..16].to_owned(),
        };
        format!("data/train-{number:05}-of-{all:05}-{hash}.parquet")
    };
    let (column, n_groups, rows_per_group) = ("content", 175, 60);
    let shape = Shape { column, size_bytes, n_groups, rows_per_group, statistics_bytes: 400 };
    repo((0..n_files).map(path), shape)
}

/// The rules of `700m` with a tokenizer of one token for each byte, which the second value is as a
/// repo.
fn rules(workshop: &Workshop) -> (String, Tree) {
    let tokenizer = dataset::Tokenizer::train(&dataset::GeneratedSource::new(1), 257).unwrap();
    let path = workshop.path("of-the-hub.json");
    tokenizer.save(Path::new(&path)).unwrap();
    let theirs = "vocabulary = 50_257, end_of_text = 50_256";
    let rules = tree::read("competitions/700m.toml");
    assert!(rules.contains(theirs));
    let (vocabulary, end_of_text) = (tokenizer.vocabulary(), tokenizer.end_of_text());
    let ours = format!("vocabulary = {vocabulary}, end_of_text = {end_of_text}");
    let bytes = fs::read(path).unwrap();
    let tree = Tree::from([("tokenizer.json".to_owned(), Content::Small(bytes))]);
    (workshop.file("700m.toml", rules.replace(theirs, &ours)), tree)
}

/// Whole windows of requests for files that are over before the last of so many is allowed to
/// somebody without an account; a window has five minutes.
fn windows_waited(n_requests: u64) -> u64 {
    (n_requests - 1) / Quotas::ANONYMOUS.resolvers
}

#[test]
fn a_thousand_files_are_pinned_within_one_window_and_a_round_is_drawn_by_thirty_requests() {
    let workshop = Workshop::new();
    let (rules, tokenizer) = rules(&workshop);
    let repos =
        vec![(TOKENIZER, tokenizer), ("datasets/tiiuae/falcon-refinedweb", refined_web(1_000))];
    let hub = RealHub::start(repos, &[], Quotas::ANONYMOUS);
    let made = json_of(&run(&hub, &workshop, &["competition", "pin", &rules, "--json"]));
    assert_eq!((&made["n_files"], &made["n_rows"]), (&json!(1_000), &json!(10_500_000)));
    assert_eq!((&made["revision"], &made["n_kept"]), (&json!(SHA), &json!(0)));
    assert_eq!(made["parts"][0]["name"], json!("default"));
    // The footer and a row group of each file; before the first four have told how long footers
    // are, two reads for one; and the tokenizer.
    let asked = hub.taken();
    assert!((2_001..=2_005).contains(&asked.resolvers), "{asked:?}");
    assert!(asked.api <= 5 && asked.refused == 0, "{asked:?}");
    assert_eq!(windows_waited(asked.resolvers), 0);
    assert_eq!(windows_waited(2 * REFINED_WEB.0 + 5), 3, "a quarter of an hour for all of it");

    let pinned = workshop.path("700m.pinned.toml");
    assert_eq!(made["file"], json!(pinned));
    assert!(!Path::new(&format!("{pinned}.pins")).exists());
    let text = fs::read_to_string(&pinned).unwrap();
    assert!(text.starts_with("# The 700M competition of the paper"), "{}", &text[..100]);
    let shown = json_of(&run(&hub, &workshop, &["competition", "show", &pinned, "--json"]));
    assert_eq!((&shown["digest"], &shown["unpinned"]), (&made["digest"], &Value::Null));
    assert_eq!(shown["rules"]["text"]["tokenizer"]["revision"], json!(SHA));
    assert_eq!((hub.taken().api, hub.taken().resolvers), (0, 0));

    let block_hash = "5a".repeat(32);
    let draw =
        ["sample", "--competition", &pinned, "--block-hash", &block_hash, "--block", "3601200"];
    let drawn = run(&hub, &workshop, &draw);
    assert_eq!(drawn.code, 0, "{}", drawn.err);
    // 852 documents of 601 tokens: 18 row groups of five files, and a question for each file.
    let asked = hub.taken();
    assert!((19..=25).contains(&asked.resolvers), "{asked:?}");
    assert!((5..=7).contains(&asked.api) && asked.refused == 0, "{asked:?}");
}

#[test]
fn the_definitions_fit_the_names_on_the_real_hub() {
    let workshop = Workshop::new();
    let text = |size_bytes, n_groups, statistics_bytes| Shape {
        column: "text",
        size_bytes,
        n_groups,
        rows_per_group: 60,
        statistics_bytes,
    };
    let fineweb = (0..15).map(|n| format!("sample/10BT/{n:03}_00000.parquet"));
    let crawl = |name: &'static str, n_files: usize| {
        (0..n_files).map(move |n| format!("data/{name}/train-{n:05}-of-{n_files:05}.parquet"))
    };
    let score_2 = crawl("CC-MAIN-2013-20", 14).chain(crawl("CC-MAIN-2024-10", 196));
    let others = (15..24).flat_map(|year| {
        (0..196).map(move |n| format!("data/CC-MAIN-20{year}-06/train-{n:05}-of-00196.parquet"))
    });
    let wikitext = ["103-raw-v1", "103-v1", "2-raw-v1", "2-v1"].into_iter().flat_map(|config| {
        let files = ["test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"];
        let files = files.into_iter().chain(["validation-00000-of-00001"]);
        files.map(move |file| format!("wikitext-{config}/{file}.parquet"))
    });
    let repos = vec![
        // Footers of four megabytes.
        ("datasets/HuggingFaceFW/fineweb", repo(fineweb, text(2_147_292_183, 1_050, 4_000))),
        (
            "datasets/HuggingFaceFW/fineweb-edu-score-2",
            repo(score_2.chain(others), text(1_200_000_000, 60, 300)),
        ),
        ("datasets/Salesforce/wikitext", repo(wikitext, text(156_987_808, 901, 40))),
        ("datasets/tiiuae/falcon-refinedweb", refined_web(30)),
    ];
    let hub = RealHub::start(repos, &[], Quotas::ANONYMOUS);
    let score_2 = "fineweb-edu-score-2";
    for (words, parts) in [
        ("--dataset fineweb --config sample-10BT", &[("sample-10BT", 15_usize)][..]),
        (&*format!("--dataset {score_2}"), &[("CC-MAIN-2024-10", 196)]),
        // A crawl of which no definition tells is named like its folder.
        (&*format!("--dataset {score_2} --config CC-MAIN-2013-20"), &[("CC-MAIN-2013-20", 14)]),
        ("--dataset falcon-refinedweb", &[("default", 30)]),
        (
            "--dataset wikitext-103",
            &[
                ("wikitext-103-raw-v1-train", 2),
                ("wikitext-103-raw-v1-validation", 1),
                ("wikitext-103-raw-v1-test", 1),
            ],
        ),
    ] {
        let args: Vec<&str> = ["data", "pin"].into_iter().chain(words.split(' ')).collect();
        let pinned = run(&hub, &workshop, &args);
        assert_eq!((pinned.code, pinned.err.as_str()), (0, ""), "{words}");
        let pinned: toml::Table = pinned.out.parse().unwrap();
        let configs = pinned["dataset"]["configs"].as_array().unwrap();
        let found = configs.iter().map(|config| {
            (config["name"].as_str().unwrap(), config["files"].as_array().unwrap().len())
        });
        assert_eq!(found.collect::<Vec<_>>(), parts, "{words}");
        let n_files: u64 = parts.iter().map(|(_, n_files)| *n_files as u64).sum();
        let asked = hub.taken();
        assert!((2 * n_files..=2 * n_files + 4).contains(&asked.resolvers), "{words}: {asked:?}");
        assert!(asked.api <= 4 && asked.refused == 0, "{words}: {asked:?}");
    }
}

#[test]
fn a_run_that_is_killed_goes_on_where_it_was_and_keeps_to_the_limits() {
    let workshop = Workshop::new();
    let (rules, tokenizer) = rules(&workshop);
    let repos =
        vec![(TOKENIZER, tokenizer), ("datasets/tiiuae/falcon-refinedweb", refined_web(12))];
    // A window that somebody sees the end of.
    let quotas = Quotas { resolvers: 22, window_seconds: 2, ..Quotas::ANONYMOUS };
    let hub = RealHub::start(repos, &[], quotas);
    let pin = ["competition", "pin", &rules, "--json"];
    let mut first = command(&hub, &workshop, &pin);
    let mut first = first.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pins = workshop.path("700m.pinned.toml.pins");
    let n_kept =
        || fs::read_to_string(&pins).map_or(0, |text| text.matches("footer_sha256").count());
    while n_kept() < 4 {
        assert!(first.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::yield_now();
    }
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(hub.taken().refused, 0, "what would be refused waits");
    let kept = n_kept() as u64;
    let made = json_of(&run(&hub, &workshop, &pin));
    assert_eq!((&made["n_files"], &made["n_kept"]), (&json!(12), &json!(kept)));
    // Another process knows what is left of a window once it has asked.
    let asked = hub.taken();
    // Each of its four readers may find the first footer larger than was asked for.
    assert!(asked.refused <= 5 && asked.resolvers <= 2 * (12 - kept) + 9, "{asked:?}");
    assert!(!Path::new(&pins).exists());

    let again = run(&hub, &workshop, &pin);
    assert!(again.code == 2 && again.err.contains("is there already"), "{}", again.err);
    assert!(again.err.contains("--force"), "{}", again.err);
    assert_eq!(hub.taken().resolvers, 0);
}

#[test]
fn what_cannot_be_pinned_is_said_with_what_helps() {
    let workshop = Workshop::new();
    let (rules, tokenizer) = rules(&workshop);
    let repos = vec![
        (TOKENIZER, tokenizer),
        ("datasets/tiiuae/falcon-refinedweb", refined_web(2)),
        ("datasets/acme/closed", refined_web(2)),
    ];
    let hub = RealHub::start(repos, &["datasets/acme/closed"], Quotas::ANONYMOUS);
    let text = fs::read_to_string(&rules).unwrap();
    let changed = |name: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        workshop.file(name, text.replace(from, to))
    };
    let dataset = "tiiuae/falcon-refinedweb";
    let unknown = changed("unknown.toml", dataset, "acme/none");
    let closed = changed("closed.toml", dataset, "acme/closed");
    let column = changed("column.toml", "text_column = \"content\"", "text_column = \"body\"");
    let words = changed("words.toml", "vocabulary = 257", "vocabulary = 258");
    let nowhere = changed("nowhere.toml", "distilbert/distilgpt2", "acme/words");
    for (args, says) in [
        (&["tiny"][..], "has its text from no hub"),
        (&[&*unknown], "`acme/none` has no revision `main`"),
        (&[&*closed], "Access is restricted.; agree to its terms"),
        (&[&*column], "no column `body`"),
        (&[&*words], "has 257 tokens, the competition says 258"),
        (&[&*nowhere], "`acme/words` has no revision `main`"),
        (&[&*rules, "--revision", "v2"], "has no revision `v2`"),
        (&[&*rules, "--tokenizer-revision", "v2"], "has no revision `v2`"),
        (&[&*rules, "--config", "CC-MAIN-2024-10"], "no parquet file of part `CC-MAIN-2024-10`"),
    ] {
        let args: Vec<&str> = ["competition", "pin"].iter().chain(args).copied().collect();
        let ran = run(&hub, &workshop, &args);
        assert!(ran.code == 2 && ran.err.contains(says), "{args:?}: {}", ran.err);
        let is_hinted = ran.err.contains("hint: ") || !says.contains("revision");
        assert!(is_hinted, "{args:?}: {}", ran.err);
    }
    assert!(!Path::new(&workshop.path("700m.pinned.toml")).exists());
    assert!(!Path::new(&workshop.path("700m.pinned.toml.pins")).exists());
}
