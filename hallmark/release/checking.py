"""Check a release folder: do its parts match each other and the repository it claims to come from?

On its own, a release proves only that no single part was changed. To prove that it wasn't all forged, it needs a
signature, or a clone whose committed `dvc.lock` has the release's hash.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import YAML_BYTES
from hallmark.base.errors import HallmarkError, in_red, printable
from hallmark.base.files import ADAPTER, RELEASE, canonical_json
from hallmark.base.loaded_code import tracked
from hallmark.base.reading import NotJsonError, check_regular, strict_json
from hallmark.judge.cascade import read_shipped
from hallmark.judge.verdict import OUTCOMES, SHIPS, VERDICTS, overall
from hallmark.release.clone import Clone, made
from hallmark.release.listing import Digests, Listing, digests, list_folder, read_plain
from hallmark.release.signing import check_public_key, import_signing, problem_of_signature
from hallmark.release.statements import Build, GateVerdict, Provenance, read_provenance, read_verdict

log = logging.getLogger("certify")
LOCK = Path("dvc.lock")
WAIVER = "waived: "  # how a line about a waived rule begins
UNPROVEN = 3  # the exit code of a check that found nothing wrong and could prove nothing
CASCADE_BYTES = 2**20
IN_GIT = ("code", "list of code", "library", "library lock")  # roles of files that every clone has


@dataclass
class Finding:
    """The results of a check, in words: `made_of` describes the release, `wrong` lists the problems, `proof` what proves it.

    `release` and `gate` are the MD5s by which a `dvc.lock` names this release and its gate's report.
    """

    made_of: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    proof: list[str] = field(default_factory=list)
    passed: bool = False
    release: str = ""
    gate: str = ""

    @property
    def proven(self) -> bool:
        """Whether something outside the folder says that this is the release, all of it."""
        return bool(self.proof) and not self.wrong

    @property
    def exit_code(self) -> int:
        """0: proven, 1: something does not fit, 3: everything fits, which a forgery could too."""
        return 0 if self.proven else 1 if self.wrong else UNPROVEN

    @property
    def summary(self) -> str:
        """In one line, what this check can say."""
        if self.wrong:
            return f"damaged, changed or forged: {len(self.wrong)} things do not fit"
        if self.proof:
            return f"proven by {' and '.join(self.proof)}"
        return (
            "unproven: neither --key nor --clone was given, so all of it may be a forgery; no single part was changed, "
            "since the parts fit each other"
        )

    @property
    def lines(self) -> list[str]:
        """All of it, in lines: first what the check can say, last whether everything fits."""
        last = "everything fits" if self.proof else "the parts fit each other, and nothing else was checked"
        problems = [f"DOES NOT FIT: {problem}" for problem in first_of(self.wrong, 50)]
        return [self.summary, *self.made_of, *problems, f"{len(self.wrong)} things do not fit" if self.wrong else last]


def check(folder: Path, clone: Path | None = None, public_key: Path | None = None) -> Finding:
    """Check `folder` itself, against `clone` if one is given, and its signature if `public_key` is given."""
    if public_key is not None:
        import_signing()
        check_public_key(public_key)
    listing = list_folder(folder)
    needed = (prov.PROVENANCE, prov.VERDICT)
    if not listing.files.keys() >= {*needed}:
        odd = "; ".join(problem for problem in listing.odd if problem.startswith(needed))
        problem = odd or f"lacks {' or '.join(needed)} as plain files"
        raise HallmarkError(problem, file=folder, remedy="give a complete release folder")
    finding = Finding(wrong=list(listing.odd))
    try:
        provenance, verdict = read_provenance(folder), read_verdict(folder)
    except HallmarkError as error:
        finding.wrong.append(f"{Path(str(error.file)).name}: {error.problem}")
        return finding
    hashes = _check_files(folder, listing, provenance, finding)
    if prov.PROVENANCE in hashes:
        _check_verdict(hashes[prov.PROVENANCE].sha256, provenance, verdict, folder, finding)
    _check_cascade(folder, provenance, finding)
    finding.release = prov.folder_md5({name: found.md5 for name, found in hashes.items()})
    size = sum(listing.files[name].st_size for name in provenance.subjects if name in listing.files)
    finding.made_of += describe(provenance, verdict, size)
    if clone is not None:
        _check_clone(Clone(clone), provenance, finding)
    _check_signature(folder, listing, public_key, finding)
    return finding


def check_release(folder: Path, ungated: bool = False) -> Finding:
    """Raise a HallmarkError unless the release is whole and passed its gate (`ungated`: or not); logs what that proves.

    A folder `models/release` is also compared with the `dvc.lock` of its repository, if that names one.
    """
    finding = check(folder)
    refuse(folder, finding.wrong, "use an unchanged release, or run `dvc repro certify` in its project")
    lock = folder.resolve().parent.parent / "dvc.lock"
    stages = read_lock_file(lock) if folder.resolve().parts[-2:] == RELEASE.parts and lock.is_file() else {}
    named = bool(made(stages, RELEASE.as_posix()))
    if named:
        refuse(folder, differing(finding, stages), "run `dvc repro certify` in its project, which makes it again")
    if not finding.passed and not ungated:
        raise HallmarkError(
            "the gate did not pass this adapter",
            file=folder / prov.VERDICT,
            field="predicate.result",
            remedy="see reports/gate.json of its project; to use it anyway, add --ungated",
        )
    log.info("%s: %s", folder, "as dvc.lock names it" if named else finding.summary)
    for line in finding.made_of:
        if line.startswith(WAIVER):
            log.warning("%s", in_red(printable(line), sys.stderr))
    return finding


def refuse(folder: Path, wrong: list[str], remedy: str) -> None:
    """Raise a HallmarkError that lists what is wrong with a release, if anything is."""
    if wrong:
        raise HallmarkError("; ".join(first_of(wrong, 10)), file=folder, remedy=remedy)


def differing(finding: Finding, stages: prov.Stages) -> list[str]:
    """In words, how a release differs from the one that a `dvc.lock` names, and its gate's report."""
    wrong = []
    if finding.release not in made(stages, RELEASE.as_posix()):
        wrong.append(f"not the release that dvc.lock names ({RELEASE} with another hash than {finding.release})")
    if finding.gate not in made(stages, prov.GATE.as_posix()):
        wrong.append(f"the gate's report in {prov.VERDICT} is not the {prov.GATE} that dvc.lock names")
    return wrong


