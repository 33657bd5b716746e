"""The statements of a release, read as if a stranger had written them: their form is checked once, here."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from hallmark.base import provenance as prov
from hallmark.base.dvc_lock import is_inside, is_md5
from hallmark.base.errors import HallmarkError
from hallmark.base.files import canonical_json
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.release.listing import clashes, is_release_name, read_plain

JSON_BYTES = 32 * 2**20  # 250 times the reference's provenance
REMEDY = "use an unchanged release, or make it again with `dvc repro certify`"


def _checked(test: Any, words: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if not test(value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, _checked(is_md5, "not an MD5 of 32 hexadecimal digits")]
Inside = Annotated[str, _checked(is_inside, "not a path inside a folder")]
ReleaseName = Annotated[str, _checked(is_release_name, "not a name that a file of a release may have")]
Word = Annotated[str, StringConstraints(max_length=4096)]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}([0-9a-f]{24})?$")]  # git's may be shorter
FACTS = ("base model", "commit", "installed library")  # roles of what went in and is no file


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Open(BaseModel):
    """A part of a statement of which only some keys are read."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)


# --- provenance.json ---------------------------------------------------------------------------------------------


class Digest(Form):
    sha256: Hex


class About(Open):
    """The annotations of a file or fact that went in; which there are depends on the role. An environment has more."""

    role: Word
    rows: int | None = None
    source: Word | None = None
    revision: Word | None = None
    licence: Word | None = None
    version: Word | None = None
    changed: list[Word] = []


class Descriptor(Form):
    """in-toto's descriptor of a resource. Raw data may lie outside the repository, so a name is any text."""

    name: Word
    uri: Word | None = None
    digest: dict[Literal["sha256", "gitCommit"], Hash] = {}
    annotations: About

    @property
    def role(self) -> str:
        return self.annotations.role

    @property
    def sha256(self) -> str:
        return self.digest["sha256"]

    @model_validator(mode="after")
    def _file_has_a_hash(self) -> Descriptor:
        if self.role not in FACTS and "sha256" not in self.digest:
            raise ValueError("a file without its SHA-256")
        return self


class Subject(Form):
    name: ReleaseName
    digest: Digest


class OfByproduct(Form):
    role: Literal["release file", "report"]


class Byproduct(Form):
    name: Inside
    digest: Digest
    annotations: OfByproduct


class OfCertify(Open):
    name: Word


class Lora(Open):
    r: int


class SftParams(Open):
    method: Word
    learning_rate: int | float
    dtype: Word
    lora: Lora


class DpoParams(Open):
    enabled: bool
    loss: Word = ""
    beta: int | float = 0
    learning_rate: int | float = 0


class GateParams(Open):
    waive: dict[Word, Word] = {}


class UsedParams(Open):
    """The params that a check describes; the rest are compared, whatever they are."""

    seed: int
    certify: OfCertify
    sft: SftParams
    dpo: DpoParams = DpoParams(enabled=False)  # older releases have no such block
    gate: GateParams = GateParams()


class External(Form):
    command: Word
    params: dict[str, Any]


class Stage(Form):
    cmd: str | list[str]
    deps: dict[Word, Md5]
    params: dict[str, Any]
    outs: dict[Inside, Md5]


class Internal(Form):
    stages: dict[Word, Stage]


class Build(Form):
    buildType: Literal["urn:hallmark:dvc-pipeline:v1"]  # noqa: N815 (SLSA's names)
    externalParameters: External  # noqa: N815
    internalParameters: Internal  # noqa: N815
    resolvedDependencies: list[Descriptor]  # noqa: N815

    @cached_property
    def params(self) -> UsedParams:
        return UsedParams.model_validate(self.externalParameters.params)

    def of(self, *roles: str) -> list[Descriptor]:
        return [entry for entry in self.resolvedDependencies if entry.role in roles]

    @property
    def files(self) -> list[Descriptor]:
        return [entry for entry in self.resolvedDependencies if entry.role not in (*FACTS, "environment")]

    @property
    def stages(self) -> prov.Stages:
        """As `read_lock` gives those of a `dvc.lock`."""
        return {name: stage.model_dump() for name, stage in self.internalParameters.stages.items()}

    @model_validator(mode="after")
    def _each_file_once(self) -> Build:
        names = [file.name for file in self.files]
        if len({*names}) < len(names):
            raise ValueError("resolvedDependencies has a file twice")
        return self


class Details(Form):
    builder: dict[str, Any]
    byproducts: list[Byproduct]


class Predicate(Form):
    buildDefinition: Build  # noqa: N815
    runDetails: Details  # noqa: N815


