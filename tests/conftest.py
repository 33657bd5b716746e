"""Settings of all tests."""

from hypothesis import settings

# The same examples each time; no deadline, since a test machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