def read_lock_file(path: Path) -> prov.Stages:
    check_regular(path, "run `dvc repro`, which writes it")
    if path.stat().st_size > YAML_BYTES:
        raise HallmarkError(
            f"is larger than {YAML_BYTES // 2**20} MiB", file=path, remedy="restore it with `git checkout`"
        )
    return prov.read_lock(path.read_bytes(), path)


def first_of(lines: list[str], most: int) -> list[str]:
    """The first lines, each cut to a length that can be read, and how many there are more."""
    more = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return [line if len(line) <= 500 else f"{line[:500]} ..." for line in lines[:most]] + more


def release_files(folder: Path) -> list[Path]:
    """The files of a release, all but its signature; a HallmarkError if anything else than plain files is there."""
    listing = list_folder(folder)
    refuse(folder, listing.odd, "use an unchanged release")
    return [folder / name for name in sorted(listing.files) if name != prov.SIGNATURE]


def _check_files(folder: Path, listing: Listing, provenance: Provenance, finding: Finding) -> dict[str, Digests]:
    """Every file is named in the provenance with its hash; the adapter is the one trained according to `dvc.lock`.

    Returns the hashes of the files that are part of the release.
    """
    expected = provenance.files
    hashes: dict[str, Digests] = {}
    for name in sorted({*expected, *listing.files} - {prov.SIGNATURE}):
        if name not in listing.files:
            finding.wrong.append(f"{name} is missing")
        elif name not in expected and name not in (prov.PROVENANCE, prov.VERDICT):
            finding.wrong.append(f"{name} is not named in {prov.PROVENANCE}")
        elif (found := digests(folder / name)) is None:
            finding.wrong.append(f"{name} can't be read")
        else:
            hashes[name] = found
            if name in expected and found.sha256 != expected[name]:
                finding.wrong.append(f"{name} is not the file that {prov.PROVENANCE} names (SHA-256 {found.sha256})")
    for inside in listing.folders:
        if not any(name.startswith(f"{inside}/") for name in expected):
            finding.wrong.append(f"{inside} is a folder that holds no file of the release")
    trained = made(provenance.build.stages, ADAPTER.as_posix())
    if {*provenance.subjects} <= {*hashes}:
        adapter = prov.folder_md5({name: hashes[name].md5 for name in provenance.subjects})
        if trained != {adapter}:
            finding.wrong.append("the adapter's files are not those that the training stage made (hash in dvc.lock)")
    return hashes


