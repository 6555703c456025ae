import importlib.util
import json
import shutil
from collections import namedtuple

import psutil
import pytest
import torch
from typer.testing import CliRunner

from malmoi.cli.main import app
from malmoi.pipeline import health
from malmoi.pipeline.health import examine, matrix_product_speed


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(health, "matrix_product_speed", lambda dtype: 1e11 if dtype == torch.float32 else 1e9)
    monkeypatch.delenv("MALMOI_MIRROR", raising=False)


def found(cache):
    return {check.name: check for check in examine(cache)}


def hide(monkeypatch, *modules):
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name in modules else original(name, *rest)
    )


def test_a_slow_precision_is_noted(tmp_path):
    checks = found(tmp_path)
    assert checks["float32"].verdict == "good"
    assert checks["bfloat16"].verdict == "note"
    assert "not chosen" in checks["bfloat16"].finding


def test_a_missing_package_comes_with_the_command_that_installs_it(monkeypatch, tmp_path):
    hide(monkeypatch, "sklearn", "uvicorn", "pip")
    checks = found(tmp_path)
    assert checks["extra evaluate"].remedy == "pip install 'malmoi[evaluate]'"
    assert "uvicorn not installed" in checks["extra serve"].finding
    assert checks["pip"].remedy.endswith("-m ensurepip")


def test_the_mirror(monkeypatch, tmp_path):
    assert found(tmp_path)["mirror"].verdict == "note"
    (tmp_path / "말뭉치").mkdir()
    monkeypatch.setenv("MALMOI_MIRROR", str(tmp_path))
    assert found(tmp_path)["mirror"].finding.endswith("1 folders")
    monkeypatch.setenv("MALMOI_MIRROR", str(tmp_path / "nowhere"))
    assert found(tmp_path)["mirror"].verdict == "missing"


def test_the_cache_is_measured_without_being_made(tmp_path):
    assert "empty so far" in found(tmp_path / "cache")["cache"].finding
    assert not (tmp_path / "cache").exists()
    (tmp_path / "file").write_bytes(bytes(3 << 20))
    assert found(tmp_path)["cache"].finding.endswith("3 MiB")


def test_small_machines_are_told(monkeypatch, tmp_path):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**40, 2**40, 2**29))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: namedtuple("memory", "total")(2**32))
    checks = found(tmp_path)
    assert checks["memory"].verdict == "note"
    assert checks["disk"].verdict == "missing"


def test_speed_is_measured():
    assert matrix_product_speed(torch.float32, size=64, seconds=0.01) > 1e6


@pytest.mark.parametrize("modules", [(), ("sklearn",)])
def test_the_exit_code_says_whether_something_is_missing(monkeypatch, modules):
    hide(monkeypatch, *modules)
    result = CliRunner().invoke(app, ["doctor", "--json"])
    checks = json.loads(result.stdout)
    missing = [check["name"] for check in checks if check["verdict"] == "missing"]
    assert result.exit_code == (1 if missing else 0)
    assert ("extra evaluate" in missing) == bool(modules)


def test_every_line_is_shown(monkeypatch):
    hide(monkeypatch, "sklearn")
    output = CliRunner().invoke(app, ["doctor"]).stdout
    assert "pip install 'malmoi[evaluate]'" in output
    assert "Missing: extra evaluate" in output
