"""What ships: provenance, bill of materials, model card, and checking a release.

It may import core and models.
"""
