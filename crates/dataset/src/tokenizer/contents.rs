//! What a `tokenizer.json` may hold, key by key.
//!
//! Every machine must make the same tokens of a text, and two texts must not have the same tokens.
//! So whatever depends on chance, and whatever changes, drops or adds text, is refused with its
//! place in the file, and so is every key and kind that is not known here. One thing that changes
//! text is let in, because published tokenizers have it: composing letters as Unicode's form NFC.

use super::{
    bpe, part,
    part::{Part, shown},
    patterns,
};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

/// Most parts of one sequence of normalizers, pre-tokenizers or processors.
const PARTS_MAX: usize = 16;

/// Why parts that change text are refused.
const CHANGES_TEXT: &str =
    "it changes or drops text, so that two texts have the same tokens; the only normalizer is NFC";

/// A token added to those of the model.
pub(super) struct Added {
    pub(super) id: u32,
    pub(super) content: String,
    /// Whether it is looked for in no text.
    pub(super) is_special: bool,
}

/// The added tokens of a file that may be used, or what in it is refused.
pub(super) fn check(json: &[u8]) -> Result<Vec<Added>, String> {
    let value = part::parse(json)?;
    let file = Part::of("", &value)?;
    if file.get("model").is_null() && file.get("vocab").is_array() {
        let why = "it is a `tekken.json`, which has no rules to read text by; take the \
                   `tokenizer.json` of Hugging Face's library";
        return Err(why.to_owned());
    }
    file.only(&[
        "version",
        "truncation",
        "padding",
        "added_tokens",
        "normalizer",
        "pre_tokenizer",
        "post_processor",
        "decoder",
        "model",
    ])?;
    if file.get("version").as_str() != Some("1.0") {
        return Err(file.refused("version", "only `1.0` is known"));
    }
    // Neither is used: see `Tokenizer::from_json`.
    keys_if_any(&file, "truncation", &["direction", "max_length", "strategy", "stride"])?;
    let padding =
        ["strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"];
    keys_if_any(&file, "padding", &padding)?;
    if !file.get("normalizer").is_null() {
        for normalizer in sequence(file.part("normalizer")?, "normalizers")? {
            check_normalizer(&normalizer)?;
        }
    }
    check_pre_tokenizers(&file)?;
    if !file.get("post_processor").is_null() {
        for processor in sequence(file.part("post_processor")?, "processors")? {
            check_processor(&processor)?;
        }
    }
    check_decoder(file.part("decoder")?)?;
    let model = bpe::check(&file.part("model")?)?;
    added_tokens(&file, &model)
}

fn keys_if_any(file: &Part, key: &str, keys: &[&str]) -> Result<(), String> {
    if file.get(key).is_null() { Ok(()) } else { file.part(key)?.only(keys) }
}

/// The parts of a sequence, or the one part that there is.
fn sequence<'a>(part: Part<'a>, key: &str) -> Result<Vec<Part<'a>>, String> {
    if part.text("type")? != "Sequence" {
        return Ok(vec![part]);
    }
    part.only(&["type", key])?;
    let parts = part.parts(key)?;
    if parts.len() > PARTS_MAX {
        return Err(format!("`{}` has more than {PARTS_MAX} parts", part.place(key)));
    }
    Ok(parts)
}

fn check_normalizer(part: &Part) -> Result<(), String> {
    match part.text("type")? {
        "NFC" => part.only(&["type"]),
        "Sequence" => Err(part.refused("type", "a sequence stands in another: make them one")),
        _ => Err(part.refused("type", CHANGES_TEXT)),
    }
}

/// Pre-tokenizers cut a text into words; exactly one turns bytes into letters.
fn check_pre_tokenizers(file: &Part) -> Result<(), String> {
    let no_bytes = "exactly one `ByteLevel` is needed, which knows every byte";
    if file.get("pre_tokenizer").is_null() {
        return Err(file.refused("pre_tokenizer", no_bytes));
    }
    let parts = sequence(file.part("pre_tokenizer")?, "pretokenizers")?;
    let mut n_byte_levels = 0;
    for part in &parts {
        match part.text("type")? {
            "ByteLevel" => {
                check_byte_level(part)?;
                if part.flag("add_prefix_space")? {
                    let why = "a text with and without a blank before it would have the same \
                               tokens; set it to false";
                    return Err(part.refused("add_prefix_space", why));
                }
                n_byte_levels += 1;
            }
            "Split" => check_split(part)?,
            "Digits" => {
                part.only(&["type", "individual_digits"])?;
                part.flag("individual_digits")?;
            }
            "Punctuation" => {
                part.only(&["type", "behavior"])?;
                if !part.get("behavior").is_null() && part.text("behavior")? == "Removed" {
                    return Err(part.refused("behavior", "it drops text; take `Isolated`"));
                }
            }
            "BertPreTokenizer" | "Whitespace" | "WhitespaceSplit" | "CharDelimiterSplit"
            | "Delimiter" => {
                return Err(part.refused("type", "it drops what stands between words"));
            }
            "Metaspace" => {
                return Err(part.refused("type", "it reads a `▁` of the text as a blank"));
            }
            "Sequence" => {
                return Err(part.refused("type", "a sequence stands in another: make them one"));
            }
            _ => return Err(part.refused("type", "no known byte-level tokenizer has it")),
        }
    }
    if n_byte_levels == 1 {
        return Ok(());
    }
    Err(format!("`pre_tokenizer` has {n_byte_levels} parts `ByteLevel`: {no_bytes}"))
}

