"""Walk JSON documents: list every value or every text, or change the values and keep the structure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote


def value_at(value: Any, path: str) -> Any:
    """What keys joined with dots lead to in objects inside objects, as a param's name does; None if there is nothing."""
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def scalars(value: Any, *, keys: bool = False) -> Iterator[Any]:
    """Every value that is not an object or a list, in order; with `keys`, each key before its value."""
    if isinstance(value, dict):
        for name, item in value.items():
            if keys:
                yield name
            yield from scalars(item, keys=keys)
    elif isinstance(value, list):
        for item in value:
            yield from scalars(item, keys=keys)
    else:
        yield value


NAMING = ("name", "key", "field", "column", "label", "property")  # keys of the name of a "value" next to them
# Keys of a value that the key of their object names: those of a JSON Schema, and of `{"name": "phone", "value": ...}`.
OF_A_VALUE = frozenset(("default", "const", "example", "examples", "value", "allOf", "anyOf", "oneOf"))


def named(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The scalars of a document, in the order of `scalars`, each with the key that names it.

    In an `enum`, the key outside names numbers. Texts there are what a model chooses among, and no values of that key.
    """
    if isinstance(value, dict):
        outside = next((label for key in NAMING if isinstance(label := value.get(key), str)), name)
        for key, item in value.items():
            if key == "enum" and isinstance(item, list):
                for option in item:
                    yield from named(option, outside if isinstance(option, int | float) else key)
            else:
                of_outside = key in OF_A_VALUE or (key == "items" and isinstance(item, dict))
                yield from named(item, outside if of_outside else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from named(item, name)
    else:
        yield name, value


def strings(value: Any, *, keys: bool = False) -> Iterator[str]:
    """Every text in a document, in order; with `keys`, the keys too."""
    return (item for item in scalars(value, keys=keys) if isinstance(item, str))


def changed(value: Any, change: Callable[[Any], Any]) -> Any:
    """The document with `change` applied to each scalar, in the order of `scalars`."""
    if isinstance(value, dict):
        return {name: changed(item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [changed(item, change) for item in value]
    return change(value)


def keys_of(value: Any) -> Iterator[str]:
    return (str(key) for part in objects(value) for key in part)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a document, outer objects first."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(item)


def referred(root: dict[str, Any], reference: str) -> Any:
    """What a reference inside a JSON Schema, `#/$defs/name` or `#anchor`, refers to; an empty schema if nothing."""
    pointer = unquote(reference.removeprefix("#"))
    if pointer and not pointer.startswith("/"):
        anchors = ("$anchor", "$dynamicAnchor")
        return next((part for part in objects(root) if pointer in [part.get(name) for name in anchors]), {})
    target: Any = root
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and step.isascii() and step.isdigit() and int(step) < len(target):
            target = target[int(step)]
        else:
            target = target.get(step, {}) if isinstance(target, dict) else {}
    return target
