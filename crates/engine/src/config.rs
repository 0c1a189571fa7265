//! `config.json`, key by key: a key that is not understood is refused by name, never skipped.
//!
//! An architecture takes the keys it knows out of [`Fields`], each with its range; what remains
//! at the end must be on a list of keys that cannot change a loss.

use crate::{
    error::refuse,
    json::{Value, shorten},
};
use protocol::{Reason, ReasonCode::ConfigRefused};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
};

/// Keys that describe how a model was made, saved or sampled from; no loss depends on them.
const HARMLESS: &[&str] = &[
    "_name_or_path",
    "activation_dropout",
    "attention_dropout",
    "attn_pdrop",
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "classif_dropout",
    "classifier_dropout",
    "decoder_layerdrop",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dropout",
    "early_stopping",
    "embd_pdrop",
    "encoder_layerdrop",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "hidden_dropout",
    "gradient_checkpointing",
    "id2label",
    "init_std",
    "initializer_range",
    "is_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_labels",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "resid_pdrop",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "summary_activation",
    "summary_first_dropout",
    "summary_proj_to_labels",
    "summary_type",
    "summary_use_proj",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_cache",
];

/// Keys that would change what is computed, with the only value at which they do not.
const NEUTRAL: &[(&str, &str)] = &[
    ("add_cross_attention", "false"),
    ("cross_attention_hidden_size", "null"),
    ("is_encoder_decoder", "false"),
    ("partial_rotary_factor", "1.0"),
    ("pruned_heads", "{}"),
    ("rope_interleaved", "false"),
    ("tie_encoder_decoder", "false"),
    ("use_bfloat16", "false"),
    ("use_bidirectional_attention", "false"),
];

/// The members of a JSON object that nobody has taken yet.
#[derive(Debug)]
pub(crate) struct Fields {
    members: BTreeMap<String, Value>,
    /// Keys that were there with a null.
    nulls: BTreeSet<String>,
    /// Where the object stands, for messages: empty or `key.`.
    place: String,
}

impl Fields {
    /// Reads `config.json`; a null stands for an absent key, unless somebody asks for nulls.
    pub(crate) fn parse(config: &[u8]) -> Result<Self, Reason> {
        match Value::parse(config) {
            Ok(Value::Object(members)) => Ok(Self::of(members, String::new())),
            Ok(_) => refuse(ConfigRefused, "`config.json` is not an object"),
            Err(fault) => refuse(ConfigRefused, format!("`config.json`: {fault}")),
        }
    }

    fn of(mut members: BTreeMap<String, Value>, place: String) -> Self {
        let nulls = members.iter().filter(|(_, value)| **value == Value::Null);
        let nulls = nulls.map(|(key, _)| key.clone()).collect();
        members.retain(|_, value| *value != Value::Null);
        Self { members, nulls, place }
    }

    /// Whether a key was there with a null.
    pub(crate) fn is_null(&self, key: &str) -> bool {
        self.nulls.contains(key)
    }

    /// Takes a whole number within a range.
    pub(crate) fn unsigned(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<Option<usize>, Reason> {
        let Some(value) = self.members.remove(key) else { return Ok(None) };
        let number = match &value {
            Value::Number(text) => text.parse().ok().filter(|n| range.contains(n)),
            _ => None,
        };
        match number.and_then(|number: u64| usize::try_from(number).ok()) {
            Some(number) => Ok(Some(number)),
            None => self.refuse_value(key, &value, &format!("a whole number {}", Shown(&range))),
        }
    }

    /// Takes a whole number that must be there.
    pub(crate) fn required(
        &mut self,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Result<usize, Reason> {
        match self.unsigned(key, range)? {
            Some(number) => Ok(number),
            None => refuse(ConfigRefused, format!("`{}{key}` is missing", self.place)),
        }
    }

    /// Takes a number within a range.
    pub(crate) fn real(
        &mut self,
        key: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, Reason> {
        let Some(value) = self.members.remove(key) else { return Ok(None) };
        let number = match &value {
            Value::Number(text) => text.parse().ok().filter(|n| range.contains(n)),
            _ => None,
        };
        match number {
            Some(number) => Ok(Some(number)),
            None => self.refuse_value(key, &value, &format!("a number {}", Shown(&range))),
        }
    }

    /// Takes a list of numbers within a range.
    pub(crate) fn reals(
        &mut self,
        key: &str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<Vec<f64>>, Reason> {
        let Some(value) = self.members.remove(key) else { return Ok(None) };
        let number = |value: &Value| match value {
            Value::Number(text) => text.parse().ok().filter(|n| range.contains(n)),
            _ => None,
        };
        let numbers = match &value {
            Value::Array(values) => values.iter().map(number).collect(),
            _ => None,
        };
        match numbers {
            Some(numbers) => Ok(Some(numbers)),
            None => self.refuse_value(key, &value, &format!("numbers {}", Shown(&range))),
        }
    }

    /// Takes `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &str) -> Result<Option<bool>, Reason> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(value)),
            Some(value) => self.refuse_value(key, &value, "true or false"),
        }
    }

    /// Takes a string.
    pub(crate) fn text(&mut self, key: &str) -> Result<Option<String>, Reason> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(value) => self.refuse_value(key, &value, "a string"),
        }
    }

