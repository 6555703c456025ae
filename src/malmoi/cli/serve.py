"""`malmoi serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from malmoi.cli import options


def serve(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="A checkpoint, a stage's directory, or a GGUF file; the newest assistant.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; any but this machine's own needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="MALMOI_API_KEY", help="Key that clients must send; none by default.", show_envvar=True),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name for clients; the directory's by default.")] = None,
    int8_cache: options.Int8Cache = False,
) -> None:
    """Serve a model: the OpenAI interface below /v1 and a chat page at /.

    Example: malmoi serve runs/quickstart/instruct --port 8000
    """
    from malmoi.core.errors import MissingExtra

    try:
        from malmoi.serve.run import ServeOptions, bind, run_server
    except ModuleNotFoundError as error:
        if error.name not in {"fastapi", "uvicorn", "starlette"}:
            raise
        raise MissingExtra(error.name, "serve", "malmoi serve") from None

    path = checkpoint or options.newest_assistant()
    server_options = ServeOptions(host=host, port=port, api_key=api_key or None, name=name or model_name(path))
    socket = bind(server_options)
    model, tokenizer = options.open_writer(path, int8_cache)
    run_server(model, tokenizer, socket, server_options)


def model_name(path: Path) -> str:
    """A name for clients: of runs/quickstart/instruct/model it is quickstart-instruct, of x/y.gguf it is y."""
    path = path.resolve()
    if path.is_file():
        return path.stem
    parts = [part for part in path.parts if part != "model"]
    return "-".join(parts[-2:]) if "runs" in parts[-3:-2] else parts[-1]
