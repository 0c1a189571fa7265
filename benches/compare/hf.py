"""Measures how fast transformers, and Agon beside it, compute losses on a CPU, and prints the ratios.

    pip install -r testdata/llama/requirements.txt
    python benches/compare/hf.py --make DIR                                    # once: models and tokens, 2 GB
    python benches/compare/hf.py --run DIR --agon target/release/agon          # a Markdown table; --json FILE for all

`--make` writes a GPT-2 of 124 million parameters (`gpt2`) and a Llama of 160 million (`llama`), random, in F32, a BF16
copy of each (`gpt2-bf16`, `llama-bf16`), and `tokens.json`, the input of `agon evaluate --tokens`. The subjects:

    eager     transformers as people run it: float32, SDPA attention, `model(ids, labels=ids).loss`
    compile   the same through `torch.compile`, compilation not counted
    agon      `agon evaluate`, its own figures
    bf16      the same on the BF16 copy; its peer is transformers in float32

Every subject measures all sequences of `tokens.json`, and the cross-entropies must agree. Tokens are predicted tokens,
one less than the length of each sequence. Each result comes from a fresh process, so its peak memory is its own;
repeats go round over the subjects, so that a busy machine slows all alike, and the median counts. Agon's figures do not
contain loading, nor do the others'. The ceiling is torch's best product of two float32 matrices in the same run.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

SUBJECTS = ("eager", "compile", "agon", "bf16")
MODELS = ("gpt2", "llama")
SEQUENCES, SEQUENCE_LENGTH = 4, 1024
SEED = 1
TOLERANCE = 1e-4
LLAMA = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "vocab_size": 32_000,
    "max_position_embeddings": 2048,
}
# Rows, inputs and outputs of the products whose best speed is the ceiling.
PRODUCTS = ((1024, 768, 3072), (1024, 3072, 768), (2048, 2048, 2048))


def make(folder):
    """Writes the models and the tokens into `folder`."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    for name, model in (("gpt2", GPT2LMHeadModel(GPT2Config())), ("llama", LlamaForCausalLM(LlamaConfig(**LLAMA)))):
        for copy, dtype in ((name, torch.float32), (f"{name}-bf16", torch.bfloat16)):
            model.to(dtype).save_pretrained(folder / copy, max_shard_size="4GB")
            (folder / copy / "generation_config.json").unlink(missing_ok=True)
    sequences = torch.randint(32_000, (SEQUENCES, SEQUENCE_LENGTH)).tolist()
    (folder / "tokens.json").write_text(json.dumps({"sequences": sequences}) + "\n")


def read_sequences(folder):
    return json.loads((folder / "tokens.json").read_text())["sequences"]


def flops_per_token(folder, model):
    """Of all matrices, the head's included, and of attention, for a token of a sequence of the usual length."""
    config = json.loads((folder / model / "config.json").read_text())
    hidden = config.get("n_embd") or config["hidden_size"]
    layers = config.get("n_layer") or config["num_hidden_layers"]
    perceptron = 8 * hidden * hidden if model == "gpt2" else 3 * hidden * config["intermediate_size"]
    weights = layers * (4 * hidden * hidden + perceptron) + config["vocab_size"] * hidden
    return 2 * weights + layers * 4 * hidden * (SEQUENCE_LENGTH + 1) // 2


def measure_transformers(folder, model, subject, threads, batch):
    """Measures in this process, which must be fresh: threads and peak memory belong to the process."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    ids = torch.tensor(read_sequences(folder))
    auto = transformers.AutoModelForCausalLM
    loaded = auto.from_pretrained(folder / model, dtype=torch.float32, attn_implementation="sdpa").eval()
    forward = torch.compile(loaded) if subject == "compile" else loaded

    def cross_entropy():
        with torch.no_grad():
            return statistics.mean(forward(x, labels=x, use_cache=False).loss.item() for x in ids.split(batch))

    loss = cross_entropy()  # Warms up, and compiles.
    start = time.perf_counter()
    cross_entropy()
    seconds = time.perf_counter() - start
    return {
        "tokens_per_second": ids.shape[0] * (ids.shape[1] - 1) / seconds,
        "mean_cross_entropy": loss,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measure_agon(agon, folder, model, threads, batch):
    command = [str(agon), "evaluate", "--model", str(folder / model), "--tokens", str(folder / "tokens.json")]
    command += ["--threads", str(threads), "--batch", str(batch), "--json"]
    run = json.loads(subprocess.check_output(command))
    return {key: run[key] for key in ("tokens_per_second", "mean_cross_entropy", "peak_memory_bytes")}


def measure(arguments, model, subject, threads, batch):
    if subject in ("agon", "bf16"):
        copy = f"{model}-bf16" if subject == "bf16" else model
        return measure_agon(arguments.agon, arguments.run, copy, threads, batch)
    return own_process(arguments.run, "--here", model, subject, str(threads), str(batch), threads=threads)


def own_process(folder, *what, threads):
    """This script in a process of its own; torch fixes its pools at start-up, so the environment says the same."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--run", str(folder), *what]
    return json.loads(subprocess.check_output(command, env=environment))


