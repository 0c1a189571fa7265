"""The numbers of the wide models: README.md defines them, and the engine's tests make them a second time."""

import numpy as np

STEP = np.uint64(0x9E3779B97F4A7C15)


def start(name):
    """FNV-1a of the name's bytes."""
    state = 0xCBF29CE484222325
    for byte in name.encode():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return np.uint64(state)


def bits(name, n):
    """The first `n` outputs of SplitMix64 from there."""
    z = start(name) + np.arange(1, n + 1, dtype=np.uint64) * STEP
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def tensor(name, shape, kind):
    """Float32 in the order of the tensor's rows; `kind` is an exponent of two, "gain" or "gain less one"."""
    n = (bits(name, int(np.prod(shape))) >> np.uint64(40)).astype(np.int64) - 2**23
    if kind == "gain":
        values = (2**23 + n // 4) * 2.0**-23
    elif kind == "gain less one":
        values = n * 2.0**-25
    else:
        values = n * 2.0 ** (kind - 23)
    single = values.astype(np.float32)
    assert (single == values).all(), "a number is not exact"
    return single.reshape(shape)


def tokens(name, n, vocabulary):
    return (bits(name, n) % np.uint64(vocabulary)).astype(np.int64).tolist()
