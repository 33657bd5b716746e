"""Run a bench: `nox -s bench -- [NAME [OPTIONS]]`.

Without a name, masking against Presidio. `canary` and `cascade` are how often their tests are wrong, and what they need (5
minutes each).
"""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    name, *options = sys.argv[1:] or ["mask"]
    sys.exit(subprocess.run([sys.executable, "-m", f"tests.bench.{name}", *options]).returncode)
