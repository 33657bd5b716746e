"""What every stage builds on: parameters, errors, files, records, reports, and the machine.

It may import no other room.
"""
