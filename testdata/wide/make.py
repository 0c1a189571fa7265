"""Makes the golden files of this folder: configs of wide models and their losses in transformers.

    pip install -r ../llama/requirements.txt
    python make.py --out . [--only NAME ...]

No parameters are written: `generator.py` makes them, and the engine's tests make them again. How a loss is computed is
`../llama/make.py`'s, and attention through SDPA must agree within its tolerance here too, where transformers has it.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, PhiConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "llama"))
import make as llama  # noqa: E402
import generator  # noqa: E402

# Three losses that are a sequence's mean, in double; one position over a block of 256; and over two blocks.
SEQUENCE_LENGTHS = (2, 2, 2, 257, 613)
# Decimals kept in golden.json: half a millionth is far below the tolerance.
DECIMALS = 6
# Exponents of two by what a tensor's name holds, the first that fits: a score's deviation is around two, so that a
# query attends to some tens of positions, and a logit's likewise.
SCALES = [
    ("q_proj.weight", -3), ("k_proj.weight", -4), ("c_attn.weight", -3), ("v_proj.weight", -3),
    ("o_proj.weight", -4), ("down_proj.weight", -4), ("mlp.c_proj.weight", -4), ("fc2.weight", -4),
    ("lm_head.weight", -3), ("wte.weight", -3), ("wpe.weight", -4), ("embed_tokens.weight", -3),
    (".weight", -3), (".bias", -3),
]
NO_TOKENS = {"bos_token_id": None, "eos_token_id": None}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
CASES = [
    ("llama", "grouped queries, biases, untied", LlamaConfig(
        hidden_size=612, intermediate_size=270, num_attention_heads=6, num_key_value_heads=2, head_dim=86,
        vocab_size=1043, num_hidden_layers=1, max_position_embeddings=640, rms_norm_eps=1e-5, attention_bias=True,
        mlp_bias=True, rope_parameters={**ROPE, "rope_theta": 500_000.0}, **NO_TOKENS)),
    ("gpt2", "layer norms, learned positions, GELU by tanh, tied", GPT2Config(
        n_embd=546, n_inner=604, n_head=6, vocab_size=1029, n_layer=1, n_positions=640, **NO_TOKENS)),
    ("gemma2", "a window of 300 positions, caps on scores and logits, norms on either side, tied", Gemma2Config(
        hidden_size=270, intermediate_size=620, num_attention_heads=3, num_key_value_heads=1, head_dim=180,
        vocab_size=1101, num_hidden_layers=1, max_position_embeddings=640, sliding_window=300,
        layer_types=["sliding_attention"], attn_logit_softcapping=6.0, final_logit_softcapping=5.0,
        query_pre_attn_scalar=39, rope_parameters=ROPE, **NO_TOKENS)),
    ("phi", "parallel, heads of 270 numbers of which 108 are turned, norms of heads, exact GELU, a bias on the head",
     PhiConfig(
        hidden_size=540, intermediate_size=290, num_attention_heads=2, num_key_value_heads=1, vocab_size=1031,
        num_hidden_layers=1, max_position_embeddings=640, qk_layernorm=True, hidden_act="gelu",
        rope_parameters={**ROPE, "partial_rotary_factor": 0.4}, **NO_TOKENS)),
]
# Families whose attention transformers computes in one way alone.
WITHOUT_SDPA = ("gemma2",)


def kind(name, tensor, family):
    """How the numbers of a tensor are made: an exponent of two, or that it is a gain."""
    is_gain = tensor.dim() == 1 and name.endswith(".weight")
    if is_gain:
        return "gain less one" if family == "gemma2" else "gain"
    return next(scale for part, scale in SCALES if part in name)


def model_of(config, attention):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation=attention).eval()


def fill(model, name, tensors):
    with torch.no_grad():
        parameters = dict(model.named_parameters())
        assert set(parameters) == set(tensors)
        for place, (shape, made) in tensors.items():
            parameters[place].copy_(torch.from_numpy(generator.tensor(f"{name}/{place}", shape, made)))


def write(folder, config, tensors, nll):
    """One tensor and one sequence per line, so that a diff is readable."""
    folder.mkdir(exist_ok=True)
    config.architectures = [type(model_of(config, "eager")).__name__]
    llama.write_config(folder, json.loads(config.to_json_string()))
    rows = {
        "tensors": [json.dumps([place, shape, made]) for place, (shape, made) in tensors.items()],
        "token_nll": [json.dumps([round(value, DECIMALS) for value in row]) for row in nll],
    }
    lines = [f'  "transformers": "{transformers.__version__}"', f'  "torch": "{torch.__version__}"']
    lines += [f'  "lengths": {json.dumps(SEQUENCE_LENGTHS)}']
    lines += [f'  "{key}": [\n    ' + ",\n    ".join(values) + "\n  ]" for key, values in rows.items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def make(name, config, folder):
    """Writes one case and returns the cells of its row that are computed."""
    model = model_of(config, "eager")
    tensors = {place: (list(tensor.shape), kind(place, tensor, name)) for place, tensor in model.named_parameters()}
    fill(model, name, tensors)
    sequences = [
        generator.tokens(f"{name}/sequence {index}", length, config.vocab_size)
        for index, length in enumerate(SEQUENCE_LENGTHS)
    ]
    nll = [llama.token_nll(model, ids) for ids in sequences]
    shown = "not supported"
    if name not in WITHOUT_SDPA:
        fused = model_of(config, "sdpa")
        fill(fused, name, tensors)
        sdpa = llama.difference_max(nll, [llama.token_nll(fused, ids) for ids in sequences])
        assert sdpa <= llama.SDPA_TOLERANCE, f"{name}: SDPA differs by {sdpa}"
        shown = f"{sdpa:.1e}"
    write(folder, config, tensors, nll)
    flat = np.concatenate(nll)
    return f"{flat.min():.2f} / {flat.mean():.2f} / {flat.max():.2f} | {shown}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one sub-folder per case")
    parser.add_argument("--only", nargs="+", help="names of cases; all if none are given")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    for name, exercises, config in CASES:
        if not arguments.only or name in arguments.only:
            print(f"| `{name}` | {exercises} | {make(name, config, arguments.out / name)} |", flush=True)


if __name__ == "__main__":
    main()
