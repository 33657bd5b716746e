"""From raw rows to records, and what holds between records: duplicates, groups, leaks.

It may import core, privacy and tasks.
"""
