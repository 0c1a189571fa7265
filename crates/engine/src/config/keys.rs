//! Keys by which some model computes, in the types that do not take them.
//!
//! The list was made from the classes for causal language models of transformers 4.34 to 5.23, and
//! has what changes a loss. What sets dropout, initialisation, training, caches, generation or
//! labels is not in it, and neither is what no class reads. A type takes all keys of its own class
//! in every one of these versions, so that the list only has to tell when somebody meant a model of
//! another kind.

use super::number;
use crate::json::Value;

/// What a key must say for nothing to be different.
#[derive(Clone, Copy)]
enum Neutral {
    /// That what it speaks of is not there: `false`, zero, or an empty list or object.
    Off,
    /// One: what is multiplied with it stays.
    One,
    /// `true`.
    On,
    /// Nothing at all.
    Absent,
}

use Neutral::{Absent, Off, On, One};

/// Names with what they must say, sorted by kind, then by name.
const COMPUTED_BY: &[(Neutral, &[&str])] = &[
    // What is said here holds for every class.
    (
        Absent,
        &[
            // It would give other keys another meaning.
            "attribute_map",
            "compression_config",
            // It overrides keys for some layers, in every class of transformers 5.
            "per_layer_config",
            "quantization",
            "quantization_config",
            "text_config",
        ],
    ),
    (On, &["is_causal", "rotary", "scale_attn_weights"]),
    (
        One,
        &[
            "attention_in_multiplier",
            "attention_multiplier",
            "attention_out_multiplier",
            "attention_value_scale",
            "embedding_multiplier",
            "embedding_scale",
            "key_multiplier",
            "lm_head_multiplier",
            "logit_scale",
            "logits_scaling",
            "partial_rotary_factor",
            "residual_multiplier",
            "residual_weight",
            "rope_ratio",
            "rotary_pct",
            "scale_emb",
        ],
    ),
    // Attention and positions.
    (
        Off,
        &[
            "add_cross_attention",
            "alibi",
            "alibi_bias_max",
            "attention_bias",
            "attention_chunk_size",
            "attention_k_eq_v",
            "attention_layers",
            "attention_logit_cap",
            "attention_out_bias",
            "attention_type",
            "attention_types",
            "attention_window_size",
            "attn_config",
            "attn_layer_indices",
            "attn_layer_offset",
            "attn_layer_period",
            "attn_logit_softcapping",
            "attn_scale",
            "attn_temperature_tuning",
            "attn_type",
            "clip_qkv",
            "cross_attention_hidden_size",
            "cross_attention_layers",
            "full_attn_idxs",
            "global_attn_every_n_layers",
            "global_rope_theta",
            "kv_lora_rank",
            "layer_rope_theta",
            "layer_types",
            "learned_pos_emb",
            "local_rope_theta",
            "no_rope_layer_interval",
            "no_rope_layers",
            "prefix_lm",
            "q_lora_rank",
            "qk_layernorm",
            "qk_ln",
            "qk_nope_head_dim",
            "qk_norm",
            "qk_rope_head_dim",
            "qkv_bias",
            "query_pre_attn_scalar",
            "relative_positional_bias",
            "rope_interleave",
            "rope_interleaved",
            "rope_local_base_freq",
            "rope_parameters",
            "rope_scaling",
            "rope_theta",
            "rotary_dim",
            "rotary_emb_base",
            "scale_attn_by_inverse_layer_idx",
            "sliding_window",
            "sliding_window_pattern",
            "softmax_scale",
            "use_absolute_position_embeddings",
            "use_attention_bias",
            "use_bidirectional_attention",
            "use_mrope",
            "use_qk_norm",
            "use_qkv_bias",
            "use_relative_position_bias",
            "use_sliding_window",
            "v_head_dim",
            "window_size",
        ],
    ),
    // Experts, and layers of other kinds.
    (
        Off,
        &[
            "block_types",
            "decoder_sparse_step",
            "enable_moe_block",
            "expert_ffn_hidden_size",
            "expert_layer_period",
            "first_k_dense_replace",
            "hybrid_layer_ids",
            "is_moe",
            "layers_block_type",
            "lru_width",
            "mamba_d_state",
            "moe_intermediate_size",
            "moe_k",
            "moe_layers",
            "moe_num_experts",
            "moe_topk",
            "n_routed_experts",
            "n_shared_experts",
            "num_experts",
            "num_experts_per_tok",
            "num_local_experts",
            "num_shared_experts",
            "shared_expert_intermediate_size",
            "ssm_state_size",
            "state_size",
        ],
    ),
    // Everything else.
    (
        Off,
        &[
            "activation_sparsity_pattern",
            "add_bias_linear",
            "altup_num_inputs",
            "apply_residual_connection_post_layernorm",
            "bias",
            "div_val",
            "embedding_size",
            "enable_bias",
            "ffn_config",
            "final_logit_softcapping",
            "gate_soft_cap",
            "is_encoder_decoder",
            "layer_group_size",
            "lm_head_bias",
            "logits_soft_cap",
            "mlp_bias",
            "mlp_multipliers",
            "multi_query",
            "new_decoder_architecture",
            "norm_bias",
            "num_kv_shared_layers",
            "num_ln_in_parallel_attn",
            "num_mem_blocks",
            "output_logit_soft_cap",
            "parallel_attn",
            "pruned_heads",
            "scale_depth",
            "scale_embedding",
            "swiglu_alpha",
            "swiglu_limit",
            "tie_encoder_decoder",
            "use_bfloat16",
            "use_bias",
            "use_parallel_residual",
            "use_post_norm",
            "word_embed_proj_dim",
        ],
    ),
];

/// What the value of a key that no type has taken should be, if it is not.
pub(super) fn fault(key: &str, value: &Value) -> Option<&'static str> {
    let (neutral, _) = COMPUTED_BY.iter().find(|(_, names)| names.contains(&key))?;
    let is_one = || number(value) == Some(1.0);
    let is_off = || match value {
        Value::Boolean(value) => !value,
        Value::Number(_) => number(value) == Some(0.0),
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Null | Value::Text(_) => false,
    };
    match neutral {
        Absent => Some("absent"),
        On if *value == Value::Boolean(true) => None,
        On => Some("true or absent"),
        One if is_one() => None,
        One => Some("1 or absent"),
        Off if is_off() => None,
        Off => Some("false or absent"),
    }
}

/// Whether a key means another model when it is off.
pub(super) fn must_be_on(key: &str) -> bool {
    COMPUTED_BY.iter().any(|(neutral, names)| matches!(neutral, On) && names.contains(&key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_name_stands_once() {
        let names: Vec<_> = COMPUTED_BY.iter().flat_map(|(_, names)| *names).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_key_by_which_others_compute_must_say_that_nothing_is_different() {
        let is_neutral =
            |key: &str, value: &str| fault(key, &Value::parse(value.as_bytes()).unwrap()).is_none();
        for (key, neutral, other) in [
            ("alibi", "false", "true"),
            ("num_experts", "0", "8"),
            ("pruned_heads", "{}", r#"{"0": [1]}"#),
            ("attention_type", "false", "\"full\""),
            ("logit_scale", "1", "0.5"),
            ("is_causal", "true", "false"),
            ("nobody_reads_this", "[1]", "null"),
        ] {
            assert!(is_neutral(key, neutral), "{key}");
            assert!(!is_neutral(key, other) || key.starts_with("nobody"), "{key}");
        }
        assert!(!is_neutral("quantization_config", "{}"));
    }
}
