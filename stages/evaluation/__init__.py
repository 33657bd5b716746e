"""Collecting model answers, scoring them, and the statistics to compare them.

It may import core, models, privacy, serving and tasks.
"""
