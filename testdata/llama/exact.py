"""The Llama forward pass in float64, written from its definition.

An independent yardstick for `make.py`: transformers in float32 has rounding errors of its own, and its
float64 mode does not remove them (norms, softmax and rotary angles are still computed in float32).
Here every operation, the rotary angles included, is in float64.
"""

import math

import torch

F64 = torch.float64


def token_nll(model, ids):
    """Negative log-likelihood in nats of every token of `ids` after the first, as a list of floats."""
    config = model.config
    parameters = {name: tensor.to(F64) for name, tensor in model.state_dict().items()}
    cos, sin = _rotary_tables(config, len(ids))
    hidden = parameters["model.embed_tokens.weight"][torch.tensor(ids)]
    for layer in range(config.num_hidden_layers):
        block = _Block(config, parameters, f"model.layers.{layer}.")
        hidden = hidden + block.attention(block.norm(hidden, "input_layernorm"), cos, sin)
        hidden = hidden + block.mlp(block.norm(hidden, "post_attention_layernorm"))
    hidden = _Block(config, parameters, "model.").norm(hidden, "norm")
    log_probabilities = torch.log_softmax(hidden[:-1] @ parameters["lm_head.weight"].T, dim=-1)
    return (-log_probabilities[range(len(ids) - 1), ids[1:]]).tolist()


class _Block:
    """The parameters under one name prefix, and the functions that use them."""

    def __init__(self, config, parameters, prefix):
        self.config, self.parameters, self.prefix = config, parameters, prefix

    def norm(self, x, name):
        mean_square = x.pow(2).mean(dim=-1, keepdim=True)
        gain = self.parameters[f"{self.prefix}{name}.weight"]
        return gain * x / torch.sqrt(mean_square + self.config.rms_norm_eps)

    def linear(self, x, name):
        y = x @ self.parameters[f"{self.prefix}{name}.weight"].T
        bias = self.parameters.get(f"{self.prefix}{name}.bias")
        return y if bias is None else y + bias

    def mlp(self, x):
        gate = self.linear(x, "mlp.gate_proj")
        return self.linear(gate * torch.sigmoid(gate) * self.linear(x, "mlp.up_proj"), "mlp.down_proj")

    def attention(self, x, cos, sin):
        length, head_dim = x.shape[0], self.config.head_dim
        q, k, v = (
            self.linear(x, f"self_attn.{name}_proj").view(length, -1, head_dim).transpose(0, 1) for name in "qkv"
        )
        q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
        # Query head h reads key-value head h / group.
        group = self.config.num_attention_heads // self.config.num_key_value_heads
        k, v = k.repeat_interleave(group, dim=0), v.repeat_interleave(group, dim=0)
        future = torch.ones(length, length, dtype=torch.bool).triu(diagonal=1)
        scores = (q @ k.transpose(1, 2) / math.sqrt(head_dim)).masked_fill(future, -math.inf)
        mixed = (torch.softmax(scores, dim=-1) @ v).transpose(0, 1).reshape(length, -1)
        return self.linear(mixed, "self_attn.o_proj")


def _rotate(x, cos, sin):
    """Rotates the pairs (i, i + head_dim / 2), the layout of published Llama checkpoints."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _rotary_tables(config, length):
    frequencies = [_frequency(config, pair) for pair in range(config.head_dim // 2)]
    angles = torch.outer(torch.arange(length, dtype=F64), torch.tensor(frequencies, dtype=F64))
    return angles.cos(), angles.sin()


def _frequency(config, pair):
    """Radians per position of one pair, after the scaling that the config names."""
    rope = config.rope_parameters
    frequency = rope["rope_theta"] ** (-2.0 * pair / config.head_dim)
    if rope["rope_type"] == "default":
        return frequency
    if rope["rope_type"] == "linear":
        return frequency / rope["factor"]
    assert rope["rope_type"] == "llama3", rope
    # Turns made within the original context: many are left alone, few are slowed down by the whole factor.
    turns = rope["original_max_position_embeddings"] * frequency / (2.0 * math.pi)
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    kept = min(max((turns - low) / (high - low), 0.0), 1.0)
    return kept * frequency + (1.0 - kept) * frequency / rope["factor"]
