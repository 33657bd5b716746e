"""Loading base models and adapters, their chat templates and tool calls; training: batches, LoRA, loss, checkpoints."""