class Provenance(Form):
    """provenance.json: an in-toto statement of SLSA provenance."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(alias="_type")
    subject: Annotated[list[Subject], Field(min_length=1)]
    predicateType: Literal["https://slsa.dev/provenance/v1"]  # noqa: N815
    predicate: Predicate

    @property
    def build(self) -> Build:
        return self.predicate.buildDefinition

    @property
    def subjects(self) -> dict[str, str]:
        """SHA-256 of the adapter's files."""
        return {entry.name: entry.digest.sha256 for entry in self.subject}

    @property
    def byproducts(self) -> dict[str, str]:
        """SHA-256 of reports, and of the release's files that certify made."""
        return {entry.name: entry.digest.sha256 for entry in self.predicate.runDetails.byproducts}

    @property
    def files(self) -> dict[str, str]:
        """SHA-256 of every file of the release, except for the statements and a signature."""
        made = [entry for entry in self.predicate.runDetails.byproducts if entry.annotations.role == "release file"]
        return self.subjects | {entry.name: entry.digest.sha256 for entry in made}

    @property
    def base_files(self) -> dict[str, str]:
        """SHA-256 of the base's files (weights, tokenizer and all), by their path in its folder."""
        return self._folder("models/base/", "base weights")

    @property
    def quantized_files(self) -> dict[str, str]:
        """The same of the folder with the weights that the adapter was trained over; older releases name none."""
        return self._folder("models/quantized/", "quantized weights")

    def _folder(self, prefix: str, role: str) -> dict[str, str]:
        return {file.name.removeprefix(prefix): file.sha256 for file in self.build.of(role)}

    @model_validator(mode="after")
    def _each_file_once(self) -> Provenance:
        made = [
            entry.name for entry in self.predicate.runDetails.byproducts if entry.annotations.role == "release file"
        ]
        reports = [entry.name for entry in self.predicate.runDetails.byproducts if entry.annotations.role == "report"]
        files = [*(entry.name for entry in self.subject), *made]
        own = (prov.PROVENANCE, prov.VERDICT, prov.SIGNATURE)
        if len({*files, *own}) < len(files) + len(own) or len({*reports}) < len(reports):
            raise ValueError("a file is named twice")
        if wrong := [name for name in made if not is_release_name(name)]:
            raise ValueError(f"{wrong[0]} is not a name that a file of a release may have")
        if found := clashes([*files, *own]):
            raise ValueError(found[0])
        return self


# --- verdict.json ------------------------------------------------------------------------------------------------


class GateRule(Open):
    name: Word
    outcome: Literal["pass", "fail", "too_little_data", "not_applicable"]
    waiver: Annotated[str, StringConstraints(min_length=1, max_length=300)] | None = None  # older releases have none


class GateReport(Open):
    verdict: Literal["pass", "pass_with_waivers", "fail", "too_little_data"]
    rules: Annotated[list[GateRule], Field(min_length=1)]

    @property
    def waived(self) -> list[GateRule]:
        """The rules that do not hold, and are waived."""
        return [rule for rule in self.rules if rule.waiver is not None and rule.outcome in ("fail", "too_little_data")]


class Named(Open):
    digest: Digest
    annotations: dict[str, Any] = {}


class Result(Open):
    """`configuration` names the provenance, and holds the gate's report."""

    result: Word
    configuration: Annotated[tuple[Named, Named], Field(strict=False)]  # JSON has no tuples, only lists
    failedTests: list[Word]  # noqa: N815 (in-toto's name)


class GateVerdict(Open):
    """verdict.json: an in-toto statement of a test's result. A check compares it, byte by byte, with what follows from its report."""

    predicate: Result

    @property
    def report(self) -> dict[str, Any]:
        """The gate's report, as it is."""
        return self.predicate.configuration[1].annotations

    @cached_property
    def gate(self) -> GateReport:
        """Those parts of the report that a check reads."""
        return GateReport.model_validate(self.report)


# --- reading -----------------------------------------------------------------------------------------------------

Kind = TypeVar("Kind", Provenance, GateVerdict)


def read_provenance(folder: Path) -> Provenance:
    """The provenance of a release folder; a HallmarkError if it is not of the form that `certify` writes."""
    return _read(folder / prov.PROVENANCE, Provenance)


def read_verdict(folder: Path) -> GateVerdict:
    """The verdict of a release folder; a HallmarkError if it is not of the form that `certify` writes."""
    return _read(folder / prov.VERDICT, GateVerdict)


def _read(path: Path, kind: type[Kind]) -> Kind:
    content = read_plain(path, JSON_BYTES)
    if content is None:
        raise HallmarkError(f"not a plain file of at most {JSON_BYTES // 2**20} MiB", file=path, remedy=REMEDY)
    try:
        value = strict_json(content.decode())
        canonical_json(value).encode()  # half a surrogate pair is JSON, and no text
        statement = kind.model_validate(value)
        _ = statement.build.params if isinstance(statement, Provenance) else statement.gate  # these are checked on use
        return statement
    except NotJsonError as error:
        raise HallmarkError(f"not JSON ({error})", file=path, row=error.line, remedy=REMEDY) from None
    except UnicodeError:
        raise HallmarkError("not text in UTF-8", file=path, remedy=REMEDY) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        at = ".".join(map(str, first["loc"]))[:200] or "the whole"
        raise HallmarkError(
            f"not of the form that certify writes (at {at}: {first['msg'][:200]})", file=path, remedy=REMEDY
        ) from None
