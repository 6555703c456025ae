import itertools
import math
import random
import re

import pytest

from malmoi.pipeline.report.chart import (
    Level,
    Series,
    line_chart,
    nice_ticks,
    push_apart,
    smooth,
    thin_out,
    tick_texts,
    tidy,
)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (1.2, 1.9, [1.2, 1.4, 1.6, 1.8, 2.0]), (-3, 4, [-4, -2, 0, 2, 4]), (5, 5, None)],
)
def test_ticks_are_round_and_enclose_the_values(low, high, ticks):
    found = nice_ticks(low, high)
    assert found[0] <= low
    assert found[-1] >= high
    assert ticks is None or found == pytest.approx(ticks)


def test_ticks_enclose_anything():
    generator = random.Random(0)
    for _ in range(300):
        low = generator.uniform(-1, 1) * 10 ** generator.randint(-6, 6)
        high = low + abs(generator.uniform(0, 1)) * 10 ** generator.randint(-6, 6)
        found = nice_ticks(low, high)
        assert found[0] <= low + 1e-8 * (high - low)
        assert found[-1] >= high - 1e-8 * (high - low)
        assert 2 <= len(found) <= 8


def test_where_things_are_counted_the_ticks_are_whole():
    chart = line_chart("", "", [Series("x", [(place, 1.5) for place in range(1, 13)])])
    assert [tick.text for tick in chart.x_ticks] == ["5", "10"]
    assert nice_ticks(1, 2, whole=True) == [1, 2]
    assert [tick.text for tick in line_chart("", "", [Series("x", [(1, 1.5)])]).x_ticks] == ["1"]


def test_the_marks_of_an_axis_have_the_same_decimals():
    assert tick_texts([1.5, 2.0, 2.5]) == ["1.5", "2.0", "2.5"]
    assert tick_texts([0, 5000, 10000]) == ["0", "5,000", "10,000"]
    assert tick_texts([0, 0.00025]) == ["0.00000", "0.00025"]


def test_labels_are_pushed_apart_within_the_plot():
    places = push_apart([10, 11, 12, 97, 98, 99], 6)
    assert all(right - left >= 6 - 1e-6 for left, right in itertools.pairwise(places))
    assert places[-1] <= 100
    assert push_apart([10, 50], 6) == [10, 50]


def test_long_curves_keep_their_mean_and_their_end():
    points = [(step, step % 7) for step in range(10_000)]
    thin = thin_out(points)
    assert len(thin) <= 400
    assert thin[-1][0] == 9_999
    assert sum(y for _, y in thin) / len(thin) == pytest.approx(3, abs=0.01)


def test_a_loss_that_was_no_number_is_left_out():
    assert thin_out([(1, math.nan), (2, 3.0), (3, math.inf)]) == [(2, 3.0)]
    assert smooth([(1, math.nan), (2, 3.0)], 5) == [(2, 3.0)]


def test_smoothing_keeps_a_constant():
    assert smooth([(step, 2.5) for step in range(50)], 10) == [(step, pytest.approx(2.5)) for step in range(50)]


def test_a_chart_encloses_its_curves_and_levels():
    chart = line_chart("loss", "step", [Series("a", [(0, 1), (10, 3)]), Series("b", [])], [Level("bigram", 4.2)])
    assert [curve.name for curve in chart.curves] == ["a"]
    assert chart.curves[0].values == [(0.0, "0", "1"), (100.0, "10", "3")]
    assert 0 <= chart.rules[0].place < 100
    assert chart.y_ticks[-1].place == 0


def test_intervals_are_whiskers_within_the_plot_and_cases_stand_at_equal_distances():
    series = Series("정확도", [(0, 50), (1, 60), (2, 70)], intervals=[(40, 62), (51, 68), (60, 79)])
    chart = line_chart("감성", "예시", [series], x_names=["0", "1", "16"])
    assert [(tick.place, tick.text) for tick in chart.x_ticks] == [(0.0, "0"), (50.0, "1"), (100.0, "16")]
    assert chart.curves[0].values[2] == (100.0, "16", "70 (60 – 79)")
    ends = [float(end) for end in re.findall(r"[\d.]+", chart.curves[0].whiskers)]
    assert chart.curves[0].whiskers.count("V") == 3
    assert all(0 <= end <= 100 for end in ends)


def test_nothing_to_draw_is_no_chart():
    assert line_chart("loss", "step", [Series("a", [(1, math.nan)])], [Level("bigram", 4.2)]) is None


def test_one_point_is_a_chart():
    assert line_chart("loss", "step", [Series("a", [(5, 2.0)], "dots")]).curves[0].path.endswith("h0")


@pytest.mark.parametrize(("value", "text"), [(12500, "12,500"), (3.14159, "3.14"), (0.000518, "0.000518"), (-2, "-2")])
def test_numbers_as_people_write_them(value, text):
    assert tidy(value) == text
