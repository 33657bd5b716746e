"""Say where the pages of the manual are: `python -m hallmark.commands.docs`. They come with the library."""

from __future__ import annotations

from hallmark.base.errors import run_stage, with_pages

if __name__ == "__main__":
    run_stage("docs", __doc__, lambda _: print(f"start with {with_pages('docs/README.md')}"))
