"""Writes a parquet file in the shape of FineWeb, with invented text.

The schema, the rows per group (1,000), the compression and the statistics are those of FineWeb's
files, which datatrove's writer made; the text is sentences of invented words, as compressible as
prose. The same arguments give the same rows.

    python -m venv venv && venv/bin/pip install pyarrow==26.0.1
    venv/bin/python benches/compare/fineweb.py --size 1GiB sample/10BT/000_00000.parquet
    venv/bin/python benches/compare/fineweb.py --rows 360 --rows-per-group 9 --sentences 2 small.parquet
"""

import argparse
import random
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("id", pa.string()),
        ("dump", pa.string()),
        ("url", pa.string()),
        ("date", pa.string()),
        ("file_path", pa.string()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("token_count", pa.int64()),
    ]
)
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}
SYLLABLES = [c + v for c in "b c d f g h k l m n p r s t v w st tr ch".split() for v in "aeiou"]


def words(rng, n):
    """Invented words, short ones first."""
    found = {"".join(rng.choices(SYLLABLES, k=1 + i % 4)) for i in range(n)}
    return sorted(found, key=lambda word: (len(word), word))


def sentences(rng, vocabulary, n):
    """Sentences whose words follow Zipf's law."""
    weights = [1 / (rank + 3) for rank in range(len(vocabulary))]
    drawn = iter(rng.choices(vocabulary, weights, k=n * 24))
    for _ in range(n):
        text = " ".join(next(drawn) for _ in range(rng.randint(5, 24)))
        yield text.capitalize() + rng.choice(["."] * 8 + ["!", "?"])


def row(rng, all_sentences, mean):
    """One row; about one in twenty texts is very short."""
    n = 1 if rng.random() < 0.05 else max(1, int(rng.lognormvariate(0, 0.9) * mean))
    text = " ".join(rng.choices(all_sentences, k=min(n, 40 * mean)))
    name, dump = uuid.UUID(int=rng.getrandbits(128)), "CC-MAIN-2024-10"
    return {
        "text": text if n > 1 else text[:60],
        "id": f"<urn:uuid:{name}>",
        "dump": dump,
        "url": f"https://{rng.choice(SYLLABLES)}{rng.randint(0, 99999)}.example/{name.hex[:16]}",
        "date": f"2024-02-{rng.randint(20, 29)}T{rng.randint(0, 23):02}:00:00Z",
        "file_path": f"s3://commoncrawl/crawl-data/{dump}/segments/{rng.randint(0, 99)}.warc.gz",
        "language": "en",
        "language_score": rng.uniform(0.65, 1.0),
        "token_count": max(1, len(text) // 4),
    }


def size_bytes(text):
    unit = next((unit for unit in UNITS if text.endswith(unit)), None)
    return int(float(text.removesuffix(unit)) * UNITS[unit]) if unit else int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--size", type=size_bytes, default=1 << 60, help="stop at, such as 1GiB")
    parser.add_argument("--rows", type=int, default=1 << 60, help="stop after this many rows")
    parser.add_argument("--rows-per-group", type=int, default=1000)
    parser.add_argument("--sentences", type=int, default=26, help="median per text")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    all_sentences = list(sentences(rng, words(rng, 3_000), 40_000))
    args.path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with open(args.path, "wb") as file:
        with pq.ParquetWriter(file, SCHEMA, compression="snappy", write_statistics=True) as writer:
            while written < args.rows and file.tell() < args.size:
                n = min(args.rows_per_group, args.rows - written)
                rows = [row(rng, all_sentences, args.sentences) for _ in range(n)]
                writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
                written += n
    print(f"{written} rows, {args.path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
