#!/usr/bin/env python3
"""Gives the files of a fresh clone the ages that they had when they were compiled last.

Cargo compiles again whatever has a file that is younger than what was compiled of it, and in a fresh
clone every file is. So a file with the content that it had in the last run of `.ci/run` with the same
build folder gets the time that it had then, and all others that of now: what is compiled again is
what it would be in one folder that is pulled.

    ages.py begin BUILD   before the first check
    ages.py end BUILD     after the last one, whatever came of it

All files are young where something else was compiled in BUILD since, or where a run did not end. A
clone with changes that are not committed, or with a build of its own, is left alone, and nothing of
it is remembered.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def git(*words: str) -> bytes:
    return subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE).stdout


def contents() -> dict[str, str]:
    """Names of contents by path, of all files that git knows."""
    lines = git("ls-files", "-s", "-z").split(b"\0")
    fields = [line.split(b"\t", 1) for line in lines if line]
    return {os.fsdecode(path): meta.split()[1].decode() for meta, path in fields}


def newest(build: Path) -> int:
    """When something was compiled in a build folder last, in nanoseconds."""
    times = [0]
    # The second are those of a platform that was named.
    for prints in [*build.glob("*/.fingerprint"), *build.glob("*/*/.fingerprint")]:
        for folder, _, files in os.walk(prints):
            times += [os.stat(os.path.join(folder, file)).st_mtime_ns for file in files]
    return max(times)


def begin(build: Path) -> None:
    table, end = build / "ages.json", build / "ages.end"
    known, compiled = {}, newest(build)
    if table.exists() and end.exists() and compiled <= end.stat().st_mtime_ns:
        known = json.loads(table.read_text())
    # First: a run that ends in the middle, or here, leaves nothing that a later one believes.
    table.unlink(missing_ok=True)
    end.unlink(missing_ok=True)
    if git("status", "--porcelain") or Path("target").exists():
        print("files keep their ages: this is no fresh clone")
        return
    # Younger than the clone, as another run may have ended since that was made; and than all that
    # was compiled, as a clock may have been set back.
    now = max(time.time_ns(), compiled + 1)
    ages, n_kept = {}, 0
    for path, content in contents().items():
        if not os.path.isfile(path) or os.path.islink(path):
            continue
        if known.get(path, [None])[0] == content:
            age = known[path][1]
            n_kept += 1
        else:
            age = now
        os.utime(path, ns=(age, age))
        ages[path] = [content, age]
    build.mkdir(parents=True, exist_ok=True)
    table.write_text(json.dumps(ages))
    print(f"{n_kept} of {len(ages)} files are as they were compiled last")


def main() -> None:
    step, build = sys.argv[1], Path(sys.argv[2])
    if step == "begin":
        begin(build)
    elif (build / "ages.json").exists():
        (build / "ages.end").touch()


main()
