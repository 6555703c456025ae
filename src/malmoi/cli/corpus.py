"""`malmoi corpus`: the stage, and the verbs around it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from malmoi.cli.run import stage_command, stage_example
from malmoi.pipeline.kinds import STAGES

_STAGE = "stage"


class _StageOrVerb(TyperGroup):
    """Settings without a verb are the stage's: `malmoi corpus folder=~/texts`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        is_verb = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if is_verb else [_STAGE, *args])


def crawl(
    urls: Annotated[list[str], typer.Argument(metavar="URL... [KEY=VALUE]...", help="Where to begin, and settings.")],
    contact: Annotated[str, typer.Option(help="Your e-mail address or page, for those who run the site.")] = "",
    out: Annotated[Path | None, typer.Option(help="Directory of the result; runs/crawl by default.")] = None,
) -> None:
    """Fetch the pages of your own web sites into WARC archives; `malmoi crawl --settings` lists the settings.

    Example: malmoi corpus crawl https://example.com --contact you@example.com --out my-site
    """
    pages = [word for word in urls if "://" in word.partition("=")[0]]
    settings = [word for word in urls if word not in pages]
    given = [f"urls={pages}", *([f"contact={contact}"] if contact else []), *settings]
    stage_command("crawl")(given, out)


app = typer.Typer(cls=_StageOrVerb, help=STAGES["corpus"].about, epilog=stage_example("corpus"), rich_markup_mode=None)
app.command(_STAGE, hidden=True)(stage_command("corpus"))
app.command()(crawl)
