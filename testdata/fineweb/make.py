"""Writes what pyarrow reads in `small.parquet`, `odd.parquet` with everything that FineWeb's files do not have, and
`codecs.parquet` and `codecs-2.parquet` with each way of packing, in both versions of pages and with checksums.

    python -m venv venv && venv/bin/pip install pyarrow==26.0.1
    venv/bin/python benches/compare/fineweb.py --rows 360 --rows-per-group 9 --sentences 2 testdata/fineweb/small.parquet
    venv/bin/python testdata/fineweb/make.py
"""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent


def small():
    texts = pq.read_table(HERE / "small.parquet", columns=["text"])["text"].to_pylist()
    with open(HERE / "small.jsonl", "w") as file:
        for row, text in enumerate(texts):
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            file.write(json.dumps({"row": row, "sha256": sha256}) + "\n")


def odd():
    texts = ["one", None, "", "four, with \U0001f642 and \u4e2d\u6587", "last"]
    whole = [text or "" for text in texts]
    schema = pa.schema(
        [
            ("content", pa.string()),
            ("plain", pa.string()),
            ("zstd", pa.large_string()),
            ("delta", pa.string()),
            pa.field("required", pa.string(), nullable=False),
            ("latin", pa.binary()),
            ("number", pa.int64()),
            ("list", pa.list_(pa.string())),
        ]
    )
    columns = [texts, texts, texts, texts, whole, [b"\xe4\xf6"] * 5, range(5), [["a"]] * 5]
    table = pa.table([pa.array(c, t.type) for c, t in zip(columns, schema)], schema=schema)
    codecs = {name: "zstd" if name == "zstd" else "snappy" for name in schema.names}
    codecs |= {"plain": "none", "list.list.element": "none"}
    del codecs["list"]
    pq.write_table(
        table,
        HERE / "odd.parquet",
        row_group_size=4,
        compression=codecs,
        use_dictionary=["content", "zstd"],
        column_encoding={"delta": "DELTA_BYTE_ARRAY"},
        data_page_version="2.0",
    )


def codecs():
    texts = ["one", None, "", "four, with \U0001f642 and \u4e2d\u6587", "much of the same " * 200, "last"]
    names = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
    for file, version in [("codecs.parquet", "1.0"), ("codecs-2.parquet", "2.0")]:
        pq.write_table(
            pa.table({name: texts for name in names}),
            HERE / file,
            row_group_size=5,
            compression={name: name for name in names},
            data_page_version=version,
            write_page_checksum=True,
        )


small()
odd()
codecs()
