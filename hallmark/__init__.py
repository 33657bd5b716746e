"""The library that the stages call, in rooms: each imports only those before it in this list.

base: files, hashes, errors, the machine. task: what an answer is. records: raw files to records. mask: texts with private
values to texts without. corpus: records to parts. model: base to adapter. serve: adapter to server. answer: records to
predictions. judge: predictions to a verdict. release: a verdict to what ships. page: results to what a person looks at. params: the
settings that the rooms declare, put together. plan: params to minutes and GiB. draft: a file to a recipe.
commands: what a person runs. service: what happens after the gate; nothing else imports it.
"""

import sys
from importlib.util import find_spec, spec_from_file_location
from pathlib import Path

# Packages that every command needs. Looking for them imports none of them.
NEEDED = ("jsonschema_rs", "polars", "pydantic")

if sys.platform == "win32":  # where no stage can start: they need `fcntl`, `resource` and process groups
    sys.exit("Hallmark runs on Linux, macOS and WSL")
# A module that a repository took over (`python -m hallmark.commands.eject`) is here, and wins over the installed one.
EJECTED = Path("stages/hallmark").absolute()


class _Ejected:
    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]  # as importlib calls it
        room, _, module = name.removeprefix("hallmark.").rpartition(".")
        file = EJECTED / room.replace(".", "/") / f"{module}.py"
        return spec_from_file_location(name, file) if name.startswith("hallmark.") and file.is_file() else None


if EJECTED.is_dir():
    sys.meta_path.insert(0, _Ejected)
# While Python looks for `-m hallmark.<name>`, `-m` stands in for the name of the program.
if sys.argv[:1] == ["-m"] and not all(map(find_spec, NEEDED)):
    sys.exit(
        "hallmark: the packages aren't installed here; run `python -m nox -s setup`, then `source .venv/bin/activate`"
    )
