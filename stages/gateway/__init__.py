"""The gateway in front of the model servers: keys, limits, masking, routing, the cascade, traces and feedback.

It may import core, corpus, evaluation, models, privacy, registry, release, serving, tasks and traces.
"""
