//! `agon competition new` and `check`: a competition of one's own, and whether it can be run.

use super::workshop::{SmallModel, Workshop, agon};
use serde_json::Value;

/// How one thing stands, and in what words.
fn of<'a>(report: &'a Value, what: &str) -> (&'a str, &'a str) {
    let found = report["findings"].as_array().unwrap();
    let found = found.iter().find(|finding| finding["what"] == what);
    let found = found.unwrap_or_else(|| panic!("nothing about {what}: {report}"));
    (found["state"].as_str().unwrap(), found["text"].as_str().unwrap())
}

#[test]
fn a_competition_is_written_by_options_and_checked_on_ones_own_text() {
    let workshop = Workshop::new();
    let book: String = (0..2_000)
        .map(|n| format!("Chapter {n} is about {} things and {} more.\n", n * 7 % 101, n % 13))
        .collect();
    let (book, file) = (workshop.file("book.txt", book), workshop.path("mine.toml"));
    let named = ["--name", "mine", "--text", &book, "--parameters-max", "2M"];
    let shape = ["--vocabulary", "300", "--sequence-length", "32", "--blocks-per-round", "10"];
    let made = agon(&[&["competition", "new", &file][..], &named, &shape].concat());
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{}", made.out);
    let check = ["competition", "check", &file, "--tokens-per-second", "1e9", "--json"];
    let checked = agon(&check);
    assert!([0, 1].contains(&checked.code), "{}", checked.err);
    let report: Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(of(&report, "cost").0, "ok");
    assert_eq!(of(&report, "others").0, "note", "the text is on one machine");

    let nobody = agon(&["competition", "new", &workshop.path("other.toml")]);
    assert!(nobody.code == 2 && nobody.err.contains("nobody to ask"), "{}", nobody.err);
}

#[test]
fn the_noise_of_a_verdict_is_measured_with_two_models_and_the_cost_of_a_round_told() {
    let workshop = Workshop::new();
    let one = workshop.model("one", &SmallModel::new());
    let other = workshop.model("other", &SmallModel::counting(1));
    let check = ["competition", "check", "tiny", "--tokens-per-second", "1e9", "--json"];
    let with = agon(&[&check[..], &["--model", &one, "--model", &other]].concat());
    let report: Value = serde_json::from_str(&with.out).unwrap();
    let (_, noise) = of(&report, "noise");
    assert!(noise.contains("which luck moves by"), "{noise}");
    assert_eq!(of(&report, "documents").0, "ok");
    assert_eq!(of(&report, "others").0, "ok");
    assert!(!with.out.contains("by heart"), "nobody learns a text without an end: {}", with.out);

    let unpinned = agon(&["competition", "check", "7b", "--tokens-per-second", "4000", "--json"]);
    assert_eq!(unpinned.code, 1);
    let report: Value = serde_json::from_str(&unpinned.out).unwrap();
    assert!(of(&report, "pins").1.contains("agon competition pin 7b"));
    assert_eq!(of(&report, "cost").0, "bad", "six models of 7B take more than half an hour");
}

#[test]
fn a_text_that_is_small_beside_the_models_is_a_note_with_both_numbers_and_no_refusal() {
    let workshop = Workshop::new();
    let sentence = |n: usize| format!("Thing {n} is beside thing {}. ", n * 7 % 1_009);
    let page = |n: usize| (0..15).map(|i| sentence(15 * n + i)).collect::<String>() + "\n\n";
    let book = workshop.file("book.txt", (0..3_000).map(page).collect::<String>());
    let file = workshop.path("mine.toml");
    let named = ["--name", "mine", "--text", &book, "--parameters-max", "2M"];
    let shape = ["--vocabulary", "300", "--sequence-length", "32", "--blocks-per-round", "10"];
    let made = agon(&[&["competition", "new", &file][..], &named, &shape].concat());
    assert_eq!((made.code, made.err.as_str()), (0, ""), "{}", made.out);
    let checked = agon(&["competition", "check", &file, "--tokens-per-second", "1e9", "--json"]);
    let report: Value = serde_json::from_str(&checked.out).unwrap();
    let (state, text) = of(&report, "by heart");
    assert_eq!(state, "note", "{text}");
    for part in ["of 2M parameters can know some 1.8M by heart", "take more text", "estimated from"]
    {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    assert_eq!(checked.code, 0, "{report}");
}

#[test]
fn where_no_text_can_be_drawn_the_sizes_of_pinned_files_are_held_against_the_models() {
    let workshop = Workshop::new();
    let column = "text_column = \"text\"\n";
    let digest = format!("sha256:{}", "5".repeat(64));
    let pins = format!(
        "{column}revision = \"{}\"\n[[dataset.configs]]\nname = \"all\"\n\
         [[dataset.configs.files]]\npath = \"a.parquet\"\nsize_bytes = 30000000000\n\
         n_rows = 10000000\nrows_per_group = 1000\nsha256 = \"{digest}\"\n\
         footer_bytes = 1000\nfooter_sha256 = \"{digest}\"\n",
        "a".repeat(40)
    );
    let rules = crate::tree::read("competitions/7b.toml").replace(column, &pins);
    let file = workshop.file("7b.toml", rules);
    let checked = agon(&["competition", "check", &file, "--tokens-per-second", "4e3", "--json"]);
    let report: Value = serde_json::from_str(&checked.out).unwrap();
    assert!(of(&report, "pins").1.contains("tokenizer not pinned"), "{report}");
    let (state, text) = of(&report, "by heart");
    assert_eq!(state, "note", "{text}");
    for part in [
        "333.33M tokens (estimated from the bytes of its files)",
        "of 6.9B parameters can know some 6.21B",
        "pin more files",
    ] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
