"""The gateway in front of the model servers: keys, limits, masking, routing, the cascade, traces and feedback."""
