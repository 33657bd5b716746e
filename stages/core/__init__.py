"""What every stage builds on: parameters, errors, files, records, the task, reports, and the machine.

It may import no other room.
"""
