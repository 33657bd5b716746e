"""What answers callers, for `serve` and `batch`: the release as it may be served, its servers, and masking as in training."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import QUANTIZED, RELEASE
from hallmark.base.key import read_key
from hallmark.base.provenance import PROVENANCE, VERDICT
from hallmark.mask.surrogates import uses_key
from hallmark.params.loader import Params
from hallmark.release.checking import check_release
from hallmark.release.shipping import check_weights
from hallmark.release.statements import read_provenance
from hallmark.serve.server import LOG
from hallmark.service.gateway.deployments import Deployments
from hallmark.service.gateway.exchange import Traces
from hallmark.service.gateway.fallback import Broad
from hallmark.service.gateway.launching import Given, Launcher, Starter, form_of
from hallmark.service.gateway.masking import MaskPool
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.gateway.models import Emit, Served
from hallmark.service.gateway.otlp import OtlpExporter
from hallmark.service.gateway.releases import Elsewhere, FolderSource, RegistrySource, Source
from hallmark.service.gateway.routing import SIDES
from hallmark.service.registry.registry import Registry, Version
from hallmark.service.traces.store import TraceWriter

log = logging.getLogger("serve")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # used as both a folder name and a model name


def name_of(params: Params, release: Path) -> str:
    """The name by which a server answers for a folder: the certified one; of what is no release, that of the params."""
    file, remedy, name = Path("params.yaml"), "set a different name", params.certify.name
    if os.path.lexists(release / PROVENANCE):
        file, remedy = release / PROVENANCE, "set a different certify.name in its project, and run `dvc repro` there"
        name = read_provenance(release).build.params.certify.name
    if not NAME.fullmatch(name) or name in ("base", LOG):
        problem = f"can't be used as a model name: use letters, digits, dots and dashes, and not 'base' or '{LOG}'"
        raise HallmarkError(problem, file=file, field="certify.name", remedy=remedy)
    return name


def check_served(adapter: Path, ungated: bool) -> str:
    """A HallmarkError unless `adapter` is an unchanged release over the weights here that its gate passed.

    `ungated` also takes a release that its gate did not pass, and an adapter that is no release; what is returned says so.
    """
    if not os.path.exists(adapter / "adapter_config.json"):  # noqa: PTH110 (Path.exists raises if a name is too long)
        raise HallmarkError("no adapter is there", file=adapter, remedy="run `dvc repro`, or name an adapter's folder")
    if any(os.path.lexists(adapter / name) for name in (PROVENANCE, VERDICT)):
        passed = check_release(adapter, ungated).passed
        check_weights(adapter, QUANTIZED, remedy="run `dvc repro quantize` at the adapter's commit")
        return "" if passed else "; its gate did not pass it: do not release it"
    if not ungated:
        remedy = f"serve {RELEASE}; to serve an adapter of your own that nothing has checked, add --ungated"
        raise HallmarkError(f"not a release: it has neither {PROVENANCE} nor {VERDICT}", file=adapter, remedy=remedy)
    log.warning("%s is not a release: nothing vouches for what is served", adapter)
    return "; it is not a release"


def models_of(
    params: Params,
    folder: Path | None,
    *,
    ungated: bool,
    metrics: Metrics | None = None,
    emit: Emit | None = None,
    follow: bool = True,
) -> Served:
    """What answers: the registry's versions, or `folder`; by servers started here, or those of `serve.upstreams`.

    Without `follow`, only what is prod now, whatever the registry says later.
    """
    serve, source = params.serve, source_of(params, folder, ungated=ungated)
    launcher: Launcher
    if serve.upstreams:
        source = Elsewhere(source, [side for side in SIDES if side in serve.upstreams])
        launcher = Given(params, source)
    else:
        launcher = Starter(params, source, lambda release: name_of(params, release))
    deployments = Deployments(source, launcher, serve, metrics=metrics, follow=follow)
    broad = Broad(serve.fallback, form_of(params, None)) if serve.fallback else None
    return Served(
        deployments, serve, per_hour=params.benchmark.price_per_hour, usual_tokens=params.eval.max_new_tokens, broad=broad,
        metrics=metrics, emit=emit,
    )  # fmt: skip


def traces_of(params: Params, models: Served, metrics: Metrics | None = None) -> Traces:
    """Where the traces of `models` go: files, a collector, both or neither."""
    serve, places = params.serve, list[TraceWriter | OtlpExporter]()
    if serve.otlp is not None:  # first: it may be refused, and the other one starts to write
        fallback = serve.fallback.model if serve.fallback else None
        places.append(OtlpExporter(serve.otlp, model=models.name, fallback=fallback, metrics=metrics))
    if serve.traces:
        places.insert(0, TraceWriter(metrics=metrics))
    return Traces(*places)


def source_of(params: Params, folder: Path | None, *, ungated: bool) -> Source:
    """Says what answers: `folder` if one is given, else the registry, and models/release until that has a prod."""

    def check(release: Path) -> None:
        if params.serve.upstreams:  # the weights are where the server is
            check_release(release, ungated)
        elif check_served(release, ungated) and (release / PROVENANCE).is_file():
            log.warning("%s: its gate did not pass it", release)

    if folder is not None or ungated or not in_git():
        return FolderSource(folder or RELEASE, check, registered)
    return RegistrySource(Path(), lambda: FolderSource(RELEASE, check, registered), weights=not params.serve.upstreams)


def registered() -> list[Version]:
    return Registry.read(Path()).versions if in_git() else []


def in_git() -> bool:
    return prov.git("rev-parse", "--git-dir") is not None


def masking_of(params: Params) -> MaskPool | None:
    """Masking as in training; None if it is off."""
    if not params.serve.mask:
        return None
    key = read_key(params.data, surrogates=uses_key(params.mask))
    return MaskPool(params.task, params.mask, key, processes=params.serve.maskers)


def names_key(params: Params) -> bytes | None:
    """The key that makes the pseudonyms of customers, as in training; None if they are kept as they come."""
    return read_key(params.data) if params.data.pseudonyms == "keyed" else None
