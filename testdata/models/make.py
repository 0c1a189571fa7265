"""Makes the golden files of this folder: tiny checkpoints other than Llama's and their losses in transformers.

    pip install -r ../llama/requirements.txt
    python make.py --out .

How each case is made and written down is `../llama/make.py`'s; here are the classes, the cases, and one check:
attention through SDPA must agree within its tolerance. Window sizes are far below the sequence lengths.
"""

import argparse
import json
import shutil
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, GPT2Config, GPTNeoXConfig, MistralConfig, Qwen2Config, Qwen3Config

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "llama"))
import make as llama  # noqa: E402

CLASSES = {"gpt2": GPT2Config, "gpt_neox": GPTNeoXConfig, "mistral": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}



def gpt2_sizes(**rest):
    return {"vocab_size": 64, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 128,
            "bos_token_id": None, "eos_token_id": None, **rest}


def neox_sizes(**rest):
    return {"vocab_size": 64, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2,
            "intermediate_size": 48, "max_position_embeddings": 128, "bos_token_id": None, "eos_token_id": None, **rest}


def make_parameters(model, rng):
    """As `llama.make_parameters`, and GPT-2's norms, whose biases are drawn like all others."""
    names = {name for name, _ in model.named_parameters() if ".ln_" in name and name.endswith(".weight")}
    llama.make_parameters(model, rng)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name in names:
                tensor.add_(1.0)


# name, what it exercises, family, arguments of the config, and how it is written.
CASES = [
    ("mistral-window", "a window of 24 positions, grouped queries", "mistral",
     llama.sizes(kv=2, sliding_window=24), {}),
    ("mistral-full", "no window (a null), head dimension of its own, old spelling", "mistral",
     llama.sizes(hidden=24, heads=3, kv=1, head_dim=10, intermediate=40, sliding_window=None), {"old": True}),
    ("qwen2-plain", "biases on q, k and v alone, grouped queries, tied, old spelling", "qwen2",
     llama.sizes(kv=2, vocab=96, tie_word_embeddings=True, rope_parameters=llama.rope(1_000_000.0)), {"old": True}),
    ("qwen2-windows", "a window of 20 positions from the second layer on", "qwen2",
     llama.sizes(layers=3, kv=2, use_sliding_window=True, sliding_window=20, max_window_layers=1), {}),
    ("qwen3-plain", "norms of heads, head dimension 12 where hidden / heads is 8", "qwen3",
     llama.sizes(kv=2, head_dim=12, vocab=72, rope_parameters=llama.rope(1_000_000.0)), {}),
    ("qwen3-everything", "norms of heads, biases, windows by a list, tied, BF16, two files, odd sizes", "qwen3",
     llama.sizes(hidden=36, heads=6, kv=3, layers=3, head_dim=18, intermediate=50, vocab=91, attention_bias=True,
                 tie_word_embeddings=True, rms_norm_eps=1e-5, use_sliding_window=True, sliding_window=17,
                 layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
     {"dtype": torch.bfloat16, "sharded": True}),
    ("gpt2-plain", "learned positions, norms of deviations, tied", "gpt2",
     gpt2_sizes(), {}),
    ("gpt2-old", "every default that can be left out, old spelling", "gpt2",
     gpt2_sizes(n_embd=24, n_head=3, n_layer=1), {"old": True}),
    ("gpt2-everything", "sizes that fill no block, inner size of its own, untied, norm epsilon, BF16, two files", "gpt2",
     gpt2_sizes(n_embd=36, n_head=3, n_layer=3, n_inner=70, vocab_size=91, tie_word_embeddings=False,
                layer_norm_epsilon=1e-3), {"dtype": torch.bfloat16, "sharded": True}),
    ("neox-parallel", "a quarter of each head turned, perceptron beside attention, exact GELU", "gpt_neox",
     neox_sizes(), {}),
    ("neox-serial", "perceptron after attention, all of each head turned, old spelling", "gpt_neox",
     neox_sizes(use_parallel_residual=False, rope_parameters=llama.rope(50_000.0, partial_rotary_factor=1.0)),
     {"old": True}),
    ("neox-everything", "no biases in attention, GELU by tanh, tied, odd sizes, BF16, two files", "gpt_neox",
     neox_sizes(hidden_size=36, num_attention_heads=3, num_hidden_layers=3, intermediate_size=70, vocab_size=91,
                attention_bias=False, hidden_act="gelu_new", tie_word_embeddings=True, layer_norm_eps=1e-3,
                rope_parameters=llama.rope(10_000.0, partial_rotary_factor=0.5)),
     {"dtype": torch.bfloat16, "sharded": True}),
]


def old_spelling(config):
    """The spelling of transformers 4: rope and type of the parameters at the top level."""
    config["torch_dtype"] = config.pop("dtype")
    if config["model_type"] == "gpt_neox":
        parameters = config.pop("rope_parameters")
        config["rotary_emb_base"] = parameters["rope_theta"]
        config["rotary_pct"] = parameters["partial_rotary_factor"]
    if "rope_parameters" in config:
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    if config["model_type"] == "gpt2":
        config["n_ctx"] = config["n_positions"]
        for key in ("activation_function", "layer_norm_epsilon", "n_inner", "tie_word_embeddings"):
            config.pop(key, None)
    config.pop("layer_types", None)
    config["transformers_version"] = "4.45.0"
    return dict(sorted(config.items()))


def load(folder, attention="eager"):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    return model.eval()


def make(name, family, arguments, written, folder):
    """Writes one case and returns the largest difference of SDPA."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    dtype = written.get("dtype", torch.float32)
    config = CLASSES[family](**arguments, dtype=dtype)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    make_parameters(model, rng)
    shutil.rmtree(folder, ignore_errors=True)
    shard_size = llama.SHARD_SIZE_BYTES_MAX if written.get("sharded") else "1GB"
    model.to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if written.get("old"):
        llama.write_config(folder, old_spelling(json.loads((folder / "config.json").read_text())))
    vocab = arguments["vocab_size"]
    sequences = [rng.integers(0, vocab, size=length).tolist() for length in llama.SEQUENCE_LENGTHS]
    eager, fused = load(folder), load(folder, "sdpa")
    nll = [llama.token_nll(eager, ids) for ids in sequences]
    sdpa = llama.difference_max(nll, [llama.token_nll(fused, ids) for ids in sequences])
    assert sdpa <= llama.SDPA_TOLERANCE, f"{name}: SDPA differs by {sdpa}"
    llama.write_golden(folder, sequences, nll)
    flat = np.concatenate(nll)
    return f"{flat.min():.2f} / {flat.mean():.2f} / {flat.max():.2f} | {sdpa:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one sub-folder per case")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    for name, exercises, family, arguments, written in CASES:
        print(f"| `{name}` | {exercises} | {make(name, family, arguments, written, out / name)} |", flush=True)


if __name__ == "__main__":
    main()