fn check_byte_level(part: &Part) -> Result<(), String> {
    part.only(&["type", "add_prefix_space", "trim_offsets", "use_regex"])?;
    part.flag("add_prefix_space")?;
    part.flag("trim_offsets")?;
    part.flag_if_any("use_regex").map(|_| ())
}

fn check_split(part: &Part) -> Result<(), String> {
    part.only(&["type", "pattern", "behavior", "invert"])?;
    let pattern = part.part("pattern")?;
    pattern.only(&["Regex", "String"])?;
    let mut keeps_matches_alone = false;
    match (pattern.get("Regex"), pattern.get("String")) {
        (Value::String(regex), Value::Null) if patterns::is_known(regex) => {
            keeps_matches_alone = patterns::matches_whole_texts(regex);
        }
        (Value::String(regex), Value::Null) => {
            return Err(format!(
                "`{}`: its regular expression `{}` is none of a known tokenizer",
                pattern.place("Regex"),
                shown(regex)
            ));
        }
        (Value::Null, Value::String(text)) if !text.is_empty() => {}
        _ => return Err(part.refused("pattern", "it must have a `Regex` or a `String`")),
    }
    match (part.text("behavior")?, part.flag("invert")?) {
        ("Isolated" | "Contiguous" | "MergedWithPrevious" | "MergedWithNext", _) => Ok(()),
        // As of cl100k on the hub: it drops what is no word, and there is nothing that is none.
        ("Removed", true) if keeps_matches_alone => Ok(()),
        ("Removed", _) => Err(part.refused("behavior", "it drops text; take `Isolated`")),
        _ => Err(part.refused("behavior", "it is not known here; take `Isolated`")),
    }
}

/// Processors add tokens around a text where they are asked to; they are not.
fn check_processor(part: &Part) -> Result<(), String> {
    match part.text("type")? {
        "ByteLevel" => check_byte_level(part),
        "TemplateProcessing" => part.only(&["type", "single", "pair", "special_tokens"]),
        "RobertaProcessing" => {
            part.only(&["type", "sep", "cls", "trim_offsets", "add_prefix_space"])
        }
        "BertProcessing" => part.only(&["type", "sep", "cls"]),
        _ => Err(part.refused("type", "it is not known here; set `post_processor` to null")),
    }
}

/// No loss depends on the decoder, but what is shown of tokens does.
fn check_decoder(part: Part) -> Result<(), String> {
    let nothing = part.refused("decoders", "tokens are read by one `ByteLevel`");
    let [first, others @ ..] = &sequence(part, "decoders")?[..] else { return Err(nothing) };
    match (first.text("type")?, others) {
        ("ByteLevel", []) => check_byte_level(first),
        ("ByteLevel", [other, ..]) => Err(other.refused("type", "tokens are read already")),
        _ => Err(first.refused("type", "tokens are read by `ByteLevel` alone")),
    }
}

fn added_tokens(file: &Part, model: &bpe::Checked) -> Result<Vec<Added>, String> {
    if file.get("added_tokens").is_null() {
        return Ok(Vec::new());
    }
    let mut numbers: HashMap<u32, &str> =
        model.vocab.iter().map(|(token, id)| (*id, *token)).collect();
    let mut contents = HashSet::new();
    let mut added = Vec::new();
    for part in file.parts("added_tokens")? {
        let token = added_token(&part)?;
        if !contents.insert(part.text("content")?) {
            return Err(part.refused("content", "the token is added twice"));
        }
        // A token of the model with this name gives it its number, whatever stands here.
        if !model.vocab.contains_key(token.content.as_str())
            && let Some(other) = numbers.insert(token.id, part.text("content")?)
        {
            let other = format!("the token `{}` has this number, too", shown(other));
            return Err(part.refused("id", &other));
        }
        added.push(token);
    }
    Ok(added)
}

fn added_token(part: &Part) -> Result<Added, String> {
    part.only(&["id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"])?;
    let id = bpe::number(part.get("id")).ok_or_else(|| part.refused("id", bpe::NO_NUMBER))?;
    let content = part.text("content")?;
    if content.is_empty() {
        return Err(part.refused("content", "an empty token is in every text"));
    }
    for key in ["single_word", "normalized"] {
        part.flag(key)?;
    }
    let is_special = part.flag("special")?;
    for key in ["lstrip", "rstrip"] {
        // Special tokens are looked for in no text, so they swallow nothing.
        if part.flag(key)? && !is_special {
            let why = "the token would swallow the blanks beside it; set it to false";
            return Err(part.refused(key, why));
        }
    }
    // Such a text has the tokens of other bytes, as `Ġ` would have that of a blank.
    let letters = ByteLevel::alphabet();
    let reads_as_bytes = content.chars().all(|c| letters.contains(&c)) && !content.is_ascii();
    if reads_as_bytes && !is_special {
        return Err(part.refused("content", "it spells other bytes than its own; take it out"));
    }
    Ok(Added { id, content: content.to_owned(), is_special })
}
