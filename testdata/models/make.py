"""Makes the golden files of this folder: tiny checkpoints other than plain Llamas and their losses in transformers.

    pip install -r ../llama/requirements.txt
    python make.py --out . [--only NAME ...]

How each case is made and written down is `../llama/make.py`'s; here are the classes and one check: attention through
SDPA must agree within its tolerance, where it can do what eager attention does. Windows are far below the sequence
lengths. The cases stand in `cases.py`, and the spellings of older configs in `spellings.py`.
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
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BartForCausalLM

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "llama"))
import make as llama  # noqa: E402
from cases import CASES, CLASSES  # noqa: E402
from spellings import old_spelling  # noqa: E402


# Families whose attention transformers computes in one way alone.
WITHOUT_SDPA = ("gemma2", "gptj")


def is_gain(name):
    """Whether a parameter is a norm's gain under a name that `llama.make_parameters` does not know."""
    places = (".ln_", ".norms.", "layernorm_embedding")
    return name.endswith(".weight") and any(place in name for place in places)


def make_parameters(model, rng):
    """As `llama.make_parameters`; gains are around one under every name, and Gemma's are published less one."""
    llama.make_parameters(model, rng)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if is_gain(name):
                tensor.add_(1.0)
            elif name.endswith("norm.weight") and model.config.model_type.startswith("gemma"):
                tensor.sub_(1.0)


def publish_without_prefix(folder):
    """As the first GPT-2 checkpoints are: names without `transformer.`, and each layer's mask beside its parameters."""
    file = folder / "model.safetensors"
    tensors = {name.removeprefix("transformer."): tensor for name, tensor in load_file(file).items()}
    config = json.loads((folder / "config.json").read_text())
    mask = torch.tril(torch.ones(config["n_positions"], config["n_positions"]))[None, None]
    for layer in range(config["n_layer"]):
        tensors[f"h.{layer}.attn.bias"] = mask.clone()
    save_file(tensors, file, metadata={"format": "pt"})


def class_of(family):
    return BartForCausalLM if family == "bart" else AutoModelForCausalLM


def load(folder, family, attention="eager"):
    model = class_of(family).from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    return model.eval()


def make(name, family, arguments, written, folder):
    """Writes one case and returns the largest difference of SDPA."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    dtype = written.get("dtype", torch.float32)
    config = CLASSES[family](**arguments, dtype=dtype)
    torch.manual_seed(0)
    if family == "bart":
        model = BartForCausalLM(config).eval()
    else:
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
    nll = [llama.token_nll(load(folder, family), ids) for ids in sequences]
    if written.get("unprefixed"):
        publish_without_prefix(folder)
        again = [llama.token_nll(load(folder, family), ids) for ids in sequences]
        assert again == nll, f"{name}: other names mean another model"
    shown = "not supported"
    if family not in WITHOUT_SDPA:
        fused = load(folder, family, "sdpa")
        sdpa = llama.difference_max(nll, [llama.token_nll(fused, ids) for ids in sequences])
        assert sdpa <= llama.SDPA_TOLERANCE, f"{name}: SDPA differs by {sdpa}"
        shown = f"{sdpa:.1e}"
    llama.write_golden(folder, sequences, nll)
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
    for name, exercises, family, config, written in CASES:
        if not arguments.only or name in arguments.only:
            row = make(name, family, config, written, arguments.out / name)
            print(f"| `{name}` | {exercises} | {row} |", flush=True)


if __name__ == "__main__":
    main()
