"""Finding and masking private values in texts, the word lists for it, and the independent second check."""
