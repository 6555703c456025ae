"""A TrainJob of Kubeflow Trainer 2.2 or later, and beside it the recipe if it is a file."""

from __future__ import annotations

from typing import Any

from malmoi.core.errors import UserError
from malmoi.parallel.launch.settings import RECIPES, SAVING, STORAGE, LaunchSettings
from malmoi.parallel.launch.templates import filled, torchrun
from malmoi.parallel.launch.yaml_text import yaml_text

FILE = "kubernetes.yaml"

LARGEST = 1 << 20
"""Bytes of a recipe that fit into a ConfigMap."""


def render(settings: LaunchSettings) -> str:
    """The documents; `kubectl apply -f` takes them.

    Raises:
        UserError: there is no storage, or the recipe cannot be brought along.
    """
    if not settings.storage:
        raise UserError(
            "On Kubernetes the run directory has to outlive its machines, and no --storage is given.",
            "Give the name of a PersistentVolumeClaim, ReadWriteMany if there are several nodes: --storage=NAME",
        )
    volumes: list[dict[str, Any]] = [
        {"name": "storage", "persistentVolumeClaim": {"claimName": settings.storage}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},  # devices of one machine talk through it
    ]
    mounts = [{"name": "storage", "mountPath": str(STORAGE)}, {"name": "memory", "mountPath": "/dev/shm"}]
    recipe = _recipe(settings)
    if recipe is not None:
        volumes.append({"name": "recipe", "configMap": {"name": recipe["metadata"]["name"]}})
        mounts.append({"name": "recipe", "mountPath": str(RECIPES)})
    documents = [recipe] if recipe else []
    return yaml_text(*documents, _job(settings, volumes, mounts))


def _recipe(settings: LaunchSettings) -> dict[str, Any] | None:
    path = settings.recipe_path
    if path is None:
        return None
    if path.is_dir():
        raise UserError(
            f"{path} is a folder of text on this machine, and the machines of the cluster do not see it.",
            f"Copy it into the volume and give: folder corpus.folder={STORAGE}/{path.name}",
        )
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path} has more than {LARGEST:,} bytes.", "A recipe that long does not fit into a ConfigMap.")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{settings.name}-recipe"},
        "data": {"recipe.yaml": path.read_text(encoding="utf-8")},
    }


def _job(settings: LaunchSettings, volumes: list[dict[str, Any]], mounts: list[dict[str, Any]]) -> dict[str, Any]:
    words = settings.words_away()
    if settings.recipe_path:
        words[1] = str(RECIPES / "recipe.yaml")  # the keys of a ConfigMap have no Hangul
    script = filled(
        "cloud.sh",
        devices=settings.devices_per_node,
        install=settings.install,
        head="",
        torchrun=torchrun(settings, words, '"$PET_MASTER_ADDR:$PET_MASTER_PORT"'),
    )
    trainer: dict[str, Any] = {
        "numNodes": settings.nodes,
        "numProcPerNode": settings.devices_per_node,
        "command": ["bash", "-c", script],
    }
    if settings.image:
        trainer["image"] = settings.image
    if settings.hardware:
        trainer["resourcesPerNode"] = {"limits": {"nvidia.com/gpu": str(settings.devices_per_node)}}
    machine: dict[str, Any] = {
        "terminationGracePeriodSeconds": SAVING,
        "volumes": volumes,
        "containers": [{"name": "node", "volumeMounts": mounts}],
    }
    label, equals, value = settings.hardware.partition("=")
    if equals:
        machine["nodeSelector"] = {label: value}
    jobs = [{"name": "node", "template": {"spec": {"template": {"spec": machine}}}}]
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {"name": settings.name},
        "spec": {
            "runtimeRef": {"name": "torch-distributed"},
            "trainer": trainer,
            "runtimePatches": [
                {
                    "manager": "malmoi/launch",
                    "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}},
                }
            ],
        },
    }
