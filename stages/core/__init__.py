"""What every stage stands on: parameters, errors, files, records, reports, and the machine.

It may import no other room.
"""
