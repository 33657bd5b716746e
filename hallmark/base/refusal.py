"""An answer to a request that is not let through, in OpenAI's error form. No message quotes a value."""

from __future__ import annotations

import json


class Refusal(Exception):  # noqa: N818 (an answer, not an error of the program)
    """An answer to a request that is not let through."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.param, self.headers = status, code, message, param, headers or {}

    def body(self) -> bytes:
        """The answer in OpenAI's error form."""
        kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}).encode()
