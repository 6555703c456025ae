"""A signal asks; the training ends when it has saved."""

import signal
import subprocess
import sys

import pytest

from malmoi.train.signals import StopSignals


@pytest.mark.parametrize("one", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_remembered_and_ends_the_process_later(one, capsys):
    before = signal.getsignal(one)
    with pytest.raises(SystemExit) as ended, StopSignals() as stop:
        assert stop.received is None
        signal.raise_signal(one)
        assert stop.received == one
        stop.end(12)
    assert ended.value.code == 128 + one
    assert f"stopped by {one.name} after step 12. The same command goes on" in capsys.readouterr().err
    assert signal.getsignal(one) is before


def test_a_second_signal_ends_at_once():
    script = """
import signal
from malmoi.train.signals import StopSignals
with StopSignals():
    signal.raise_signal(signal.SIGTERM)
    print("말모이", flush=True)
    signal.raise_signal(signal.SIGTERM)
    print("never")
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "말모이\n")
