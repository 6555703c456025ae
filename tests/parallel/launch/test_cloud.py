"""Kubernetes and SkyPilot: documents of their form, and scripts whose words arrive whole."""

import os
import subprocess

import pytest
import yaml

from malmoi.core.errors import UserError
from malmoi.parallel.launch import kubernetes, skypilot
from malmoi.parallel.launch.targets import write_files


def words_of(script, program, tmp_path) -> list[str]:
    """What the script's `python` is called with."""
    folder = program("python", f'printf "%s\\0" "$@" > "{tmp_path}/words"')
    environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PET_MASTER_ADDR": "job-node-0-0",
        "PET_MASTER_PORT": "29500",
        "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2",
    }
    subprocess.run(["bash", "-c", script], env=environment, check=True)
    return (tmp_path / "words").read_text().split("\0")[:-1]


@pytest.fixture
def documents(settings):
    return list(yaml.safe_load_all(kubernetes.render(settings(storage="team-disk", install="", image="ours:1"))))


def test_a_train_job_is_one_of_kubeflows(documents):
    models = pytest.importorskip("kubeflow_trainer_api.models")
    recipe, job = documents
    assert models.TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job
    assert recipe["data"]["recipe.yaml"].startswith("about: 낱말을 모은다")


def test_a_train_job_has_the_machines_the_disk_and_the_recipe(documents):
    recipe, job = documents
    trainer, patch = job["spec"]["trainer"], job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]
    pod = patch["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    assert (trainer["numNodes"], trainer["resourcesPerNode"]["limits"]) == (2, {"nvidia.com/gpu": "8"})
    assert {volume["name"] for volume in pod["volumes"]} == {m["name"] for m in pod["containers"][0]["volumeMounts"]}
    assert {"name": "recipe", "configMap": {"name": recipe["metadata"]["name"]}} in pod["volumes"]


def test_a_train_jobs_words_arrive_as_they_were_written(documents, settings, program, tmp_path):
    words = words_of(documents[1]["spec"]["trainer"]["command"][2], program, tmp_path)
    expected = ["run", "/recipe/recipe.yaml", *settings().overrides, "--out", "/storage/runs/내 run"]
    assert words[words.index("malmoi") + 1 :] == expected
    assert "--rdzv-endpoint=job-node-0-0:29500" in words


def test_a_label_chooses_the_machines(settings):
    job = yaml.safe_load(kubernetes.render(settings(recipe="quickstart", storage="d", hardware="gpu=H100")))
    spec = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"][0]
    assert spec["template"]["spec"]["template"]["spec"]["nodeSelector"] == {"gpu": "H100"}


def test_a_task_names_machines_and_storage_and_its_words_arrive(settings, program, tmp_path):
    wanted = settings(storage="s3://말", nodes=1, spot=True)
    task = yaml.safe_load(skypilot.render(wanted))
    assert task["resources"] == {
        "use_spot": True, "accelerators": "H100:8", "job_recovery": {"max_restarts_on_errors": 3}
    }  # fmt: skip
    assert task["file_mounts"]["/storage"] == {"source": "s3://말", "mode": "MOUNT_CACHED"}
    assert task["file_mounts"]["/recipe/말모이 recipe.yaml"] == str(wanted.recipe_path)
    words = words_of(task["run"], program, tmp_path)
    assert words[words.index("malmoi") + 1 :] == wanted.words_away()
    assert "--rdzv-endpoint=10.0.0.1:29500" in words


@pytest.mark.parametrize(("on", "changes", "message"), [
    ("kubernetes", {}, "no --storage is given"),
    ("kubernetes", {"storage": "d", "recipe": "."}, "do not see it"),
    ("skypilot", {}, "no --storage is given"),
    ("skypilot", {"storage": "s3://x"}, "is a bucket: 2 machines"),
    ("kubernetes", {"storage": "d", "recipe": "quickstart", "out": "/home/me/runs"}, "would be lost with the machine"),
    ("skypilot", {"storage": "d", "out": "../runs"}, "would be lost with the machine"),
    ("slurm", {"storage": "d"}, "Leave --storage out"),
    ("ray", {"spot": True}, "Leave --spot out"),
])  # fmt: skip
def test_what_a_target_cannot_do_is_said(settings, tmp_path, on, changes, message):
    with pytest.raises(UserError, match=message):
        write_files(on, settings(**changes), tmp_path / "files")
    assert not (tmp_path / "files").exists()
