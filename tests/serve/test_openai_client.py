"""The official client is the judge."""

import openai
import pytest
import torch

from malmoi.generate.generator import collect, generate
from malmoi.generate.sampling import SamplingSettings
from malmoi.serve.engine import Engine

MESSAGES = [{"role": "system", "content": "짧게 답하세요."}, {"role": "user", "content": "여우는 누구입니까?"}]
COMMON = {"model": "tiny", "max_tokens": 24, "seed": 11}


def test_models(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "malmoi"
    with pytest.raises(openai.NotFoundError, match="'tiny'"):
        client.models.retrieve("gpt-4")


@pytest.mark.parametrize("extra", [{"temperature": 0}, {"temperature": 1.3, "top_p": 0.9}, {"stop": ["e", "이"]}])
def test_a_streamed_answer_is_the_answer(client, extra):
    whole = client.chat.completions.create(messages=MESSAGES, **COMMON, **extra)
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(messages=MESSAGES, stream=True, stream_options=options, **COMMON, **extra)
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])


@pytest.mark.parametrize("sent", [lambda message: message, lambda message: message.model_dump()])
def test_an_answer_can_be_sent_back_as_it_came(client, sent):
    asked, more, short = MESSAGES[1:], {"role": "user", "content": "곰은?"}, COMMON | {"max_tokens": 6}
    message = client.chat.completions.create(messages=asked, **short).choices[0].message
    plain = {"role": "assistant", "content": message.content}
    expected = client.chat.completions.create(messages=[*asked, plain, more], **short)
    answer = client.chat.completions.create(messages=[*asked, sent(message), more], **short)
    assert answer.choices[0].message == expected.choices[0].message


def test_completions_are_those_of_the_generator(client, model, tokenizer):
    settings = SamplingSettings(temperature=0.9, seed=11, maximum_tokens=24)
    expected = collect(generate(model, tokenizer, tokenizer.encode("옛날 옛적에"), settings))
    answer = client.completions.create(prompt="옛날 옛적에", temperature=0.9, **COMMON)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (expected.text, expected.finish_reason)
    by_ids = client.completions.create(prompt=tokenizer.encode("옛날 옛적에"), temperature=0.9, **COMMON)
    assert by_ids.choices[0].text == expected.text


def test_several_prompts_at_once_as_one_by_one(client):
    prompts = ["Once", "옛날", "the fox"]
    alone = [client.completions.create(prompt=prompt, **COMMON).choices[0].text for prompt in prompts]
    together = client.completions.create(prompt=prompts, **COMMON)
    assert [choice.text for choice in together.choices] == alone
    assert [choice.index for choice in together.choices] == [0, 1, 2]
    streamed = ["", "", ""]
    for chunk in client.completions.create(prompt=prompts, stream=True, **COMMON):
        streamed[chunk.choices[0].index] += chunk.choices[0].text
    assert streamed == alone


def test_settings_are_honoured(client):
    def text(**settings):
        return (
            client.completions.create(**({"model": "tiny", "prompt": "Once", "max_tokens": 30} | settings))
            .choices[0]
            .text
        )

    assert text(temperature=0) == text(temperature=0)
    assert text(temperature=2, seed=1) == text(temperature=2, seed=1) != text(temperature=2, seed=2)
    assert text(temperature=2, top_p=1e-9) == text(temperature=1e-46) == text(temperature=0)
    assert text(temperature=2, extra_body={"top_k": 1}) == text(temperature=0)
    assert text(temperature=0, extra_body={"repetition_penalty": 1.5}) != text(temperature=0)
    whole = text(temperature=0)
    assert text(temperature=0, stop=whole[3:5]) == whole[: whole.index(whole[3:5])]


def test_echo_and_logprobs_score_a_text(client, model, tokenizer):
    prompt = "옛날에 a fox"
    answer = client.completions.create(model="tiny", prompt=prompt, echo=True, logprobs=2, max_tokens=1, temperature=0)
    found = answer.choices[0].logprobs
    ids = tokenizer.encode(prompt)
    assert answer.choices[0].text.startswith(prompt)
    assert len(found.tokens) == len(ids) + 1
    assert found.token_logprobs[0] is None
    assert found.top_logprobs[0] is None
    assert found.token_logprobs[-1] == max(found.top_logprobs[-1].values())
    assert all(offset <= len(prompt) for offset in found.text_offset)
    only_new = client.completions.create(model="tiny", prompt=prompt, logprobs=2, max_tokens=1, temperature=0)
    assert only_new.choices[0].logprobs.token_logprobs == found.token_logprobs[-1:]


