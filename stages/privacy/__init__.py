"""Finding private values in texts and masking them, with the word lists it needs, and the independent second check.

It may import core.
"""
