"""Small vocabularies of every published kind, made here, in the files that their models come with."""

import base64
import io
import json
import random
import unicodedata
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

KOREAN = (
    "말은 모으고 글은 나눕니다. 말모이는 낱말을 모은 사전입니다.",
    "옛날 옛적에 숲에 여우가 살았습니다. 여우가 곰에게 물었습니다: 너는 누구냐?",
    "값이 값을 한다. 꽃이 피고 새가 운다. 바람이 불면 낙엽이 진다.",
    "사람은 밥을 먹고 물을 마시며 집에서 잠을 잔다. 1945년 8월 15일, 100퍼센트.",
)
ENGLISH = [line.strip() for name in ("assignment", "import", "strings", "with") for line in topics[name].splitlines()]
LINES = [line for line in ENGLISH if line][:260] + [*KOREAN] * 8
PIECES = [
    "'s",
    "'T",
    "'ll",
    "the",
    "2024",
    "12",
    "½",
    "한국어",
    "값",
    "ㅎㅏ",
    "각",
    "é",
    "İ",
    "ﬁ",
    "㎏",
    "①",
    "龘",
    "ß",
    "ÀÉ",
    "👩\u200d👧",
    "🇰🇷",
    "🦊",
    "▁",
    "▁▁",
    "##ing",
    "<0x41>",
    "[x]",
    "<s>",
    "</s>",
    "[MASK]",
    "<mask>",
    "<생각>",
    ".",
    "_",
    "말은",
    "모으고",
    "글은",
    "낱말을",
    "모은",
    "사전입니다.",
    "여우가",
    "import",
    "statement",
    "assignment",
    "aaaa",
    "----",
    "{}",
    "__init__",
    "!?",
    "CamelCase",
    "camelcase",
    "<think>",
    "<turn>",
]
PIECES += [
    " the",
    " 2024",
    "  ",
    "\n\n",
    "\r\n",
    "\t",
    "\u017f",
    "\u200b",
    "\u3000",
    "\u00a0",
    "\0",
    "e\u0301",
    "\ufe0f",
]
PIECES += ["\u1112\u1161\u11ab", "\u11ab", "\ufffd", "\ue000", "\U00012000", "def f(x):\n    return x"]


def random_texts(count: int) -> list[str]:
    """Texts of everything that tokenizers treat in their own ways: words, code, Korean whole and apart, all Unicode."""
    dice = random.Random(0)

    def signs(first: int, last: int) -> str:
        return "".join(chr(dice.randrange(first, last)) for _ in range(dice.randrange(1, 7)))

    makers = [
        lambda: "".join(dice.choices(PIECES, k=dice.randrange(1, 7))),
        lambda: " ".join(dice.choices(PIECES, k=dice.randrange(1, 6))),
        lambda: signs(0xAC00, 0xD7A4),
        lambda: signs(0, 0xD800),
        lambda: signs(0x1F000, 0x1FB00),
        lambda: unicodedata.normalize("NFD", dice.choice(KOREAN)[: dice.randrange(15)]),
    ]
    return ["", " ", "\n", *(makers[number % len(makers)]() for number in range(count - 3))]


@pytest.fixture(scope="session")
def all_texts() -> list[str]:
    return random_texts(10_000)


def train_sentencepiece(lines=LINES, **settings) -> bytes:
    content = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=content, minloglevel=2, num_threads=1, **settings
    )
    return content.getvalue()


@pytest.fixture(scope="session")
def sentencepiece_model():
    return train_sentencepiece


def bpe(specials=(), **settings) -> tuple[dict, list]:
    """The vocabulary and merges of a byte-level BPE, by the library."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=[*specials], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(LINES, trainer)
    content = json.loads(made.to_str())["model"]
    return content["vocab"], content["merges"]


def write(directory: Path, **files) -> None:
    """Files of a directory: bytes as they are, everything else as JSON; two underscores are a dot."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        content = content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode()
        (directory / name.replace("__", ".")).write_bytes(content)


def token_lines(vocabulary: dict) -> bytes:
    return "".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.get)).encode()


def merge_lines(merges: list) -> bytes:
    return "".join(["#version: 0.2\n", *(f"{left} {right}\n" for left, right in merges)]).encode()


def rank_lines(vocabulary: dict, specials: int = 0) -> bytes:
    """tiktoken's file of a byte-level vocabulary, but for its first tokens, which are special."""
    bytes_of = dict(zip(sorted(pre_tokenizers.ByteLevel.alphabet()), alphabet_bytes(), strict=True))
    ordered = sorted(vocabulary, key=vocabulary.get)[specials:]
    spelled = [bytes(bytes_of[sign] for sign in token) for token in ordered]
    return "".join(f"{base64.b64encode(token).decode()} {rank}\n" for rank, token in enumerate(spelled)).encode()


