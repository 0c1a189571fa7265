"""Writes a Llama with random BF16 parameters, of the shape of Llama 3.2 3B or smaller, and tokens to measure it on.

    pip install numpy
    python benches/compare/synthetic.py DIR                 # 28 layers, 6.4 GB
    python benches/compare/synthetic.py DIR --layers 4
    agon evaluate --model DIR --tokens DIR/tokens.json --memory-limit 2GiB --json

Nothing but numpy is needed, and no more memory than one matrix takes.
"""

import argparse
import json
import struct
from pathlib import Path

import numpy as np

HEAD_SIZE, KEY_VALUE_HEADS = 128, 8


def config(arguments):
    heads = arguments.hidden // HEAD_SIZE
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": arguments.hidden,
        "intermediate_size": arguments.hidden * 8 // 3,
        "num_hidden_layers": arguments.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HEAD_SIZE,
        "vocab_size": arguments.vocabulary,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500_000.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
    }


def shapes(config):
    """Names and shapes of all tensors in the order of the file."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    queries, keys = config["num_attention_heads"] * HEAD_SIZE, KEY_VALUE_HEADS * HEAD_SIZE
    all_shapes = {"model.embed_tokens": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        all_shapes |= {
            f"model.layers.{layer}.{name}": shape
            for name, shape in {
                "input_layernorm": (hidden,),
                "self_attn.q_proj": (queries, hidden),
                "self_attn.k_proj": (keys, hidden),
                "self_attn.v_proj": (keys, hidden),
                "self_attn.o_proj": (hidden, queries),
                "post_attention_layernorm": (hidden,),
                "mlp.gate_proj": (wide, hidden),
                "mlp.up_proj": (wide, hidden),
                "mlp.down_proj": (hidden, wide),
            }.items()
        }
    return all_shapes | {"model.norm": (hidden,)}


def numbers(shape, generator):
    """Around one for gains, else within 0.03 of zero, as the upper halves of float32."""
    uniform = generator.random(shape, dtype=np.float32) - np.float32(0.5)
    values = 1 + uniform / 5 if len(shape) == 1 else uniform * np.float32(0.06)
    return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--hidden", type=int, default=3072, help="a multiple of 1024")
    parser.add_argument("--vocabulary", type=int, default=128_256)
    parser.add_argument("--sequences", type=int, default=16)
    parser.add_argument("--sequence-length", type=int, default=512)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    written = config(arguments)
    (arguments.folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    header, end = {}, 0
    for name, shape in shapes(written).items():
        begin, end = end, end + 2 * int(np.prod(shape))
        header[f"{name}.weight"] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    generator = np.random.Generator(np.random.PCG64(1))
    with open(arguments.folder / "model.safetensors", "wb") as file:
        text = json.dumps(header).encode()
        file.write(struct.pack("<Q", len(text)) + text)
        for shape in shapes(written).values():
            file.write(numbers(shape, generator).tobytes())
    shape = (arguments.sequences, arguments.sequence_length)
    sequences = generator.integers(arguments.vocabulary, size=shape).tolist()
    (arguments.folder / "tokens.json").write_text(json.dumps({"sequences": sequences}) + "\n")
    print(f"{arguments.folder}: {end / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
