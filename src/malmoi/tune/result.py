"""What a search came to: the best recipe, and a page about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial, TrialState

from malmoi.core.console import console, verbatim
from malmoi.core.device import machine_facts
from malmoi.core.errors import UserError
from malmoi.core.files import STAGE_RECORD, atomic_file, read_json, write_json
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import StageRecord, read_stages
from malmoi.pipeline.report.words import Language
from malmoi.pipeline.runner import versions
from malmoi.tune.prepare import Search
from malmoi.tune.space import Choices, Range, changed, value_of
from malmoi.tune.study import TRIALS, Trials

RECORD = "tune.json"
REPORT = "report.html"

STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}


def write_result(search: Search, trials: Trials, language: Language | None) -> dict[str, Any]:
    """Write the best recipe, `tune.json` and `report.html` into the directory of a search.

    Args:
        language: of the report; None for that of the recipe's own report.

    Raises:
        UserError: no trial came to its end, or none has yet.
    """
    best = trials.best()
    if best is None:
        if others := trials.elsewhere():
            raise UserError(
                f"No trial came to its end yet; another process is at trial {others[0] + 1}.",
                "Give the same command when it is done, or --trials for more of them.",
            )
        errors = [trial.user_attrs.get("error") for trial in trials.study.get_trials(deepcopy=False)]
        last = next((error for error in reversed(errors) if error), "")
        raise UserError(f"No trial came to its end. {last}".strip(), "Search smaller values, or give more --minutes.")
    facts = _facts(search, trials, best)
    seconds = sum(one["seconds"] for one in facts["trials"])
    record = {
        "stage": "tune",
        "kind": "tune",
        "name": "tune",
        "status": "done",
        "machine": machine_facts(),
        "versions": versions(),
        "started": min(one["started"] for one in facts["trials"]),
        "seconds": seconds,
        "peak_memory": max(one["peak_memory"] for one in _stages(search)),
        "settings": {key: str(values) for key, values in search.space.items()},
        "result": facts,
    }
    _write_best(search, trials, best, facts)
    write_json(search.directory / RECORD, record)
    stages = [*read_stages(list(search.shared.values())), StageRecord(search.directory, record)]
    title = f"{search.whole.name}: tune"
    with atomic_file(search.directory / REPORT) as file:
        file.write(render(stages, title, language or _language(search)))
    return facts


def print_result(search: Search, facts: dict[str, Any]) -> None:
    """Say what the best trial has, beside the recipe as it is, and what to run."""
    counts = [sum(one["state"] == state for one in facts["trials"]) for state in STATES.values()]
    console.print(f"\n{counts[0]} trials finished, {counts[1]} stopped on the way, {counts[2]} failed.")
    first = "" if facts["first"] is None else f" ({facts['first']:.4f} with the recipe as it is)"
    console.print(f"Best {facts['measure']}: {facts['best_value']:.4f}{first}", markup=False)
    for key, value in facts["best_values"].items():
        share = f"  [dim]{facts['importance'][key]:.0%} of what decides[/dim]" if facts["importance"] else ""
        console.print(f"  {verbatim(key)} = {verbatim(value)}{share}")
    console.print(f"Report:    {search.directory / REPORT}", soft_wrap=True, markup=False)
    console.print(f"Train:     malmoi run {facts['file']}", soft_wrap=True, markup=False)


def _facts(search: Search, trials: Trials, best: FrozenTrial) -> dict[str, Any]:
    everyone = [trial for trial in trials.study.get_trials(deepcopy=False) if trial.state in STATES]
    recipe = {key: value_of(search.short, key) for key in search.space}
    finished = trials.finished()
    first = next((one.value for one in finished if one.number == 0 and trials.values(one) == recipe), None)
    return {
        "recipe": search.whole.name,
        "file": str(search.directory / f"{search.whole.name}-tuned.yaml"),
        "measure": f"{search.judged}.{search.key}",
        "maximize": search.wish.maximize,
        "space": {
            key: {
                "text": str(values),
                "log": isinstance(values, Range) and values.log,
                "choices": list(values.values) if isinstance(values, Choices) else [],
            }
            for key, values in search.space.items()
        },
        "best": best.number,
        "best_value": best.value,
        "best_values": trials.values(best),
        "first": first,
        "importance": trials.importance(),
        "trials": [_trial_facts(trials, trial) for trial in everyone],
    }


def _stages(search: Search) -> list[dict[str, Any]]:
    """The records of the stages that were done for all trials, and for each."""
    places = [*search.shared.values(), *(search.directory / TRIALS).glob("*/*")]
    records = [read_json(place / STAGE_RECORD) for place in places if (place / STAGE_RECORD).is_file()]
    return [record for record in records if record["status"] == "done"]


def _trial_facts(trials: Trials, trial: FrozenTrial) -> dict[str, Any]:
    started = trial.datetime_start
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "value": trial.value if trial.state == TrialState.COMPLETE else None,
        "values": trials.values(trial),
        "losses": [(place, trial.intermediate_values[place]) for place in sorted(trial.intermediate_values)],
        "seconds": trial.duration.total_seconds() if trial.duration else 0.0,
        "started": started.isoformat(timespec="seconds") if started else "",
        "error": trial.user_attrs.get("error", ""),
    }


def _write_best(search: Search, trials: Trials, best: FrozenTrial, facts: dict[str, Any]) -> None:
    entries = changed(search.whole, trials.values(best)).entries
    stages = [{"stage": entry["stage"], **({} if name == entry["stage"] else {"name": name}), **_rest(entry)}
              for name, entry in entries.items()]  # fmt: skip
    content = {"about": search.whole.about, "stages": stages}
    with atomic_file(Path(facts["file"])) as file:
        file.write(f"# Trial {best.number + 1} of malmoi tune: {facts['measure']} {best.value:.6g}\n")
        yaml.safe_dump(content, file, allow_unicode=True, sort_keys=False, width=120)


def _rest(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in ("stage", "name")}


def _language(search: Search) -> Language:
    """That of the recipe's report."""
    for step in search.whole.steps:
        if step.kind == "report":
            language: Language = step.settings.language  # type: ignore[attr-defined]
            return language
    return "en"
