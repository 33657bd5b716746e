"""What only a GPU can show, in parts that can be run one by one: `python -m tests.gpu PART`, `--list` names them.

pytest collects nothing of it. `tests/test_gpu.py` runs the same parts on a CPU with tiny models.
"""
