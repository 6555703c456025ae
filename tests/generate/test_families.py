"""Models of every family generate through the same door: with their cache as without it, together as one by one."""

import pytest
import torch

from malmoi.generate.dialogue import Dialogue
from malmoi.generate.generator import collect, generate, generate_without_cache
from malmoi.generate.greedy import answer_greedily
from malmoi.generate.prefix import PrefixCache
from malmoi.generate.sampling import SamplingSettings
from malmoi.generate.score import score
from malmoi.models.registry import build_model, language_models

GREEDY = SamplingSettings(temperature=0, maximum_tokens=24)
PROMPTS = ("여우가 곰에게 묻기를", "여우가 곰에게 말하기를", "여우가 곰", "여우가 숲에")
STATEFUL = [name for name in language_models() if name != "gpt"]


@pytest.fixture(params=STATEFUL)
def model(request, tokenizer, shake):
    kind = language_models()[request.param]
    return shake(build_model(kind(vocabulary=tokenizer.size, width=32, layers=2, dropout=0.1), seed=1), deviation=0.3)


@pytest.mark.parametrize("prompt", ["Once upon", "옛날 옛적에 숲에", ""])
def test_with_the_cache_as_without(model, tokenizer, prompt):
    ids = tokenizer.encode(prompt)
    fast, slow = (
        collect(generate(model, tokenizer, ids, GREEDY)),
        collect(generate_without_cache(model, tokenizer, ids, GREEDY)),
    )
    assert (fast.tokens, fast.text, fast.finish_reason) == (slow.tokens, slow.text, slow.finish_reason)


def test_a_cache_kept_between_prompts_changes_nothing(model, tokenizer):
    """Also where a prompt would need the state to go back."""
    cache, first = PrefixCache(model), tokenizer.encode("Once upon a time")
    for prompt in (first, first + tokenizer.encode(" the fox"), first, tokenizer.encode("여우"), first[:2], first):
        kept = collect(generate(model, tokenizer, prompt, GREEDY, cache))
        assert kept.tokens == collect(generate(model, tokenizer, prompt, GREEDY)).tokens


def test_what_goes_on_is_not_read_again(model, tokenizer):
    lengths = []
    hook = model.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    cache, prompt = PrefixCache(model), tokenizer.encode("Once upon a time")
    answer = collect(generate(model, tokenizer, prompt, GREEDY.model_copy(update={"maximum_tokens": 3}), cache))
    collect(generate(model, tokenizer, prompt + answer.tokens + [5, 6], GREEDY, cache))
    hook.remove()
    assert lengths[:4] == [len(prompt), 1, 1, 3]


def test_answers_together_are_the_answers_one_by_one(model, tokenizer):
    prompts = [tokenizer.encode(prompt) for prompt in (*PROMPTS, *PROMPTS[:2])]
    alone = [collect(generate(model, tokenizer, prompt, GREEDY)).text for prompt in prompts]
    assert answer_greedily(model, tokenizer, prompts, 24) == alone


def test_a_dialogue_and_a_score(model, tokenizer):
    dialogue = Dialogue(model, tokenizer, GREEDY, system="여우")
    for text in ("안녕?", "Who are you?"):
        assert list(dialogue.answer(text))
    assert len(dialogue.messages) == 5
    ids = tokenizer.encode("여우가 숲에")
    logprobs = model.logits(torch.tensor([ids]))[0, :-1].log_softmax(-1)
    wanted = [row[token].item() for row, token in zip(logprobs, ids[1:], strict=True)]
    assert [one.logprob for one in score(model, ids)[1:]] == pytest.approx(wanted, abs=1e-5)
