"""Templates in the forms that models are published with give the bytes and ids of `transformers`."""

import datetime

import pytest
import transformers.utils.chat_template_utils as reference
from transformers import AutoTokenizer

from malmoi.core.errors import UserError
from malmoi.tokenizers.chat import encode_dialogue, encode_prompt, render
from malmoi.tokenizers.load import load_tokenizer

CHATML = """
{%- for message in messages %}
    {%- if loop.first and message.role != 'system' %}
        {{- eos_token + 'system\\nBe kind.' + eos_token + '\\n' }}
    {%- endif %}
    {{- eos_token + message.role + '\\n' + message.content + eos_token + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- eos_token + 'assistant\\n' }}{%- endif %}
"""
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('user and assistant must take turns') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y %H:%M:%S") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if tools is not none %}{{- 'tools: ' + tools | tojson(indent=4) }}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<s>system</s>\\n\\nToday: " + date_string + "\\n\\n" + system_message + eos_token }}
{%- for message in messages %}
    {{- '<s>' + message['role'] + '</s>\\n\\n' + message['content'] | trim + eos_token }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<s>assistant</s>\\n\\n' }}{%- endif %}
"""
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"
)
MISTRAL = """{{ bos_token }}
{%- set space = namespace(turns=0) %}
{%- for message in messages %}
    {%- if message.role == 'system' %}{%- continue %}{%- endif %}
    {%- set space.turns = space.turns + 1 %}
    {%- if message.role == 'user' %}{{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.role == 'assistant' %}
    {%- generation %}{{- ' ' + message.content | trim + eos_token }}{%- endgeneration %}
    {%- else %}{{- raise_exception('Only user and assistant roles are supported, not ' + message.role) }}
    {%- endif %}
{%- endfor %}
{{- [{'번': space.turns, 'a': none}] | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}
{{- dict(unk=unk_token, pad=pad_token) | tojson }}
"""
TEMPLATES = {"chatml": CHATML, "llama2": LLAMA2, "llama3": LLAMA3, "gemma": GEMMA, "mistral": MISTRAL}
SYSTEM = {"role": "system", "content": " 한국어로 답하세요. "}
DIALOGUE = [
    {"role": "user", "content": " 사전이 뭐야? "},
    {"role": "assistant", "content": "낱말을 모은 책입니다.\n"},
    {"role": "user", "content": "Thanks! </s> {{ 1 }}"},
    {"role": "assistant", "content": "천만에요."},
]


class Clock(datetime.datetime):
    """A clock that every template finds at the same second."""

    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 1, 9, 8, 7)


@pytest.fixture(scope="module", params=["llama", "llama_legacy", "llama_json", "roberta"])
def pair(request, published, tmp_path_factory):
    """Our tokenizer and that of transformers."""
    directory = tmp_path_factory.mktemp("chat")
    ours = load_tokenizer(published(request.param))
    ours.begin = "<s>"
    ours.save(directory)
    return ours, AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", [[], [SYSTEM]], ids=["", "system"])
def test_bytes_and_ids_are_those_of_transformers(pair, name, system, monkeypatch):
    monkeypatch.setattr(reference, "datetime", Clock)
    ours, theirs = pair
    ours.chat_template = theirs.chat_template = TEMPLATES[name]
    if name == "gemma" and system:
        with pytest.raises(UserError, match="The chat template fails on this dialogue: no system role"):
            render(ours, system + DIALOGUE, answer=False)
        return
    for turns in range(1, 5):
        for answer in (False, True):
            messages = system + DIALOGUE[:turns]
            expected = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=answer)
            assert render(ours, messages, answer=answer, now=Clock.now()) == expected
    plain = [{**message, "content": message["content"].replace("</s>", "")} for message in system + DIALOGUE]
    monkeypatch.setattr("malmoi.tokenizers.chat.datetime", Clock)
    text = theirs.apply_chat_template(plain[:-1], tokenize=False, add_generation_prompt=True)
    assert encode_prompt(ours, plain[:-1]) == theirs.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("name", TEMPLATES)
def test_only_what_the_assistant_says_is_learned(pair, name):
    ours, _ = pair
    ours.chat_template = TEMPLATES[name]
    ids, learned = encode_dialogue(ours, DIALOGUE)
    text = ours.decode([id for id, flag in zip(ids, learned, strict=True) if flag])
    assert [part.strip() for part in text.split(".")] == ["낱말을 모은 책입니다", "천만에요", ""]


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        ("{% generation %}{{ messages[0].content }}", "chat template fails"),
        ("{% endgeneration %}", "chat template fails"),
        ("{{ strftime_now() }}", "chat template fails"),
        ("{{ strftime_now.__globals__['os'] }}", "chat template fails"),
        ("{{ strftime_now('%Y').__class__.__mro__ }}", "chat template fails"),
        ("{{ messages | tojson(indent=[]) }}", "chat template fails"),
        ("{{ raise_exception('차례가 틀렸습니다') }}", "차례가 틀렸습니다"),
        ("{{ messages[0].content | reverse }}", "changes the contents"),
    ],
)
def test_a_bad_template_is_refused_with_a_sentence(pair, template, sentence):
    ours, _ = pair
    ours.chat_template = template
    with pytest.raises(UserError, match=sentence):
        encode_prompt(ours, DIALOGUE)
