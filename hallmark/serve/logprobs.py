"""Log-probabilities of an answer's tokens, for a server that computes them but leaves them out of its answers.

ASGI middleware between admission and the app of `transformers serve`. It sends each chat request that asks for
`logprobs` on without that field and with an id of its own; the server's batching notes what it wrote for which id; and
what was noted is added to the answer in OpenAI's form. Nothing is computed for it: they are of the scores that chose the
tokens.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from hallmark.serve.admission import CHAT, App, Receive, Scope, Send

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LENGTH = b"content-length"
ID_HEADER = b"x-request-id"  # from which `transformers serve` takes the id of a request
SPACE, BYTE = "▁", re.compile(r"<0x([0-9A-F]{2})>")  # in the vocabularies of SentencePiece

# Told what was written for a request: its id, the tokens, and the natural logarithm of the probability of each.
Note = Callable[[str, Sequence[int], Sequence[float]], None]


class LogProbabilities:
    """Adds `logprobs` to the answers of `app` whose requests ask for it, out of what `note` is told.

    `vocabulary`: what each token writes, in UTF-8 (`token_bytes`). `note` must be called on the event loop. A request gets
    null if nothing was noted for it.
    """

    def __init__(self, app: App, vocabulary: Mapping[int, bytes]) -> None:
        self.app, self._vocabulary = app, vocabulary
        self._wanted: dict[str, tuple[Sequence[int], Sequence[float]] | None] = {}

    def note(self, request: str, tokens: Sequence[int], logs: Sequence[float]) -> None:
        """Keep what was written for this request, if it is one of those that ask."""
        if request in self._wanted:
            self._wanted[request] = tokens, logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; its body comes in one message, as admission sends it."""
        if scope["type"] != "http" or scope["path"] != CHAT:
            await self.app(scope, receive, send)
            return
        message = await receive()
        request = json.loads(message["body"])
        if request.pop("logprobs", False):
            await self._with_logs({**message, "body": json.dumps(request).encode()}, scope, receive, send)
        else:
            await self.app(scope, _first(message, receive), send)

    async def _with_logs(self, message: MutableMapping[str, Any], scope: Scope, receive: Receive, send: Send) -> None:
        """Ask with this body and an id that no caller knows; send the answer with what was noted for it."""
        name = uuid.uuid4().hex
        headers = [pair for pair in scope["headers"] if pair[0] not in (ID_HEADER, LENGTH)]
        headers += [(ID_HEADER, name.encode()), (LENGTH, str(len(message["body"])).encode())]
        start: MutableMapping[str, Any] = {}
        body = bytearray()

        async def keep(part: MutableMapping[str, Any]) -> None:
            if part["type"] == "http.response.start":
                start.update(part)
            elif part["type"] == "http.response.body":
                body.extend(part.get("body", b""))

        self._wanted[name] = None
        try:
            await self.app({**scope, "headers": headers}, _first(message, receive), keep)
        finally:
            noted = self._wanted.pop(name)
        content = self._added(body, noted) if start["status"] == 200 else bytes(body)
        others = [pair for pair in start["headers"] if pair[0].lower() != LENGTH]
        await send({**start, "headers": [*others, (LENGTH, str(len(content)).encode())]})
        await send({"type": "http.response.body", "body": content})

    def _added(self, body: bytearray, noted: tuple[Sequence[int], Sequence[float]] | None) -> bytes:
        """The chat completion in a body with the log-probabilities of its tokens; null if there is no number for each."""
        completion = json.loads(body)
        choice = completion["choices"][0]
        tokens, logs = noted or ((), ())
        content = None
        if tokens and len(tokens) == len(logs) and all(map(math.isfinite, logs)):
            pieces = [self._vocabulary.get(token, b"") for token in tokens]
            content = listed(pieces, logs, choice["message"].get("content") or "")
        choice["logprobs"] = content and {"content": content, "refusal": None}
        return json.dumps(completion, ensure_ascii=False, separators=(",", ":")).encode()


def _first(message: MutableMapping[str, Any], receive: Receive) -> Receive:
    """Receives this message, and then what comes."""
    unread = [message]

    async def receive_next() -> MutableMapping[str, Any]:
        return unread.pop() if unread else await receive()

    return receive_next


def listed(pieces: Sequence[bytes], logs: Sequence[float], text: str) -> list[dict[str, Any]]:
    """Tokens as OpenAI lists them. `pieces`: the bytes that each writes, of which `text` was made.

    Decoders of SentencePiece drop the space that a text starts with, so it is no part of the first token either.
    """
    whole, written = b"".join(pieces), text.encode()
    if not whole.startswith(written) and whole[:1] == b" " and whole[1:].startswith(written):
        pieces = [pieces[0][1:], *pieces[1:]]
    return [
        {"token": piece.decode(errors="replace"), "logprob": log, "bytes": list(piece), "top_logprobs": []}
        for piece, log in zip(pieces, logs, strict=True)
    ]


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes]:
    """What each token of a vocabulary writes, in UTF-8; one may end in the middle of a character."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    decoder = json.loads(backend.to_str())["decoder"] if backend else None
    kinds = {part["type"] for part in (decoder or {}).get("decoders", [decoder]) if part}
    table = {char: byte for byte, char in bytes_to_unicode().items()} if "ByteLevel" in kinds else {}
    written_out = set(tokenizer.added_tokens_decoder)

    def piece(name: str, token: int) -> bytes:
        if token in written_out:
            return name.encode()
        if table:
            return bytes(table[char] for char in name) if table.keys() >= set(name) else name.encode()
        exact = BYTE.fullmatch(name)
        return bytes.fromhex(exact[1]) if exact else name.replace(SPACE, " ").encode()

    return {token: piece(name, token) for name, token in tokenizer.get_vocab().items()}
