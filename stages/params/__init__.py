"""The typed loader of `params.yaml`, which combines the blocks that the rooms declare; what is set for a machine.

It stands above the rooms: only stages and tools import it, and it may import the `params` of every room.
"""
