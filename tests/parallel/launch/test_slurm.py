"""The batch script: options that SLURM has, words that arrive whole, a signal that requeues."""

import os
import re
import signal
import subprocess
import time

import pytest

from malmoi.parallel.launch import slurm

# Of `man sbatch`, each with the form of its value as that page gives it.
OPTIONS = {
    "job-name": r"\S+",
    "nodes": r"\d+",
    "ntasks-per-node": r"\d+",
    "exclusive": "",
    "gpus-per-node": r"([a-z]\w*:)?\d+",
    "time": r"\d+:\d\d:\d\d",
    "signal": r"B:USR1@\d+",
    "requeue": "",
    "open-mode": "append|truncate",
    "output": r"\S*%j\S*",
}


@pytest.fixture
def run(program):
    """Starts a script with the variables and the programs that a job has; `srun` runs its command, here."""
    program("srun", 'while [[ $1 == --* ]]; do shift; done\nexec "$@"')
    folder = program("scontrol", 'if [ "$1" = show ]; then echo n1; else echo "$@" >> requeued; fi')
    job = {"SLURM_JOB_ID": "41", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_ON_NODE": "64"}

    def start(script):
        environment = {**os.environ, **job, "PATH": f"{folder}:{os.environ['PATH']}"}
        environment.pop("OMP_NUM_THREADS", None)
        return subprocess.Popen(["bash", "-c", script], env=environment)

    return start


def test_every_option_is_one_of_sbatch_and_stands_before_the_first_command(settings):
    head, body = slurm.render(settings()).split("\ncd ", 1)
    found = re.findall(r"^#SBATCH --([a-z-]+)(?:=(.*))?$", head, re.MULTILINE)
    assert len(found) == head.count("#SBATCH")
    assert all(re.fullmatch(OPTIONS[name], value) for name, value in found)
    assert "#SBATCH" not in body


def test_the_words_arrive_as_they_were_written(settings, program, run, tmp_path):
    program("python", 'printf "%s\\0" "$OMP_NUM_THREADS" "$@" > words')
    wanted = settings(python=str(tmp_path / "programs/python"))
    assert run(slurm.render(wanted)).wait() == 0
    threads, *words = (tmp_path / "내 실험 $1/words").read_text().split("\0")[:-1]
    assert threads == "8"
    assert "--rdzv-endpoint=n1:29541" in words
    assert words[words.index("malmoi") + 1 :] == wanted.words_here()


def test_a_signal_reaches_the_training_and_requeues_the_job(settings, program, run, tmp_path):
    program("python", "trap 'sleep 0.1; echo saved > saved; exit 7' USR1\ntouch started\nwhile :; do sleep 0.02; done")
    job = run(slurm.render(settings(python=str(tmp_path / "programs/python"))))
    place = tmp_path / "내 실험 $1"
    while not (place / "started").exists():
        time.sleep(0.01)
    job.send_signal(signal.SIGUSR1)
    assert job.wait() == 7
    assert (place / "saved").exists()
    assert (place / "requeued").read_text() == "requeue 41\n"


def test_a_failure_without_a_signal_does_not_requeue(settings, program, run, tmp_path):
    program("python", "exit 3")
    assert run(slurm.render(settings(python=str(tmp_path / "programs/python")))).wait() == 3
    assert not (tmp_path / "내 실험 $1/requeued").exists()


def test_without_an_accelerator_none_is_asked_for(settings):
    assert "gpus" not in slurm.render(settings(hardware=""))
