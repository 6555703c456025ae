"""Several processes on this machine, by torchrun's own agent."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

MALMOI = """
import json, os, pathlib, signal, sys, time
place = pathlib.Path(sys.argv[1])
rank = int(os.environ["RANK"])
contract = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
mode = sys.argv[2]
(place / f"{rank}-{os.getpid()}.json").write_text(json.dumps({name: os.environ.get(name) for name in contract}))
if mode == "once" and rank == 1 and not (place / "died").exists():
    (place / "died").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "refused":
    sys.exit(2)
if mode == "signal":
    def save(number, frame):
        (place / f"saved-{rank}").touch()
        sys.exit(0)
    signal.signal(signal.SIGUSR1, save)
    (place / f"ready-{rank}").touch()
    time.sleep(60)
if mode == "once" and rank == 0 and len(list(place.glob("0-*"))) == 1:
    time.sleep(60)
"""
"""Stands in for malmoi: the launcher runs `python -m malmoi`."""

LAUNCHER = """
import json, sys
from malmoi.parallel.launch.local import launch_local
if __name__ == "__main__":
    print(json.dumps([launch_local([sys.argv[1], mode], 2, restarts=1) for mode in sys.argv[2].split(",")]))
"""


@pytest.fixture
def launch(tmp_path):
    """Starts the launcher in a folder where `malmoi` is the one above."""
    (tmp_path / "malmoi.py").write_text(MALMOI)
    (tmp_path / "launcher.py").write_text(
        f"import sys\nsys.path[:] = [path for path in sys.path if path != {str(tmp_path)!r}]\n{LAUNCHER}"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    place = tmp_path / "자리"
    place.mkdir()

    def start(modes):
        return place, subprocess.Popen(
            [sys.executable, str(tmp_path / "launcher.py"), str(place), modes],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    return start


def test_processes_know_each_other_a_killed_one_starts_again_and_a_mistake_does_not(launch):
    place, process = launch("once,refused")
    output, error = process.communicate(timeout=240)
    assert json.loads(output) == [0, 2]
    assert "Process 1 was ended by SIGKILL. All start again" in error
    assert len(list(place.glob("0-*.json"))) == 3  # once, once more, and the refused one only once
    found = [json.loads(path.read_text()) for path in place.glob("*.json")]
    assert {one["WORLD_SIZE"] for one in found} == {"2"}
    assert {one["RANK"] for one in found} == {one["LOCAL_RANK"] for one in found} == {"0", "1"}
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {one["OMP_NUM_THREADS"] for one in found} == {str(threads)}
    assert all(one["MASTER_ADDR"] and one["MASTER_PORT"] for one in found)


def test_a_signal_reaches_every_process(launch):
    place, process = launch("signal")
    deadline = time.monotonic() + 60
    while len(list(place.glob("ready-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    output, _ = process.communicate(timeout=240)
    assert json.loads(output) == [128 + signal.SIGUSR1]
    assert len(list(place.glob("saved-*"))) == 2
