//! What a `tokenizer.json` may hold: tables of what is refused, and of published forms taken.

use crate::{
    Error, GeneratedSource, Tokenizer,
    tokenizer::patterns::{CL100K, FALCON, GPT_2, O200K, QWEN_2},
};
use proptest::prelude::*;
use protocol::Digest;
use serde_json::{Value, json};
use std::sync::LazyLock;
use tokenizers::{
    NormalizedString, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
};

/// A small tokenizer that was trained, as JSON.
static SMALL: LazyLock<Value> = LazyLock::new(|| {
    let trained = Tokenizer::train(&GeneratedSource::new(1), 400).unwrap();
    serde_json::from_slice(&trained.json).unwrap()
});

/// The number of the first token that can be added.
const NEXT: u64 = 400;

/// Every character of every block that has a rule of its own, and some that only look harmless.
const ODD: &str = "a  b\t\tc\r\n\u{b}\u{85}\u{a0}\u{2003}\u{2028}\u{200b}\u{feff}\u{fffd}▁Ġé \u{0}\u{7f}\
                   e\u{301} \u{212b} 가\u{11a8} ½²३٣ 1234567 12,345 don't DON'T 'Ll «x»¡— 🙂👩‍👩‍👧 \
                   <|im_start|><think>[MASK] <mask> <s>  x</s>";

fn load(json: &Value) -> Result<Tokenizer, Error> {
    Tokenizer::from_json("small", json.to_string().into_bytes(), None)
}

/// Puts a value at a pointer: into an object, over an element, or at the end of a list for `-`.
fn set(json: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    match json.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        Value::Array(list) if key == "-" => list.push(value),
        Value::Array(list) => list[key.parse::<usize>().unwrap()] = value,
        other => panic!("{other} has no parts"),
    }
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut json = SMALL.clone();
    for (pointer, value) in changes {
        set(&mut json, pointer, value.clone());
    }
    json
}

fn without(json: &Value, pointer: &str) -> Value {
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
fn letters() -> Value {
    changed(byte_level(), "use_regex", json!(false))
}

/// As post-processors and decoders often have it, which do not add the blank.
fn prefixed() -> Value {
    changed(byte_level(), "add_prefix_space", json!(true))
}

fn split(pattern: &Value, behavior: &str) -> Value {
    json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": false})
}

fn inverted(split: Value) -> Value {
    changed(split, "invert", json!(true))
}

fn regex(pattern: &str) -> Value {
    json!({"Regex": pattern})
}

fn in_order(parts: &[Value]) -> Value {
    json!({"type": "Sequence", "pretokenizers": parts})
}

fn before_bytes(first: &Value) -> Value {
    in_order(&[first.clone(), byte_level()])
}

/// An added token with some flags other than the usual ones.
fn token(id: u64, content: &str, flags: &[&str]) -> Value {
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
fn merges_in_lines() -> Value {
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
fn published() -> Vec<(&'static str, Value)> {
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

fn composed(text: &str) -> String {
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

/// A change of a file, and the place that the error must name.
type Refused = (&'static str, Value, &'static str);

fn refused_models() -> Vec<Refused> {
    let vocab = &SMALL["model"]["vocab"];
    let word_piece = json!({
        "type": "WordPiece", "unk_token": "<|endoftext|>", "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100, "vocab": vocab,
    });
    let word_level = json!({"type": "WordLevel", "unk_token": "<|endoftext|>", "vocab": vocab});
    let unigram = json!({
        "type": "Unigram", "unk_id": 0, "vocab": [["<|endoftext|>", 0.0], ["a", -1.5]],
        "byte_fallback": false,
    });
    let mut merges = merges_in_lines();
    set(&mut merges, "/-", json!("#version: 0.2"));
    vec![
        ("/model/dropout", json!(0.1), "`model.dropout` is 0.1"),
        ("/model/dropout", json!(1), "`model.dropout`"),
        ("/model/dropout", json!(1e-40), "`model.dropout`"),
        ("/model/byte_fallback", json!(true), "`model.byte_fallback`"),
        ("/model/continuing_subword_prefix", json!("##"), "`model.continuing_subword_prefix`"),
        ("/model/end_of_word_suffix", json!("</w>"), "`model.end_of_word_suffix`"),
        ("/model/cache_capacity", json!(0), "`model.cache_capacity`"),
        ("/model/vocab/twin", json!(100), "has this number, too"),
        ("/model/vocab/far", json!(1 << 20), "`model.vocab.far` is 1048576"),
        ("/model/vocab/far", json!(1_u64 << 32), "`model.vocab.far`"),
        ("/model/merges/-", SMALL["model"]["merges"][0].clone(), "stands twice"),
        ("/model/merges/-", json!(["a", "zebra"]), "`zebra` is no token"),
        ("/model/merges/-", json!(["<|endoftext|>", "<|endoftext|>"]), "is no token"),
        ("/model/merges/-", json!("t h"), "`model.merges["),
        ("/model/merges", merges, "`model.merges["),
        ("/model", word_piece, "`model.type` is `WordPiece`"),
        ("/model", word_level, "`model.type` is `WordLevel`"),
        ("/model", unigram, "`model.type` is `Unigram`"),
    ]
}

fn refused_normalizers() -> Vec<Refused> {
    let kinds = [
        json!({"type": "NFKC"}),
        json!({"type": "NFKD"}),
        json!({"type": "NFD"}),
        json!({"type": "Lowercase"}),
        json!({"type": "StripAccents"}),
        json!({"type": "Nmt"}),
        json!({"type": "Strip", "strip_left": true, "strip_right": true}),
        json!({"type": "Prepend", "prepend": "▁"}),
        json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"}),
        json!({"type": "Replace", "pattern": {"String": "a"}, "content": ""}),
        json!({"type": "Replace", "pattern": {"Regex": QWEN_2}, "content": ""}),
        json!({"type": "ByteLevel"}),
        json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        }),
        json!({
            "type": "Bert", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": null, "lowercase": true,
        }),
        json!({"type": "Precompiled", "precompiled_charsmap": ""}),
        json!({"type": "Unheard"}),
    ];
    let first = |kind: &Value| ("/normalizer", kind.clone(), "`normalizer.type`");
    let second = |kind: &Value| {
        let all = json!({"type": "Sequence", "normalizers": [{"type": "NFC"}, kind]});
        ("/normalizer", all, "`normalizer.normalizers[1].type`")
    };
    let many = json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 17]});
    let mut table: Vec<Refused> =
        kinds.iter().flat_map(|kind| [first(kind), second(kind)]).collect();
    table.extend([
        ("/normalizer", many, "`normalizer.normalizers` has more than 16"),
        ("/normalizer", json!({"type": "NFC", "form": "C"}), "`normalizer.form`"),
        ("/normalizer", json!({"strip_left": true, "strip_right": true}), "`normalizer.type`"),
        ("/normalizer", json!("NFC"), "`normalizer` is a text"),
    ]);
    table
}

