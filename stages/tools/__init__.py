"""Commands that people run by hand, one file each, and what they alone use.

They may import every room and no stage.
"""
