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
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.callers import Keys
from hallmark.service.gateway.deployments import Deployments
from hallmark.service.gateway.fallback import Fallback
from hallmark.service.gateway.launching import Given, Launcher, Starter, form_of
from hallmark.service.gateway.masking import MaskPool
from hallmark.service.gateway.releases import SIDES, Elsewhere, FolderSource, RegistrySource, Source
from hallmark.service.gateway.telemetry import Metrics, Spans
from hallmark.service.registry.registry import Registry, Version
from hallmark.service.traces.store import FeedbackJournal, TraceWriter
from hallmark.service.traces.trace import Place

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


def gateway_of(
    params: Params,
    folder: Path | None,
    *,
    ungated: bool,
    follow: bool = True,
    keys: Keys | None = None,
    feedback: FeedbackJournal | None = None,
) -> Gateway:
    """The gateway of the params. `close` closes the places that its traces go to.

    The registry's versions answer, or `folder`; by servers started here, or those of `serve.upstreams`. Without `follow`,
    only what is prod now, whatever the registry says later.
    """
    serve, source, metrics = params.serve, source_of(params, folder, ungated=ungated), Metrics()
    launcher: Launcher
    if serve.upstreams:
        source = Elsewhere(source, [side for side in SIDES if side in serve.upstreams])
        launcher = Given(params, source)
    else:
        launcher = Starter(params, source, lambda release: name_of(params, release))
    deployments = Deployments(source, launcher, serve, metrics=metrics, follow=follow)
    fallback = Fallback(serve.fallback, form_of(params, None)) if serve.fallback else None
    masking, names_key = masking_of(params), read_key(params.data) if params.data.pseudonyms == "keyed" else None
    places = list[Place]()
    if serve.otlp is not None:
        places.append(Spans(serve.otlp, serve.fallback.model if serve.fallback else None))
    if serve.traces:  # last: it starts to write
        places.append(TraceWriter(noted=lambda state: metrics.count("hallmark_traces_total", state=state)))
    return Gateway(
        params, deployments, masking, fallback=fallback, places=places, feedback=feedback, metrics=metrics, keys=keys,
        names_key=names_key, shadows=follow,
    )  # fmt: skip


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
