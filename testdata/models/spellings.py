"""The spelling of transformers 4, and of the first models that were published under each name."""

# What the first configs said besides, to be passed over.
SUMMARY = {"summary_activation": None, "summary_first_dropout": 0.1, "summary_proj_to_labels": True,
           "summary_type": "cls_index", "summary_use_proj": True}
MORE = {
    "falcon": {"apply_residual_connection_post_layernorm": False, "rope_scaling": None},
    "gemma": {"hidden_activation": None, "rope_scaling": None},
    "gemma2": {"hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh",
               "cache_implementation": "hybrid"},
    "gpt2": {},
    "gpt_bigcode": {"inference_runner": 0, "max_batch_size": None, "max_sequence_length": None, "n_ctx": 128,
                    "pad_key_length": True, "pre_allocate_kv_cache": False, "validate_runner_input": True, **SUMMARY},
    "gptj": {"gradient_checkpointing": False, "rotary": True, "scale_attn_weights": True,
             "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50, "temperature": 1.0}},
             "tokenizer_class": "GPT2Tokenizer", **SUMMARY},
    "phi": {"rope_scaling": None},
    "phi3": {"rope_scaling": None},
    "stablelm": {"rope_scaling": None},
}
# What the first models left out, or had under the names of GPT-2.
LESS = {
    "gpt2": ("activation_function", "layer_norm_epsilon", "n_inner", "tie_word_embeddings"),
    "gpt_bigcode": ("num_key_value_heads",),
}


def old_rope(config):
    """Takes the rotation's parameters out of their object, as far as they had a key of their own."""
    parameters = config.pop("rope_parameters")
    neox = config["model_type"] == "gpt_neox"
    config["rotary_emb_base" if neox else "rope_theta"] = parameters.pop("rope_theta")
    if "partial_rotary_factor" in parameters:
        config["rotary_pct" if neox else "partial_rotary_factor"] = parameters.pop("partial_rotary_factor")
    if parameters["rope_type"] != "default":
        config["rope_scaling"] = parameters


def old_spelling(config):
    """`config.json` as transformers 4 wrote it."""
    family = config["model_type"]
    config["torch_dtype"] = config.pop("dtype")
    if "rope_parameters" in config:
        old_rope(config)
    if family == "gpt2":
        config["n_ctx"] = config["n_positions"]
    for key in ("layer_types", *LESS.get(family, ())):
        config.pop(key, None)
    config |= {key: value for key, value in MORE.get(family, {}).items() if key not in config}
    config["transformers_version"] = "4.45.0"
    return dict(sorted(config.items()))
