"""What a run would take before it starts: memory, by a run of the real architecture without values, and time, by its FLOPs."""
