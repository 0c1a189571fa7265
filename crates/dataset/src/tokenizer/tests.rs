//! Tokenizers: trained the same everywhere, pinned, and lossless.

use super::*;
use crate::GeneratedSource;
use proptest::prelude::*;
use std::sync::LazyLock;

mod forms;
mod refused;

static TRAINED: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train(&GeneratedSource::new(1), 320).unwrap());

#[test]
fn training_twice_gives_the_same_bytes() {
    let again = Tokenizer::train(&GeneratedSource::new(1), 320).unwrap();
    assert_eq!(again.json, TRAINED.json);
    assert_eq!(again.digest().hex(), FROZEN);
    assert_eq!(again.vocabulary(), 320);
}
const FROZEN: &str = "b47d66db0eb53703cc369c95501dc0132c8f2891f3f515a957a6a7333149eb9d";

#[test]
fn a_saved_tokenizer_is_loaded_by_its_digest_and_by_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    TRAINED.save(&path).unwrap();
    let loaded = Tokenizer::load(&path, Some(TRAINED.digest()), None).unwrap();
    assert_eq!(loaded.digest(), TRAINED.digest());
    assert_eq!(loaded.end_of_text(), TRAINED.end_of_text());
    let text = "Mira lives in Tolbeck.";
    assert_eq!(loaded.encode(text).unwrap(), TRAINED.encode(text).unwrap());
    let error = Tokenizer::load(&path, Some(Digest::of(b"")), None).err().unwrap();
    assert!(matches!(error, Error::DigestMismatch { .. }) && error.hint().is_some(), "{error}");
}

#[test]
fn a_corpus_with_little_text_gives_fewer_tokens_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("corpus.jsonl");
    let lines: String = (0..60).map(|i| format!("{{\"text\":\"{i}\"}}\n")).collect();
    fs::write(&path, lines).unwrap();
    let source = crate::FilesSource::open(&path).unwrap();
    let tokenizer = Tokenizer::train(&source, 4_000).unwrap();
    assert!((VOCABULARY_MIN..400).contains(&tokenizer.vocabulary()), "{}", tokenizer.vocabulary());
}

#[test]
fn a_vocabulary_without_room_for_all_bytes_is_refused() {
    for n in [0, 256, VOCABULARY_MAX + 1] {
        let error = Tokenizer::train(&GeneratedSource::new(1), n).err().unwrap();
        assert!(matches!(error, Error::OutOfRange { found, .. } if found == n), "{error}");
    }
}

/// A tokenizer in the layout that GPT-2 and GPT-NeoX are published in, with 256 + 3 tokens.
fn foreign(end_of_text: &str) -> String {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let mut vocab: serde_json::Map<String, serde_json::Value> =
        alphabet.iter().enumerate().map(|(i, c)| (c.to_string(), i.into())).collect();
    vocab.insert("he".to_owned(), 256.into());
    let byte_level = serde_json::json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
    });
    let added = |id: u32, content: &str| {
        serde_json::json!({
            "id": id, "content": content, "special": true, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    serde_json::json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": null,
        "added_tokens": [added(257, end_of_text), added(258, "<|padding|>")],
        "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "vocab": vocab, "merges": ["h e"],
        },
    })
    .to_string()
}

fn load_foreign(json: &str, end_of_text: Option<u32>) -> Result<Tokenizer, Error> {
    Tokenizer::from_json("foreign", json.as_bytes().to_vec(), end_of_text)
}

#[test]
fn a_foreign_tokenizer_is_read_and_its_end_of_text_found_by_name_or_number() {
    for name in END_OF_TEXT_NAMES {
        let tokenizer = load_foreign(&foreign(name), None).unwrap();
        assert_eq!(tokenizer.end_of_text(), 257, "{name}");
        assert_eq!(tokenizer.vocabulary(), 259);
        let tokens = tokenizer.encode("hehehe, and not cut at two tokens").unwrap();
        assert_eq!(tokens[..3], [256, 256, 256]);
        assert_eq!(tokenizer.decode(&tokens).unwrap(), "hehehe, and not cut at two tokens");
    }
    let odd = foreign("<stop>");
    assert_eq!(load_foreign(&odd, Some(257)).unwrap().end_of_text(), 257);
    assert!(matches!(load_foreign(&odd, None), Err(Error::Tokenizer { .. })));
    assert!(matches!(load_foreign(&odd, Some(259)), Err(Error::Tokenizer { .. })));
}

