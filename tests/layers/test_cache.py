"""What a layer keeps while a text grows: no more than its pattern looks back to, and always enough."""

import pytest
import torch

from malmoi.layers.cache import KeyValueCache, cache_bytes
from malmoi.layers.stores import Sliding, sliding_size
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model

SCHEDULES = [
    "window(4)",
    "window(4) | global(0, 2)",
    ["window(4)", "full"],
    "window(3, dilation=2)",
    "blocks(5)",
    "blocks(5) by folded",
    "stride(7)",
    "linear(chunk=8)",
    "hashed(reach=6, rounds=2, buckets=4)",
    ["blocks(8)", "linear", "window(6) & documents"],
]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=str)


def model_of(schedule):
    config = GPTConfig(vocabulary=31, context=150, width=32, layers=3, heads=4, attention=schedule, separator=3)
    model = build_model(config, seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data += torch.empty_like(parameter).normal_(0, 0.2, generator=generator)
    return model


@pytest.fixture
def tokens():
    return torch.randint(31, (2, 150), generator=torch.Generator().manual_seed(1))


@schedules
@pytest.mark.parametrize("chunks", [[150], [1] * 150, [70, 1, 1, 70, 8], [3, 100, 47]], ids=lambda chunks: len(chunks))
@torch.no_grad()
def test_with_the_cache_as_without(schedule, chunks, tokens):
    model = model_of(schedule)
    cache = KeyValueCache(model.config, rows=2, length=150)
    parts = [model.logits(part, cache) for part in tokens.split(chunks, dim=1)]
    torch.testing.assert_close(torch.cat(parts, 1), model.logits(tokens), rtol=1e-4, atol=2e-5)


def test_a_window_keeps_the_same_number_of_tokens_however_long_the_text():
    config = model_of("window(4) | global(0, 2)").config
    assert cache_bytes(config, 1_000, torch.float32) == cache_bytes(config, 1_000_000, torch.float32)
    assert cache_bytes(config, 1_000, torch.float32) == 3 * 2 * 4 * 8 * 4 * sliding_size(3, 4)
    full = model_of("full").config
    assert cache_bytes(full, 1_000, torch.float32) == 3 * 2 * 4 * 8 * 4 * 1_000


@schedules
@torch.no_grad()
def test_in_eight_bits_nearly_as_without(schedule, tokens):
    model = model_of(schedule)
    exact = model.logits(tokens)
    model.use_int8_cache()
    most = 0.1 if "hashed" in schedule else 1e-3  # what is rounded may fall into another bucket
    for chunks in ([150], [70, 1, 1, 70, 8]):
        cache = model.cache(rows=2, length=150)
        rounded = torch.cat([model.logits(part, cache) for part in tokens.split(chunks, dim=1)], 1)
        assert (rounded - exact).square().mean() < most * exact.square().mean()
    wider = cache.repeat(2, 150)
    for one in (cache, wider):
        one.crop(149)
    torch.testing.assert_close(model.logits(tokens[:, -1:], wider), model.logits(tokens[:, -1:], cache))


def test_eight_bits_take_a_quarter_of_the_memory_and_a_scale_for_each_head_of_a_token():
    model = model_of("full")
    model.use_int8_cache()
    assert model.cache(1, 100).bytes == 3 * 2 * 4 * 100 * (8 + 2)


@torch.no_grad()
def test_a_head_of_zeros_stays_zero():
    cache = KeyValueCache(model_of("full").config, rows=1, length=2, int8=True)
    kept = cache.layer(0).extend(torch.zeros(1, 4, 2, 8), torch.full((1, 4, 2, 8), -3.0))
    assert kept.key.count_nonzero() == 0
    torch.testing.assert_close(kept.value, torch.full((1, 4, 2, 8), -3.0), rtol=1e-3, atol=0)


@schedules
@torch.no_grad()
def test_rows_go_on_from_what_other_rows_hold(schedule, tokens):
    model, chosen = model_of(schedule), torch.tensor([1, 1])
    cache = KeyValueCache(model.config, rows=2, length=150)
    model(tokens[:, :70], cache)
    cache.select(chosen)
    again = model.logits(tokens[:, 70:], cache)
    whole = model.logits(torch.cat([tokens[chosen, :70], tokens[:, 70:]], 1))
    torch.testing.assert_close(again, whole[:, 70:], rtol=1e-4, atol=2e-5)


@schedules
@pytest.mark.parametrize("length", [149, 140, 60])
@torch.no_grad()
def test_a_cropped_cache_goes_on_from_there_or_from_the_beginning(schedule, length, tokens):
    model = model_of(schedule)
    cache = KeyValueCache(model.config, rows=2, length=150)
    model(tokens, cache)
    kept = cache.crop(length)
    assert kept in (0, length)
    again = torch.cat([tokens[:, :length], tokens.flip(1)], 1)[:, :150]
    rest = model.logits(again[:, kept:], cache)
    torch.testing.assert_close(rest, model.logits(again)[:, kept:], rtol=1e-4, atol=2e-5)


@torch.no_grad()
def test_what_a_window_has_forgotten_is_read_again(tokens):
    model = model_of("window(4)")
    cache = KeyValueCache(model.config, rows=2, length=150)
    model(tokens, cache)
    assert cache.crop(149) == 149
    assert cache.crop(20) == 0


@schedules
@torch.no_grad()
def test_a_repeated_cache_holds_the_same_in_every_row(schedule, tokens):
    model = model_of(schedule)
    cache = KeyValueCache(model.config, rows=1, length=60)
    model(tokens[:1, :55], cache)
    wide = cache.repeat(2, 120)
    wanted = model.logits(torch.cat([tokens[:1, :55].expand(2, -1), tokens[:, :20]], 1))[:, 55:]
    torch.testing.assert_close(model.logits(tokens[:, :20], wide), wanted, rtol=1e-4, atol=2e-5)


def test_a_sliding_store_gives_keys_in_their_order():
    store = Sliding((1, 1, sliding_size(2, 5), 1), 2, 5, torch.float32, "cpu")
    keys = torch.arange(200.0).view(1, 1, 200, 1)
    for start in range(200):
        kept = store.extend(start, keys[:, :, start : start + 1], keys[:, :, start : start + 1])
        seen = kept.key[0, 0, :, 0].tolist()
        assert seen[: kept.sinks] == [0, 1][: start + 1]
        assert seen[kept.sinks :] == list(range(kept.sinks + kept.skipped, start + 1))
        assert start < 5 or seen[-5:] == list(range(start - 4, start + 1))
