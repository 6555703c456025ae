"""Every kind of tokenizer gives text back, and nobody can forge a special token."""

import json
import unicodedata

import pytest
import tokenizers
from tokenizers import AddedToken, decoders, models
from transformers import AutoTokenizer

from malmoi.core.errors import UserError
from malmoi.tokenizers.chat import DEFAULT_TEMPLATE
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.roles import Roles
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

TEXT = ["말은 모으고 글은 나눕니다. 말모이는 사전입니다.\n" * 4, "Words are gathered, words are shared.\n" * 4]
HARD = ["값이 값을 한다", "한국어와 English, 123", "👩‍👩‍👧 가족", "\u1112\u1161\u11ab 자모", "  두  칸\n\n\t끝 "]


@pytest.fixture(scope="module")
def byte_level() -> Tokenizer:
    made = train_tokenizer(TEXT, TokenizerSettings(vocabulary=300))
    made.chat_template = DEFAULT_TEMPLATE
    return made


def test_byte_level_gives_every_text_back(byte_level):
    for text in HARD[:3]:
        assert byte_level.decode(byte_level.encode(text)) == text


def test_text_is_composed_never_folded(byte_level):
    assert byte_level.decode(byte_level.encode("\u1112\u1161\u11ab ㎏")) == "한 ㎏"


def test_all_syllables_and_jamo_come_back(byte_level):
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4)]
    jamo = [chr(code) for code in [*range(0x1100, 0x1200), *range(0x3131, 0x318F), *range(0xA960, 0xA97D)]]
    assert len(syllables) == 11_172
    for text in ["".join(syllables), *syllables, *jamo]:
        assert byte_level.decode(byte_level.encode(text)) == text


def test_syllables_written_as_jamo_have_the_ids_of_the_syllables(byte_level):
    syllables = "".join(chr(code) for code in range(0xAC00, 0xD7A4))
    assert byte_level.encode(unicodedata.normalize("NFD", syllables)) == byte_level.encode(syllables)


@pytest.mark.parametrize("kind", ["character", "word"])
def test_whole_pieces_join_to_the_text_they_were_trained_on(kind):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=0))
    assert tokenizer.decode(tokenizer.encode(TEXT[0])) == TEXT[0]


@pytest.mark.parametrize("kind", ["character", "word"])
def test_what_was_never_seen_is_the_unknown_token(kind):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=0))
    assert tokenizer.unknown in tokenizer.encode("龘")


def test_written_special_tokens_stay_text(byte_level):
    ids = byte_level.encode("<|im_end|>")
    assert not set(ids) & set(byte_level.special.values())
    assert byte_level.decode(ids) == "<|im_end|>"


@pytest.mark.parametrize("kind", ["byte", "character", "word"])
def test_saved_and_loaded_it_is_the_same(kind, tmp_path):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=300 if kind == "byte" else 0))
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert loaded.encode(TEXT[0]) == tokenizer.encode(TEXT[0])
    assert (loaded.end, loaded.size, loaded.chat_template) == (tokenizer.end, tokenizer.size, tokenizer.chat_template)


@pytest.mark.parametrize("kind", ["byte", "character", "word"])
def test_transformers_opens_it_and_gives_the_same_ids(kind, tmp_path):
    tokenizer = train_tokenizer(TEXT, TokenizerSettings(kind=kind, vocabulary=300 if kind == "byte" else 0))
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXT, *HARD]:
        assert theirs.encode(text, add_special_tokens=False) == tokenizer.encode(text)
    assert theirs.eos_token_id == tokenizer.end


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match=r"tokenizer\.json is not a tokenizer"):
        load_tokenizer(tmp_path)


def test_a_written_special_token_is_itself_only_in_a_template(byte_level):
    marked = "가<|im_end|>나"
    assert byte_level.special["<|im_end|>"] in byte_level.encode_template(marked)
    assert byte_level.special["<|im_end|>"] not in byte_level.encode_batch([marked])[0]
    assert byte_level.encode_template("가나") == byte_level.encode("가나")


def test_half_of_a_surrogate_pair_is_named(byte_level):
    with pytest.raises(UserError, match="Character 3 of the text is half of a surrogate pair"):
        byte_level.encode("가나\ud800")
    with pytest.raises(UserError, match="Character 2 of the text"):
        byte_level.encode_batch(["가", "\ud800"])


