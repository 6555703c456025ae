"""Fixtures that more than one folder of tests uses."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The directory of data sets beside the checkout; skips when there is none."""
    directory = Path(os.environ.get("MALMOI_MIRROR", CHECKOUT.parent / "shared" / "data"))
    if not directory.is_dir():
        pytest.skip(f"needs the data sets in {directory}; set MALMOI_MIRROR to where they are")
    return directory