fn refused_pre_tokenizers() -> Vec<Refused> {
    let kinds = [
        json!({"type": "Whitespace"}),
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "BertPreTokenizer"}),
        json!({"type": "CharDelimiterSplit", "delimiter": "x"}),
        json!({"type": "Delimiter", "delimiter": "x"}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": false}),
        json!({"type": "UnicodeScripts"}),
        json!({"type": "FixedLength", "length": 5}),
        json!({"type": "Sequence", "pretokenizers": []}),
        json!({"type": "Unheard"}),
    ];
    let place = "`pre_tokenizer.pretokenizers[0].type`";
    let mut table: Vec<Refused> =
        kinds.map(|kind| ("/pre_tokenizer", before_bytes(&kind), place)).to_vec();
    let behavior = "`pre_tokenizer.pretokenizers[0].behavior`";
    let splits = [
        (split(&json!({"String": " "}), "Removed"), behavior),
        (inverted(split(&json!({"String": " "}), "Removed")), behavior),
        (split(&json!({"Regex": GPT_2}), "Removed"), behavior),
        (inverted(split(&json!({"Regex": FALCON}), "Removed")), behavior),
        (split(&json!({"Regex": " "}), "Isolated"), "none of a known tokenizer"),
        (split(&json!({"String": ""}), "Isolated"), "`pre_tokenizer.pretokenizers[0].pattern`"),
        (json!({"type": "Punctuation", "behavior": "Removed"}), behavior),
    ];
    table.extend(splits.map(|(part, place)| ("/pre_tokenizer", before_bytes(&part), place)));
    table.extend([
        ("/pre_tokenizer", prefixed(), "`pre_tokenizer.add_prefix_space` is true"),
        ("/pre_tokenizer", before_bytes(&letters()), "2 parts `ByteLevel`"),
        ("/pre_tokenizer", json!({"type": "Digits", "individual_digits": true}), "0 parts `Byte"),
        ("/pre_tokenizer", Value::Null, "`pre_tokenizer` is null"),
        ("/pre_tokenizer/regex", json!("x"), "`pre_tokenizer.regex`"),
    ]);
    table
}

