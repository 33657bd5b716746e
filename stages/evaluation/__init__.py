"""Letting models answer, scoring the answers, and the statistics of comparing them.

It may import core, models, privacy, serving and tasks.
"""
