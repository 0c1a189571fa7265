"""Writes `everything.text`, a text with everything in it, and the tokens that OpenAI's own package gives it.

    python -m venv venv && venv/bin/pip install tiktoken
    venv/bin/python testdata/tokenizers/make.py FOLDER

FOLDER holds `r50k_base.tiktoken` and `cl100k_base.tiktoken`, whose digests are checked; the crate
`tiktoken-rs` carries both in its folder `assets`.
"""

import hashlib
import json
import sys
from pathlib import Path

import tiktoken
from tiktoken.load import load_tiktoken_bpe

HERE = Path(__file__).parent

EVERYTHING = [
    "The quick brown fox jumps over the lazy dog. THE QUICK BROWN FOX! the Quick bRoWn fOx?\n",
    "It's I'm we'll they've you're he'd don't; IT'S I'M WE'LL THEY'VE YOU'RE HE'D DON'T\n",
    "rock 'n' roll, 'tis, o'clock, '90s, ''quoted'', it\u2019s curly, 'S 'T 'LL, '\u017f\n",
    "0 1 12 123 1234 12345 1234567890 3.14159 1,000,000 1e-9 0x1F \u0661\u0662\u0663 \u00bd \u2167 \u00b2\n",
    "one two  three   four    five\ttab\t\ttabs \t mixed\t ends with blanks   \n",
    "\n\n\n   \n \n\t\n\r\n\r\n\r  carriage\rreturns\r\n",
    "no\u00a0break thin\u2009space ideographic\u3000space zero\u200bwidth \u2028line\u2029paragraph\u0085next\n",
    "def f(x: int) -> int:\n    return x ** 2  # squared\n\n\tif x != 0 && y || !z { a[i] += b->c; }\n",
    "<html><body class=\"x\">&amp;&#39;</body></html> {\"json\": [1, 2.5, null]} ```sh\n$ ls -la | grep '^d'\n```\n",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u3053\u3093\u306b\u3061\u306f\u4e16\u754c \uc548\ub155\ud558\uc138\uc694 \u4e2d\u6587abc\u6df7\u5408123\n",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645 \u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd \u202eright to left\u202c \u0627\u0644\u0652\u0639\u064e\n",
    "e\u0301 e\u0301e\u0301 a\u0308o\u0308u\u0308 n\u0303 Z\u0351\u036b\u0343a\u0321l\u0348g\u030co\u0315 \u00e9\u00e8\u00ea\u00eb \u0929\u092e\u0938\u094d\u0924\u0947 \u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\n",
    "\U0001f600\U0001f601 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f \U0001f44d\U0001f3fd \u00a9\u00ae\u2122 \U0001d54f\U0001d4ea\n",
    "\u0393\u03b5\u03b9\u03ac \u03a3\u03bf\u03c5 \u041f\u0440\u0438\u0432\u0435\u0442 \u0130stanbul \u0131 \u1e9e \u00df \ufb01 \u01c5 \u0149\n",
    "controls \x00 \x01 \x07 \x08 \x0b \x0c \x1b[31mred\x1b[0m \x7f \u0080 \u009f soft\u00adhyphen\n",
    "replaced \ufffd\ufffd invalid-looking \u00c3\u00a9 \u00e2\u0082\u00ac \u00f0\u009f\u0098\u0080 \ufeffbyte order mark \uffff \U0010ffff \ue000\n",
    "<|endoftext|> <|fim_prefix|><|im_start|> [INST] </s> <unk> <|endofprompt|>\n",
    "!!!??? ... ---- ____ ==== //// \\\\\\\\ ~~~ @user #tag $100 50% a+b=c x^2 (paren) [b] {c} \u00ab\u00bb \u201c\u201d \u2026 \u2014\n",
    "https://example.com/a/b?c=d&e=%20f#g user@example.com /usr/bin/env C:\\Windows\\System32\n",
    "SupercalifragilisticexpialidociousSupercalifragilisticexpialidocious" + "a" * 300 + "\n",
    " " * 200 + "x" + "\n" * 60 + "=" * 120 + "0" * 50 + "\n",
    "\u00e4\u00f6\u00fc\u00c4\u00d6\u00dc Donaudampfschifffahrtsgesellschaft na\u00efve caf\u00e9 \u0141\u00f3d\u017a \u0141\u00d3D\u0179\n",
    "ends without a line end and with three blanks   ",
]

RANKS = {
    "gpt2": ("r50k_base", "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"),
    "cl100k_base": ("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
}
# As in tiktoken_ext/openai_public.py, which would fetch the ranks.
PATTERNS = {
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "cl100k_base": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
}


def main():
    text = "".join(EVERYTHING)
    (HERE / "everything.text").write_bytes(text.encode())
    golden = {"tiktoken": tiktoken.__version__, "text_sha256": hashlib.sha256(text.encode()).hexdigest()}
    for name, (file, sha256) in RANKS.items():
        path = Path(sys.argv[1]) / f"{file}.tiktoken"
        ranks = load_tiktoken_bpe(str(path), expected_hash=sha256)
        encoding = tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
        golden[name] = encoding.encode_ordinary(text)
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


main()
