"""A user's data file to proposed params: its columns, their roles, the answers, the task, and a dry run of what follows."""
