"""The typed loader of `params.yaml`, which combines the blocks that the rooms declare; what is set for a machine."""