def alphabet_bytes() -> list[int]:
    """The bytes that the letters of the byte alphabet stand for, in the order of the letters."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [*printable, *(byte for byte in range(256) if byte not in printable)]


def word_pieces(**settings) -> dict:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**settings)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(
        LINES, trainers.WordPieceTrainer(vocab_size=900, special_tokens=specials, show_progress=False)
    )
    return made.get_vocab()


LLAMA_MODEL = {
    "model_type": "bpe",
    "vocab_size": 800,
    "byte_fallback": True,
    "character_coverage": 0.99,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
    "split_digits": True,
    "allow_whitespace_only_pieces": True,
    "user_defined_symbols": ["<생각>"],
}
UNIGRAM_MODEL = {"model_type": "unigram", "vocab_size": 700, "character_coverage": 1.0}
T5_IDS = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
LLAMA = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False}
BERT = {"tokenizer_class": "BertTokenizer", "sep_token": "[SEP]", "cls_token": "[CLS]", "mask_token": "[MASK]"}
ROBERTA_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def gpt2(directory):
    vocabulary, merges = bpe()
    vocabulary["<|endoftext|>"] = len(vocabulary)
    write(
        directory,
        vocab__json=vocabulary,
        merges__txt=merge_lines(merges),
        tokenizer_config__json={"tokenizer_class": "GPT2Tokenizer"},
    )


def roberta(directory):
    vocabulary, merges = bpe(ROBERTA_SPECIALS)
    write(directory, vocab__json=vocabulary, merges__txt=merge_lines(merges), config__json={"model_type": "roberta"})


def qwen2(directory):
    vocabulary, merges = bpe()
    added = {
        str(len(vocabulary) + place): {"content": text, "special": place < 2}
        for place, text in enumerate(("<|endoftext|>", "<|im_end|>", "<think>"))
    }
    settings = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|im_end|>", "added_tokens_decoder": added}
    write(directory, vocab__json=vocabulary, merges__txt=merge_lines(merges), tokenizer_config__json=settings)


def ranks(directory):
    vocabulary, _ = bpe()
    added = {
        str(len(vocabulary) + place): {"content": text, "special": True}
        for place, text in enumerate(("<|begin_of_text|>", "<|eot_id|>"))
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin_of_text|>",
        "eos_token": "<|eot_id|>",
        "added_tokens_decoder": added,
    }
    write(directory, tokenizer__model=rank_lines(vocabulary), tokenizer_config__json=settings)


def uncased(directory):
    write(directory, vocab__txt=token_lines(word_pieces(lowercase=True)), tokenizer_config__json=BERT)


def cased(directory):
    settings = BERT | {"do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False}
    vocabulary = word_pieces(lowercase=False, strip_accents=False, handle_chinese_chars=False)
    write(directory, vocab__txt=token_lines(vocabulary), tokenizer_config__json=settings)


def wordpiece_json(directory):
    from transformers import BertTokenizer

    cased(directory)
    BertTokenizer.from_pretrained(directory).save_pretrained(directory)
    (directory / "vocab.txt").unlink()


def llama(directory):
    write(directory, tokenizer__model=train_sentencepiece(**LLAMA_MODEL), tokenizer_config__json=LLAMA)


def llama_legacy(directory):
    settings = LLAMA | {"legacy": True, "add_eos_token": True}
    write(directory, tokenizer__model=train_sentencepiece(**LLAMA_MODEL), tokenizer_config__json=settings)


def llama_json(directory):
    """As Llama 2 and Mistral were published: the space before a text by a normalizer."""
    from transformers import LlamaTokenizer

    llama(directory)
    made = LlamaTokenizer.from_pretrained(directory)
    made.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.backend_tokenizer.pre_tokenizer = None
    (directory / "tokenizer.model").unlink()
    made.backend_tokenizer.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
    }
    write(directory, tokenizer_config__json=settings)


def t5(directory):
    settings = {
        "tokenizer_class": "T5Tokenizer",
        "extra_ids": 100,
        "additional_special_tokens": [f"<extra_id_{number}>" for number in range(100)],
    }
    write(directory, spiece__model=train_sentencepiece(**UNIGRAM_MODEL, **T5_IDS), tokenizer_config__json=settings)


def t5_plain(directory):
    """T5's vocabulary, without a table of normalisation."""
    model = train_sentencepiece(**UNIGRAM_MODEL, **T5_IDS, normalization_rule_name="identity")
    write(directory, spiece__model=model, tokenizer_config__json={"tokenizer_class": "T5Tokenizer"})


def xlm_roberta(directory):
    write(
        directory,
        sentencepiece__bpe__model=train_sentencepiece(**UNIGRAM_MODEL),
        config__json={"model_type": "xlm-roberta"},
    )


def unigram_json(directory):
    from transformers import XLMRobertaTokenizer

    xlm_roberta(directory)
    made = XLMRobertaTokenizer.from_pretrained(directory)
    made.save_pretrained(directory)
    for path in directory.glob("*.model"):
        path.unlink()


def flagged_json(directory):
    """Added tokens with every flag, special and not."""
    vocabulary, merges = bpe(["<|endoftext|>"])
    made = Tokenizer(models.BPE(vocabulary, [tuple(merge) for merge in merges]))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    made.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False), AddedToken("<turn>", rstrip=True)])
    made.add_tokens(
        [
            AddedToken("The", normalized=False),
            AddedToken("[x]", lstrip=True, rstrip=True),
            AddedToken("12", single_word=True),
        ]
    )
    made.add_tokens([AddedToken("camelcase", normalized=True), AddedToken("여우가", rstrip=True)])
    made.post_processor = processors.TemplateProcessing(
        "$A <|endoftext|>", "$A <|endoftext|> $B:1 <|endoftext|>:1", [("<|endoftext|>", 0)]
    )
    made.save(str(directory / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "mask_token": "<mask>"}
    write(directory, tokenizer_config__json=settings)


KINDS = {
    make.__name__: make
    for make in (
        gpt2,
        roberta,
        qwen2,
        ranks,
        uncased,
        cased,
        wordpiece_json,
        llama,
        llama_legacy,
        llama_json,
        t5,
        t5_plain,
        xlm_roberta,
        unigram_json,
        flagged_json,
    )
}


@pytest.fixture(scope="session")
def published(tmp_path_factory, marian_files):
    """The directory of a kind, by its name; made once, and never to be changed."""
    made: dict[str, Path] = {"marian": marian_files}

    def directory(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp("published") / name
            made[name].mkdir()
            KINDS[name](made[name])
        return made[name]

    return directory
