//! Regular expressions that a `tokenizer.json` may hold.
//!
//! Some expressions take time that grows exponentially with the text, and a validator that hangs
//! is a validator that lost. Only those of known tokenizers run.

use serde::Deserialize;
use serde_json::Value;

/// GPT-2's, as published.
const GPT_2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// That of cl100k (GPT-4) and Llama 3.
pub(super) const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Qwen 2 and 3: each digit on its own.
const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// All that are allowed.
const KNOWN: [&str; 3] = [GPT_2, CL100K, QWEN_2];

/// The parts of a `tokenizer.json` in which expressions may stand; a part named twice is refused.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
}

/// Why a `tokenizer.json` may not be used, as far as its expressions go.
pub(super) fn refused(json: &[u8]) -> Option<String> {
    let Parts { normalizer, pre_tokenizer, post_processor, decoder } =
        match serde_json::from_slice(json) {
            Ok(parts) => parts,
            Err(error) => return Some(error.to_string()),
        };
    [normalizer, pre_tokenizer, post_processor, decoder].iter().find_map(unknown)
}

/// The first unknown expression anywhere in a value; the parser bounds how deep it is.
fn unknown(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(key, value)| match value {
            Value::String(pattern) if key == "Regex" && !KNOWN.contains(&pattern.as_str()) => {
                let pattern: String = pattern.chars().take(80).collect();
                Some(format!("its regular expression `{pattern}` is none of a known tokenizer"))
            }
            _ => unknown(value),
        }),
        Value::Array(values) => values.iter().find_map(unknown),
        _ => None,
    }
}
