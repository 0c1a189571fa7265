//! GPT-2's and GPT-4's tokenizers, made of the lists of ranks that OpenAI publishes.
//!
//! A list has each token with its rank. Which pair of tokens a token is merged of stands nowhere:
//! it is what merging by the lower ranks alone leaves of it.

use super::{Tokenizer, patterns};
use crate::Error;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use protocol::Digest;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

/// A tokenizer that is published as a list of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranked {
    /// GPT-2's, of `r50k_base.tiktoken`.
    Gpt2,
    /// GPT-4's, of `cl100k_base.tiktoken`.
    Cl100k,
}

impl Ranked {
    /// Name of the list of ranks.
    pub fn ranks_name(self) -> &'static str {
        match self {
            Self::Gpt2 => "r50k_base.tiktoken",
            Self::Cl100k => "cl100k_base.tiktoken",
        }
    }

    /// Digest of the list of ranks, as OpenAI's own package pins it.
    fn ranks_digest(self) -> &'static str {
        match self {
            Self::Gpt2 => "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
            Self::Cl100k => "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        }
    }

    /// Tokens besides those with a rank.
    fn special_tokens(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Gpt2 => &[("<|endoftext|>", 50_256)],
            Self::Cl100k => &[
                ("<|endoftext|>", 100_257),
                ("<|fim_prefix|>", 100_258),
                ("<|fim_middle|>", 100_259),
                ("<|fim_suffix|>", 100_260),
                ("<|endofprompt|>", 100_276),
            ],
        }
    }

    fn pre_tokenizer(self) -> Value {
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": use_regex,
            })
        };
        match self {
            Self::Gpt2 => byte_level(true),
            Self::Cl100k => json!({"type": "Sequence", "pretokenizers": [
                {
                    "type": "Split", "pattern": {"Regex": patterns::CL100K},
                    "behavior": "Isolated", "invert": false,
                },
                byte_level(false),
            ]}),
        }
    }

    /// The tokenizer of a list of ranks, which must be the published one.
    ///
    /// The same list gives the same `tokenizer.json` to the byte.
    pub fn tokenizer(self, ranks: &[u8]) -> Result<Tokenizer, Error> {
        let name = self.ranks_name().to_owned();
        let found = Digest::of(ranks);
        if found.hex() != self.ranks_digest() {
            let detail = format!("its list of ranks has the digest {found}, not the published one");
            return Err(Error::Tokenizer { name, detail });
        }
        let json = self.convert(ranks).ok_or_else(|| {
            let detail = "its list of ranks is not one of byte pairs".to_owned();
            Error::Tokenizer { name: name.clone(), detail }
        })?;
        let end_of_text = self.special_tokens()[0].1;
        Tokenizer::from_json(&name, json.to_string().into_bytes(), Some(end_of_text))
    }

    fn convert(self, ranks: &[u8]) -> Option<Value> {
        let mut tokens = Vec::new();
        for line in std::str::from_utf8(ranks).ok()?.lines() {
            let (token, rank) = line.split_once(' ')?;
            tokens.push((BASE64_STANDARD.decode(token).ok()?, rank.parse::<u32>().ok()?));
        }
        tokens.sort_by_key(|(_, rank)| *rank);
        let ranks: HashMap<&[u8], u32> =
            tokens.iter().map(|(token, rank)| (token.as_slice(), *rank)).collect();
        let (mut vocab, mut merges) = (Map::new(), Vec::new());
        for (token, rank) in &tokens {
            vocab.insert(spelt(token), (*rank).into());
            if token.len() > 1 {
                let (left, right) = halves(token, *rank, &ranks)?;
                merges.push(format!("{} {}", spelt(left), spelt(right)));
            }
        }
        let special = |(content, id): &(&str, u32)| {
            json!({
                "id": id, "content": content, "special": true, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            })
        };
        let added: Vec<Value> = self.special_tokens().iter().map(special).collect();
        // In the vocabulary too, as their numbers leave gaps.
        vocab.extend(self.special_tokens().iter().map(|(t, id)| ((*t).to_owned(), (*id).into())));
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": true,
        });
        Some(json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": null, "pre_tokenizer": self.pre_tokenizer(),
            "post_processor": byte_level, "decoder": byte_level,
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false, "ignore_merges": true,
                "vocab": vocab, "merges": merges,
            },
        }))
    }
}

/// The two tokens of lower rank that a token is merged of.
fn halves<'a>(
    token: &'a [u8],
    rank: u32,
    ranks: &HashMap<&[u8], u32>,
) -> Option<(&'a [u8], &'a [u8])> {
    // Where parts begin, and the end.
    let mut cuts: Vec<usize> = (0..=token.len()).collect();
    while cuts.len() > 3 {
        let pair = |i: usize| ranks.get(&token[cuts[i]..cuts[i + 2]]).copied();
        let lower = (0..cuts.len() - 2).filter_map(|i| Some((pair(i)?, i)));
        let (_, first) = lower.filter(|(merged, _)| *merged < rank).min()?;
        cuts.remove(first + 1);
    }
    let [_, middle, _] = cuts[..] else { return None };
    Some(token.split_at(middle))
}

/// A token as `tokenizer.json` spells it: one printable character per byte.
fn spelt(token: &[u8]) -> String {
    token.iter().map(|byte| letter(*byte)).collect()
}

/// GPT-2's character for a byte: itself if it is printable in Latin-1, else one from U+0100 on.
pub(super) fn letter(byte: u8) -> char {
    let is_printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if is_printable(byte) {
        return char::from(byte);
    }
    let n_before = (0..byte).filter(|byte| !is_printable(*byte)).count() as u32;
    char::from_u32(0x100 + n_before).unwrap_or(char::REPLACEMENT_CHARACTER)
}

#[cfg(test)]
mod tests;