def _check_verdict(digest: str, provenance: Provenance, verdict: GateVerdict, folder: Path, finding: Finding) -> None:
    """The verdict belongs to this provenance, and follows from the gate's report, which the provenance names by hash.

    It is worked out again from that report's rules.
    """
    if verdict.predicate.configuration[0].digest.sha256 != digest:
        finding.wrong.append(f"{prov.PROVENANCE} does not belong to {prov.VERDICT}: one of them was changed")
    report = verdict.report
    text = canonical_json(report)
    finding.gate = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    named = provenance.byproducts.get(prov.GATE.as_posix())
    if prov.sha256(text) != named or made(provenance.build.stages, prov.GATE.as_posix()) != {finding.gate}:
        finding.wrong.append(f"the gate's report in {prov.VERDICT} is not the one that {prov.PROVENANCE} names")
    waivers = {rule.name: rule.waiver for rule in verdict.gate.rules if rule.waiver is not None}
    if any(provenance.build.params.gate.waive.get(name) != reason for name, reason in waivers.items()):
        finding.wrong.append(f"the gate's report in {prov.VERDICT} has a waiver that its params do not")
    follows = overall((rule.outcome, rule.waiver is not None) for rule in verdict.gate.rules)
    if verdict.gate.verdict != follows:
        finding.wrong.append(f"the gate's report in {prov.VERDICT} has a verdict that does not follow from its rules")
    forms = [prov.verdict(provenance.subjects, digest, report, older=older) for older in (False, True)]
    if (folder / prov.VERDICT).read_bytes() not in [canonical_json(form).encode() for form in forms]:
        finding.wrong.append(f"{prov.VERDICT} contradicts the gate's report in it")
    finding.passed = verdict.gate.verdict == follows and follows in SHIPS


def _check_cascade(folder: Path, provenance: Provenance, finding: Finding) -> None:
    """If the release has a cascade, it is of the form that certify writes, and is the one that the params ask for."""
    if prov.CASCADE not in provenance.files:
        return
    content = read_plain(folder / prov.CASCADE, CASCADE_BYTES)
    try:
        cascade = read_shipped(strict_json((content or b"").decode()))
    except (ValueError, NotJsonError) as error:
        finding.wrong.append(f"{prov.CASCADE} is not of the form that certify writes ({str(error)[:200]})")
        return
    asked = provenance.build.externalParameters.params.get("cascade")
    names = ("max_risk", "confidence", "fallback")
    if not isinstance(asked, dict) or any(asked.get(name) != getattr(cascade, name) for name in names):
        finding.wrong.append(f"{prov.CASCADE} has another risk, confidence or fallback than the params")
    finding.made_of.append(
        f"cascade: answers from a score of {cascade.threshold:.4g} on, hands the rest over to {cascade.fallback}; "
        f"wrong answers bounded at {cascade.max_risk:g} with confidence {cascade.confidence:g}, on {cascade.groups} groups"
    )


