//! Forms of a `tokenizer.json` that are taken, as they are published, and what they keep.

use crate::{
    Error, GeneratedSource, Tokenizer,
    tokenizer::patterns::{CL100K, FALCON, O200K, QWEN_2},
};
use proptest::prelude::*;
use protocol::Digest;
use serde_json::{Value, json};
use std::sync::LazyLock;
use tokenizers::{
    NormalizedString, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
};

/// A small tokenizer that was trained, as JSON.
pub(super) static SMALL: LazyLock<Value> = LazyLock::new(|| {
    let trained = Tokenizer::train(&GeneratedSource::new(1), 400).unwrap();
    serde_json::from_slice(&trained.json).unwrap()
});

/// The number of the first token that can be added.
pub(super) const NEXT: u64 = 400;

/// Every character of every block that has a rule of its own, and some that only look harmless.
pub(super) const ODD: &str = "a  b\t\tc\r\n\u{b}\u{85}\u{a0}\u{2003}\u{2028}\u{200b}\u{feff}\u{fffd}▁Ġé \u{0}\u{7f}\
                   e\u{301} \u{212b} 가\u{11a8} ½²३٣ 1234567 12,345 don't DON'T 'Ll «x»¡— 🙂👩‍👩‍👧 \
                   <|im_start|><think>[MASK] <mask> <s>  x</s>";

pub(super) fn load(json: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_json("small", json.to_string().into_bytes(), None)
}

/// Puts a value at a pointer: into an object, over an element, or at the end of a list for `-`.
pub(super) fn set(json: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match json.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other} has no parts"),
    }
}

pub(super) fn with(changes: &[(&str, Value)]) -> Value {
    let mut json = SMALL.clone();
    for (pointer, value) in changes {
        set(&mut json, pointer, value.clone());
    }
    json
}

pub(super) fn without(json: &Value, pointer: &str) -> Value {
    let mut json = json.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    json
}

fn changed(mut json: Value, key: &str, value: Value) -> Value {
    json[key] = value;
    json
}

/// Words as GPT-2 cuts them, of letters that stand for bytes.
fn byte_level() -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})
}

/// Letters that stand for bytes.
pub(super) fn letters() -> Value {
    changed(byte_level(), "use_regex", json!(false))
}

/// As post-processors and decoders often have it, which do not add the blank.
pub(super) fn prefixed() -> Value {
    changed(byte_level(), "add_prefix_space", json!(true))
}

pub(super) fn split(pattern: &Value, behavior: &str) -> Value {
    json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": false})
}

pub(super) fn inverted(split: Value) -> Value {
    changed(split, "invert", json!(true))
}

fn regex(pattern: &str) -> Value {
    json!({"Regex": pattern})
}

fn in_order(parts: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": parts})
}

pub(super) fn before_bytes(first: &Value) -> Value {
    in_order(&[first.clone(), byte_level()])
}

/// An added token with some flags other than the usual ones.
pub(super) fn token(id: u64, content: &str, flags: &[&str]) -> Value {
    let mut token = json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": false,
    });
    for flag in flags {
        token[*flag] = true.into();
    }
    token
}

/// Merges spelt in lines, as they were before pairs.
pub(super) fn merges_in_lines() -> Value {
    let merges = SMALL["model"]["merges"].as_array().unwrap();
    let line = |pair: &Value| {
        format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()).into()
    };
    merges.iter().map(line).collect::<Vec<Value>>().into()
}

/// A template that puts a beginning of text before each text.
fn template() -> Value {
    json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<|begin_of_text|>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {
            "<|begin_of_text|>": {"id": "<|begin_of_text|>", "ids": [1], "tokens": ["<|b|>"]},
        },
    })
}

fn gpt2() -> Value {
    let older = |part: Value| without(&json!({"part": part}), "/part/use_regex")["part"].take();
    let json = with(&[
        ("/pre_tokenizer", older(byte_level())),
        ("/post_processor", older(prefixed())),
        ("/decoder", older(prefixed())),
        ("/added_tokens/0", token(0, "<|endoftext|>", &["normalized", "special"])),
        ("/model/continuing_subword_prefix", json!("")),
        ("/model/end_of_word_suffix", json!("")),
        ("/model/merges", merges_in_lines()),
    ]);
    let json = without(&json, "/model/type");
    without(&without(&json, "/model/byte_fallback"), "/model/ignore_merges")
}

