"""Trainers, code shared by `sft` and `dpo`, and starting several processes.

It may import core and models.
"""
