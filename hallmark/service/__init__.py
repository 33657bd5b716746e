"""What happens after the gate: gateway, traces, collecting, monitoring, registry, and their commands."""
