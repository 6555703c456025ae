"""A search for the rates of a small model of characters, beside the rates that malmoi takes unasked.

The recipe `shakespeare` with a width of 64 and nothing said of its trainer. Trial 1 is the recipe as it is; two more
seeds of it show what chance does.
Run: python benchmarks/tuning.py [--trials 16]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from malmoi.core.device import machine_facts
from malmoi.core.files import read_json, write_json
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.runner import run_recipe
from malmoi.tune.prepare import Wish, prepare
from malmoi.tune.result import RECORD, print_result, write_result
from malmoi.tune.search import run

SMALL = ["corpus.held_out=0.02", "pretrain.model.width=64", "pretrain.trainer={}", "pretrain.samples=0"]
SMALL += ["pretrain.rows=16", "pretrain.steps=120"]


def main() -> None:
    """Search, print, write benchmarks/results/tuning.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    trials = parser.parse_args().trials
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / "tune"
        search = prepare(load_recipe("shakespeare", SMALL), Wish(trials=trials), directory)
        facts = write_result(search, run(search), None)
        print_result(search, facts)
        seconds = read_json(directory / RECORD)["seconds"]
        seeds = []
        for name, recipe in (("as it is", "shakespeare"), ("tuned", facts["file"])):
            for seed in (1, 2):
                changes = [*(SMALL if recipe == "shakespeare" else []), f"pretrain.seed={seed}"]
                plan = load_recipe(recipe, changes)
                steps = [step for step in plan.steps if step.name in ("fetch", "corpus", "tokenizer", "pretrain")]
                done = run_recipe(type(plan)(plan.name, plan.about, steps, plan.entries), Path(place) / "seeds" / name)
                loss = read_json(done["pretrain"] / "stage.json")["result"]["validation_loss"]
                seeds.append({"recipe": name, "seed": seed, "loss": loss})
                print(seeds[-1], flush=True)
    kept = ("measure", "space", "best", "best_value", "best_values", "first", "importance", "trials")
    result = {"machine": machine_facts(), "seconds": seconds, "other_seeds": seeds, **{key: facts[key] for key in kept}}
    write_json(Path(__file__).parent / "results" / "tuning.json", result)


if __name__ == "__main__":
    main()
