import sys

# SlipCover 1.1 doesn't pass `--immediate` on to the processes of pytest-xdist, and takes longer there to find the same lines.
if instance := getattr(sys.modules.get("slipcover.pytest_plugin"), "_slipcover_instance", None):
    instance.immediate = True
