"""Run benches one after the other, each in a process of its own: `nox -s bench -- [NAME ...] [OPTIONS of the last]`.

Without a name, the stages against common tools. `canary` and `cascade` are how often their tests are wrong, and what they
need (5 minutes each).
"""

from __future__ import annotations

import subprocess
import sys
from itertools import takewhile

if __name__ == "__main__":
    names = list(takewhile(lambda word: not word.startswith("-"), sys.argv[1:]))
    options = sys.argv[1 + len(names) :]
    commands = [[f"tests.bench.{name}"] for name in names or ("mask", "dedupe")]
    if names:
        commands[-1] += options
    for command in commands:
        if code := subprocess.run([sys.executable, "-m", *command]).returncode:
            sys.exit(code)
