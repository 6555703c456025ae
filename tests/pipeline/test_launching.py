"""How many machines a recipe wants, and the sentence when it is given others."""

import pytest

from malmoi.core.config import Settings
from malmoi.core.errors import UserError
from malmoi.parallel.layout import Layout
from malmoi.pipeline.launching import machines, wanted_processes
from malmoi.pipeline.recipe import Recipe, Step
from malmoi.pipeline.stage import Stage


def recipe(*layouts):
    steps = [Step("k", f"s{number}", Stage(Settings, dict), Settings(), one) for number, one in enumerate(layouts)]
    return Recipe("여우", "", steps, {})


TWELVE = Layout(data=2, tensor=6)


def test_a_recipe_without_a_layout_is_one_process():
    assert wanted_processes(recipe(Layout(), Layout())) == 1


def test_the_layout_says_how_many():
    assert wanted_processes(recipe(Layout(), TWELVE, Layout(shard=12))) == 12


@pytest.mark.parametrize(("nodes", "devices", "found"), [
    (2, None, (2, 6)), (None, 4, (3, 4)), (3, 4, (3, 4)), (12, 1, (12, 1))
])  # fmt: skip
def test_what_is_not_given_follows(nodes, devices, found):
    assert machines(recipe(TWELVE), nodes, devices) == found


def test_without_a_word_machines_have_eight_devices():
    assert machines(recipe(Layout(data=64)), None, None) == (8, 8)


@pytest.mark.parametrize(("layouts", "nodes", "message"), [
    ((TWELVE,), 5, r"s0.parallel \(data 2 x tensor 6\) takes 12 processes, and 5 nodes with 2 .* are 10"),
    ((TWELVE,), None, "Change --nodes and --devices-per-node"),
    ((TWELVE, Layout(data=2)), 2, r"s1.parallel \(data 2\) 2. All stages of a run share"),
    ((Layout(),), 2, "No stage of 여우 has a layout, so 2 processes would have nothing to share"),
])  # fmt: skip
def test_a_clash_is_a_sentence(layouts, nodes, message):
    with pytest.raises(UserError, match=message):
        machines(recipe(*layouts), nodes, None)
