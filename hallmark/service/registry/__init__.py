"""Versions of the release as tags in git: registering, promoting, going back, fetching, and what a tag must say."""
