"""The bill of materials of a release, as a CycloneDX 1.6 ML-BOM."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from hallmark.base.files import canonical_json

if TYPE_CHECKING:
    from hallmark.params.loader import Params

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:hallmark:sbom")


def sbom(params: Params, subjects: dict[str, str], dependencies: list[dict[str, Any]]) -> dict[str, Any]:
    """The ML-BOM of the adapter files `subjects` {path: sha256}: base model, data and libraries.

    `dependencies` come from the provenance, so the two can't disagree. The serial number is derived from the content and
    there is no timestamp: the same release has the same bill.
    """
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType, Pedigree
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    def file_of(name: str, sha256: str, kind: ComponentType = ComponentType.FILE, **more: Any) -> Component:
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=sha256)]
        prefix = "data" if kind is ComponentType.DATA else "file"
        return Component(type=kind, name=name, bom_ref=f"{prefix}:{name}", hashes=hashes, **more)

    def files_of(*roles: str, kind: ComponentType = ComponentType.FILE) -> list[Component]:
        return [file_of(entry["name"], entry["digest"]["sha256"], kind) for entry in of(*roles)]

    def of(*roles: str) -> list[dict[str, Any]]:
        return [entry for entry in dependencies if entry["annotations"]["role"] in roles]

    licences = [LicenseFactory().make_from_string(params.base.licence)]
    base = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=params.base.name,
        version=of("base model")[0]["annotations"]["revision"],
        bom_ref="base",
        licenses=licences,
        components=files_of("base weights"),
    )
    data = [
        file_of(
            entry["name"],
            entry["digest"]["sha256"],
            ComponentType.DATA,
            properties=[Property(name="hallmark:role", value=entry["annotations"]["role"])],
        )
        for entry in of("raw data", "split", "data", "holdout lock")
    ]
    ours = files_of("library", kind=ComponentType.LIBRARY)
    libraries = [
        Component(
            type=ComponentType.LIBRARY,
            name=entry["name"],
            version=entry["annotations"]["version"],
            bom_ref=entry["uri"],
            purl=PackageURL.from_string(entry["uri"]),
        )
        for entry in of("installed library")
        if "uri" in entry
    ]
    adapter = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=params.certify.name,
        bom_ref="adapter",
        description=params.certify.intended_use.strip(),
        licenses=licences,
        components=[file_of(name, sha256) for name, sha256 in sorted(subjects.items())],
        pedigree=Pedigree(ancestors=[Component(type=ComponentType.MACHINE_LEARNING_MODEL, name=params.base.name)]),
    )
    metadata = BomMetaData(component=adapter)
    metadata.timestamp = None  # type: ignore[assignment]  # optional in CycloneDX; the library would set the current time
    bom = Bom(components=[base, *data, *ours, *libraries], metadata=metadata)
    bom.register_dependency(adapter, [base, *data, *ours, *libraries])
    result: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    del result["serialNumber"]
    result["serialNumber"] = uuid.uuid5(NAMESPACE, canonical_json(result)).urn
    return result
