"""A data file and five answers become `stages/records.py`, the task's params and its schema; what they make of the file is shown."""
