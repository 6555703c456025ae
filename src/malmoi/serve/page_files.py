"""The chat page: a few files of the package, which ask nobody but this server."""

from __future__ import annotations

from importlib import resources

from fastapi.responses import Response

from malmoi.serve.errors import ApiError

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_file(name: str) -> Response:
    """One file of the page.

    Raises:
        ApiError: there is no such file (404).
    """
    folder = resources.files("malmoi.serve") / "page"
    if name not in {file.name for file in folder.iterdir()}:
        raise ApiError(404, f"There is no file {name!r}.")
    return Response((folder / name).read_bytes(), media_type=KINDS[name.rpartition(".")[2]], headers=HEADERS)
