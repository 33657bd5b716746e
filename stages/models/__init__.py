"""Loading base models, tokenizers and adapters; chat templates and their tool calls.

It may import core and tasks.
"""
