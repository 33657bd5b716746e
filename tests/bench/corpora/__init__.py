"""Real corpora through stamped repos, one recipe (`*.yaml`) and script of records (`*.py`) each: `nox -s corpora`."""
