"""The defaults and the typed loader of `params.yaml`, which combines the blocks of the rooms; what is set for a machine."""
