"""What is known of an attention pattern: that every way to compute it agrees, and what it costs as the text grows."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from malmoi.evaluate.kept_bytes import kept_bytes
from malmoi.layers.mixes.dense import Dense
from malmoi.layers.mixes.hashed import Hashed, over_union, shared_keys
from malmoi.layers.mixes.heads import Heads, Mix
from malmoi.layers.mixes.linear import Linear, features, normed, quadratic
from malmoi.layers.mixes.registry import MIXES, attend
from malmoi.layers.patterns import CAUSAL
from malmoi.layers.schedule import LayerAttention

LENGTHS = (1, 7, 33, 100)
"""Lengths that divide nothing, on which agreement is shown."""

OUTPUTS, GRADIENTS = 1e-5, 1e-4
"""Largest differences that count as agreement, in float32."""


@dataclass(frozen=True)
class Agreement:
    """One way to compute a pattern beside the reference.

    Attributes:
        case: what was computed.
        output, gradient: largest differences; nan where the mix refused.
        refusal: why it did, "" if it did not.
    """

    mix: str
    case: str
    output: float
    gradient: float
    refusal: str = ""

    @property
    def good(self) -> bool:
        """Whether the differences are small."""
        return bool(self.refusal) or (self.output <= OUTPUTS and self.gradient <= GRADIENTS)


def verify(layer: LayerAttention, causal: bool = True, lengths: Sequence[int] = LENGTHS) -> Iterator[Agreement]:
    """Every mix that can compute a pattern, at every length: plain, with padding, and for the last query alone.

    Hashed and linear attention are no masks of a pattern: they are compared with their own slow forms.

    Args:
        causal: nothing looks ahead.
    """
    mixes: list[Mix] = [Dense(), *(MIXES[name]() for name in ("plain", "blocked", "folded", "flex"))]
    if not layer.mix.exact:
        mixes = [layer.mix]
    for length in lengths:
        for case, heads in _cases(layer, causal, length):
            for mix in mixes:
                name, refusal = str(mix), mix.refusal(heads)
                if refusal:
                    yield Agreement(name, case, float("nan"), float("nan"), refusal)
                else:
                    yield Agreement(name, case, *_differences(heads, mix))


def _cases(layer: LayerAttention, causal: bool, length: int) -> Iterator[tuple[str, Heads]]:
    generator = torch.Generator().manual_seed(length)
    shared = 4 if layer.mix.shares_keys else 2
    query = torch.randn(2, 4, length, 16, generator=generator, requires_grad=True)
    key = torch.randn(2, shared, length, 16, generator=generator, requires_grad=True)
    value = torch.randn(2, shared, length, 16, generator=generator, requires_grad=True)
    pattern = CAUSAL & layer.pattern if causal else layer.pattern
    documents = (torch.arange(length) + 5 * torch.arange(2)[:, None]) // 20
    heads = Heads(query, shared_keys(query) if layer.mix.shares_keys else key, value, pattern, documents=documents)
    yield f"{length} tokens", heads
    real = torch.arange(length) < torch.tensor([[length], [max(1, length * 2 // 3)]])
    yield f"{length} tokens, padded", replace(heads, real=real)
    if length > 1 and causal and not layer.mix.keeps_sums:
        yield f"the last of {length} tokens", replace(heads, query=query[:, :, -1:])


def _differences(heads: Heads, mix: Mix) -> tuple[float, float]:
    """Of outputs, and of the gradients of everything."""
    results = []
    for way in (_reference(heads, mix), partial(attend, heads, mix)):
        output = way()
        direction = torch.linspace(-1, 1, output.numel()).view_as(output)
        inputs = [one for one in (heads.query, heads.key, heads.value) if one.requires_grad]
        found = torch.autograd.grad((output * direction).sum(), inputs, retain_graph=True, allow_unused=True)
        results.append((output, [torch.zeros(()) if one is None else one for one in found]))
    (wanted, wanted_slopes), (got, slopes) = results
    gradient = max(float((one - other).abs().max()) for one, other in zip(slopes, wanted_slopes, strict=True))
    return float((got - wanted).detach().abs().max()), gradient


def _reference(heads: Heads, mix: Mix) -> Callable[[], torch.Tensor]:
    """The slow, obvious way."""
    if isinstance(mix, Hashed):
        return lambda: over_union(heads, mix, mix.hash(heads))
    if isinstance(mix, Linear):
        return lambda: normed(quadratic(*features(heads)), heads)
    return lambda: Dense()(heads)


def count_operations(layer: LayerAttention, length: int, heads: int = 1, width: int = 32) -> int:
    """Operations of the matrix products of causal attention, forward and backward.

    PyTorch's counter knows nothing of its own fused kernel on a CPU and would count zero for it (pytorch#195460), so
    that kernel is counted here, as if it computed all pairs; therefore only ratios mean anything.
    """
    one = _one(layer, length, heads, width)
    with FlopCounterMode(display=False, custom_mapping=_KERNELS) as counter:
        attend(one, layer.mix).sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def measure(layers: dict[str, LayerAttention], length: int, rounds: int = 5, heads: int = 4) -> dict[str, float]:
    """Processor seconds of each, forward and backward: the median of rounds that take turns."""
    made = {name: (_one(layer, length, heads, 64), layer.mix) for name, layer in layers.items()}
    seconds: dict[str, list[float]] = {name: [] for name in layers}
    for number in range(rounds + 1):
        for name, (one, mix) in made.items():
            started = time.process_time()
            attend(one, mix).sum().backward()  # type: ignore[no-untyped-call]
            if number:  # the first only warms up
                seconds[name].append(time.process_time() - started)
    return {name: statistics.median(some) for name, some in seconds.items()}


def kept_by(layer: LayerAttention, length: int, heads: int = 4) -> int:
    """Bytes that the forward pass of causal attention keeps for the backward pass."""
    one = _one(layer, length, heads, 64)
    return kept_bytes(partial(attend, one, layer.mix))


def growth(costs: Sequence[float]) -> list[float]:
    """How many times as much each costs as the one before."""
    return [later / earlier for earlier, later in itertools.pairwise(costs)]


def _one(layer: LayerAttention, length: int, heads: int, width: int) -> Heads:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(1, heads, length, width, generator=generator) for _ in range(3))
    if layer.mix.shares_keys:
        key = shared_keys(query)
    for one in (query, key, value):
        one.requires_grad_()
    documents = torch.arange(length)[None] // max(1, length // 4)
    return Heads(query, key, value, CAUSAL & layer.pattern, documents=documents)


def _forward_operations(
    query: Sequence[int], key: Sequence[int], value: Sequence[int], *_: object, **__: object
) -> int:
    return int(sdpa_flop_count(query, key, value))  # type: ignore[no-untyped-call]


def _backward_operations(
    _: object, query: Sequence[int], key: Sequence[int], value: Sequence[int], *__: object, **___: object
) -> int:
    return 5 * _forward_operations(query, key, value) // 2


_KERNELS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _forward_operations,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _backward_operations,
}
