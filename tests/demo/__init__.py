"""The whole service loop, played on the reference's generator: `nox -s demo`. On demand, for it takes up to half an hour."""
