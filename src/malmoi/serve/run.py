"""Bind, say where, serve until interrupted."""

from __future__ import annotations

import contextlib
import errno
import socket
from dataclasses import dataclass

import uvicorn

from malmoi.core.console import console, verbatim
from malmoi.core.errors import UserError
from malmoi.models.language_model import LanguageModel
from malmoi.serve.app import build_app
from malmoi.serve.engine import Engine
from malmoi.serve.guard import is_loopback
from malmoi.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class ServeOptions:
    """Where and as what to serve.

    Attributes:
        port: 0 takes a free one.
        name: the model's name for clients.
    """

    host: str
    port: int
    api_key: str | None
    name: str


def bind(options: ServeOptions) -> socket.socket:
    """Take the port before the model is read, so that a mistake shows at once.

    Raises:
        UserError: the port is in use or not allowed, the host is not this machine's, or it is not loopback and there
            is no key.
    """
    if not is_loopback(options.host) and not options.api_key:
        raise UserError(
            f"{options.host} can be reached from other machines, so clients must send a key.",
            "Give one with --api-key or MALMOI_API_KEY, or leave --host at 127.0.0.1.",
        )
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # the latter of a name whose parts are empty or too long
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"There is no address {options.host!r} ({reason}).", "Check --host.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise _bind_error(options, error) from None
    return listener


def run_server(model: LanguageModel, tokenizer: Tokenizer, listener: socket.socket, options: ServeOptions) -> None:
    """Serve until interrupted."""
    engine = Engine(model, tokenizer, options.name)
    app = build_app(engine, loopback=is_loopback(options.host), api_key=options.api_key)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=3, server_header=False, lifespan="on")
    host = f"[{options.host}]" if ":" in options.host else options.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    console.print(f"[bold]{verbatim(options.name)}[/bold] is served. Ctrl-C ends it.", soft_wrap=True)
    console.print(f"  chat page   {url}/\n  OpenAI API  {url}/v1", soft_wrap=True, markup=False)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _bind_error(options: ServeOptions, error: OSError) -> UserError:
    place = f"Port {options.port} of {options.host}"
    if error.errno == errno.EADDRINUSE:
        return UserError(f"{place} is in use.", "Choose another with --port, or --port 0 for any free one.")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return UserError(f"{place} is not allowed to this user.", "Choose one above 1023 with --port.")
    return UserError(f"{place} cannot be had ({error.strerror}).", "Check --host and --port.")