def ceiling(threads):
    """Floating-point operations per second of torch's fastest product."""
    import torch

    torch.set_num_threads(threads)
    best = 0.0
    for rows, inputs, outputs in PRODUCTS:
        left, right = torch.randn(rows, inputs), torch.randn(outputs, inputs)
        for _ in range(8):
            start = time.perf_counter()
            torch.nn.functional.linear(left, right)
            best = max(best, 2 * rows * inputs * outputs / (time.perf_counter() - start))
    return best


def summary(runs):
    """The median speed of the repeats, and the greatest peak."""
    return {
        "tokens_per_second": statistics.median(run["tokens_per_second"] for run in runs),
        "mean_cross_entropy": runs[0]["mean_cross_entropy"],
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
    }


def compare(arguments, model, threads, batch):
    """One row of the table: every subject, repeated in turn."""
    runs = {subject: [] for subject in arguments.subjects}
    for _ in range(arguments.repeats):
        for subject in arguments.subjects:
            runs[subject].append(measure(arguments, model, subject, threads, batch))
            print(model, threads, batch, subject, json.dumps(runs[subject][-1]), file=sys.stderr, flush=True)
    results = {subject: summary(all_runs) for subject, all_runs in runs.items()}
    losses = [results[s]["mean_cross_entropy"] for s in arguments.subjects if s != "bf16"]
    assert max(losses) - min(losses) <= TOLERANCE, f"{model}: the subjects disagree: {losses}"
    flops = flops_per_token(arguments.run, model)
    return {"model": model, "threads": threads, "batch": batch, "flops_per_token": flops, "results": results,
            "ceiling_flops_per_second": own_process(arguments.run, "--ceiling", str(threads), threads=threads)}


def print_table(rows):
    """Speeds and peaks, Agon's as ratios to the others'."""
    print("| model | threads | batch | eager | compile | agon | agon / faster | of the ceiling | bf16 | bf16 / faster | "
          "peak: eager, agon, bf16 | agon / eager |")
    print("| --- " * 12 + "|")
    for row in rows:
        speed = {subject: result["tokens_per_second"] for subject, result in row["results"].items()}
        peak = {subject: result["peak_memory_bytes"] / 2**20 for subject, result in row["results"].items()}
        faster = max(speed.get("eager", 0), speed.get("compile", 0))
        share = speed["agon"] * row["flops_per_token"] / row["ceiling_flops_per_second"]
        shown = [f"{speed.get(subject, 0):.0f}" for subject in SUBJECTS]
        print(f"| {row['model']} | {row['threads']} | {row['batch']} | {shown[0]} | {shown[1]} | {shown[2]} | "
              f"**{speed['agon'] / faster:.2f}** | {share:.0%} | {shown[3]} | {speed.get('bf16', 0) / faster:.2f} | "
              f"{peak['eager']:.0f}, {peak['agon']:.0f}, {peak.get('bf16', 0):.0f} MiB | "
              f"{peak['agon'] / peak['eager']:.2f} |")


def processor():
    """The name Linux gives the processor, or what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def run(arguments):
    """Measures every combination and prints the table."""
    import torch
    import transformers

    rows = [
        compare(arguments, model, threads, batch)
        for model in arguments.models
        for threads in arguments.threads
        for batch in arguments.batches
    ]
    print(f"{processor()}, {os.cpu_count()} cores; torch {torch.__version__}, transformers {transformers.__version__}; "
          f"median of {arguments.repeats}; tokens per second\n")
    print_table(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--make", type=Path, metavar="DIR", help="write the models and the tokens")
    what.add_argument("--run", type=Path, metavar="DIR", help="measure them")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4], help="sequences at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--agon", type=Path, metavar="FILE", help="the binary")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--here", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--ceiling", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run and not (arguments.here or arguments.ceiling or arguments.agon):
        parser.error("--run needs --agon")
    return arguments


def main():
    arguments = parse()
    if arguments.make:
        make(arguments.make)
    elif arguments.here:
        model, subject, threads, batch = arguments.here
        print(json.dumps(measure_transformers(arguments.run, model, subject, int(threads), int(batch))))
    elif arguments.ceiling:
        print(ceiling(arguments.ceiling))
    else:
        run(arguments)


if __name__ == "__main__":
    main()
