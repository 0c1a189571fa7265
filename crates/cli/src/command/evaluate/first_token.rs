//! The token in front of each sequence of a text, where a model was trained with one.

use crate::{args::FirstToken, failure::HintExt as _, input};
use serde_json::Value;
use std::path::Path;

/// Longest `tokenizer.json` or `config.json` that is asked.
const BYTES_MAX: u64 = 128 << 20;

/// The token that stands in front, if any does.
pub(super) fn find(
    wish: FirstToken,
    tokenizer: &Path,
    model: &Path,
) -> anyhow::Result<Option<u32>> {
    let read = |path: &Path| input::read_json::<Value>(path, BYTES_MAX, "evaluate");
    match wish {
        FirstToken::None => Ok(None),
        FirstToken::Auto => Ok(of_tokenizer(&read(tokenizer)?)),
        FirstToken::Bos => {
            if let Some(token) = of_tokenizer(&read(tokenizer)?) {
                return Ok(Some(token));
            }
            let config = read(&model.join("config.json"))?;
            let token = config["bos_token_id"].as_u64().and_then(|token| token.try_into().ok());
            let none = "neither the tokenizer nor the model's config names a first token";
            token.map(Some).ok_or_else(|| anyhow::anyhow!(none)).hint("leave --first-token out")
        }
    }
}

/// What a tokenizer's post-processor puts in front of a text.
fn of_tokenizer(file: &Value) -> Option<u32> {
    let processor = &file["post_processor"];
    let own = std::slice::from_ref(processor);
    // A sequence of processors has one level: nobody nests them.
    let all = processor["processors"].as_array().map_or(own, Vec::as_slice);
    all.iter().find_map(|processor| {
        match processor["type"].as_str()? {
            "TemplateProcessing" => {
                let name = processor["single"][0]["SpecialToken"]["id"].as_str()?;
                processor["special_tokens"][name]["ids"][0].as_u64()
            }
            "BertProcessing" | "RobertaProcessing" => processor["cls"][1].as_u64(),
            _ => None,
        }
        .and_then(|token| token.try_into().ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template() -> Value {
        json!({
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]}},
        })
    }

    #[test]
    fn the_first_token_is_the_one_that_the_post_processor_puts_in_front() {
        let byte_level = json!({"type": "ByteLevel", "trim_offsets": true});
        let without = json!({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}]});
        let both = json!({"type": "Sequence", "processors": [byte_level, template()]});
        let roberta = json!({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]});
        for (processor, expected) in [
            (template(), Some(7)),
            (both, Some(7)),
            (roberta, Some(0)),
            (json!(null), None),
            (byte_level, None),
            (without, None),
        ] {
            let found = of_tokenizer(&json!({"post_processor": processor}));
            assert_eq!(found, expected, "{processor}");
        }
    }

    #[test]
    fn a_wish_decides_over_the_tokenizer_and_the_config() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = dir.path().join("tokenizer.json");
        let write = |path: &Path, value: Value| std::fs::write(path, value.to_string()).unwrap();
        let ask = |wish| find(wish, &tokenizer, dir.path());
        write(&tokenizer, json!({"post_processor": template()}));
        for (wish, expected) in
            [(FirstToken::Auto, Some(7)), (FirstToken::Bos, Some(7)), (FirstToken::None, None)]
        {
            assert_eq!(ask(wish).unwrap(), expected, "{wish:?}");
        }
        write(&tokenizer, json!({"post_processor": null}));
        write(&dir.path().join("config.json"), json!({"bos_token_id": 3}));
        assert_eq!(ask(FirstToken::Auto).unwrap(), None);
        assert_eq!(ask(FirstToken::Bos).unwrap(), Some(3));
        write(&dir.path().join("config.json"), json!({"bos_token_id": null}));
        assert!(ask(FirstToken::Bos).unwrap_err().to_string().contains("first token"));
    }
}
