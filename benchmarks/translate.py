"""The figures of a finished translator, gathered from its stage.

Run: python benchmarks/translate.py runs/translate
"""

from __future__ import annotations

import argparse
from pathlib import Path

from malmoi.core.files import read_json, write_json

LEFT_OUT = ("left_out_places", "signatures")


def main() -> None:
    """Print the figures and write benchmarks/results/NAME.json, NAME being that of the run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run.resolve()
    record = read_json(run / "translator" / "stage.json")
    figures = {
        "machine": record["machine"],
        "versions": record["versions"],
        "settings": record["settings"],
        "seconds": record["seconds"],
        "attempts": record["attempts"],
        "peak_memory_gibibytes": record["peak_memory"] / 2**30,
        **{name: value for name, value in record["result"].items() if name not in LEFT_OUT},
        "texts": read_json(run / "translator" / "texts.json"),
    }
    write_json(Path(__file__).parent / "results" / f"{run.name}.json", figures)
    for name, value in figures.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
