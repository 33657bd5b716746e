"""Real corpora through stamped repos, one recipe (`*.yaml`) each: `nox -s corpora`."""
