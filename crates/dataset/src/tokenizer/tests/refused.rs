//! What a `tokenizer.json` must not hold: tables of what is refused, and by which place.

use super::forms::{
    NEXT, ODD, SMALL, before_bytes, composed, inverted, letters, load, merges_in_lines, prefixed,
    published, set, split, token, with, without,
};
use crate::{
    Tokenizer,
    tokenizer::patterns::{FALCON, GPT_2, QWEN_2},
};
use serde_json::{Value, json};

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