    /// Takes a list of strings.
    pub(crate) fn texts(&mut self, key: &str) -> Result<Option<Vec<String>>, Reason> {
        let Some(value) = self.members.remove(key) else { return Ok(None) };
        let Value::Array(values) = &value else {
            return self.refuse_value(key, &value, "a list of strings");
        };
        let text = |value: &Value| match value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        };
        match values.iter().map(text).collect() {
            Some(texts) => Ok(Some(texts)),
            None => self.refuse_value(key, &value, "a list of strings"),
        }
    }

    /// Takes an object.
    pub(crate) fn object(&mut self, key: &str) -> Result<Option<Self>, Reason> {
        match self.members.remove(key) {
            None => Ok(None),
            Some(Value::Object(members)) => {
                Ok(Some(Self::of(members, format!("{}{key}.", self.place))))
            }
            Some(value) => self.refuse_value(key, &value, "an object"),
        }
    }

    /// Checks the keys that say which class of transformers a model is.
    pub(crate) fn check_class(&mut self, class: &str) -> Result<(), Reason> {
        match self.members.remove("architectures") {
            None => Ok(()),
            Some(Value::Array(classes)) if classes == [Value::Text(class.to_owned())] => Ok(()),
            Some(value) => self.refuse_value("architectures", &value, &format!("`[\"{class}\"]`")),
        }
    }

    /// Checks the declared type of the parameters, spelled `dtype` or `torch_dtype`.
    ///
    /// What counts is the type in the tensors' own headers, which all widen exactly.
    pub(crate) fn check_dtype(&mut self) -> Result<(), Reason> {
        let (new, old) = (self.text("dtype")?, self.text("torch_dtype")?);
        for dtype in new.iter().chain(&old) {
            let name = dtype.strip_prefix("torch.").unwrap_or(dtype);
            if !["float32", "float16", "bfloat16"].contains(&name) {
                return refuse(ConfigRefused, format!("the dtype `{}`", shorten(dtype)));
            }
        }
        match (new, old) {
            (Some(new), Some(old)) if new != old => {
                refuse(ConfigRefused, "`dtype` and `torch_dtype` contradict each other")
            }
            _ => Ok(()),
        }
    }

    /// Nothing may remain but keys that cannot change a loss.
    pub(crate) fn finish(self) -> Result<(), Reason> {
        for (key, value) in &self.members {
            if self.place.is_empty() && HARMLESS.contains(&key.as_str()) {
                continue;
            }
            match NEUTRAL.iter().find(|(name, _)| name == key) {
                Some((_, neutral)) if is_neutral(value, neutral) => (),
                Some((_, neutral)) => {
                    return self.refuse_value(key, value, &format!("{neutral} or absent"));
                }
                None => {
                    let key = format!("{}{}", self.place, shorten(key));
                    return refuse(ConfigRefused, format!("the key `{key}` is not supported"));
                }
            }
        }
        Ok(())
    }

    fn refuse_value<T>(&self, key: &str, value: &Value, expected: &str) -> Result<T, Reason> {
        let place = &self.place;
        refuse(ConfigRefused, format!("`{place}{key}` is {}, not {expected}", Shown(value)))
    }
}

fn is_neutral(value: &Value, neutral: &str) -> bool {
    match value {
        Value::Number(text) => text.parse::<f64>().ok() == neutral.parse().ok(),
        _ => Value::parse(neutral.as_bytes()).as_ref() == Ok(value),
    }
}

/// Shows a stranger's value or a range in a message.
struct Shown<'a, T>(&'a T);

impl fmt::Display for Shown<'_, Value> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("null"),
            Value::Boolean(value) => write!(f, "{value}"),
            Value::Number(text) => f.write_str(&shorten(text)),
            Value::Text(text) => write!(f, "`{}`", shorten(text)),
            Value::Array(_) => f.write_str("a list"),
            Value::Object(_) => f.write_str("an object"),
        }
    }
}

impl<T: fmt::Display> fmt::Display for Shown<'_, RangeInclusive<T>> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to {}", self.0.start(), self.0.end())
    }
}