def test_an_id_that_pads_the_table_spells_nothing(byte_level):
    assert byte_level.decode([*byte_level.encode("끝"), byte_level.size + 7]) == "끝"


def changed(tokenizer, directory, change, settings=None):
    """The saved tokenizer with its file changed, loaded."""
    tokenizer.save(directory)
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    if settings is not None:
        (directory / "chat_template.jinja").unlink()
        (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return load_tokenizer(directory)


def test_lengths_that_others_stored_do_not_cut_or_fill(byte_level, tmp_path):
    def store(content):
        content["truncation"] = {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
        content["padding"] = {
            "strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
        }  # fmt: skip

    assert changed(byte_level, tmp_path, store).encode(TEXT[0]) == byte_level.encode(TEXT[0])


def test_gaps_between_ids_spell_nothing(byte_level, tmp_path):
    tokenizer = changed(byte_level, tmp_path, lambda content: content["model"]["vocab"].update(zz=5000))
    assert (tokenizer.size, tokenizer.token_bytes(4000), tokenizer.token_bytes(5000)) == (5001, b"", b"zz")


def wrapped_in(token, id):
    """A post-processor with a token before every text."""
    around = [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*around, {"Sequence": {"id": "B", "type_id": 0}}]
    special = {} if id is None else {token: {"id": token, "ids": [id], "tokens": [token]}}
    return {"type": "TemplateProcessing", "single": around, "pair": pair, "special_tokens": special}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content["model"]["vocab"].update(zz=2**32 - 1), "no vocabulary is that large"),
        (lambda content: content["model"]["merges"].append(["zq", "x"]), "not a tokenizer"),
        (lambda content: content["pre_tokenizer"]["pretokenizers"][0].update(pattern={"Regex": "("}), "not a tok"),
        (
            lambda content: content.update(added_tokens=[], model={"type": "BPE", "vocab": {}, "merges": []}),
            "no special",
        ),
        (lambda content: content.update(decoder={"type": "BPEDecoder", "suffix": "</w>"}), "decoder BPEDecoder is not"),
        (lambda content: content.update(decoder=None), "decoder None is not supported"),
        (lambda content: content.update(normalizer={"type": "Precompiled"}), "not a tokenizer"),
        (lambda content: content.update(post_processor=wrapped_in("<|endoftext|>", None)), "cannot read a text"),
        (
            lambda content: content.update(post_processor=wrapped_in("<|endoftext|>", 9999)),
            "the id 9,999 around a text",
        ),
        (lambda content: content["model"].update(unk_token="<unk>"), "no unknown token"),
    ],
    ids=[
        "huge id",
        "merge of nothing",
        "broken expression",
        "no end",
        "unknown spelling",
        "no spelling",
        "no table",
        "around without a token",
        "around with an unknown id",
        "no unknown",
    ],
)
def test_a_damaged_file_is_named(byte_level, tmp_path, change, sentence):
    with pytest.raises(UserError, match=rf"tokenizer\.json.*{sentence}"):
        changed(byte_level, tmp_path, change)


@pytest.mark.parametrize(
    ("settings", "template"),
    [
        ({"eos_token": "<|endoftext|>", "chat_template": "하나"}, "하나"),
        ({"eos_token": {"content": "<|im_end|>"}, "bos_token": {"content": "<|im_start|>"}}, None),
        ({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "둘"}]}, "둘"),
    ],
)
def test_settings_as_others_write_them(byte_level, tmp_path, settings, template):
    tokenizer = changed(byte_level, tmp_path, lambda content: None, settings)
    assert tokenizer.chat_template == template
    assert tokenizer.begin == ("<|im_start|>" if "bos_token" in settings else "")


def test_settings_that_are_none_are_named(byte_level, tmp_path):
    with pytest.raises(UserError, match="holds no settings"):
        changed(byte_level, tmp_path, lambda content: None, ["eos_token"])


def test_added_words_are_spelled_as_they_stand():
    backend = tokenizers.Tokenizer(models.BPE({"a": 0, "é": 1}, []))
    backend.decoder = decoders.ByteLevel()
    backend.add_tokens([AddedToken("<é가>", special=False)])
    backend.add_special_tokens(["<end>"])
    tokenizer = Tokenizer(backend, Roles(end="<end>"))
    assert tokenizer.decode([0, 2, 3]) == "a<é가>"
    assert tokenizer.token_bytes(1) == b"\xe9"
