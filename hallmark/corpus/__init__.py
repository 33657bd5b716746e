"""Masked records to the parts of the split: near duplicates, whole groups, a frozen holdout, no leaks."""
