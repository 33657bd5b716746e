"""Side-by-side measurements, run with `nox -s bench`: not tests, for they take minutes and their numbers vary."""
