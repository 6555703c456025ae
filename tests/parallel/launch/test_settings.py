"""Names that every target takes."""

import re

import pytest


@pytest.mark.parametrize("recipe", ["quickstart", "말모이.yaml", "My Recipe.yaml", "2fast.yaml", "-.yaml", "a" * 80])
def test_a_name_is_one_that_kubernetes_takes(settings, recipe):
    assert re.fullmatch(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", settings(recipe=recipe).name)


def test_two_korean_recipes_have_two_names(settings):
    assert settings(recipe="말.yaml").name != settings(recipe="모이.yaml").name


def test_a_plain_name_stays_what_it_is(settings):
    assert settings(recipe="translate-ko").name == "translate-ko"
