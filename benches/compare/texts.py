"""Ten texts to run demos on: four in the public domain, six generated from a seed; at most 1 MB each.

usage: texts.py FOLDER

The public ones come from Debian's packages dict-devil (Bierce's dictionary), dict-jargon (the Jargon
File), dict-gcide (Webster of 1913) and bible-kjv (the King James Bible).
"""

import gzip
import json
import pathlib
import random
import subprocess
import sys

SIZE_MAX = 1_000_000
DIGITS = "zero one two three four five six seven eight nine".split()
NAMES = "Ada Ben Clara David Emma Frank Greta Hugo Ida Jonas".split()
THINGS = "apples books candles drums eggs feathers gloves hats".split()
VERBS = "bought sold lost found carried counted painted hid".split()
PLACES = ["market", "river", "old mill", "church", "station", "garden", "harbour", "school"]
RANDOM = random.Random(1)


def dictionary(name):
    return gzip.open(f"/usr/share/dictd/{name}.dict.dz").read().decode("utf-8", "replace")


def king_james():
    command = ["bible", "-f", "gen1:1-rev22:21"]
    verses = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    return paragraphs(" ".join(verses[i : i + 4]) for i in range(0, len(verses), 4))


def paragraphs(texts):
    return "\n\n".join(texts)


def spoken(number):
    return " ".join(DIGITS[int(digit)] for digit in str(number))


def sums():
    pairs = [(RANDOM.randrange(1000), RANDOM.randrange(1000)) for _ in range(4)]
    return ". ".join(f"{spoken(a)} plus {spoken(b)} is {spoken(a + b)}" for a, b in pairs) + "."


def chain(vocabulary, followers):
    word, words = RANDOM.choice(vocabulary), []
    for _ in range(RANDOM.randint(20, 60)):
        words.append(word)
        word = followers[word][min(int(RANDOM.expovariate(0.9)), 5)]
    return " ".join(words) + "."


def record(vocabulary):
    return json.dumps({
        "id": RANDOM.randrange(10**6),
        "name": RANDOM.choice(vocabulary).title(),
        "tags": RANDOM.sample(vocabulary, RANDOM.randint(0, 3)),
        "price": round(RANDOM.random() * 100, 2),
        "ok": RANDOM.random() < 0.7,
    })


def brackets(depth):
    if depth == 0 or RANDOM.random() < 0.25:
        return RANDOM.choice("xyz")
    left, right = RANDOM.choice(["()", "[]", "{}"])
    return left + " ".join(brackets(depth - 1) for _ in range(RANDOM.randint(1, 3))) + right


def letter():
    to, by = RANDOM.sample(NAMES, 2)
    place = lambda: RANDOM.choice(PLACES)
    first = (
        f"Dear {to}, yesterday {by} {RANDOM.choice(VERBS)} {RANDOM.randint(2, 90)} "
        f"{RANDOM.choice(THINGS)} near the {place()}, and {RANDOM.choice(NAMES)} "
        f"{RANDOM.choice(VERBS)} the rest. "
    )
    seen = (
        f"I saw {RANDOM.choice(NAMES)} at the {place()} on day {RANDOM.randint(1, 31)}."
        for _ in range(RANDOM.randint(1, 5))
    )
    return first + " ".join(seen) + f" Yours, {by}."


def table():
    a, b = RANDOM.randint(1, 99), RANDOM.randint(0, 9)
    rows = range(RANDOM.randint(5, 20))
    return "\n".join(f"{i};{a * i + b};{(a * i + b) % 7};{RANDOM.choice('NSEW')}" for i in rows)


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)

    def save(name, text):
        (folder / f"{name}.txt").write_text(text[:SIZE_MAX])

    save("devil", dictionary("devil"))
    save("jargon", dictionary("jargon"))
    save("webster-1913", dictionary("gcide")[5_000_000:])
    save("king-james", king_james())
    save("sums", paragraphs(sums() for _ in range(9000)))
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    words = range(2000)
    word = lambda: "".join(RANDOM.choice(syllables) for _ in range(RANDOM.randint(1, 4)))
    vocabulary = [word() for _ in words]
    followers = {word: RANDOM.sample(vocabulary, 6) for word in vocabulary}
    save("word-chain", paragraphs(chain(vocabulary, followers) for _ in range(6000)))
    three = lambda: "\n".join(record(vocabulary) for _ in range(3))
    save("records", paragraphs(three() for _ in range(4000)))
    four = lambda: " ".join(brackets(5) for _ in range(4))
    save("brackets", paragraphs(four() for _ in range(9000)))
    save("letters", paragraphs(letter() for _ in range(6000)))
    save("tables", paragraphs(table() for _ in range(8000)))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
