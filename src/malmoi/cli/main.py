"""The command line. Nothing heavy is imported here, so that `--help` answers at once."""

from __future__ import annotations

import io
import sys
from typing import Annotated, NoReturn

import typer

import malmoi
from malmoi.cli import (
    answer,
    attention,
    bench,
    chat,
    corpus,
    doctor,
    export,
    generate,
    import_,
    launch,
    plan,
    predict,
    run,
    serve,
    translate,
    tune,
    verify,
)
from malmoi.core.errors import UserError
from malmoi.core.files import disk_full
from malmoi.pipeline.kinds import STAGES

app = typer.Typer(
    name="malmoi",
    help="Grow language models on your own machine: from a folder of text to a model that answers.",
    epilog="Example: malmoi run quickstart --minutes 2",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"malmoi {malmoi.__version__}")
        raise typer.Exit


@app.callback()
def _every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


app.command()(run.run)
app.command()(run.recipes)
app.command()(launch.launch)
app.command()(tune.tune)
app.command()(plan.plan)
app.command("import")(import_.import_model)
app.command()(chat.chat)
app.command()(generate.generate)
app.command()(translate.translate)
app.command()(predict.predict)
app.command()(answer.answer)
app.command()(serve.serve)
app.command()(export.export)
app.add_typer(attention.app, name="attention")
app.add_typer(bench.app, name="bench")
app.add_typer(verify.app, name="verify")
app.command()(doctor.doctor)
app.add_typer(corpus.app, name="corpus")
for kind, entry in STAGES.items():
    if kind != "corpus":
        app.command(kind, help=entry.about, epilog=run.stage_example(kind))(run.stage_command(kind))


def main() -> None:
    """Run the command line; a user's mistake ends with one sentence and exit code 2."""
    _take_every_character()
    try:
        app()
    except UserError as error:
        _end(error)
    except OSError as error:
        full = disk_full(error)
        if full is None:
            raise
        _end(full)
    except KeyboardInterrupt:
        print("\nmalmoi: stopped. The same command goes on from here.", file=sys.stderr)
        sys.exit(130)


def _end(error: UserError) -> NoReturn:
    print(f"malmoi: {error}", file=sys.stderr)
    sys.exit(2)


def _take_every_character() -> None:
    """No text breaks off for a character: files and pipes get UTF-8, a terminal its number where it cannot show it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")
