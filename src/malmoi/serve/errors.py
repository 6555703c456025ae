"""What a client is told when its request cannot be served, in OpenAI's words."""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse

KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: the HTTP status.
        message: what is wrong and the way out.
        param: the field of the request that is to blame.
        code: a word for programs.
    """

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        kind = KINDS.get(status, "invalid_request_error" if status < 500 else "server_error")
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def response(self) -> JSONResponse:
        """The error as an HTTP response."""
        headers: dict[str, Any] = {"Retry-After": "2"} if self.status == 429 else {}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body, self.status, headers)


def client_left() -> ApiError:
    """What nobody is told any more."""
    return ApiError(499, "The client left.")
