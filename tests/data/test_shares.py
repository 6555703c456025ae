"""Shares of a mixture: as the weights say, unless a source would be read too often."""

import pytest

from malmoi.core.errors import UserError
from malmoi.data.shares import share_out

GPT3_WEIGHTS = {"CommonCrawl": 0.60, "WebText2": 0.22, "Books1": 0.08, "Books2": 0.08, "Wikipedia": 0.03}
GPT3_TOKENS = {"CommonCrawl": 410e9, "WebText2": 19e9, "Books1": 12e9, "Books2": 55e9, "Wikipedia": 3e9}


def test_gpt3_s_table_gives_its_epochs():
    """Brown et al. 2020, table 2.2: 0.44, 2.9, 1.9, 0.43 and 3.4 epochs in 300 billion tokens, from rounded weights."""
    shares = share_out(GPT3_WEIGHTS, GPT3_TOKENS, 300e9, most_epochs=4)
    epochs = [shares[name].epochs for name in GPT3_WEIGHTS]
    assert epochs == pytest.approx([0.44, 2.9, 1.9, 0.43, 3.4], rel=0.2)
    assert sum(share.share for share in shares.values()) == pytest.approx(1)


def test_what_a_small_source_cannot_give_the_others_give_by_their_weights():
    shares = share_out(
        {"말뭉치": 2, "web": 1, "tiny": 1}, {"말뭉치": 1e6, "web": 1e6, "tiny": 100}, 10_000, most_epochs=4
    )
    assert shares["tiny"].epochs == pytest.approx(4)
    assert shares["말뭉치"].share == pytest.approx(2 * shares["web"].share)
    assert sum(share.share for share in shares.values()) == pytest.approx(1)


def test_sources_that_are_all_too_small_leave_the_rest_open():
    shares = share_out({"a": 1, "b": 1}, {"a": 10, "b": 30}, 1_000, most_epochs=2)
    assert [share.epochs for share in shares.values()] == pytest.approx([2, 2])
    assert sum(share.share for share in shares.values()) == pytest.approx(0.08)


def test_without_a_total_every_source_gets_its_weight():
    shares = share_out({"a": 3, "b": 1}, {"a": 300, "b": 50}, None, most_epochs=4)
    assert [share.share for share in shares.values()] == pytest.approx([0.75, 0.25])
    assert max(share.epochs for share in shares.values()) == pytest.approx(4)


def test_a_source_that_is_not_there_is_named():
    with pytest.raises(UserError, match="Did you mean 'wiki'"):
        share_out({"wikki": 1}, {"wiki": 10}, None, 4)
