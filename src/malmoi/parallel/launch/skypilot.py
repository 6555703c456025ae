"""A task for SkyPilot's managed jobs, which find machines again when they were taken away."""

from __future__ import annotations

from typing import Any

from malmoi.core.errors import UserError
from malmoi.parallel.launch.settings import PORT, RECIPES, STORAGE, LaunchSettings
from malmoi.parallel.launch.templates import filled, torchrun
from malmoi.parallel.launch.yaml_text import yaml_text

FILE = "skypilot.yaml"


def render(settings: LaunchSettings) -> str:
    """The task; `sky jobs launch` takes it.

    Raises:
        UserError: the storage does not fit.
    """
    storage = settings.storage
    if not storage:
        raise UserError(
            "A managed job goes on elsewhere from what its run directory holds, and no --storage is given.",
            "Give a bucket such as --storage=s3://NAME, or a SkyPilot volume for several nodes: --storage=NAME",
        )
    if "://" in storage and settings.nodes > 1:
        raise UserError(
            f"{storage} is a bucket: {settings.nodes} machines would not see at once what one of them writes there.",
            "Make a shared volume with `sky volumes apply` and give its name: --storage=NAME",
        )
    task: dict[str, Any] = {"name": settings.name, "num_nodes": settings.nodes}
    resources: dict[str, Any] = {"use_spot": settings.spot}
    if settings.hardware:
        resources["accelerators"] = f"{settings.hardware}:{settings.devices_per_node}"
    if settings.restarts:
        resources["job_recovery"] = {"max_restarts_on_errors": settings.restarts}
    task["resources"] = resources
    mounts: dict[str, Any] = {}
    if "://" in storage:
        # The cached way is the one in which files can be appended to and renamed.
        mounts[str(STORAGE)] = {"source": storage, "mode": "MOUNT_CACHED"}
    else:
        task["volumes"] = {str(STORAGE): storage}
    if path := settings.recipe_path:
        mounts[str(RECIPES / path.name)] = str(path)
    if mounts:
        task["file_mounts"] = mounts
    if settings.install:
        task["setup"] = settings.install
    task["run"] = filled(
        "cloud.sh",
        devices=settings.devices_per_node,
        install="",
        head='$(echo "$SKYPILOT_NODE_IPS" | head -n 1)',
        torchrun=torchrun(settings, settings.words_away(), f'"$head:{PORT}"'),
    )
    return yaml_text(task)