/// Files in the form in which these are published, with a small vocabulary.
pub(super) fn published() -> Vec<(&'static str, Value)> {
    let words = |pattern: &str| in_order(&[split(&regex(pattern), "Isolated"), letters()]);
    let nfc = || ("/normalizer", json!({"type": "NFC"}));
    let neox = [
        nfc(),
        ("/post_processor", template()),
        ("/added_tokens/-", token(NEXT, "   ", &["normalized"])),
        ("/added_tokens/-", token(NEXT + 1, "  ", &["normalized"])),
        ("/added_tokens/-", token(NEXT + 2, "|||EMAIL_ADDRESS|||", &["normalized"])),
    ];
    let around = json!({"type": "Sequence", "processors": [prefixed(), template()]});
    let llama3 = [
        ("/pre_tokenizer", words(CL100K)),
        ("/post_processor", around),
        ("/model/ignore_merges", json!(true)),
        ("/added_tokens/-", token(NEXT, "<|begin_of_text|>", &["special"])),
    ];
    let qwen = [
        nfc(),
        ("/pre_tokenizer", words(QWEN_2)),
        ("/added_tokens/-", token(NEXT, "<|im_start|>", &["special"])),
        ("/added_tokens/-", token(NEXT + 1, "<think>", &[])),
    ];
    let cl100k = in_order(&[inverted(split(&regex(CL100K), "Removed")), letters()]);
    let falcon = in_order(&[
        json!({"type": "Punctuation", "behavior": "Contiguous"}),
        byte_level(),
        json!({"type": "Digits", "individual_digits": false}),
        split(&regex(FALCON), "Isolated"),
    ]);
    let starcoder = [
        ("/pre_tokenizer", before_bytes(&json!({"type": "Digits", "individual_digits": true}))),
        ("/model/unk_token", json!("<|endoftext|>")),
    ];
    let phi = [
        ("/added_tokens/-", token(NEXT, "\t\t", &["normalized"])),
        ("/added_tokens/-", token(NEXT + 1, "    ", &["normalized"])),
    ];
    let roberta = json!({
        "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": true,
        "add_prefix_space": false,
    });
    let bart = [
        ("/post_processor", roberta),
        ("/added_tokens/-", token(NEXT, "<mask>", &["special", "lstrip"])),
    ];
    vec![
        ("trained", SMALL.clone()),
        ("GPT-2", gpt2()),
        ("GPT-NeoX, OLMo", with(&neox)),
        ("Llama 3", with(&llama3)),
        ("Qwen 2, Qwen 3", with(&qwen)),
        ("GPT-4o", with(&[("/pre_tokenizer", words(O200K))])),
        ("cl100k on the hub", with(&[("/pre_tokenizer", cl100k)])),
        ("Falcon", with(&[("/pre_tokenizer", falcon)])),
        ("StarCoder", with(&starcoder)),
        ("Phi", with(&phi)),
        ("BART", with(&bart)),
    ]
}

/// Files that no known tokenizer has and that lose nothing.
fn besides() -> Vec<(&'static str, Value)> {
    let blank = json!({"String": " "});
    let mut forms: Vec<(&str, Value)> =
        ["Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"]
            .iter()
            .flat_map(|behavior| {
                let plain = split(&blank, behavior);
                [plain.clone(), inverted(plain)].map(|first| (*behavior, first))
            })
            .map(|(behavior, first)| (behavior, with(&[("/pre_tokenizer", before_bytes(&first))])))
            .collect();
    let nfcs = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}]});
    forms.extend([
        ("a sequence of NFC", with(&[("/normalizer", nfcs)])),
        (
            "an empty sequence",
            with(&[("/normalizer", json!({"type": "Sequence", "normalizers": []}))]),
        ),
        ("a single word", with(&[("/added_tokens/-", token(NEXT, "the", &["single_word"]))])),
        (
            "a token that composes",
            with(&[
                ("/normalizer", json!({"type": "NFC"})),
                ("/added_tokens/-", token(NEXT, "qe", &[])),
                ("/added_tokens/-", token(NEXT + 1, "e\u{301} ", &["normalized"])),
            ]),
        ),
        (
            "a sequence of decoders",
            with(&[("/decoder", json!({"type": "Sequence", "decoders": [prefixed()]}))]),
        ),
        ("no dropout", with(&[("/model/dropout", json!(0.0))])),
        ("one word", with(&[("/pre_tokenizer", letters())])),
    ]);
    forms
}

static TAKEN: LazyLock<Vec<(&str, Tokenizer, bool)>> = LazyLock::new(|| {
    let forms = published().into_iter().chain(besides());
    let load = |(name, json): (&'static str, Value)| {
        let tokenizer = load(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, tokenizer, json["normalizer"].to_string().contains("NFC"))
    };
    forms.map(load).collect()
});

pub(super) fn composed(text: &str) -> String {
    let mut text = NormalizedString::from(text);
    text.nfc();
    text.get().to_owned()
}

/// Nothing is lost, and nobody has other tokens.
fn expect_kept((name, tokenizer, composes): &(&str, Tokenizer, bool), text: &str) {
    let tokens = tokenizer.encode(text).unwrap();
    let read = tokenizer.decode(&tokens).unwrap();
    // A token may stand between two characters that would be one, so both sides are composed.
    if *composes {
        assert_eq!(composed(&read), composed(text), "{name}: {text:?}");
    } else {
        assert_eq!(read, text, "{name}");
    }
    assert!(!tokens.contains(&tokenizer.end_of_text()), "{name}: {text:?}");
    for _ in 0..2 {
        assert_eq!(tokenizer.encode(text).unwrap(), tokens, "{name}: {text:?}");
    }
    let elsewhere = std::thread::scope(|scope| {
        let threads = [(); 2].map(|()| scope.spawn(|| tokenizer.encode(text).unwrap()));
        threads.map(|thread| thread.join().unwrap())
    });
    assert!(elsewhere.iter().all(|found| *found == tokens), "{name}: {text:?}");
}

