//! What a model is measured on: tokens of a file, or a text.

use super::first_token;
use crate::{args::EvaluateArgs, competition_file::with_own_hint, failure::HintExt as _, input};
use anyhow::ensure;
use dataset::{Batch, Document, Tokenizer, pack, plain_text};
use protocol::Digest;
use serde::Deserialize;
use std::path::Path;

/// Longest file of tokens: 40 million of them.
const TOKENS_BYTES_MAX: u64 = 256 << 20;
/// Longest text; its tokens are held in memory.
const TEXT_BYTES_MAX: u64 = 64 << 20;

/// Sequences of tokens, and where they are from.
pub struct Text {
    /// The sequences.
    pub sequences: Vec<Vec<u32>>,
    /// How many of the sequences each batch has, where they are a round's.
    pub batches: Option<Vec<usize>>,
    /// What stands in front of each sequence, where they are a text.
    pub first_token: Option<Option<u32>>,
}

/// What `--tokens` holds: sequences, or what `agon sample --json` prints; other fields are ignored.
#[derive(Deserialize)]
struct Tokens {
    sequences: Option<Vec<Vec<u32>>>,
    batches: Option<Vec<Drawn>>,
    /// Digest over all batches.
    batches_digest: Option<Digest>,
}

/// A batch, with its digest where a round names it.
#[derive(Deserialize)]
struct Drawn {
    sequences: Vec<Vec<u32>>,
    digest: Option<Digest>,
}

impl Text {
    /// The tokens of `--tokens`, or of `--text` packed as one document.
    pub fn of(args: &EvaluateArgs) -> anyhow::Result<Self> {
        if let Some(path) = &args.tokens {
            return Self::of_tokens(path);
        }
        let (Some(path), Some(tokenizer), Some(length)) =
            (&args.text, &args.tokenizer, args.sequence_length)
        else {
            // The parser of arguments has asked for them already.
            anyhow::bail!("`--text` needs `--tokenizer` and `--sequence-length`");
        };
        ensure!(length >= 2, "`--sequence-length` is {length}: a loss needs at least 2 tokens");
        // As competitions read text files, so that the same file has the same tokens.
        let text = plain_text(&input::read_text(path, TEXT_BYTES_MAX)?);
        let file = input::name(path);
        ensure!(!text.is_empty(), "{file} is empty");
        let first = first_token::find(args.first_token, tokenizer, &args.model)?;
        let tokenizer = with_own_hint(Tokenizer::load(tokenizer, None, None))?;
        let document = Document { id: file.clone(), text, entropy_nats: None };
        let length_of_text = length - usize::from(first.is_some());
        ensure!(
            length_of_text >= 2,
            "`--sequence-length` is {length}: 3 with a first token at least"
        );
        let mut sequences = with_own_hint(pack::pack(&[document], &tokenizer, length_of_text))?;
        if sequences.is_empty() {
            return Err(anyhow::anyhow!("{file} is too short for one sequence of {length} tokens"))
                .hint("give more text, or a smaller --sequence-length");
        }
        for sequence in &mut sequences {
            sequence.splice(0..0, first);
        }
        Ok(Self { sequences, batches: None, first_token: Some(first) })
    }

    fn of_tokens(path: &Path) -> anyhow::Result<Self> {
        let tokens: Tokens = input::read_json(path, TOKENS_BYTES_MAX, "evaluate")?;
        let file = input::name(path);
        let (sequences, batches) = match tokens {
            Tokens { sequences: Some(_), batches: Some(_), .. } => {
                anyhow::bail!("{file} holds both `sequences` and `batches`")
            }
            Tokens { sequences: None, batches: None, .. } => {
                return Err(anyhow::anyhow!("{file} holds neither `sequences` nor `batches`"))
                    .hint("`agon evaluate --help` shows what the file holds");
            }
            Tokens { sequences: Some(sequences), .. } => (sequences, None),
            Tokens { batches: Some(drawn), batches_digest, .. } => {
                let batches = undamaged(drawn, batches_digest, &file)?;
                let empty = batches.iter().position(|batch| batch.sequences.is_empty());
                ensure!(empty.is_none(), "a batch of {file} holds no sequences");
                let sizes = batches.iter().map(|batch| batch.sequences.len()).collect();
                (batches.into_iter().flat_map(|batch| batch.sequences).collect(), Some(sizes))
            }
        };
        ensure!(!sequences.is_empty(), "{file} holds no sequences");
        for (index, sequence) in sequences.iter().enumerate() {
            let (number, n) = (index + 1, sequence.len());
            ensure!(n >= 2, "sequence {number} of {file} has {n} tokens: a loss needs at least 2");
        }
        Ok(Self { sequences, batches, first_token: None })
    }
}

