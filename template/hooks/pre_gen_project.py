"""Refuse values that would break a path, a package, a shell or the DVC remote, before anything is written."""

import re
import shutil
import sys

slug = """{{ cookiecutter.project_slug | replace('\\', '\\\\') | replace('"', '\\"') }}"""
if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
    sys.exit(f"project_slug {slug!r}: use lower-case letters, digits and single dashes, a letter first (my-domain)")
remote = """{{ cookiecutter.dvc_remote | replace('\\', '\\\\') | replace('"', '\\"') }}"""
if not re.fullmatch(r"none|(?:s3|gs|azure|ssh)://(?![^/]*:[^/]*@)[^\s'\",#]+|(?:\.\.?)?/[^\n\r'\",#]*", remote):
    sys.exit(
        f"dvc_remote {remote!r}: give none, a folder as /path or ../path, or an address that starts with s3://, gs://, "
        "azure:// or ssh:// (see DVC's documentation of remotes); without a password, quotes, commas and #"
    )
if "{{ cookiecutter.initialise_git }}" == "yes" and shutil.which("git") is None:
    sys.exit("git is not installed: install it, or answer no to initialise_git")
