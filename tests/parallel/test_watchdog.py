"""Real processes that die, stop, hang or dawdle, all drills in one go: what is left ends, and says whom and where."""

import json
import re
import subprocess
import sys

import pytest

DRILLS = """
import json, os, signal, sys, tempfile, time
from datetime import timedelta
from torch.distributed import PrefixStore, TCPStore
from malmoi.parallel.watchdog import Limits, Watchdog

LIMITS = Limits(silence=4, patience=12, first=60, interval=0.2)
GOING_ON = LIMITS._replace(silence=40)  # where nobody is to be ended, a busy machine may keep one waiting

def steps(watchdog, count, own=lambda step: 0.01):
    found = []
    for step in range(1, count + 1):
        watchdog.phase("batch", step)
        watchdog.phase("backward", step)
        time.sleep(0.002)
        found += watchdog.step(step, own(step))
    return found

def stopped(index, watchdog):
    steps(watchdog, 5)
    watchdog.phase("batch", 6)
    time.sleep(1)  # long enough for a sign
    if index == 1:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(40)

def killed(index, watchdog):
    if index == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(40)

def hanging(index, watchdog):
    steps(watchdog, 5)
    watchdog.phase("batch", 6)
    if index != 1:
        watchdog.phase("backward", 6)
    time.sleep(40)

def together(index, watchdog):
    steps(watchdog, 5)
    watchdog.phase("backward", 6)
    time.sleep(40)

def raising(index, watchdog):
    watchdog.phase("batch", 3)
    if index == 0:
        raise ValueError
    time.sleep(40)

def patient(index, watchdog):
    steps(watchdog, 5)
    watchdog.phase("samples", 5, patient=index == 0)
    if index:
        watchdog.phase("batch", 6)
        time.sleep(13)
        STORE.set(str(index), "")
    else:  # it goes last, however late the others began
        STORE.wait(["1", "2"], timedelta(seconds=50))

def slow(index, watchdog):
    found = steps(watchdog, 20, lambda step: 0.03 if index == 1 else 0.01)
    for _ in range(50 if index == 0 else 5):  # the first one waits until all have left their times
        time.sleep(0.2)
        found += watchdog.step(21, 0.01)
        if found:
            break
    for sentence in found:
        print(sentence, file=sys.stderr)

def run(drill, index, port, log):
    os.dup2(os.open(log, os.O_WRONLY | os.O_APPEND), 2)
    os.environ["LOCAL_RANK"] = "1"  # only who tells it prints it
    global STORE
    STORE = PrefixStore(drill.__name__, TCPStore("localhost", port, is_master=False, timeout=timedelta(seconds=9)))
    try:
        with Watchdog(STORE, index, 3, GOING_ON if drill in (patient, slow) else LIMITS) as watchdog:
            drill(index, watchdog)
    except ValueError:
        os._exit(1)
    os._exit(0)

def ended(child, deadline):
    while True:
        number, status = os.waitpid(child, os.WNOHANG)
        if number:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    return "left alone"

if __name__ == "__main__":
    began = time.monotonic()
    outlet, inlet = os.pipe()
    if (keeper := os.fork()) == 0:  # this process has no threads: they and their locks would be forked badly
        store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        os.write(inlet, str(store.port).encode())
        time.sleep(90)
        os._exit(0)
    port = int(os.read(outlet, 9))
    groups = {}
    for drill in (stopped, killed, hanging, together, raising, patient, slow):
        log = tempfile.mkstemp()[1]
        children = []
        for index in range(3):
            if (child := os.fork()) == 0:
                run(drill, index, port, log)
            children.append(child)
        groups[drill.__name__] = children, log
    result = {}
    for name, (children, log) in groups.items():
        result[name] = [ended(child, began + 60) for child in children], open(log).read()
    os.kill(keeper, signal.SIGKILL)
    print(json.dumps(result))
"""


KILLED = None
"""By itself, or by another one who was quicker."""


@pytest.fixture(scope="module")
def drills(tmp_path_factory):
    """Drill -> exit codes of its processes, and what they said."""
    script = tmp_path_factory.mktemp("drills") / "drills.py"
    script.write_text(DRILLS)
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize(("drill", "codes", "sentence"), [
    ("stopped", [75, -9, 75], r"malmoi: Process 1 has said nothing for \d+ s; it was in step 6, batch.\n"),
    ("killed", [75, 75, -9], r"malmoi: Process 2 has said nothing for \d+ s; it was in step 0, start.\n"),
    ("hanging", [75, KILLED, 75], r"malmoi: Process 1 has been in step 6, batch, for \d+ s, and the others wait for it.\n"),
    ("together", [75, 75, 75], r"malmoi: No process has gone on for \d+ s; all are in step 6, backward.\n"),
    ("raising", [1, 75, 75], ""),
    ("patient", [0, 0, 0], ""),
    ("slow", [0, 0, 0], r"process 1 works 0.03 s on a step and the median is 0.01 s \(up to step 20\): all wait for it\n"),
])  # fmt: skip
def test_what_is_left_ends_and_says_why(drills, drill, codes, sentence):
    found, said = drills[drill]
    assert all(one in (75, -9) if code is KILLED else one == code for one, code in zip(found, codes, strict=True))
    assert re.fullmatch(sentence, said), said


def test_a_process_alone_is_not_watched():
    from malmoi.parallel.watchdog import Watchdog

    with Watchdog(None, 0, 1) as watchdog:
        watchdog.phase("batch", 1)
        assert watchdog.step(1, 0.1) == []
