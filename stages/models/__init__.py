"""Loading base models, tokenizers and adapters, and what a chat template makes of messages and tool calls.

It may import core and tasks.
"""