/// The batches, which must be those whose digests stand beside them.
fn undamaged(drawn: Vec<Drawn>, all: Option<Digest>, file: &str) -> anyhow::Result<Vec<Batch>> {
    let expect = |what: &str, batches: &[Batch], named: Option<Digest>| {
        let found = pack::digest(batches);
        match named {
            Some(named) if named != found => Err(anyhow::anyhow!(
                "{what} of {file} hold other tokens than those of the digest beside them: \
                 {found} instead of {named}"
            ))
            .hint("`agon sample` draws them again; tokens of your own go without a digest"),
            _ => Ok(()),
        }
    };
    let mut batches = Vec::new();
    for (index, Drawn { sequences, digest }) in drawn.into_iter().enumerate() {
        let batch = Batch { sequences };
        let what = format!("the sequences of batch {}", index + 1);
        expect(&what, std::slice::from_ref(&batch), digest)?;
        batches.push(batch);
    }
    expect("the batches", &batches, all)?;
    Ok(batches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::causes;
    use serde_json::{Value, json};

    fn of_tokens(value: &Value) -> Result<Text, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        std::fs::write(&path, value.to_string()).unwrap();
        Text::of_tokens(&path).map_err(|error| causes(&error))
    }

    /// Batches as `agon sample --json` prints them, with the digests of their tokens.
    fn sampled() -> Value {
        let batches = [vec![vec![1, 2, 3], vec![4, 5, 6]], vec![vec![7, 8, 9]]]
            .map(|sequences| Batch { sequences });
        let digests: Vec<Digest> =
            batches.iter().map(|batch| pack::digest(std::slice::from_ref(batch))).collect();
        let batch = |(batch, digest): (&Batch, &Digest)| {
            let sequences = &batch.sequences;
            json!({"digest": digest, "beginning": "x", "sequences": sequences})
        };
        let drawn: Vec<Value> = batches.iter().zip(&digests).map(batch).collect();
        json!({"seed": "00", "batches": drawn, "batches_digest": pack::digest(&batches)})
    }

    #[test]
    fn what_sample_prints_is_read_batch_by_batch() {
        let text = of_tokens(&sampled()).unwrap();
        assert_eq!(text.batches, Some(vec![2, 1]));
        assert_eq!(text.sequences.concat(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(text.first_token, None, "tokens have what they have in front");
        let own = of_tokens(&json!({"sequences": [[0, u32::MAX], [1, 2, 3]]})).unwrap();
        assert_eq!((own.batches, own.sequences.len()), (None, 2));
    }

    #[test]
    fn attack_tokens_that_are_not_those_of_their_digest_are_refused() {
        type Change = fn(&mut Value);
        let cases: [(Change, &str); 6] = [
            (|v| v["batches"][1]["sequences"][0][2] = json!(10), "the sequences of batch 2"),
            (|v| v["batches"][0]["sequences"][0] = json!([1, 2]), "the sequences of batch 1"),
            // Equal tokens, cut elsewhere.
            (|v| v["batches"][0]["sequences"] = json!([[1, 2], [3, 4, 5, 6]]), "of batch 1"),
            (|v| v["batches"].as_array_mut().unwrap().swap(0, 1), "the batches of"),
            (|v| drop(v["batches"].as_array_mut().unwrap().pop()), "the batches of"),
            (|v| v["batches_digest"] = json!(Digest([7; 32])), "the batches of"),
        ];
        for (change, part) in cases {
            let mut value = sampled();
            change(&mut value);
            let told = of_tokens(&value).map(|_| ()).unwrap_err();
            assert!(told.contains(part) && told.contains("hold other tokens"), "{part}: {told}");
        }
        let mut bare = sampled();
        bare["batches_digest"] = Value::Null;
        for batch in bare["batches"].as_array_mut().unwrap() {
            batch["digest"] = Value::Null;
            batch["sequences"][0][0] = json!(99);
        }
        assert!(of_tokens(&bare).is_ok(), "tokens of one's own go without a digest");
    }

    #[test]
    fn tokens_that_nobody_can_measure_are_named() {
        for (value, part) in [
            (json!({}), "neither `sequences` nor `batches`"),
            (json!({"sequences": [[1, 2]], "batches": []}), "both `sequences` and `batches`"),
            (json!({"sequences": []}), "holds no sequences"),
            (json!({"batches": []}), "holds no sequences"),
            (json!({"batches": [{"sequences": []}]}), "a batch of"),
            (json!({"sequences": [[1, 2], [3]]}), "sequence 2 of"),
            (json!({"sequences": [[]]}), "has 0 tokens: a loss needs at least 2"),
            (json!({"sequences": [[1, -2]]}), "agon evaluate"),
            (json!({"sequences": [[1, 4_294_967_296_u64]]}), "agon evaluate"),
            (json!({"sequences": [[1, 2.5]]}), "agon evaluate"),
            (json!([[1, 2]]), "agon evaluate"),
        ] {
            let told = of_tokens(&value).map(|_| ()).unwrap_err();
            assert!(told.contains(part) && told.contains("tokens.json"), "no `{part}`: {told}");
        }
    }
}
