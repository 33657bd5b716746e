"""What ships, and whether it may: the gate's recount, provenance, bill of materials, model card, release checks.

It may import core, models, tasks and evaluation.
"""
