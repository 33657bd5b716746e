"""Servers of models, their settings, and sending them load.

It may import core and models.
"""
