//! Keys of other types that say once more what a config has said already.
//!
//! A config that went through several programs has the names of all of them. Two of transformers'
//! classes take such a name for their own: whoever reads it must not see another model.

use super::{Activation, Architecture, Attention, Layer};
use crate::config::Fields;

/// Takes the keys that repeat a size, a switch or a list; each must say what the model is.
pub(super) fn check(fields: &mut Fields, model: &Architecture) {
    let Some(layer) = model.layers.first() else { return };
    let (heads, width) = (layer.attention.heads, layer.mlp.width());
    let sizes: [(usize, &[&str]); 7] = [
        (model.hidden, &["hidden_size", "n_embd", "n_embed", "d_model"]),
        (model.layers.len(), &["num_hidden_layers", "n_layer", "n_layers", "num_layers"]),
        (heads.n_heads, &["num_attention_heads", "n_head", "n_heads", "num_heads"]),
        (heads.n_kv_heads, &["num_key_value_heads", "num_kv_heads", "n_head_kv", "kv_n_heads"]),
        (heads.head_size, &["head_dim"]),
        (width, &["intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim"]),
        (model.context, &["max_position_embeddings"]),
    ];
    for (said, names) in sizes {
        names.iter().for_each(|name| fields.repeats(name, said as f64));
    }
    let factor = width as f64 / model.hidden as f64;
    ["ff_factor", "ffn_factor"].iter().for_each(|name| fields.repeats(name, factor));
    switches(fields, layer);
    windows(fields, model);
    for key in ["hidden_act", "hidden_activation", "activation_function", "activation"] {
        let found = Activation::read(fields, key);
        if found.is_some_and(|found| found != layer.mlp.activation) {
            fields.fault(format_args!("`{key}` is not the activation that other keys name"));
        }
    }
}

fn switches(fields: &mut Fields, layer: &Layer) {
    let Attention { heads, inputs, head_norms, .. } = &layer.attention;
    let has_biases = inputs.iter().all(|linear| linear.bias.is_some());
    let switches: [(bool, &[&str]); 4] = [
        (has_biases, &["qkv_bias", "use_qkv_bias"]),
        (layer.is_parallel, &["use_parallel_residual", "parallel_attn"]),
        (heads.n_kv_heads == 1, &["multi_query"]),
        (head_norms.is_some(), &["qk_layernorm", "qk_norm", "use_qk_norm"]),
    ];
    for (said, names) in switches {
        names.iter().for_each(|name| fields.switch(name, said));
    }
}

/// A list of the kinds of layers.
fn windows(fields: &mut Fields, model: &Architecture) {
    let windows = || model.layers.iter().map(|layer| layer.attention.window);
    if let Some(kinds) = fields.texts("layer_types") {
        let kind = |window: Option<usize>| match window {
            Some(_) => "sliding_attention",
            None => "full_attention",
        };
        if !windows().map(kind).eq(kinds.iter().map(String::as_str)) {
            fields.fault("`layer_types` are not those of the layers");
        }
    }
}
