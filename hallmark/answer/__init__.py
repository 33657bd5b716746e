"""Records to predictions: prompts, the models that answer them, scoring, and the comparators."""
