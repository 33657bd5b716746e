"""The task of the domain: its kinds, how an answer is read and compared, and the measures that a kind declares."""
