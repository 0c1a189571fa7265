//! Ours beside OpenAI's own, in the form of the crate `tiktoken-rs`.

use super::*;
use proptest::prelude::*;
use std::{fmt::Write as _, sync::LazyLock};
use tiktoken_rs::CoreBPE;

/// A reference with the tokenizer that we make of its own ranks.
struct Pair {
    reference: CoreBPE,
    ours: Tokenizer,
}

impl Pair {
    fn new(kind: Ranked, reference: CoreBPE, n_ranks: u32) -> Self {
        let ranks = ranks(&reference, n_ranks);
        Self { ours: kind.tokenizer(ranks.as_bytes()).unwrap(), reference }
    }

    fn expect_equal(&self, text: &str) {
        let tokens = self.ours.encode(text).unwrap();
        assert_eq!(tokens, self.reference.encode_ordinary(text), "{text:?}");
        assert_eq!(self.ours.decode(&tokens).unwrap(), text);
    }
}

/// The published list again, of the tokens that the crate carries.
fn ranks(reference: &CoreBPE, n_ranks: u32) -> String {
    let mut list = String::new();
    for rank in 0..n_ranks {
        let token = reference.decode_bytes(&[rank]).unwrap();
        writeln!(list, "{} {rank}", BASE64_STANDARD.encode(token)).unwrap();
    }
    list
}

static GPT2: LazyLock<Pair> =
    LazyLock::new(|| Pair::new(Ranked::Gpt2, tiktoken_rs::r50k_base().unwrap(), 50_256));
static CL100K: LazyLock<Pair> =
    LazyLock::new(|| Pair::new(Ranked::Cl100k, tiktoken_rs::cl100k_base().unwrap(), 100_256));

/// A text with everything in it.
const EVERYTHING: &str = include_str!("../../../../../testdata/tokenizers/everything.text");

#[test]
fn gpt_2_and_gpt_4_give_the_tokens_of_the_reference_on_a_text_with_everything_in_it() {
    for pair in [&*GPT2, &*CL100K] {
        pair.expect_equal(EVERYTHING);
        for line in EVERYTHING.split_inclusive('\n') {
            pair.expect_equal(line);
            pair.expect_equal(line.trim_end());
        }
    }
}

#[test]
fn the_tokens_of_the_text_are_those_of_openais_python_package() {
    let golden: Value =
        serde_json::from_str(include_str!("../../../../../testdata/tokenizers/golden.json"))
            .unwrap();
    for (pair, name) in [(&*GPT2, "gpt2"), (&*CL100K, "cl100k_base")] {
        let tokens = pair.ours.encode(EVERYTHING).unwrap();
        assert_eq!(json!(tokens), golden[name], "{name}");
    }
}

#[test]
fn every_single_character_and_every_byte_has_the_tokens_of_the_reference() {
    for pair in [&*GPT2, &*CL100K] {
        let planes = (0..0x3000).chain((0x3000..0x2_0000).step_by(97));
        for c in planes.filter_map(char::from_u32) {
            pair.expect_equal(&format!("a{c} {c}'{c}{c}\n"));
        }
    }
}

#[test]
fn numbers_of_tokens_and_the_end_of_text_are_those_of_the_competitions() {
    assert_eq!((GPT2.ours.vocabulary(), GPT2.ours.end_of_text()), (50_257, 50_256));
    assert_eq!((CL100K.ours.vocabulary(), CL100K.ours.end_of_text()), (100_277, 100_257));
    for pair in [&*GPT2, &*CL100K] {
        let spelled = pair.ours.encode("<|endoftext|><|fim_prefix|>").unwrap();
        assert!(spelled.iter().all(|token| *token < pair.ours.end_of_text()));
    }
    assert_eq!(GPT2.ours.digest().hex(), FROZEN_GPT2);
    assert_eq!(CL100K.ours.digest().hex(), FROZEN_CL100K);
}
const FROZEN_GPT2: &str = "00f1894cd8d5e1cd7c60bb8c40e8b257619d2f25400f1bebd4bfa0bd19290e4c";
const FROZEN_CL100K: &str = "ee9418e35dbef60c42ac4e7ce9930794a301af93f154c023ddef2aa13cba4e21";

#[test]
fn a_saved_conversion_is_loaded_by_its_digest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokenizer.json");
    CL100K.ours.save(&path).unwrap();
    let loaded = Tokenizer::load(&path, Some(CL100K.ours.digest()), Some(100_257)).unwrap();
    assert_eq!(loaded.encode(EVERYTHING).unwrap(), CL100K.ours.encode(EVERYTHING).unwrap());
}

#[test]
fn other_ranks_are_refused() {
    let mut other = ranks(&GPT2.reference, 50_256);
    other.push_str("AAAA 50256\n");
    for ranks in [other.as_bytes(), b"", b"AA== x"] {
        let error = Ranked::Gpt2.tokenizer(ranks).err().unwrap().to_string();
        assert!(error.contains("r50k_base.tiktoken"), "{error}");
    }
    for broken in ["x", "A 1", "AA== x", "AA== 1\nAQ== 2\nAAEA 3"] {
        assert!(Ranked::Gpt2.convert(broken.as_bytes()).is_none(), "{broken}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_has_the_tokens_of_the_reference(text in any::<String>()) {
        GPT2.expect_equal(&text);
        CL100K.expect_equal(&text);
    }

    #[test]
    fn likely_text_has_the_tokens_of_the_reference(
        parts in prop::collection::vec(
            prop_oneof![
                "[a-z]{1,12}", "[A-Z][a-z]{1,8}", "[0-9]{1,7}", "[ \t\n\r\u{a0}\u{3000}]{1,4}",
                "'(s|S|t|re|RE|ve|m|ll|LL|d|x|\u{17f})", "[!-/:-@]{1,5}", "[\u{4e00}-\u{4fff}]{1,4}",
                "[\u{5d0}-\u{5ea}]{1,5}", "[\u{300}-\u{305}]{1,2}", "[\u{1f600}-\u{1f64f}\u{200d}]{1,3}",
            ],
            0..30,
        ),
    ) {
        let text = parts.concat();
        GPT2.expect_equal(&text);
        CL100K.expect_equal(&text);
    }
}