fn refused_others() -> Vec<Refused> {
    let added = |flags: &[&str]| token(NEXT, "[MASK]", flags);
    let spelt = |letter: &str| {
        token(SMALL["model"]["vocab"][letter].as_u64().unwrap(), letter, &["normalized"])
    };
    let truncation = json!({
        "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0, "x": 1,
    });
    vec![
        ("/added_tokens/-", added(&["lstrip"]), "`added_tokens[1].lstrip`"),
        ("/added_tokens/-", added(&["rstrip", "normalized"]), "`added_tokens[1].rstrip`"),
        ("/added_tokens/-", added(&["late"]), "`added_tokens[1].late`"),
        ("/added_tokens/-", token(NEXT, "", &[]), "`added_tokens[1].content`"),
        ("/added_tokens/-", spelt("Ġ"), "`added_tokens[1].content`"),
        ("/added_tokens/-", spelt("é"), "`added_tokens[1].content`"),
        ("/added_tokens/-", token(0, "<|endoftext|>", &[]), "`added_tokens[1].content`"),
        ("/added_tokens/-", token(7, "[MASK]", &[]), "`added_tokens[1].id` is 7"),
        ("/added_tokens/0/special", json!(false), "no token of it ends a text"),
        ("/post_processor", json!({"type": "Unheard"}), "`post_processor.type`"),
        ("/post_processor/cut", json!(2), "`post_processor.cut`"),
        ("/decoder", json!({"type": "Fuse"}), "`decoder.type`"),
        (
            "/decoder",
            json!({"type": "Sequence", "decoders": [prefixed(), prefixed()]}),
            "`decoder.decoders[1].type`",
        ),
        ("/decoder", json!({"type": "Sequence", "decoders": []}), "`decoder.decoders` is a list"),
        ("/decoder", Value::Null, "`decoder` is null"),
        ("/truncation", truncation, "`truncation.x`"),
        ("/version", json!("2.0"), "`version`"),
        ("/seed", json!(1), "`seed`"),
        ("/pre_tokenizers", json!([]), "`pre_tokenizers`"),
    ]
}

#[test]
fn attack_whatever_depends_on_chance_or_loses_text_is_refused_by_its_place() {
    let tables =
        [refused_models(), refused_normalizers(), refused_pre_tokenizers(), refused_others()];
    for (pointer, value, place) in tables.into_iter().flatten() {
        let error = load(&with(&[(pointer, value.clone())])).err();
        let error = error.unwrap_or_else(|| panic!("{pointer} is taken with {value}")).to_string();
        assert!(error.contains(place), "{pointer} with {value}: {error}");
    }
}

#[test]
fn a_vocabulary_without_a_byte_of_some_text_is_refused() {
    for letter in ["a", "Ġ", "Ċ", "ı", "ô"] {
        // Its place goes to a token that nothing needs.
        let id = SMALL["model"]["vocab"][letter].clone();
        let mut json = without(&SMALL, &format!("/model/vocab/{letter}"));
        set(&mut json, "/model/vocab/[unused]", id);
        set(&mut json, "/model/merges", json!([]));
        let error = load(&json).err().unwrap().to_string();
        assert!(error.contains("would be lost"), "{letter}: {error}");
        // A token for what is unknown makes one of all that is lost.
        set(&mut json, "/model/unk_token", json!("[unused]"));
        assert!(load(&json).is_err(), "{letter}");
    }
    // No text has these bytes.
    for letter in ["À", "Á", "õ", "ÿ"] {
        let id = SMALL["model"]["vocab"][letter].clone();
        let mut json = without(&SMALL, &format!("/model/vocab/{letter}"));
        set(&mut json, "/model/vocab/[unused]", id);
        assert!(load(&json).is_ok(), "{letter}");
    }
}

#[test]
fn attack_a_key_that_stands_twice_is_refused_at_any_depth() {
    let text = SMALL.to_string();
    let twice = [
        ("\"normalizer\":null", "\"normalizer\":null,\"normalizer\":{\"type\":\"NFC\"}"),
        ("\"version\":\"1.0\"", "\"version\":\"1.0\",\"version\":\"1.0\""),
        ("\"dropout\":null", "\"dropout\":0.5,\"dropout\":null"),
        ("\"dropout\":null", "\"dropout\":0.5,\"\\u0064ropout\":null"),
        ("\"lstrip\":false", "\"lstrip\":true,\"lstrip\":false"),
        ("\"trim_offsets\":true", "\"trim_offsets\":true,\"trim_offsets\":true"),
        ("\"vocab\":{", "\"vocab\":{\"a\":1,"),
    ];
    for (once, changed) in twice {
        assert!(text.contains(once), "{once}");
        let json = text.replacen(once, changed, 1).into_bytes();
        let error = Tokenizer::from_json("small", json, None).err().unwrap().to_string();
        assert!(error.contains("stands twice"), "{changed}: {error}");
    }
}

