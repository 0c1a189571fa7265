//! Regular expressions that a `tokenizer.json` may hold.
//!
//! Some expressions take time that grows exponentially with the text, and a validator that hangs
//! is a validator that lost. Only those of known tokenizers run.

/// GPT-2's, as published.
pub(super) const GPT_2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// That of cl100k (GPT-4) and Llama 3.
pub(super) const CL100K: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of Qwen 2 and 3: each digit on its own.
pub(super) const QWEN_2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// That of o200k (GPT-4o, gpt-oss): words end where small letters meet capitals.
pub(super) const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Falcon's: digits in threes.
pub(super) const FALCON: &str = "[0-9][0-9][0-9]";

/// Expressions of which each character of any text is in a match.
const WHOLE: [&str; 4] = [GPT_2, CL100K, QWEN_2, O200K];

/// Whether an expression is one of a known tokenizer.
pub(super) fn is_known(pattern: &str) -> bool {
    pattern == FALCON || matches_whole_texts(pattern)
}

/// Whether nothing of any text is outside the matches of an expression.
pub(super) fn matches_whole_texts(pattern: &str) -> bool {
    WHOLE.contains(&pattern)
}
