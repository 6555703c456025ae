"""`malmoi doctor`."""

from __future__ import annotations

from typing import Annotated

import typer


def doctor(json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False) -> None:
    """Say what this machine is, what is missing, and the command that mends it.

    Exit code 1 when something is missing. Example: malmoi doctor
    """
    import dataclasses
    from json import dumps

    from malmoi.core.console import console, verbatim
    from malmoi.pipeline.health import examine
    from malmoi.sources.fetch import cache_directory

    marks = {"good": "[green]good[/green]   ", "note": "[yellow]note[/yellow]   ", "missing": "[red]missing[/red]"}
    found = []
    for check in examine(cache_directory()):
        found.append(check)
        if json:
            continue
        console.print(f"{marks[check.verdict]}  [bold]{check.name:15}[/bold] {verbatim(check.finding)}", soft_wrap=True)
        if check.remedy:
            console.print(f"{'':26}[cyan]{verbatim(check.remedy)}[/cyan]", soft_wrap=True)
    missing = [check.name for check in found if check.verdict == "missing"]
    if json:
        print(dumps([dataclasses.asdict(check) for check in found], ensure_ascii=False, indent=2))
    else:
        console.print(f"\nMissing: {', '.join(missing)}." if missing else "\nNothing is missing.")
    raise typer.Exit(1 if missing else 0)
