"""Fixtures that more than one folder of tests uses."""

import copy
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import pytest

TALES = (
    "Once upon a time there was a fox who lived in the wood. The fox said to the bear: who are you?",
    "옛날 옛적에 숲에 여우가 살았습니다. 여우가 곰에게 물었습니다. 말모이는 낱말을 모은다는 뜻입니다.",
)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the tests share the cores among themselves

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The directory of data sets beside the checkout; skips when there is none."""
    directory = Path(os.environ.get("MALMOI_MIRROR", CHECKOUT.parent / "shared" / "data"))
    if not directory.is_dir():
        pytest.skip(f"needs the data sets in {directory}; set MALMOI_MIRROR to where they are")
    return directory


@pytest.fixture(scope="session")
def tokenizer():
    """A byte-level tokenizer of two languages with a chat template, made in a moment."""
    from malmoi.tokenizers.chat import DEFAULT_TEMPLATE
    from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer

    made = train_tokenizer(iter(TALES), TokenizerSettings(kind="byte", vocabulary=290))
    made.chat_template = DEFAULT_TEMPLATE
    return made


def sentencepiece_of(lines, **settings) -> bytes:
    """A SentencePiece model of lines of text."""
    import sentencepiece

    content = io.BytesIO()
    settings |= {"hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=content, **settings)
    return content.getvalue()


@pytest.fixture(scope="session")
def llama_tokenizer(tmp_path_factory):
    """SentencePiece with a space before every text, and the template of Llama 2, without its system message."""
    from malmoi.tokenizers.load import load_tokenizer

    template = (
        "{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}"
        "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
    )
    directory = tmp_path_factory.mktemp("llama")
    settings = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "chat_template": template}
    model = sentencepiece_of([*TALES * 8], model_type="bpe", byte_fallback=True, vocab_size=400)
    (directory / "tokenizer.model").write_bytes(model)
    (directory / "tokenizer_config.json").write_text(json.dumps(settings))
    return load_tokenizer(directory)


@pytest.fixture(scope="session")
def marian_files(tmp_path_factory) -> Path:
    """The files of a translator's tokenizer, English to Korean or German; the vocabulary lacks pieces of the source."""
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    english = [line.strip() for name in ("assignment", "import") for line in topics[name].splitlines() if line.strip()]
    files = {
        "source.spm": sentencepiece_of(english, model_type="unigram", vocab_size=400),
        "target.spm": sentencepiece_of([*TALES * 8, *english[:60]], model_type="unigram", vocab_size=300),
    }
    texts = [
        piece.piece for model in files.values() for piece in ModelProto.FromString(model).pieces if piece.type == 1
    ]
    lost = {*texts[50:380:30], "q", "!"}
    tokens = [
        "</s>",
        "<unk>",
        *dict.fromkeys(text for text in texts if text not in lost),
        ">>kor<<",
        ">>deu<<",
        "<pad>",
    ]
    files["vocab.json"] = json.dumps({token: id for id, token in enumerate(tokens)}).encode()
    files["tokenizer_config.json"] = b'{"source_lang": "eng", "target_lang": "kor"}'
    files["config.json"] = b'{"model_type": "marian"}'
    directory = tmp_path_factory.mktemp("marian")
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture(scope="session")
def translated() -> dict[str, str]:
    """What the published translator writes."""
    return {
        ">>kor<< the fox": "여우가",
        ">>deu<< the fox": "who are you?",
        ">>kor<< import a module": "낱말을 모은다는 뜻입니다.",
    }


@pytest.fixture(scope="session")
def published_translator(marian_files, translated, tmp_path_factory) -> Path:
    """A translator in the files that Helsinki-NLP's have, by `transformers`; it knows its translations by heart."""
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    tokenizer = MarianTokenizer.from_pretrained(marian_files)
    batch = tokenizer(list(translated), text_target=list(translated.values()), padding=True, return_tensors="pt")
    labels = batch.pop("labels")
    labels[labels == tokenizer.pad_token_id] = -100
    sizes = {"d_model": 32, "vocab_size": len(tokenizer), "dropout": 0.0, "activation_function": "swish"}
    for name, size in {"layers": 1, "attention_heads": 4, "ffn_dim": 48}.items():
        sizes |= {f"encoder_{name}": size, f"decoder_{name}": size}
    special = {"pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = MarianMTModel(MarianConfig(**sizes, **special, eos_token_id=0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.bad_words_ids = [[tokenizer.pad_token_id]]
    directory = tmp_path_factory.mktemp("translator") / "opus-mt-en-mul"
    shutil.copytree(marian_files, directory)
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def shake() -> Callable:
    """Moves every number of a model, norms and biases too, so that none can hide behind a zero or a one."""
    import torch

    def shake(model, deviation=0.1):
        generator = torch.Generator().manual_seed(0)
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        marians = [value for name, value in model.named_buffers() if name == "final_logits_bias"]
        with torch.no_grad():
            for value in [*trained, *marians]:
                value.add_(torch.empty_like(value).normal_(0, deviation, generator=generator))
        return model.eval()

    return shake


@pytest.fixture(scope="session")
def make_model(tokenizer) -> Callable:
    """Makes a random model that answers at once; its weights are far from uniform, so that greedy knows no ties."""
    from malmoi.models.gpt_config import GPTConfig
    from malmoi.models.registry import build_model

    def make(**changes):
        shape = {"layers": 2, "heads": 4, "key_value_heads": 2, "width": 32, "context": 128, "tied": False}
        model = build_model(GPTConfig(**({"vocabulary": tokenizer.size} | shape | changes)), seed=1)
        for parameter in model.parameters():
            parameter.data.mul_(4 if parameter.ndim > 1 else 1)
        return model.eval()

    return make


@pytest.fixture(scope="session")
def model(make_model):
    """One such model."""
    return make_model()


@pytest.fixture(scope="session")
def translations() -> dict[str, str]:
    """Sources and targets of unequal lengths."""
    return {"여우가 곰에게 물었다.": "the fox said", "Who are you?": "누구", "숲": "the wood lived"}


@pytest.fixture(scope="session")
def learned_translator(tokenizer, translations) -> Callable:
    """Makes a tiny encoder-decoder that knows the translations by heart; a random one writes one token for ever."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from malmoi.models.initialize import initialize
    from malmoi.models.registry import empty_model
    from malmoi.models.seq2seq_config import EncoderDecoderConfig

    def rows(texts, padding):
        ids = [torch.tensor([*tokenizer.encode(text), tokenizer.end]) for text in texts]
        return pad_sequence(ids, batch_first=True, padding_value=padding), torch.tensor([len(row) for row in ids])

    known = {}

    def make(**changes):
        key = str(sorted(changes.items()))
        if key not in known:
            known[key] = learn(changes)
        return copy.deepcopy(known[key])

    def learn(changes):
        shape = {"context": 64, "width": 32, "layers": 2, "heads": 4, "start": tokenizer.end}
        model = empty_model(EncoderDecoderConfig(vocabulary=tokenizer.size, **(shape | changes)))
        initialize(model, seed=1, embedding_deviation=0.1 if model.config.scaled_embedding else 1.0)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        source, lengths = rows(translations, tokenizer.end)
        wanted, _ = rows(translations.values(), -100)
        target = torch.nn.functional.pad(wanted.clamp(min=0)[:, :-1], (1, 0), value=model.config.start)
        for _ in range(200):
            logits = model.logits(source, lengths, target)
            loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), wanted)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if loss < 0.03:
                break
        return model.eval()

    return make
