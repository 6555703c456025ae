"""Models of every shape that GGUF can express, and llama.cpp to run them."""

import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import torch
import xllamacpp

from malmoi.data.batch import TextBatch
from malmoi.generate.score import score
from malmoi.models.gpt import GPT
from malmoi.models.gpt_config import GPTConfig
from malmoi.models.registry import build_model
from malmoi.objectives.causal import Causal
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

GPT2 = {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "query_key_norm": False}
SHAPES = {
    "qwen3": {"key_value_heads": 2, "rotary_base": 5e5},
    "qwen3 wide heads": {"key_value_heads": 1, "head_width": 24, "tied": False},
    "qwen2": {"query_key_norm": False, "attention_bias": True, "key_value_heads": 2},
    "llama": {"query_key_norm": False, "tied": False, "norm_epsilon": 1e-3, "key_value_heads": 2},
    "llama wide heads": {"query_key_norm": False, "head_width": 24},
    "llama biased": {"query_key_norm": False, "bias": True},
    "llama 3": {
        "query_key_norm": False,
        "rotary_base": 1e5,
        "rotary_scaling": {
            "kind": "llama3",
            "factor": 32.0,
            "low_frequency_factor": 1.0,
            "high_frequency_factor": 4.0,
            "original_context": 8192,
        },
    },
    "llama stretched": {"query_key_norm": False, "rotary_scaling": {"kind": "linear", "factor": 4.0}},
    "gpt2": GPT2,
    "gpt2 untied": GPT2 | {"tied": False, "feed_forward": 56},
}


@pytest.fixture
def shaken(tokenizer, shake) -> Callable[..., GPT]:
    """Makes a random model in which no norm or bias can hide behind a one or a zero."""

    def make(shape: str = "qwen3", **changes) -> GPT:
        sizes = {"vocabulary": tokenizer.size, "context": 96, "width": 32, "layers": 2, "heads": 4}
        return shake(build_model(GPTConfig(**(sizes | SHAPES[shape] | changes)), seed=0), deviation=0.3)

    return make


@pytest.fixture(params=SHAPES)
def any_shape(request, shaken) -> GPT:
    """Such a model of each shape in turn; its vocabulary is larger than the tokenizer's."""
    return shaken(request.param, vocabulary=300)


class LlamaCpp:
    """llama.cpp with a model, one thread, everything in float32."""

    def __init__(self, path: Path) -> None:
        float32 = xllamacpp.ggml_type.GGML_TYPE_F32
        settings = xllamacpp.CommonParams()
        settings.model.path = str(path)
        settings.n_ctx, settings.n_parallel, settings.port, settings.verbosity = 96, 1, 0, -1
        settings.warmup = settings.fit_params = False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        settings.cache_type_k = settings.cache_type_v = float32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it uses float16
        self._server = xllamacpp.Server(settings)
        self._client = httpx.Client(base_url=self._server.listening_address, timeout=60)

    def ask(self, path: str, **body) -> dict:
        return self._client.post(path, json=body).raise_for_status().json()

    def encode(self, text: str) -> list[int]:
        return self.ask("/tokenize", content=text, parse_special=False)["tokens"]

    def greedy(self, ids: list[int], count: int) -> list[int]:
        answer = self.ask("/completion", prompt=ids, n_predict=count, temperature=0, return_tokens=True)
        return answer["tokens"]

    def logprobs(self, ids: list[int], vocabulary: int) -> torch.Tensor:
        """Of every token that may come next. A probability is withheld where half a character would be shown, so an "a"
        is taken, which the numbers, being those before sampling, do not know."""
        letter = self.encode("a")[0]
        answer = self.ask(
            "/completion", prompt=ids, n_predict=1, n_probs=vocabulary, temperature=0, logit_bias=[[letter, 1e9]]
        )
        found = {entry["id"]: entry["logprob"] for entry in answer["completion_probabilities"][0]["top_logprobs"]}
        return torch.tensor([found[token] for token in range(vocabulary)])

    def perplexity(self, rows: list[list[int]], vocabulary: int) -> float:
        """Of every token but the first of every row, one request each."""
        logprobs = [
            float(self.logprobs(row[:place], vocabulary)[row[place]]) for row in rows for place in range(1, len(row))
        ]
        return math.exp(-sum(logprobs) / len(logprobs))


@pytest.fixture
def llama_cpp() -> type[LlamaCpp]:
    """Opens a GGUF file with llama.cpp."""
    return LlamaCpp


@pytest.fixture(scope="session")
def perplexity() -> Callable[[GPT, list[list[int]]], float]:
    """The same of a model here."""

    def of(model, rows):
        logprobs = [token.logprob for row in rows for token in score(model, row)[1:]]
        return math.exp(-sum(logprobs) / len(logprobs))

    return of


@pytest.fixture(scope="session")
def sentences() -> Callable[[int, int], Iterator[str]]:
    """Small talk of two languages, so many sentences by a seed."""

    def make(count, seed):
        dice = random.Random(seed)
        for _ in range(count):
            animal, place = dice.choice(["fox", "bear", "hen"]), dice.choice(["wood", "house"])
            number, name = dice.randrange(100), dice.choice(["곰이", "여우가"])
            thing, verb = dice.choice(["낱말을", "책을"]), dice.choice(["모았다", "읽었다"])
            yield f"The {animal} went to the {place} {number} times. 숲에서 {name} {thing} {verb}."

    return make


@pytest.fixture(scope="session")
def train(sentences) -> Callable[..., tuple[GPT, Tokenizer]]:
    """Makes a model that has read such sentences for a few seconds, with its tokenizer."""

    def train(steps=120, rate=5e-3, **changes):
        tokenizer = train_tokenizer(sentences(200, 0), TokenizerSettings(vocabulary=320))
        shape = {"vocabulary": 320, "context": 96, "heads": 4, "key_value_heads": 2, "tied": False}
        model = build_model(GPTConfig(**(shape | changes)), seed=0)
        ids = torch.tensor(tokenizer.encode(" ".join(sentences(1500, 1))))
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        dice = torch.Generator().manual_seed(0)
        for _ in range(steps):
            starts = torch.randint(len(ids) - 65, (8, 1), generator=dice)
            rows = ids[starts + torch.arange(65)]
            loss = Causal().loss(model, TextBatch(rows[:, :-1], rows[:, 1:]))
            (loss.total / loss.count).backward()
            optimizer.step()
            optimizer.zero_grad()
        return model.eval(), tokenizer

    return train
