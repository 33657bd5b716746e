"""What a run would take before it starts: memory and work by formulas, and time by the speed of the machine."""
