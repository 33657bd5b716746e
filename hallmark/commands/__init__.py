"""Commands that people run by hand, one file each, and code that only they use."""