def test_tokens_stand_where_they_are_said_to_also_where_a_text_begins_behind_a_space(
    serving, make_model, llama_tokenizer
):
    engine = Engine(make_model(vocabulary=llama_tokenizer.size), llama_tokenizer, "tiny")
    with serving(engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        answer = client.completions.create(
            model="tiny", prompt="a fox in the wood", echo=True, logprobs=0, max_tokens=1
        )
    text, found = answer.choices[0].text, answer.choices[0].logprobs
    places = zip(found.tokens, found.text_offset, strict=True)
    words = [(word, offset) for word, offset in places if word in (" fox", " the", " wood")]
    assert words
    assert all(text[offset:].startswith(word) for word, offset in words)


def test_special_tokens_among_the_most_probable_have_names(serving, make_model, tokenizer):
    padded = make_model(vocabulary=tokenizer.size + 8)
    with (
        serving(Engine(padded, tokenizer, "tiny")) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        answer = client.completions.create(model="tiny", prompt=list(range(60)), echo=True, logprobs=20, max_tokens=1)
    found = answer.choices[0].logprobs.top_logprobs[1:]
    assert {len(top) for top in found} == {20}
    assert tokenizer.special.keys() <= {name for top in found for name in top}


@pytest.mark.parametrize("prompt", ["", [[]]])
def test_an_empty_prompt_begins_a_text(client, model, tokenizer, prompt):
    answer = client.completions.create(prompt=prompt, logprobs=1, temperature=0, **COMMON)
    assert answer.usage.prompt_tokens == 1
    begun = torch.tensor([[tokenizer.end]])
    first = model.logits(begun)[0, -1].log_softmax(-1).max().item()
    assert answer.choices[0].logprobs.token_logprobs[0] == pytest.approx(first, abs=1e-4)


def test_parts_of_text_are_one_text(client):
    parts = [{"type": "text", "text": "여우는 "}, {"type": "text", "text": "누구입니까?"}]
    whole = client.chat.completions.create(messages=MESSAGES[1:], temperature=0, **COMMON)
    split = client.chat.completions.create(messages=[{"role": "user", "content": parts}], temperature=0, **COMMON)
    assert split.choices[0].message.content == whole.choices[0].message.content


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"extra_body": {"temprature": 1}}, "'temprature'. Did you mean 'temperature'?"),
        ({"response_format": {"type": "text"}}, "'response_format'. Known: model, max_tokens,"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "'tools'"),
        ({"n": 2}, "'n'"),
        ({"frequency_penalty": 1}, "'frequency_penalty'"),
        ({"temperature": -1}, "'temperature'"),
        ({"extra_body": {"repetition_penalty": 1e-40}}, "'repetition_penalty'"),
        ({"max_tokens": 0}, "'max_tokens'"),
        ({"max_tokens": True}, "'max_tokens'"),
        ({"max_tokens": "7"}, "'max_tokens'"),
        ({"stream_options": {"include_usage": "yes"}}, "'stream_options.include_usage'"),
        ({"stop": ""}, "'stop"),
        ({"stop": ["x"] * 17}, "'stop"),
        ({"stop": "x" * 257}, "'stop"),
        ({"messages": []}, "[] of 'messages' is not supported: it needs at least 1."),
        ({"messages": [{"role": "robot", "content": "x"}]}, "'messages.0.role'"),
        ({"messages": [{"role": "user", "content": "x", "contnt": "y"}]}, "Did you mean 'content'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "'messages.0.content'"),
        ({"messages": [{"role": "user", "content": "긴 이야기 " * 200}]}, "at most 128"),
    ],
)
def test_what_is_not_honoured_is_refused(client, extra, message):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**({"model": "tiny", "messages": MESSAGES} | extra))
    assert message in caught.value.body["message"]
    assert set(caught.value.body) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"prompt": [1, 999_999]}, "999999"),
        ({"prompt": [7, -1]}, "The value -1 of 'prompt.0.1' is not supported"),
        ({"prompt": []}, "'prompt'"),
        ({"prompt": [[True]]}, "The value True of 'prompt.0.0' is not supported"),
        ({"prompt": ["x", None]}, "The value None of 'prompt.1' is not supported"),
        ({"prompt": "x", "extra_body": {"Stop": "y"}}, "'Stop'. Did you mean 'stop'"),
        ({"prompt": "x", "echo": "yes"}, "'echo'"),
        ({"prompt": "x", "stream": True, "echo": True}, "cannot be streamed"),
        ({"prompt": "x", "suffix": "y"}, "'suffix'"),
        ({"prompt": [5] * 128}, "128 tokens long, and the model reads at most 128"),
    ],
)
def test_what_completions_do_not_honour_is_refused(client, extra, message):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", **extra)
    assert message in caught.value.body["message"]
