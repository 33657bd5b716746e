"""A model server that answers every chat request with the same ticket after a while: `python -m tests.bench.stub PORT`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

MODEL = "tuned"
SECONDS = 0.02
ANSWER = '{"intent":"refund","urgency":"normal","product":null,"amount":null,"date":null,"issues":["it is broken"]}'
USAGE = {"prompt_tokens": 150, "completion_tokens": 30, "total_tokens": 180}


async def chat(request: Request) -> Response:
    """The ticket, as a stream or with log-probabilities if the request asks for them; each character is a sure token."""
    asked: dict[str, Any] = await request.json()
    await asyncio.sleep(SECONDS)
    head = {"id": "stub", "created": 0, "model": asked["model"]}
    if asked.get("stream"):
        choice = {"index": 0, "delta": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice], "usage": USAGE}
        return Response(f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n", media_type="text/event-stream")
    tokens = [{"token": letter, "logprob": -1e-4, "bytes": [ord(letter)], "top_logprobs": []} for letter in ANSWER]
    logs = {"content": tokens} if asked.get("logprobs") else None
    message = {"role": "assistant", "content": ANSWER}
    choice = {"index": 0, "message": message, "logprobs": logs, "finish_reason": "stop"}
    return JSONResponse({**head, "object": "chat.completion", "choices": [choice], "usage": USAGE})


async def models(request: Request) -> Response:
    """Its one model."""
    return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})


async def health(request: Request) -> Response:
    """It is well."""
    return JSONResponse({"status": "ok"})


app = Starlette(
    routes=[
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
    ]
)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False)
