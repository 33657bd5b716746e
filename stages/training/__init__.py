"""Trainers, what `sft` and `dpo` share, and starting several processes.

It may import core and models.
"""
