"""The pipeline: one file a stage, in the order of `dvc.yaml`. Run one with `python -m stages.<name>`."""
