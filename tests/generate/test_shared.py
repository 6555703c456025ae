"""What prompts have in common is read once, and nobody can tell from the answers."""

import pytest
import torch

from malmoi.generate.generator import PromptTooLong, collect, generate
from malmoi.generate.greedy import answer_greedily
from malmoi.generate.sampling import SamplingSettings
from malmoi.generate.shared import SharedPrefix

PROMPTS = ["여우가 곰에게 묻기를", "여우가 곰에게 말하기를", "여우가 곰", "여우가 곰에게 묻기를 fox", "여우가 숲에"]


def one_by_one(model, tokenizer, prompts, maximum, stop=()):
    settings = SamplingSettings(temperature=0, maximum_tokens=maximum, stop=stop)
    return [collect(generate(model, tokenizer, prompt, settings)).text for prompt in prompts]


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "query_key_norm": False},
        {"short_convolution": 3, "bigram_buckets": 64},
        {"attention": "window(5)"},
    ],
)
def test_answers_together_are_the_answers_one_by_one(make_model, tokenizer, shape):
    model = make_model(**shape)
    prompts = [tokenizer.encode(prompt) for prompt in (*PROMPTS, *PROMPTS[:2])]
    assert answer_greedily(model, tokenizer, prompts, 12) == one_by_one(model, tokenizer, prompts, 12)


def test_prompts_without_anything_in_common(model, tokenizer):
    prompts = [tokenizer.encode(prompt) for prompt in ("fox", "여우", "곰이")]
    assert answer_greedily(model, tokenizer, prompts, 8) == one_by_one(model, tokenizer, prompts, 8)
    assert answer_greedily(model, tokenizer, [], 8) == []


def test_an_answer_ends_at_a_stop_string_while_others_go_on(model, tokenizer):
    prompts = [tokenizer.encode(prompt) for prompt in PROMPTS]
    stop = one_by_one(model, tokenizer, prompts, 12)[0][3]
    answers = answer_greedily(model, tokenizer, prompts, 12, [stop])
    assert answers == one_by_one(model, tokenizer, prompts, 12, (stop,))
    assert stop not in answers[0]


def test_the_common_beginning_is_computed_once(model, tokenizer):
    lengths = []
    hook = model.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].numel()))
    prompts = [tokenizer.encode(TEXT) for TEXT in ("옛날 옛적에 숲에 여우", "옛날 옛적에 숲에 곰이")]
    answer_greedily(model, tokenizer, prompts, 1)
    hook.remove()
    shared = SharedPrefix(model, prompts).tokens
    assert len(shared) > 5
    assert sum(lengths) == len(shared) + sum(len(prompt) - len(shared) for prompt in prompts)


def test_a_repeated_cache_gives_the_logits_of_the_whole(model, tokenizer):
    tokens = tokenizer.encode("옛날 옛적에 숲에 여우가 살았습니다.")
    shared = SharedPrefix(model, [tokens[:9], tokens[:12]])
    cache = shared.rows(3, len(tokens))
    with torch.inference_mode():
        rest = torch.tensor([tokens[8:]]).expand(3, -1)
        expected = model.logits(torch.tensor([tokens]))[:, 8:].expand(3, -1, -1)
        torch.testing.assert_close(model.logits(rest, cache), expected, atol=1e-4, rtol=1e-4)


def test_a_prompt_that_leaves_no_room_is_named(model, tokenizer):
    with pytest.raises(PromptTooLong, match=r"120 tokens long, and the model reads at most 128"):
        answer_greedily(model, tokenizer, [[5] * 120, [6]], 9)
