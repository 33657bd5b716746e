"""The whole service loop, played on the reference's generator: `nox -s demo`. On demand, for it takes a quarter of an hour."""
