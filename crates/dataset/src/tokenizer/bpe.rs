//! The model in a `tokenizer.json`: byte pair encoding that knows every byte and nothing of chance.

use super::{
    VOCABULARY_MAX,
    part::{Part, shown},
    ranks::letter,
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// Why a number of a token is refused.
pub(super) const NO_NUMBER: &str = "tokens have numbers from 0 to 1048575";

/// A model that may be used.
pub(super) struct Checked<'a> {
    /// Its tokens with their numbers, which all differ.
    pub(super) vocab: HashMap<&'a str, u32>,
}

/// The number of a token.
pub(super) fn number(value: &Value) -> Option<u32> {
    let number = u32::try_from(value.as_u64()?).ok()?;
    ((number as usize) < VOCABULARY_MAX).then_some(number)
}

/// Reads the model, or says what in it is refused.
pub(super) fn check<'a>(part: &Part<'a>) -> Result<Checked<'a>, String> {
    // The oldest files name no type.
    if !part.get("type").is_null() && part.text("type")? != "BPE" {
        let why = "unknown words would be lost, or numbers rounded; only byte-level `BPE` is taken";
        return Err(part.refused("type", why));
    }
    part.only(&[
        "type",
        "dropout",
        "unk_token",
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "fuse_unk",
        "byte_fallback",
        "ignore_merges",
        "vocab",
        "merges",
    ])?;
    let dropout = part.get("dropout");
    if !dropout.is_null() && dropout.as_f64() != Some(0.0) {
        return Err(part.refused("dropout", "it leaves out merges by chance; set it to null"));
    }
    // Neither is of use where every byte has a token, as it must below.
    if !part.get("unk_token").is_null() {
        part.text("unk_token")?;
    }
    part.flag_if_any("fuse_unk")?;
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if !part.get(key).is_null() && !part.text(key)?.is_empty() {
            return Err(part.refused(key, "words would be told by more than their bytes"));
        }
    }
    if part.flag_if_any("byte_fallback")? == Some(true) {
        let why = "it is SentencePiece's, which reads a `▁` of the text as a blank; take a \
                   byte-level tokenizer";
        return Err(part.refused("byte_fallback", why));
    }
    part.flag_if_any("ignore_merges")?;
    let vocab = vocab(&part.part("vocab")?)?;
    check_merges(part, &vocab)?;
    Ok(Checked { vocab })
}

fn vocab<'a>(part: &Part<'a>) -> Result<HashMap<&'a str, u32>, String> {
    let (mut vocab, mut tokens) = (HashMap::new(), HashMap::new());
    for (token, value) in part.members() {
        let id = number(value).ok_or_else(|| part.refused(token, NO_NUMBER))?;
        if let Some(other) = tokens.insert(id, token) {
            let other = format!("the token `{}` has this number, too", shown(other));
            return Err(part.refused(token, &other));
        }
        vocab.insert(token.as_str(), id);
    }
    // Text is UTF-8, which has no use for the other bytes.
    let bytes = (0..=0xbf).chain(0xc2..=0xf4);
    for byte in bytes {
        let letter = letter(byte).to_string();
        if !vocab.contains_key(letter.as_str()) {
            let why = format!("the byte {byte:#04x} would be lost; take a byte-level tokenizer");
            return Err(part.refused(&letter, &why));
        }
    }
    Ok(vocab)
}

/// Checks that each merge joins two tokens to a third, and none stands twice.
fn check_merges(part: &Part, vocab: &HashMap<&str, u32>) -> Result<(), String> {
    let mut seen = HashSet::new();
    let merges = part.list("merges")?;
    let is_pairs = merges.first().is_some_and(Value::is_array);
    for (i, merge) in merges.iter().enumerate() {
        let place = format!("{}[{i}]", part.place("merges"));
        let halves = if is_pairs { of_pair(merge) } else { of_line(merge) };
        let Some((left, right)) = halves else {
            return Err(format!("`{place}` is not two tokens, spelt as the merges before it are"));
        };
        let whole = format!("{left}{right}");
        if let Some(lost) = [left, right, &whole].into_iter().find(|t| !vocab.contains_key(t)) {
            return Err(format!("`{place}`: `{}` is no token of the vocabulary", shown(lost)));
        }
        if !seen.insert((left, right)) {
            return Err(format!("`{place}` stands twice: leave one of them"));
        }
    }
    Ok(())
}

fn of_pair(merge: &Value) -> Option<(&str, &str)> {
    match merge.as_array()?.as_slice() {
        [left, right] => Some((left.as_str()?, right.as_str()?)),
        _ => None,
    }
}

/// The halves of a merge in one line; the library passes over lines that begin like a version.
fn of_line(merge: &Value) -> Option<(&str, &str)> {
    let (left, right) = merge.as_str()?.split_once(' ')?;
    (!right.contains(' ') && !left.starts_with("#version")).then_some((left, right))
}
