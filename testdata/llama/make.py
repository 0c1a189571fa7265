"""Makes the golden files of this folder: tiny Llama checkpoints and their losses in transformers.

    pip install -r requirements.txt
    python make.py --out .

Each case becomes a folder with `config.json`, its parameters in safetensors, and `golden.json`: token
sequences and the negative log-likelihood in nats of every token after the first. The model runs in float32
with eager attention; the log-softmax of its logits is taken in float64, so that the numbers show the rounding
of the model alone. The table of README.md goes to stdout. The same versions on the same CPU give the same bytes.

Three checks stop the script: attention through SDPA must agree within `SDPA_TOLERANCE`, the float64 forward pass
of `exact.py` within `EXACT_TOLERANCE`, and the same config in the other spelling must give bit-equal logits.
"""

import argparse
import json
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

import exact

SEQUENCE_LENGTHS = (2, 17, 64, 128)
SDPA_TOLERANCE = 2e-5
EXACT_TOLERANCE = 5e-5
# Shards of the sharded case; every other case fits in one file.
SHARD_SIZE_BYTES_MAX = 60_000
# Decimals kept in golden.json, far below float32's own error.
DECIMALS = 9


@dataclass(frozen=True)
class Case:
    """One configuration: `config` holds arguments of `LlamaConfig`, the rest says how it is written."""

    name: str
    exercises: str
    config: dict
    # "new": as transformers 5 writes it. "old": `torch_dtype`, `rope_theta` and `rope_scaling` at the top
    # level, `head_dim` only where it is needed. "minimal": old, without the keys that have a default.
    spelling: str = "new"
    # The key of `rope_scaling` that names its type: `rope_type`, or `type` in the oldest files.
    rope_type_key: str = "rope_type"
    dtype: torch.dtype = torch.float32
    sharded: bool = False


def sizes(hidden=32, layers=2, heads=4, kv=4, intermediate=48, vocab=64, **rest):
    """Arguments of `LlamaConfig`, the sizes under short names."""
    return {
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "max_position_embeddings": 128,
        "bos_token_id": None,
        "eos_token_id": None,
        **rest,
    }


def rope(theta, **scaling):
    """The argument `rope_parameters` of `LlamaConfig`."""
    return {"rope_type": "default", "rope_theta": theta, **scaling}


def llama3(factor, original, low=1.0, high=4.0):
    """The scaling of Llama 3.1, with an original context short enough to matter in 128 tokens."""
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": original,
    }


