"""Measures how fast transformers, and Agon beside it, compute the loss of a small Llama on a CPU.

    pip install -r testdata/llama/requirements.txt
    python benches/compare/hf.py --make DIR                     # once: the model and the tokens
    python benches/compare/hf.py --run DIR                      # transformers, eager and compiled
    python benches/compare/hf.py --run DIR --agon target/release/agon --subjects eager agon

`--make` writes `config.json`, `model.safetensors` (134 million parameters, F32, random) and `tokens.json`, the input of
`agon evaluate --tokens`. `--run` prints one JSON document with a result for each number of threads, batch size
and subject:

    eager     transformers as people run it: float32, SDPA attention, `model(ids, labels=ids).loss`
    compile   the same through `torch.compile`, compilation not counted
    agon      `agon evaluate`, its own figures

Every subject measures all sequences of `tokens.json`, so the cross-entropies must agree. Tokens are predicted
tokens, one less than the length of each sequence. A result is the median of the repeats; each result comes from
a fresh process, so its peak memory is its own, and subjects alternate, so a busy machine slows all alike.
`tokens_per_cpu_second` (transformers only) divides by the processor time of all threads instead: where it is far
above `tokens_per_second / threads`, the machine was busy with something else.
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

SUBJECTS = ("eager", "compile", "agon")
SEQUENCES, SEQUENCE_LENGTH = 4, 1024
SEED = 1
MODEL = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "vocab_size": 32_000,
    "max_position_embeddings": 2048,
}


def make(folder):
    """Writes the model and the tokens into `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(SEED)
    LlamaForCausalLM(LlamaConfig(**MODEL)).save_pretrained(folder, max_shard_size="4GB")
    (folder / "generation_config.json").unlink(missing_ok=True)
    sequences = torch.randint(MODEL["vocab_size"], (SEQUENCES, SEQUENCE_LENGTH)).tolist()
    (folder / "tokens.json").write_text(json.dumps({"sequences": sequences}) + "\n")


def read_sequences(folder):
    return json.loads((folder / "tokens.json").read_text())["sequences"]


def measure_transformers(folder, subject, threads, batch, repeats):
    """Measures in this process, which must be fresh: threads and peak memory belong to the process."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    ids = torch.tensor(read_sequences(folder))
    llama = transformers.LlamaForCausalLM
    model = llama.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    forward = torch.compile(model) if subject == "compile" else model

    def cross_entropy():
        with torch.no_grad():
            return statistics.mean(forward(x, labels=x, use_cache=False).loss.item() for x in ids.split(batch))

    loss = cross_entropy()  # Warms up, and compiles.
    seconds, processor_start = [], time.process_time()
    for _ in range(repeats):
        start = time.perf_counter()
        cross_entropy()
        seconds.append(time.perf_counter() - start)
    processor_seconds = (time.process_time() - processor_start) / repeats
    tokens = ids.shape[0] * (ids.shape[1] - 1)
    return {
        "tokens_per_second": round(tokens / statistics.median(seconds), 1),
        "tokens_per_second_best": round(tokens / min(seconds), 1),
        "tokens_per_cpu_second": round(tokens / processor_seconds, 1),
        "mean_cross_entropy": loss,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def measure_agon(agon, folder, threads, batch, repeats):
    command = [str(agon), "evaluate", "--model", str(folder), "--tokens", str(folder / "tokens.json")]
    command += ["--threads", str(threads), "--batch", str(batch), "--json"]
    runs = [json.loads(subprocess.check_output(command)) for _ in range(repeats)]
    speeds = [run["tokens_per_second"] for run in runs]
    return {
        "tokens_per_second": round(statistics.median(speeds), 1),
        "tokens_per_second_best": round(max(speeds), 1),
        "mean_cross_entropy": runs[0]["mean_cross_entropy"],
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
    }


def measure(arguments, subject, threads, batch):
    if subject == "agon":
        return measure_agon(arguments.agon, arguments.run, threads, batch, arguments.repeats)
    command = [sys.executable, __file__, "--run", str(arguments.run), "--repeats", str(arguments.repeats), "--here"]
    command += ["--subjects", subject, "--threads", str(threads), "--batches", str(batch)]
    # Torch fixes its pools at start-up, so the environment says the same.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    return json.loads(subprocess.check_output(command, env=environment))


def run(arguments):
    """Measures every combination, each in its own process, and prints the document."""
    import torch
    import transformers

    load = os.getloadavg()[0]
    results = []
    for threads in arguments.threads:
        for batch in arguments.batches:
            for subject in arguments.subjects:
                result = {"subject": subject, "threads": threads, "batch": batch}
                result |= measure(arguments, subject, threads, batch)
                print(json.dumps(result), file=sys.stderr, flush=True)
                results.append(result)
    sequences = read_sequences(arguments.run)
    document = {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "machine": {"processor": processor(), "cores": os.cpu_count(), "load_before": round(load, 2)},
        "sequences": len(sequences),
        "sequence_length": len(sequences[0]),
        "repeats": arguments.repeats,
        "results": results,
    }
    print(json.dumps(document, indent=2))


def processor():
    """The name Linux gives the processor, or what Python knows of it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--make", type=Path, metavar="DIR", help="write the model and the tokens")
    what.add_argument("--run", type=Path, metavar="DIR", help="measure them")
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=["eager", "compile"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4], help="sequences at a time")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--agon", type=Path, metavar="FILE", help="the binary, for the subject `agon`")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if "agon" in arguments.subjects and arguments.agon is None:
        parser.error("the subject `agon` needs --agon")
    return arguments


def main():
    arguments = parse()
    if arguments.make:
        make(arguments.make)
    elif arguments.here:
        (subject,), (threads,), (batch,) = arguments.subjects, arguments.threads, arguments.batches
        print(json.dumps(measure_transformers(arguments.run, subject, threads, batch, arguments.repeats)))
    else:
        run(arguments)


if __name__ == "__main__":
    main()
