"""What live traffic says of a release: sequential tests of a canary, drift of the requests, foretold and found quality.

It may import core, evaluation, tasks and traces.
"""