BF16 = torch.bfloat16
CASES = [
    Case(
        "plain",
        "multi-head attention, untied head, every key written out",
        sizes(rms_norm_eps=1e-5, rope_parameters=rope(10_000.0)),
    ),
    Case(
        "minimal",
        "the defaults: key-value heads, rope base, norm epsilon, untied head",
        sizes(hidden=16, layers=1, heads=2, kv=2, intermediate=40, vocab=96),
        spelling="minimal",
    ),
    Case(
        "grouped-query",
        "two query heads per key-value head, rope base 50000",
        sizes(kv=2, vocab=96, rope_parameters=rope(50_000.0)),
        spelling="old",
    ),
    Case(
        "multi-query",
        "one key-value head, three layers, norm epsilon 1e-3",
        sizes(layers=3, kv=1, intermediate=40, rms_norm_eps=1e-3),
    ),
    Case(
        "tied",
        "the embedding is the head, rope base 100000",
        sizes(vocab=96, tie_word_embeddings=True, rope_parameters=rope(100_000.0)),
        spelling="old",
    ),
    Case(
        "attention-bias",
        "biases on q, k, v and o, grouped queries",
        sizes(kv=2, attention_bias=True),
        spelling="old",
    ),
    Case(
        "mlp-bias",
        "biases on gate, up and down",
        sizes(intermediate=56, mlp_bias=True),
    ),
    Case(
        "head-dim",
        "head dimension 20 where hidden / heads is 8",
        sizes(hidden=24, heads=3, kv=3, head_dim=20, intermediate=40, vocab=80),
    ),
    Case(
        "rope-llama3",
        "llama3 scaling by 8 with kept, blended and slowed frequencies, base 500000",
        sizes(heads=2, kv=2, rope_parameters=rope(500_000.0, **llama3(8.0, 64))),
    ),
    Case(
        "rope-llama3-old",
        "llama3 scaling by 32 under `rope_scaling`, one key-value head",
        sizes(hidden=48, layers=1, heads=2, kv=1, rope_parameters=rope(500_000.0, **llama3(32.0, 32))),
        spelling="old",
    ),
    Case(
        "rope-linear",
        "linear scaling by 4 under `rope_scaling`, its type under the key `type`",
        sizes(rope_parameters=rope(10_000.0, rope_type="linear", factor=4.0)),
        spelling="old",
        rope_type_key="type",
    ),
    Case(
        "bf16",
        "BF16 parameters, grouped queries, rope base 20000",
        sizes(hidden=48, kv=2, intermediate=80, vocab=96, rope_parameters=rope(20_000.0)),
        dtype=BF16,
    ),
    Case(
        "sharded",
        "two files and an index, grouped queries, rope base 30000",
        sizes(kv=2, vocab=72, rope_parameters=rope(30_000.0)),
        sharded=True,
    ),
    Case(
        "odd",
        "sizes that fill no block of a kernel",
        sizes(hidden=36, layers=1, heads=3, kv=3, intermediate=50, vocab=77, rms_norm_eps=1e-5),
    ),
    Case(
        "everything",
        "odd sizes, grouped queries, head dimension, all biases, tied, llama3, BF16, two files",
        sizes(
            hidden=36,
            heads=6,
            kv=3,
            head_dim=14,
            intermediate=70,
            vocab=91,
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
            rms_norm_eps=1e-5,
            rope_parameters=rope(500_000.0, **llama3(8.0, 64)),
        ),
        spelling="old",
        dtype=BF16,
        sharded=True,
    ),
]


def make_parameters(model, rng):
    """Fills `model` with values far from a fresh network's, so that attention is peaky and losses differ.

    The values come from numpy's PCG64 in the order of the state dict.
    """
    tied = model.config.tie_word_embeddings
    # A small embedding makes the norm's epsilon count; a tied one is the head too and must stay large.
    deviations = {"lm_head.weight": 0.35, "model.embed_tokens.weight": 0.35 if tied else 0.05}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name == "lm_head.weight" and tied:
                continue
            normal = rng.standard_normal(tuple(tensor.shape))
            if name.endswith("norm.weight"):
                values = 1.0 + 0.3 * np.clip(normal, -2.0, 2.0)
            else:
                values = deviations.get(name, 0.3) * normal
            tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def new_config(case):
    """`config.json` as transformers 5 writes it."""
    config = LlamaConfig(**case.config, architectures=["LlamaForCausalLM"], dtype=case.dtype)
    return json.loads(config.to_json_string())


def old_config(case):
    """`config.json` in the spelling of transformers 4."""
    config = new_config(case)
    config["torch_dtype"] = config.pop("dtype")
    parameters = config.pop("rope_parameters")
    config["rope_theta"] = parameters.pop("rope_theta")
    rope_type = parameters.pop("rope_type")
    config["rope_scaling"] = None if rope_type == "default" else {case.rope_type_key: rope_type, **parameters}
    if config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]:
        del config["head_dim"]
    config["transformers_version"] = "4.45.0"
    return dict(sorted(config.items()))


def minimal_config(case):
    """The keys that have no default, and the sizes."""
    keys = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    config = old_config(case)
    return {key: config[key] for key in ("architectures", "model_type", "torch_dtype", *keys)}


SPELLINGS = {"new": new_config, "old": old_config, "minimal": minimal_config}


