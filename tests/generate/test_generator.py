"""Generation with the cache against generation without it, and what ends an answer."""

import pytest
import torch

from malmoi.generate.generator import PromptTooLong, collect, complete, generate, generate_without_cache
from malmoi.generate.prefix import PrefixCache, common_prefix
from malmoi.generate.sampling import SamplingSettings

GREEDY = SamplingSettings(temperature=0, maximum_tokens=40)
PROMPTS = ["Once upon", "옛날 옛적에 숲에", "", "fox 여우 🦊"]


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize(
    "settings",
    [
        GREEDY,
        SamplingSettings(temperature=1, seed=5, maximum_tokens=40),
        SamplingSettings(temperature=1.5, top_k=30, min_p=0.01, repetition_penalty=1.2, seed=6, maximum_tokens=40),
    ],
)
def test_with_the_cache_as_without(model, tokenizer, prompt, settings):
    ids = tokenizer.encode(prompt)
    fast = collect(generate(model, tokenizer, ids, settings))
    slow = collect(generate_without_cache(model, tokenizer, ids, settings))
    assert (fast.tokens, fast.text, fast.finish_reason) == (slow.tokens, slow.text, slow.finish_reason)


@pytest.mark.parametrize(
    "shape",
    [
        {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "query_key_norm": False},
        {"short_convolution": 3, "bigram_buckets": 64},
    ],
)
def test_every_shape_of_model_has_a_true_cache(make_model, tokenizer, shape):
    model = make_model(**shape)
    ids = tokenizer.encode("옛날 옛적에 숲에 여우가 살았습니다.")[:20]
    fast = collect(generate(model, tokenizer, ids, GREEDY))
    assert fast.tokens == collect(generate_without_cache(model, tokenizer, ids, GREEDY)).tokens


@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_int8_cache_begins_as_the_exact_one(model, tokenizer, prompt):
    ids = tokenizer.encode(prompt)
    exact = collect(generate(model, tokenizer, ids, GREEDY))
    model.use_int8_cache()
    assert collect(generate(model, tokenizer, ids, GREEDY)).tokens[:4] == exact.tokens[:4]


def test_a_cache_kept_between_prompts_changes_nothing(model, tokenizer):
    cache = PrefixCache(model)
    first = tokenizer.encode("Once upon a time")
    for prompt in (first, first + tokenizer.encode(" the fox"), first, tokenizer.encode("여우"), first[:2], first):
        kept = collect(generate(model, tokenizer, prompt, GREEDY, cache))
        assert kept.tokens == collect(generate(model, tokenizer, prompt, GREEDY)).tokens


def test_only_what_is_new_is_computed(model, tokenizer):
    lengths = []
    hook = model.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    cache = PrefixCache(model)
    prompt = tokenizer.encode("Once upon a time there was")
    collect(generate(model, tokenizer, prompt, GREEDY.model_copy(update={"maximum_tokens": 3}), cache))
    collect(generate(model, tokenizer, [*prompt, 5, 6], GREEDY.model_copy(update={"maximum_tokens": 1}), cache))
    hook.remove()
    assert lengths[:3] == [len(prompt), 1, 1]
    assert lengths[3] <= 2


def test_a_cache_grows_with_its_dialogue(make_model, tokenizer):
    model = make_model(context=1024)
    cache, tokens = PrefixCache(model), [token % tokenizer.size for token in range(600)]
    for length in (10, 250, 300, 600):
        with torch.inference_mode():
            expected = model.logits(torch.tensor([tokens[:length]]))[0, -1]
        torch.testing.assert_close(cache.logits(tokens[:length]), expected, atol=1e-4, rtol=1e-4)


def test_an_interrupted_step_leaves_the_cache_true(model, tokenizer):
    cache, prompt = PrefixCache(model), tokenizer.encode("Once upon a time")
    cache.logits(prompt)

    def interrupt(*_):
        raise KeyboardInterrupt

    hook = model.blocks[1].register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.logits([*prompt, 7, 8])
    hook.remove()
    torch.testing.assert_close(cache.logits([*prompt, 9]), PrefixCache(model).logits([*prompt, 9]))


def test_common_prefix():
    assert common_prefix([], [1]) == 0
    assert common_prefix([1, 2], [1, 2, 3]) == 2
    assert common_prefix([1, 2, 3], [1, 2]) == 2
    assert common_prefix([1, 2, 3], [1, 5, 3]) == 1


def test_a_stop_string_ends_the_answer_and_is_not_in_it(model, tokenizer):
    whole = complete(model, tokenizer, "Once", GREEDY)
    for start in range(1, len(whole.text) - 2):
        stop = whole.text[start : start + 2]
        cut = complete(model, tokenizer, "Once", GREEDY.model_copy(update={"stop": (stop,)}))
        assert (cut.text, cut.finish_reason) == (whole.text[: whole.text.index(stop)], "stop")


def test_the_end_token_ends_the_answer(model, tokenizer):
    prompt = tokenizer.encode("Once")
    second = collect(generate(model, tokenizer, prompt, GREEDY)).tokens[1]

    class Ending:
        def __getattr__(self, name):
            return {second} if name == "stops" else getattr(tokenizer, name)

    ended = collect(generate(model, Ending(), prompt, GREEDY))
    assert (len(ended.tokens), ended.finish_reason) == (2, "stop")


def test_pieces_never_hold_half_a_character(model, tokenizer):
    settings = SamplingSettings(temperature=2, top_p=1, seed=1)
    pieces = list(generate(model, tokenizer, tokenizer.encode("여우"), settings))
    text = "".join(piece.text for piece in pieces)
    assert text.count("�") == tokenizer.decode([piece.token for piece in pieces]).count("�")


def test_an_answer_fills_the_context_and_not_more(model, tokenizer):
    settings = SamplingSettings(temperature=1, seed=3, maximum_tokens=1000)
    answer = collect(generate(model, tokenizer, [5] * (128 - 3), settings))
    assert (len(answer.tokens), answer.finish_reason) == (3, "length")


def test_a_prompt_too_long_is_refused_at_once_with_both_numbers(model, tokenizer):
    with pytest.raises(PromptTooLong, match=r"128 tokens.*at most 128"):
        generate(model, tokenizer, [5] * 128, GREEDY)


def test_a_model_in_training_is_used_without_dropout_and_left_in_training(make_model, tokenizer):
    model = make_model(dropout=0.5).train()
    prompt = tokenizer.encode("Once")
    answers = {tuple(collect(generate(model, tokenizer, prompt, GREEDY)).tokens) for _ in range(3)}
    assert len(answers) == 1
    assert model.training
    unfinished = generate(model, tokenizer, prompt, GREEDY)
    next(unfinished)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    unfinished.close()
    assert model.training


@pytest.mark.parametrize("prompt", ["Once upon", "옛날에 ", ""])
def test_behind_a_prompt_stands_what_follows_it_in_the_whole_text(make_model, llama_tokenizer, prompt):
    model, ids = make_model(vocabulary=llama_tokenizer.size), llama_tokenizer.encode(prompt)
    for seed in range(12):
        settings = SamplingSettings(temperature=1, seed=seed, maximum_tokens=12)
        answer = collect(generate(model, llama_tokenizer, llama_tokenizer.opening + ids, settings))
        assert llama_tokenizer.decode(ids) + answer.text == llama_tokenizer.decode(ids + answer.tokens)
