"""The whole service loop, played on the reference's generator: `nox -s demo`. On demand: it took 19 minutes on two busy cores."""