def write_config(folder, config):
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_checkpoint(case, folder, rng):
    """Writes the parameters as transformers does, and the config in the case's spelling."""
    model = LlamaForCausalLM(LlamaConfig(**case.config)).eval()
    make_parameters(model, rng)
    shard_size = SHARD_SIZE_BYTES_MAX if case.sharded else "1GB"
    shutil.rmtree(folder, ignore_errors=True)
    model.to(case.dtype).save_pretrained(folder, max_shard_size=shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_config(folder, SPELLINGS[case.spelling](case))


def load(folder, attention="eager"):
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention).eval()


def logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def token_nll(model, ids):
    """The model in float32, the log-softmax of its logits in float64."""
    log_probabilities = torch.log_softmax(logits(model, ids)[:-1].double(), dim=-1)
    return (-log_probabilities[range(len(ids) - 1), ids[1:]]).tolist()


def difference_max(left, right):
    return float(np.max(np.abs(np.concatenate(left) - np.concatenate(right))))


def assert_spellings_agree(case, folder, sequences):
    """Every spelling of the config must mean the same model to transformers."""
    expected = logits(load(folder), sequences[-1])
    for spelling in ("new", "old"):
        with tempfile.TemporaryDirectory() as other:
            copy = Path(shutil.copytree(folder, other, dirs_exist_ok=True))
            write_config(copy, SPELLINGS[spelling](case))
            assert torch.equal(expected, logits(load(copy), sequences[-1])), f"{case.name}: {spelling} differs"


def write_golden(folder, sequences, nll):
    """One sequence per line, so that a diff is readable."""
    rows = {
        "sequences": [json.dumps(ids) for ids in sequences],
        "token_nll": [json.dumps([round(value, DECIMALS) for value in row]) for row in nll],
    }
    lines = [f'  "transformers": "{transformers.__version__}"', f'  "torch": "{torch.__version__}"']
    lines += [f'  "{key}": [\n    ' + ",\n    ".join(values) + "\n  ]" for key, values in rows.items()]
    (folder / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def table_row(case, folder, nll, sdpa, error):
    config, flat = load(folder).config, np.concatenate(nll)
    kilobytes = sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 1000
    shape = f"{config.hidden_size} / {config.intermediate_size} / {config.vocab_size} / {config.num_hidden_layers}"
    heads = f"{config.num_attention_heads} / {config.num_key_value_heads} / {config.head_dim}"
    losses = f"{flat.min():.2f} / {flat.mean():.2f} / {flat.max():.2f}"
    cells = [f"`{case.name}`", case.exercises, case.spelling, shape, heads, f"{kilobytes:.0f}", losses]
    return "| " + " | ".join([*cells, f"{sdpa:.1e}", f"{error:.1e}"]) + " |"


def make(case, folder):
    """Writes one case and returns its row of the table."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(case.name.encode())))
    write_checkpoint(case, folder, rng)
    vocab = case.config["vocab_size"]
    sequences = [rng.integers(0, vocab, size=length).tolist() for length in SEQUENCE_LENGTHS]
    model, sdpa_model = load(folder), load(folder, "sdpa")
    nll = [token_nll(model, ids) for ids in sequences]
    sdpa = difference_max(nll, [token_nll(sdpa_model, ids) for ids in sequences])
    error = difference_max(nll, [exact.token_nll(model, ids) for ids in sequences])
    assert sdpa <= SDPA_TOLERANCE, f"{case.name}: SDPA differs by {sdpa}"
    assert error <= EXACT_TOLERANCE, f"{case.name}: float64 differs by {error}"
    assert_spellings_agree(case, folder, sequences)
    write_golden(folder, sequences, nll)
    return table_row(case, folder, nll, sdpa, error)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets one sub-folder per case")
    out = parser.parse_args().out
    # One thread: the order of sums must not depend on the machine's cores.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    for case in CASES:
        print(make(case, out / case.name), flush=True)


if __name__ == "__main__":
    main()
