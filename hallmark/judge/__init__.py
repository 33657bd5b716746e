"""Predictions to a verdict: statistics, comparisons, calibration, the rules of the gate, and the words for them."""