#[test]
fn published_tokenizers_are_taken_and_lose_nothing() {
    for form in &*TAKEN {
        expect_kept(form, ODD);
        expect_kept(form, &ODD.repeat(40));
        expect_kept(form, "");
    }
}

#[test]
fn composing_letters_is_the_one_thing_that_changes_a_text() {
    for (name, tokenizer, composes) in &*TAKEN {
        let read = |text| tokenizer.decode(&tokenizer.encode(text).unwrap()).unwrap();
        let one = if *composes { "é" } else { "e\u{301}" };
        assert_eq!(read("xe\u{301}x"), format!("x{one}x"), "{name}");
        assert_eq!(read("\u{fb01} Ａ ² ſ"), "\u{fb01} Ａ ² ſ", "{name}");
    }
}

#[test]
fn long_runs_of_one_character_lose_nothing_even_where_an_expression_gives_up() {
    for (name, tokenizer, _) in &*TAKEN {
        // Expressions of cl100k go back over a run of blanks, and give up after a million.
        let n_blanks = if *name == "cl100k on the hub" { 1_050_000 } else { 20_000 };
        for (run, n) in [(" ", n_blanks), ("\n", 20_000), ("a", 20_000), ("7", 20_000)] {
            let text = run.repeat(n) + "x";
            let tokens = tokenizer.encode(&text).unwrap();
            assert!(tokenizer.decode(&tokens).unwrap() == text, "{name}: {run:?}");
        }
    }
}

/// What is a letter, a digit, a mark or a blank, and how letters compose, is written in tables of
/// the toolchain and of crates: newer ones are another rule.
#[test]
fn the_classes_of_characters_that_cut_words_are_frozen() {
    let parts = json!([
        {"type": "Punctuation", "behavior": "Isolated"},
        {"type": "Digits", "individual_digits": false},
        split(&json!({"Regex": CL100K}), "Isolated"),
        letters(),
    ]);
    let sequence = json!({"type": "Sequence", "pretokenizers": parts});
    let tokenizer = load(&with(&[("/pre_tokenizer", sequence)])).unwrap();
    let cut = tokenizer.inner.get_pre_tokenizer().unwrap();
    let mut bytes = Vec::new();
    let planes = (0..0x2_0000).chain((0x2_0000..0x11_0000).step_by(97));
    for c in planes.filter_map(char::from_u32) {
        let text = composed(&format!("a{c}a{c}1{c}1 -{c}-e{c}"));
        let mut words = PreTokenizedString::from(text);
        cut.pre_tokenize(&mut words).unwrap();
        for (word, _, _) in words.get_splits(OffsetReferential::Original, OffsetType::None) {
            bytes.extend(word.as_bytes());
            bytes.push(b'\n');
        }
    }
    assert_eq!(Digest::of(&bytes).hex(), CLASSES);
}
const CLASSES: &str = "e237a5fb63d9ca0fcb885735cb5061021b8d128c77540aba05a88156f1c790be";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_admitted_form_gives_any_text_back(
        any in any::<String>(),
        parts in prop::collection::vec(
            "([ \\t\\r\\n]{1,4}|qe\u{301}|\\PC{1,4}|[0-9]{1,8}|e\u{301}|<(\\|im_start\\||think|mask)>|\
             <\\|endoftext\\|>|\\|\\|\\|EMAIL_ADDRESS\\|\\|\\||'(s|LL)|the|[a-zA-Z]{1,5}|[!-/]{1,3})",
            0..16,
        ),
    ) {
        for form in &*TAKEN {
            expect_kept(form, &any);
            expect_kept(form, &parts.concat());
        }
    }
}

#[test]
fn truncation_padding_and_tokens_around_a_text_are_not_asked_for() {
    let plain = load(&SMALL).unwrap();
    let changed = load(&with(&[
        (
            "/truncation",
            json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}),
        ),
        (
            "/padding",
            json!({
                "strategy": {"Fixed": 500}, "direction": "Left", "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
            }),
        ),
        ("/post_processor", template()),
    ]));
    let changed = changed.unwrap();
    assert_eq!(changed.encode(ODD).unwrap(), plain.encode(ODD).unwrap());
    // A template without the text leaves the text as it is.
    let mut none = template();
    none["single"] = json!([]);
    let none = load(&with(&[("/post_processor", none)])).unwrap();
    assert_eq!(none.encode(ODD).unwrap(), plain.encode(ODD).unwrap());
}
