"""The script for Ray: Python that says what was asked for."""

import ast

from malmoi.parallel.launch import ray


def test_the_command_is_the_ordinary_one(settings):
    wanted = settings()
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(ray.render(wanted)).body
        if isinstance(node, ast.Assign)
    }
    assert values["COMMAND"] == ["python", "-m", "malmoi", *wanted.words_here()]


def test_it_asks_for_one_worker_a_device(settings):
    text = ray.render(settings(hardware=""))
    compile(text, "ray_train.py", "exec")
    assert "num_workers=16, use_gpu=False)" in text
