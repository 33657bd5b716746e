"""Which release is to answer on which side, and whom: those in the registry's stages, else the release folder.

A customer is a point between 0 and 1: the first bits of SHA-256 over the canary's version and the customer's name. Those
below the share go to the canary. All gateways agree on it without talking to each other, a larger share keeps the customers
that a smaller one had, and each canary has other customers, so that not always the same ones meet what is new.

A source says which release each side is to have, and gets its files. The registry is read again and again, without any
network; the files of a release are fetched, and checked, only when it is about to answer: a HallmarkError if anything is wrong.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.files import QUANTIZED
from hallmark.base.provenance import PROVENANCE
from hallmark.service.registry.folders import release_of, weights_of
from hallmark.service.registry.registry import Registry, Version

log = logging.getLogger("serve")

UNREGISTERED = "unregistered"
Side = Literal["prod", "canary"]
SIDES: tuple[Side, ...] = ("prod", "canary")


def point(salt: str, customer: str) -> float:
    """Where a customer lies from 0 to 1 (never 1 itself), evenly spread over all customers."""
    digest = hashlib.sha256(f"{salt}\0{customer}".encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53  # 53 bits: what a float holds without rounding up to 1


def side_of(customer: str, canary: str | None, share: float) -> Side:
    """The side that answers a customer. `canary`: its version; None if there is none."""
    return "canary" if canary is not None and point(canary, customer) < share else "prod"


def customer_of(group: str | None, caller: str, request: str) -> str:
    """Who must not flip between the sides: the customer, else the API key; else there is nobody, and each request is one.

    The three kinds can't be mistaken for one another.
    """
    return f"group {group}" if group is not None else f"key {caller}" if caller else f"request {request}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A release that is to answer. `digest`: SHA-256 of its provenance.json; "" if it has none, or nobody knows."""

    version: str
    digest: str

    @property
    def key(self) -> str:
        """Equal for what is the same release, whatever it is called."""
        return self.digest or self.version


NOBODYS = Wanted(UNREGISTERED, "")


@dataclass(frozen=True, slots=True)
class Files:
    """The checked files of a release, and what it was trained over. None: a server elsewhere has them."""

    release: Path | None
    weights: Path | None


class FolderSource:
    """One folder, the same as long as it serves. `check` is called each time before it is served."""

    def __init__(self, folder: Path, check: Callable[[Path], object], versions: Callable[[], list[Version]]) -> None:
        self.folder, self._check = folder, check
        digest = digest_of(folder)
        known = [version for version in versions() if digest and version.digest == digest]
        self._wanted = Wanted(known[-1].version if known else UNREGISTERED, digest)

    def wanted(self) -> dict[Side, Wanted]:
        """The folder as prod."""
        return {"prod": self._wanted}

    def files(self, wanted: Wanted) -> Files:
        """The folder, and the weights here; a HallmarkError if another release lies there by now."""
        self._check(self.folder)
        if digest_of(self.folder) != wanted.digest:
            raise HallmarkError(
                "not the release that was to be served",
                file=self.folder,
                remedy="start the gateway again, to serve this one",
            )
        return Files(self.folder, QUANTIZED)


class RegistrySource:
    """What the repository's registry has in prod and canary; `other` until it has its first prod. Without `weights`, what the
    releases were trained over is elsewhere."""

    def __init__(self, repo: Path, other: Callable[[], Source], *, weights: bool = True) -> None:
        self._repo, self._make_other, self._weights = repo, other, weights
        self._other: Source | None = None
        self._versions: dict[str, Version] = {}
        self._had_prod = False
        self._trouble: str | None = None  # of the canary, as it was told last

    def wanted(self) -> dict[Side, Wanted]:
        """As the tags say now. Without prod where there was one, nothing is said of it, so that it stays.

        A canary whose last event can't be trusted is none: it must not keep a rollback of prod from being followed.
        """
        registry = self._registry()
        found: dict[Side, Wanted] = {}
        trouble = None
        for side in SIDES:
            try:
                version = registry.in_stage(side)
            except HallmarkError as error:
                if side != "canary":
                    raise
                version, trouble = None, str(error)
            if version is not None:
                self._versions[version.version] = version
                found[side] = Wanted(version.version, version.digest)
        if trouble is not None and trouble != self._trouble:
            log.error("it is not known which release is the canary, so there is none: %s", trouble)
        self._trouble = trouble
        self._had_prod |= "prod" in found
        return found if self._had_prod else self._folder().wanted() | found

    def files(self, wanted: Wanted) -> Files:
        """Those of the version, as its tag says."""
        version = self._versions.get(wanted.version)
        if version is None:
            return self._folder().files(wanted)
        release = release_of(version, self._repo)
        return Files(release, weights_of(version, release, self._repo) if self._weights else None)

    def _registry(self) -> Registry:
        return Registry.read(self._repo)

    def _folder(self) -> Source:
        if self._other is None:
            self._other = self._make_other()
        return self._other


class Elsewhere:
    """The releases that servers elsewhere answer with (`serve.upstreams`): what `source` says, for the sides they have.

    Nobody can look into such a server, so what it serves is what the registry says.
    """

    def __init__(self, source: Source, sides: list[Side]) -> None:
        self._source, self._sides = source, sides

    def wanted(self) -> dict[Side, Wanted]:
        """Of each side that has a server; one that the registry has nothing for is unregistered.

        Once the registry has a prod, it alone says whether there is a canary: one that was taken out gets no requests.
        """
        found = self._source.wanted()
        registered = "prod" in found and found["prod"].version != UNREGISTERED
        sides = [side for side in self._sides if side in found or side == "prod" or not registered]
        return {side: found.get(side, NOBODYS) for side in sides}

    def files(self, wanted: Wanted) -> Files:
        """The release's own, for its cascade; none of what nobody has registered."""
        if wanted == NOBODYS:  # asked of the version itself: by now, the registry may say something else
            return Files(None, None)
        return self._source.files(wanted)


Source = FolderSource | RegistrySource | Elsewhere


def digest_of(release: Path) -> str:
    file = release / PROVENANCE
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
