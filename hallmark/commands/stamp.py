"""Make a new domain repo next to this one: `nox -s stamp -- ../my-domain-parent [key=value ...]`.

With any answer as key=value, the others get their defaults and no question is asked.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.reading import read_object


def main(arguments: argparse.Namespace) -> None:
    from click import Abort
    from cookiecutter.exceptions import CookiecutterException, FailedHookException
    from cookiecutter.main import cookiecutter

    if not Path("template").is_dir():
        raise HallmarkError("is not here: this repo was stamped", file="template", remedy="stamp from its template")
    if not arguments.folder.is_dir() or not os.access(arguments.folder, os.W_OK):
        remedy = "name another folder to hold the new repo"
        raise HallmarkError("is not a folder, or not writable", file=arguments.folder, remedy=remedy)
    answers = dict(answer.partition("=")[::2] for answer in arguments.answers if "=" in answer)
    questions = "template/cookiecutter.json"
    known = read_object(Path(questions))
    if unknown := [one for one in arguments.answers if one.partition("=")[0] not in known or "=" not in one]:
        remedy = f"give answers as KEY=VALUE, with a KEY of {questions}"
        raise HallmarkError(f"'{unknown[0]}' answers no question", file=questions, remedy=remedy)
    logging.getLogger("cookiecutter").setLevel(logging.CRITICAL)  # it logs a traceback for a hook that says no
    try:
        cookiecutter(
            str(Path.cwd()), directory="template", output_dir=str(arguments.folder), no_input=bool(answers),
            extra_context=answers,
        )  # fmt: skip
    except FailedHookException:  # which has said why
        sys.exit(1)
    except (EOFError, Abort):
        raise HallmarkError("nobody answers", file=questions, remedy="give one answer as KEY=VALUE") from None
    except (CookiecutterException, ValueError) as error:
        remedy = f"see {questions} for the answers there are; a folder of that name must not exist"
        raise HallmarkError(str(error), remedy=remedy) from None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.stamp", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(".."), help="where to make it (default: ..)")
    parser.add_argument("answers", nargs="*", metavar="KEY=VALUE", help="answers to the template's questions")
    run_stage("stamp", __doc__, main, parser)
