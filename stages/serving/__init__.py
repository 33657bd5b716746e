"""Model servers, their settings, and load tests.

It may import core and models.
"""
