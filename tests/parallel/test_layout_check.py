import pytest

from malmoi.core.errors import UserError
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.lstm import LSTMConfig
from malmoi.models.presets import preset
from malmoi.parallel.layout import Layout
from malmoi.parallel.layout_check import Work, check_layout, layout_problem, nearest_layouts, possible_layouts

SMALL = GPTConfig(vocabulary=97, context=64, width=48, layers=6, heads=6, key_value_heads=3)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (Layout(data=2), "takes 2 processes, and there are 4"),
        (Layout(tensor=4), "tensor=4 does not divide the 6 heads"),
        (Layout(pipeline=4, schedule="interleaved"), "into 8 chunks of layers, and this one has 6"),
    ],
)
def test_what_does_not_divide_is_said(layout, words):
    assert words in layout_problem(Work(SMALL, 4), layout)


def test_shared_key_heads_have_to_be_divided_too():
    assert "3 key/value heads" in layout_problem(Work(SMALL, 2), Layout(tensor=2))


def test_every_replica_wants_a_row():
    assert "A step has 3 rows" in layout_problem(Work(SMALL, 4, rows=3), Layout(data=2, shard=2))


def test_a_pipeline_wants_as_many_micro_batches():
    assert "does not take 2 micro-batches" in layout_problem(Work(SMALL, 3, slots=2), Layout(pipeline=3))


def test_the_nearest_layout_that_works_is_named():
    with pytest.raises(UserError, match=r"The nearest that works: \{pipeline: 2, data: 2\}\."):
        check_layout(Work(SMALL, 4), Layout(pipeline=2, tensor=2))


def test_the_nearest_changes_least():
    near = nearest_layouts(Work(preset("gpt3-175b"), 1024), Layout(data=12, tensor=8, pipeline=10))
    assert near[0].tensor == 8
    assert near[0].processes == 1024


def test_a_model_without_heads_knows_rows_and_layers_only():
    lstm = LSTMConfig(vocabulary=97, context=64, width=48, layers=2)
    layouts = list(possible_layouts(Work(lstm, 2)))
    assert Layout(pipeline=2) in layouts
    assert all(layout.tensor == layout.context == 1 for layout in layouts)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"short_convolution": 3}, "of one with short convolutions"),
        ({"attention": ["full by linear"]}, "looks back at sums"),
        ({"context": 66}, "66 tokens cannot be divided into 4 equal pieces"),
    ],
)
def test_rows_are_divided_where_tokens_meet_in_keys_and_values_alone(changes, words):
    config = GPTConfig(**{"vocabulary": 97, "context": 64, "width": 48, "layers": 2, "heads": 6} | changes)
    assert words in layout_problem(Work(config, 2), Layout(context=2))


def test_what_works_passes():
    check_layout(Work(SMALL, 12, rows=12), Layout(tensor=3, pipeline=2, data=2))
