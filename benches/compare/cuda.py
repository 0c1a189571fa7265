"""Measures how fast transformers, and Agon beside it, compute losses on an NVIDIA GPU, and prints the ratios.

    cargo build --release --features cuda
    python benches/compare/cuda.py --make DIR                                  # once: models and tokens, 16 GB
    python benches/compare/cuda.py --run DIR --agon target/release/agon        # a Markdown table

`--make` writes random Llamas in BF16, one of the shape of Llama 3.2 1B and one of that of Llama 2 7B, and 256 sequences
of 1,024 tokens for each. Both sides measure all sequences in BF16: transformers with SDPA attention by
`model(ids, labels=ids).loss`, at the fastest of several batch sizes, Agon by `agon evaluate --device cuda`. Loading is
not counted; repeats go round over the two, and the median counts. The losses of the first sequences are compared with
those of `agon evaluate` on the CPU, which are exact: the differences are what BF16 rounds away.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

SEQUENCES, SEQUENCE_LENGTH = 256, 1024
BATCHES = (4, 8, 16)
# Sequences whose losses are compared with the exact ones.
EXACT = 3
MODELS = {
    "1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    },
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32_000,
        "max_position_embeddings": 2048,
    },
}


def make(folder, models):
    """Writes models and tokens into `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    for name in models:
        torch.manual_seed(1)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device("cuda"):
            model = LlamaForCausalLM(LlamaConfig(**MODELS[name]))
        model.save_pretrained(folder / name, max_shard_size="4GB")
        (folder / name / "generation_config.json").unlink(missing_ok=True)
        ids = torch.randint(MODELS[name]["vocab_size"], (SEQUENCES, SEQUENCE_LENGTH)).tolist()
        for file, sequences in (("tokens.json", ids), ("exact.json", ids[:EXACT])):
            (folder / name / file).write_text(json.dumps({"sequences": sequences}) + "\n")


def measure_transformers(folder, name):
    """Tokens per second at the best batch size, peak memory, and the losses of the first sequences."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    ids = torch.tensor(json.loads((folder / name / "tokens.json").read_text())["sequences"], device="cuda")
    auto = transformers.AutoModelForCausalLM
    model = auto.from_pretrained(folder / name, dtype=torch.bfloat16, attn_implementation="sdpa").cuda().eval()

    def losses(sequences, batch):
        with torch.no_grad():
            found = [model(x, labels=x, use_cache=False).loss for x in sequences.split(batch)]
        torch.cuda.synchronize()
        return [loss.item() for loss in found]

    best = 0.0
    for batch in BATCHES:
        try:
            losses(ids[:batch], batch)
            start = time.perf_counter()
            losses(ids, batch)
        except torch.cuda.OutOfMemoryError:
            break
        best = max(best, ids.shape[0] * (ids.shape[1] - 1) / (time.perf_counter() - start))
    with torch.no_grad():
        nats = [torch.nn.functional.cross_entropy(model(x[None]).logits[0, :-1].float(), x[1:], reduction="none")
                for x in ids[:EXACT]]
    return {"tokens_per_second": best, "nats": [row.tolist() for row in nats]}


def evaluate(agon, folder, name, file, *more):
    command = [agon, "evaluate", "--model", str(folder / name), "--tokens", str(folder / name / file), "--json", *more]
    return json.loads(subprocess.check_output(command))


def run(arguments):
    import torch

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    print("| model | transformers | agon | ratio | of the peak | agon - exact | transformers - exact |")
    print("| --- " * 7 + "|")
    for name in arguments.models:
        runs = {"transformers": [], "agon": []}
        for _ in range(arguments.repeats):
            runs["agon"].append(evaluate(arguments.agon, arguments.run, name, "tokens.json", "--device", "cuda"))
            command = [sys.executable, __file__, "--run", str(arguments.run), "--here", name]
            runs["transformers"].append(json.loads(subprocess.check_output(command, env=os.environ)))
            for side, all_runs in runs.items():
                print(name, side, f"{all_runs[-1]['tokens_per_second']:.0f} tokens per second", file=sys.stderr)
        exact, ours = ([sequence["token_nll"] for sequence in evaluate(
            arguments.agon, arguments.run, name, "exact.json", "--per-token", *device)["sequences"]]
            for device in ((), ("--device", "cuda")))
        shown = [difference(side, exact) for side in (ours, runs["transformers"][0]["nats"])]
        speed = {s: statistics.median(r["tokens_per_second"] for r in all_runs) for s, all_runs in runs.items()}
        share = speed["agon"] * flops_per_token(MODELS[name]) / peak_flops()
        print(f"| {name} | {speed['transformers']:.0f} | {speed['agon']:.0f} | "
              f"**{speed['agon'] / speed['transformers']:.2f}** | {share:.0%} | {shown[0]} | {shown[1]} |", flush=True)


def difference(side, exact):
    """Of sequences the largest, of tokens the root of the mean square."""
    per_token = [[x - y for x, y in zip(a, b)] for a, b in zip(side, exact)]
    worst = max(abs(statistics.fmean(row)) for row in per_token)
    square = statistics.fmean(x * x for row in per_token for x in row)
    return f"{worst:.1e} a sequence, {square**0.5:.1e} a token"


def flops_per_token(model):
    """Of all matrices, the head's included, and of attention, for a token of a sequence of the usual length."""
    hidden, layers, heads = model["hidden_size"], model["num_hidden_layers"], model["num_attention_heads"]
    attention = 2 * hidden * hidden * (1 + model["num_key_value_heads"] / heads)
    weights = layers * (attention + 3 * hidden * model["intermediate_size"]) + model["vocab_size"] * hidden
    return 2 * weights + layers * 4 * hidden * (SEQUENCE_LENGTH + 1) / 2


def peak_flops():
    """Floating-point operations per second of torch's product of two large BF16 matrices."""
    import torch

    left, right = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(10):
        torch.cuda.synchronize()
        start = time.perf_counter()
        left @ right
        torch.cuda.synchronize()
        best = max(best, 2 * 8192**3 / (time.perf_counter() - start))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make", type=Path, metavar="DIR", help="write models and tokens")
    parser.add_argument("--run", type=Path, metavar="DIR", help="measure what is in DIR")
    parser.add_argument("--agon", default="target/release/agon", metavar="FILE")
    parser.add_argument("--models", nargs="+", choices=tuple(MODELS), default=tuple(MODELS))
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--here", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.make, arguments.models)
    elif arguments.here:
        print(json.dumps(measure_transformers(arguments.run, arguments.here)))
    elif arguments.run:
        run(arguments)
    else:
        parser.error("give --make or --run")


if __name__ == "__main__":
    main()
