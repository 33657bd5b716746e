"""Refuse values that would break a path, a package, a shell or the DVC remote, before anything is written."""

import re
import shutil
import sys

slug = """{{ cookiecutter.project_slug | replace('\\', '\\\\') | replace('"', '\\"') }}"""
if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
    sys.exit(f"project_slug {slug!r}: use lower-case letters, digits and single dashes, a letter first (my-domain)")
remote, url = "{{ cookiecutter.dvc_remote }}", """{{ cookiecutter.dvc_remote_url | replace('\\', '\\\\') | replace('"', '\\"') }}"""
if remote not in ("none", "folder") and not re.fullmatch(remote + r"://[^\s'\"]+", url):
    sys.exit(f"dvc_remote_url {url!r}: give an address that starts with {remote}:// (see DVC's documentation of remotes)")
if re.search(r"[\n\r'\"]", url) or (remote == "folder" and not url):
    sys.exit(f"dvc_remote_url {url!r}: give a path without quotes or line breaks")
if "{{ cookiecutter.initialise_git }}" == "yes" and shutil.which("git") is None:
    sys.exit("git is not installed: install it, or answer no to initialise_git")