#[test]
fn a_foreign_tokenizer_whose_tokens_would_be_renumbered_is_refused() {
    let gap = foreign(END_OF_TEXT).replace(":258,", ":260,");
    let error = load_foreign(&gap, None).err().unwrap();
    assert!(error.to_string().contains("`<|padding|>` is token 260"), "{error}");
}

#[test]
fn a_file_that_is_no_tokenizer_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    for bad in ["", "{}", "null", "[[[[", "{\"model\": {\"type\": \"BPE\", \"vocab\": 3}}"] {
        fs::write(&path, bad).unwrap();
        let error = Tokenizer::load(&path, None, None).err().unwrap();
        assert!(error.to_string().contains("tokenizer.json"), "{error}");
    }
    let missing = Tokenizer::load(&dir.path().join("none"), None, None).err().unwrap();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
}

#[test]
fn whatever_json_a_file_holds_it_is_a_tokenizer_or_an_error() {
    use crate::json_suite::{INVALID, VALID, deep};
    let whole = foreign(END_OF_TEXT);
    let texts = INVALID.iter().chain(&VALID).map(|text| text.to_vec());
    for text in texts.chain(deep()) {
        let error = Tokenizer::from_json("foreign", text.clone(), None).err();
        assert!(matches!(error, Some(Error::Tokenizer { .. })), "{text:?}");
        // The same in the place of a part.
        for part in ["\"he\":256", "[\"h e\"]", "\"truncation\":", "258"] {
            let broken = whole.replace(part, &String::from_utf8_lossy(&text));
            let _ = load_foreign(&broken, None);
        }
    }
    for cut in (0..whole.len()).step_by(7) {
        let cut = whole.floor_char_boundary(cut);
        assert!(load_foreign(&whole[..cut], None).is_err());
    }
}

#[test]
fn attack_a_regular_expression_that_never_ends_is_refused() {
    let with = |pattern: &str| {
        let split = serde_json::json!({
            "type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false,
        });
        let mut json: serde_json::Value = serde_json::from_str(&foreign(END_OF_TEXT)).unwrap();
        let parts = serde_json::json!([split, json["pre_tokenizer"]]);
        json["pre_tokenizer"] = serde_json::json!({"type": "Sequence", "pretokenizers": parts});
        load_foreign(&json.to_string(), None)
    };
    assert!(with(patterns::CL100K).is_ok());
    for pattern in ["(a+)+$", "(?=(a*)*b)", ".", ""] {
        let error = with(pattern).err().unwrap().to_string();
        assert!(error.contains("none of a known tokenizer"), "{error}");
    }
    // A second part of the same name would hide the first from whoever reads the other one.
    let twice = foreign(END_OF_TEXT).replace(
        "\"normalizer\":null",
        "\"normalizer\":null,\"normalizer\":{\"type\":\"Lowercase\"}",
    );
    assert!(load_foreign(&twice, None).is_err());
}

#[test]
fn long_runs_of_one_character_are_encoded_without_loss() {
    for text in [" ".repeat(50_000), "\n".repeat(50_000) + "x", "a".repeat(50_000)] {
        assert_eq!(TRAINED.decode(&TRAINED.encode(&text).unwrap()).unwrap(), text);
    }
}

proptest! {
    #[test]
    fn encoding_loses_nothing(text in any::<String>()) {
        let tokens = TRAINED.encode(&text).unwrap();
        prop_assert_eq!(TRAINED.decode(&tokens).unwrap(), text);
        prop_assert!(tokens.iter().all(|token| *token != TRAINED.end_of_text()));
        prop_assert!(tokens.iter().all(|token| (*token as usize) < TRAINED.vocabulary()));
    }

    #[test]
    fn text_that_spells_special_tokens_stays_text(
        parts in prop::collection::vec("(<\\|endoftext\\|>|<|\\||a| )", 0..12),
    ) {
        let text = parts.concat();
        let tokens = TRAINED.encode(&text).unwrap();
        prop_assert!(!tokens.contains(&TRAINED.end_of_text()));
        prop_assert_eq!(TRAINED.decode(&tokens).unwrap(), text);
    }
}