def describe(provenance: Provenance, verdict: GateVerdict, size: int) -> list[str]:
    """What the adapter was made from, in lines."""
    build, params = provenance.build, provenance.build.params
    lines = [f"adapter: {params.certify.name}, {len(provenance.subject)} files, {size / 2**20:.1f} MiB"]
    for base in build.of("base model"):
        facts = base.annotations
        version = {"hub": f"at commit {facts.revision}", "package": f"from a package, {facts.revision}"}
        lines.append(f"base: {base.name}, {version.get(str(facts.source), f'from a {facts.source}')}, {facts.licence}")
        lines.append(f"base weights: {len(build.of('base weights'))} files, each with its SHA-256 in {prov.PROVENANCE}")
        if made_of := build.of("quantized weights"):
            lines.append(f"trained over: {len(made_of)} files made of them (`quantize`), each with its SHA-256 there")
    lines += [f"{file.role}: {file.name}, SHA-256 {file.sha256}" for file in build.of("raw data", "holdout lock")]
    lines.append(
        "records: " + ", ".join(f"{Path(file.name).stem} {file.annotations.rows}" for file in build.of("split"))
    )
    sft, dpo = params.sft, params.dpo
    preference = f", then DPO ({dpo.loss}, beta {dpo.beta}, learning rate {dpo.learning_rate})" if dpo.enabled else ""
    lines.append(
        f"params: {sft.method}, rank {sft.lora.r}, learning rate {sft.learning_rate}{preference}, seed {params.seed}"
    )
    for source in build.of("commit"):
        changed = source.annotations.changed
        examples = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        state = f"with changes in {examples}" if changed else "without changes"
        commit = f"commit {source.digest['gitCommit']}, {state}" if "gitCommit" in source.digest else "no commit"
        lines.append(f"code: {commit}; {len(build.of('code'))} files")
    libraries = {entry.name: entry.annotations.version for entry in build.of("installed library")}
    known = [f"{name} {libraries[name]}" for name in ("torch", "transformers", "peft", "trl") if name in libraries]
    lines.append(
        f"libraries: {len(libraries)} installed, including {', '.join(known) or 'none of torch, transformers, peft, trl'}"
    )
    for here in build.of("environment"):
        known_of = sorted((here.annotations.model_extra or {}).items())
        lines.append("made on: " + ", ".join(f"{key} {value}" for key, value in known_of))
    outcome = verdict.predicate
    found: list[str] = [rule.outcome for rule in verdict.gate.rules]
    counts = ", ".join(f"{found.count(name)} {words.lower()}" for name, words in OUTCOMES.items())
    failed = f" ({', '.join(outcome.failedTests)})" if outcome.failedTests else ""
    lines.append(f"gate: {VERDICTS[verdict.gate.verdict].lower()} ({outcome.result}); rules: {counts}{failed}")
    return lines + [
        f"{WAIVER}{rule.name} ({VERDICTS[rule.outcome].lower()}): {rule.waiver}" for rule in verdict.gate.waived
    ]


def _check_signature(folder: Path, listing: Listing, public_key: Path | None, finding: Finding) -> None:
    if prov.SIGNATURE not in listing.files:
        finding.made_of.append("signature: none")
        if public_key is not None:
            finding.wrong.append(f"a key was given, but there is no {prov.SIGNATURE}")
        return
    if public_key is None:
        finding.made_of.append(
            "signature: present, not checked, so it counts for nothing (give the signer's key with --key)"
        )
        return
    if listing.odd:  # model signing might follow a link, or wait for a FIFO
        finding.wrong.append("the signature was not checked, since not everything there is a plain file")
        return
    problem = problem_of_signature(folder, public_key)
    if problem is not None:
        finding.wrong.append(f"the signature is not valid for {public_key.name}: {problem}")
        return
    finding.made_of.append(f"signature: valid for {public_key.name}")
    finding.proof.append(f"the signature of {public_key.name}")


def changed_params(build: Build, read: Callable[[str], bytes | None], where: str, stages: prov.Stages) -> list[str]:
    """The params that a commit has with other values than a release was made with, but for those that change no output."""
    params, edited = prov.params_at(read, where, stages)
    return [*dict.fromkeys([*prov.differences(tracked(build.externalParameters.params), tracked(params)), *edited])]


def _check_clone(clone: Clone, provenance: Provenance, finding: Finding) -> None:
    """The clone's `dvc.lock`, params and files match the provenance."""
    build = provenance.build
    known = clone.find(finding.release)
    if not known:
        finding.wrong.append(
            f"no dvc.lock in the clone's history has this release ({RELEASE} with hash {finding.release})"
        )
    recorded, now = build.stages, clone.stages()
    if finding.gate not in made(now, prov.GATE.as_posix()):
        finding.wrong.append(f"the gate's report in {prov.VERDICT} is not the one of the clone's dvc.lock")
    for name in sorted(recorded):
        for key in prov.differences(recorded[name], now.get(name), name):
            finding.wrong.append(f"dvc.lock of the clone differs at {key}")
    for key in changed_params(build, clone.read, f"in {clone.root}", now):
        finding.wrong.append(f"param {key} is not the same in the clone")
    compared, absent = 0, 0
    for file in build.files:
        digest = clone.sha256(file.name)
        if digest is None and file.role in IN_GIT:
            finding.wrong.append(f"{file.name} is missing in the clone ({file.role})")
        elif digest is None:
            absent += 1
        elif digest == file.sha256:
            compared += 1
        else:
            finding.wrong.append(f"{file.name} is not the same in the clone ({file.role})")
    note = f", {absent} are missing (get data and weights with `dvc pull` or `dvc repro`)" if absent else ""
    finding.made_of.append(f"clone: compared with {clone.words}; {compared} of its inputs are the same{note}")
    if known:
        finding.proof.append(f"the clone's dvc.lock ({clone.words})")
