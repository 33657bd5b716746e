"""Traces of served requests and the feedback to them: their form, how the gateway writes them, how tools read them."""
