"""EfficientNet-Lite0 read by malmoi and by the code that its weights were published for: the same scores.

The code is `efficientnet-lite-pytorch`, unpacked into a temporary folder; the photographs are scikit-learn's.
Run: python benchmarks/efficientnet_parity.py
"""

from __future__ import annotations

import importlib
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import sklearn
import torch

from malmoi.core.device import machine_facts
from malmoi.core.files import write_json
from malmoi.data.image_files import read_image
from malmoi.formats.image_checkpoint import load_image_classifier
from malmoi.sources.fetch import fetch_image_weights
from malmoi.sources.packages import fetch_package

PHOTOGRAPHS = {"flower.jpg": 985, "china.jpg": 698}
"""A dahlia and a Chinese palace, and the numbers of ImageNet's "daisy" and "palace"."""


@torch.no_grad()
def main() -> None:
    """Compare, print, write benchmarks/results/efficientnet_parity.json."""
    weights = fetch_image_weights("efficientnet-lite0")
    ours, theirs = load_image_classifier(weights), published_code(weights)
    folder = Path(sklearn.__file__).parent / "datasets/images"
    images = {name: read_image(folder / name, 224, 3)[None].float() / 255 for name in PHOTOGRAPHS}
    images["chance"] = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    result: dict[str, Any] = {"machine": machine_facts(), "largest_difference": {}, "class": {}}
    for name, pixels in images.items():
        scores, expected = ours(pixels), theirs((pixels * 255 - 127) / 128)
        result["largest_difference"][name] = float((scores - expected).abs().max())
        if name in PHOTOGRAPHS:
            sure, best = scores.softmax(-1)[0].max(-1)
            result["class"][name] = {"number": int(best), "wanted": PHOTOGRAPHS[name], "probability": float(sure)}
    for key, value in result.items():
        print(f"{key}: {value}")
    write_json(Path(__file__).parent / "results" / "efficientnet_parity.json", result)


def published_code(weights: Path) -> torch.nn.Module:
    """Their network with the same file."""
    folder = tempfile.mkdtemp()
    with zipfile.ZipFile(fetch_package("efficientnet-lite-pytorch==0.1.0")) as archive:
        archive.extractall(folder)
    sys.path.insert(0, folder)
    module = importlib.import_module("efficientnet_lite_pytorch")
    network: torch.nn.Module = module.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(weights))
    return network.eval()


if __name__ == "__main__":
    main()
