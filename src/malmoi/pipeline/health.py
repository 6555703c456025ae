"""What this machine is, what was found on it, what is missing and the command that mends it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import malmoi
from malmoi.core.device import machine_facts
from malmoi.core.errors import UserError

GIB = 2**30

EXTRAS = {
    "corpus": {
        "trafilatura": "trafilatura",
        "mwparserfromhell": "mwparserfromhell",
        "charset-normalizer": "charset_normalizer",
    },
    "evaluate": {"scikit-learn": "sklearn"},
    "images": {"pillow": "PIL", "scikit-learn": "sklearn"},
    "serve": {"fastapi": "fastapi", "uvicorn": "uvicorn"},
    "tune": {"optuna": "optuna", "scikit-learn": "sklearn"},
}
"""Extra -> its packages and the modules that they bring."""

PURPOSES = {
    "corpus": "web pages, MediaWiki and texts of unknown encoding",
    "evaluate": "the bag-of-words control",
    "images": "image files, pictures and controls on pixels",
    "serve": "malmoi serve",
    "tune": "malmoi tune",
}


@dataclass(frozen=True)
class Check:
    """One line of the doctor's findings.

    Attributes:
        name: what was looked at.
        verdict: "good", "note" (works, but know this) or "missing" (something will fail).
        finding: what was found, with figures.
        remedy: the command or step that mends it; empty when there is nothing to mend.
    """

    name: str
    verdict: Literal["good", "note", "missing"]
    finding: str
    remedy: str = ""


def examine(cache: Path) -> Iterator[Check]:
    """All checks, one after the other, the slowest (a second of matrix products) last.

    Args:
        cache: where downloads are kept.
    """
    facts = machine_facts()
    yield Check("malmoi", "good", f"{malmoi.__version__} in {Path(malmoi.__file__).parent}")
    yield Check("python", "good", sys.version.split()[0])
    yield _torch()
    sets = ", ".join(facts["instruction_sets"]) or "instruction sets unknown"
    cores = f"{facts['cores']} core" + ("s" if facts["cores"] != 1 else "")
    yield Check("processor", "good", f"{facts['processor']}, {cores}, {sets}; {facts['system']}")
    yield _memory(facts["memory"])
    yield _disk(facts["disk_free"])
    yield _accelerator()
    yield from (_extra(name) for name in EXTRAS)
    yield _downloader()
    yield _mirror(os.environ.get("MALMOI_MIRROR"))
    yield _cache(cache)
    yield _compiler()
    yield from _precisions()


def _torch() -> Check:
    version = metadata.version("torch")
    release = tuple(int(part) for part in version.split("+")[0].split(".")[:2])
    if not (2, 11) <= release < (2, 14):
        return Check("torch", "missing", f"{version} is untested", "pip install 'torch>=2.11,<2.14'")
    return Check("torch", "good", version)


def _memory(total: int) -> Check:
    if total < 6 * GIB:
        remedy = "Give pretrain a smaller context or fewer layers, and leave out classify and instruct."
        return Check("memory", "note", f"{total / GIB:.1f} GiB; the quickstart is made for 6", remedy)
    return Check("memory", "good", f"{total / GIB:.1f} GiB")


def _disk(free: int) -> Check:
    if free < 3 * GIB:
        return Check("disk", "missing", f"{free / GIB:.1f} GiB free here", "Free some space, or use --out elsewhere.")
    return Check("disk", "good", f"{free / GIB:.0f} GiB free here")


def _accelerator() -> Check:
    from malmoi.core.accelerator import CHOICE, KINDS, describe, pick_device

    try:
        device = pick_device()
    except UserError as error:
        return Check("device", "missing", error.what, f"unset {CHOICE}")
    if device.type == "cpu":
        return Check("device", "note", "no accelerator that this torch can use; everything runs on the processor")
    if not KINDS[device.type].tried:
        finding = f"{describe(device)}; malmoi was never run on a real one: compare a first loss with the processor's"
        return Check("device", "note", finding, f"export {CHOICE}=cpu")
    return Check("device", "good", describe(device))


def _extra(extra: str) -> Check:
    absent = [package for package, module in EXTRAS[extra].items() if importlib.util.find_spec(module) is None]
    if absent:
        finding = f"{', '.join(absent)} not installed: needed for {PURPOSES[extra]}"
        return Check(f"extra {extra}", "missing", finding, f"pip install 'malmoi[{extra}]'")
    return Check(f"extra {extra}", "good", ", ".join(f"{name} {metadata.version(name)}" for name in EXTRAS[extra]))


def _downloader() -> Check:
    if importlib.util.find_spec("pip") is None:
        finding = "not in this environment: needed to fetch sources from the package index"
        return Check("pip", "missing", finding, f"{sys.executable} -m ensurepip")
    return Check("pip", "good", metadata.version("pip"))


def _mirror(value: str | None) -> Check:
    if not value:
        return Check("mirror", "note", "MALMOI_MIRROR is not set; sources are downloaded where their cards say")
    directory = Path(value).expanduser()
    if not directory.is_dir():
        finding = f"MALMOI_MIRROR={value} is no directory"
        return Check("mirror", "missing", finding, "export MALMOI_MIRROR=DIR, or unset MALMOI_MIRROR")
    count = sum(entry.is_dir() for entry in directory.iterdir())
    return Check("mirror", "good", f"{directory}, {count} folders")


def _cache(directory: Path) -> Check:
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    if not os.access(existing, os.W_OK):
        remedy = f"chmod u+w {existing}"
        return Check("cache", "missing", f"{directory} cannot be written", remedy)
    if not directory.exists():
        return Check("cache", "good", f"{directory}, empty so far")
    size = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    return Check("cache", "good", f"{directory}, {size / 2**20:.0f} MiB")


def _compiler() -> Check:
    found = next((name for name in ("c++", "g++", "clang++", "cl") if shutil.which(name)), None)
    if found is None:
        return Check("compiler", "note", "no C++ compiler; torch.compile cannot be used, and nothing needs it")
    return Check("compiler", "good", f"{found}; torch.compile can be used")


def _precisions() -> Iterator[Check]:
    import torch

    speeds = {name: matrix_product_speed(getattr(torch, name)) for name in ("float32", "bfloat16")}
    for name, speed in speeds.items():
        finding = f"{speed / 1e9:,.1f} GFLOP/s in matrix products of {name}"
        slow = speed < speeds["float32"] * 0.9
        yield Check(
            name, "note" if slow else "good", finding + ("; slower than float32 here, not chosen" if slow else "")
        )


def matrix_product_speed(dtype: object, size: int = 512, seconds: float = 0.3) -> float:
    """Floating-point operations a second in (size, size) matrix products on the processor, best of what fits."""
    import torch

    left = torch.randn(size, size).to(dtype)  # type: ignore[call-overload]
    best, end = float("inf"), time.perf_counter() + seconds
    while True:
        start = time.perf_counter()
        left @ left
        best = min(best, time.perf_counter() - start)
        if time.perf_counter() > end:
            return float(2 * size**3 / best)