#[test]
fn huge_numbers_deep_lists_and_a_byte_order_mark_are_errors() {
    let text = SMALL.to_string();
    let deep = "[".repeat(100_000);
    for (once, changed) in [
        ("\"dropout\":null", "\"dropout\":1e999"),
        ("\"dropout\":null", "\"dropout\":-1e-300"),
        ("\"dropout\":null", "\"dropout\":99999999999999999999999999"),
        ("\"id\":0", "\"id\":-1"),
        ("\"id\":0", "\"id\":0.5"),
        ("\"id\":0", "\"id\":1e30"),
        ("\"normalizer\":null", &format!("\"normalizer\":{deep}")),
        ("{", "\u{feff}{"),
    ] {
        assert!(text.contains(once), "{once}");
        let json = text.replacen(once, changed, 1).into_bytes();
        let error = Tokenizer::from_json("small", json, None).err().unwrap().to_string();
        assert!(error.len() < 400, "{error}");
    }
}

#[test]
fn attack_a_token_that_texts_can_spell_ends_no_text() {
    let end_at = |json: &Value, id: u64| {
        let json = json.to_string().into_bytes();
        Tokenizer::from_json("small", json, Some(u32::try_from(id).unwrap()))
    };
    // By the letters of its name, and by the bytes that they stand for.
    for is_named in [|token: &str| token.is_ascii(), |token: &str| token.starts_with('Ġ')] {
        let vocab = SMALL["model"]["vocab"].as_object().unwrap();
        let is_merged = |(token, id): &(&String, &Value)| {
            token.chars().count() > 1 && is_named(token) && **id != json!(0)
        };
        let (name, id) = vocab.iter().find(is_merged).unwrap();
        let id = id.as_u64().unwrap();
        let special = with(&[("/added_tokens/-", token(id, name, &["special"]))]);
        let error = end_at(&special, id).err().unwrap().to_string();
        assert!(error.contains("text spells it"), "{name}: {error}");
    }
    let special = with(&[("/added_tokens/-", token(NEXT, "<think>", &[]))]);
    for id in [1, NEXT] {
        let error = end_at(&special, id).err().unwrap().to_string();
        assert!(error.contains("not added as special"), "{error}");
    }
    assert!(end_at(&special, 0).is_ok());
    // Without words, a text that is the name is looked up whole.
    let whole = with(&[("/model/ignore_merges", json!(true)), ("/pre_tokenizer", letters())]);
    let error = end_at(&whole, 0).err().unwrap().to_string();
    assert!(error.contains("text spells it"), "{error}");
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

/// Where the values of a file are, but for the tokens and merges of its model.
fn pointers(json: &Value, at: &str, found: &mut Vec<String>) {
    let elements: Vec<(String, &Value)> = match json {
        Value::Object(fields) => fields.iter().map(|(key, part)| (key.clone(), part)).collect(),
        Value::Array(list) => list.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (key, part) in elements {
        let pointer = format!("{at}/{key}");
        if !["/model/vocab", "/model/merges"].contains(&pointer.as_str()) {
            pointers(part, &pointer, found);
        }
        found.push(pointer);
    }
}

#[test]
fn attack_a_file_one_change_away_from_a_taken_one_is_refused_or_loses_nothing() {
    let values = [
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(0.5),
        json!(-1),
        json!(""),
        json!(" "),
        json!("Removed"),
        json!([]),
        json!({}),
        json!({"type": "Sequence"}),
        json!({"type": "Digits", "individual_digits": true}),
    ];
    let (mut n_refused, mut n_taken) = (0, 0);
    let forms = ["GPT-NeoX, OLMo", "Llama 3", "Qwen 2, Qwen 3", "Falcon"];
    for (name, form) in published().iter().filter(|(name, _)| forms.contains(name)) {
        let mut places = Vec::new();
        pointers(form, "", &mut places);
        for (pointer, value) in places.iter().flat_map(|at| values.iter().map(move |v| (at, v))) {
            let mut json = form.clone();
            set(&mut json, pointer, value.clone());
            let Ok(tokenizer) = load(&json) else {
                n_refused += 1;
                continue;
            };
            n_taken += 1;
            let read = tokenizer.decode(&tokenizer.encode(ODD).unwrap()).unwrap();
            let composes = json["normalizer"].to_string().contains("NFC");
            let same = if composes { composed } else { str::to_owned };
            let (read, text) = (same(&read), same(ODD));
            assert_eq!(read, text, "{name}: {pointer} with {value}");
        }
    }
    assert!(n_taken > 100 && n_refused > 800, "{n_taken} taken, {n_refused} refused");
}
