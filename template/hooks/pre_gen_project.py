"""Refuse a name that would break a path, a package or a shell, before anything is written."""

import re
import shutil
import sys

slug = "{{ cookiecutter.project_slug }}"
if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
    sys.exit(f"project_slug {slug!r}: use lower-case letters, digits and single dashes, a letter first (my-domain)")
if "{{ cookiecutter.initialise_git }}" == "yes" and shutil.which("git") is None:
    sys.exit("git is not installed: install it, or answer no to initialise_git")
