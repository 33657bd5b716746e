"""What ships, and whether it may: what the gate counts again, provenance, bill of materials, model card, checking a release.

It may import core, models, tasks and evaluation.
"""
