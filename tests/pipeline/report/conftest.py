"""A run directory as a finished quickstart leaves it, with invented figures."""

import math
import random
from pathlib import Path

import pytest

from malmoi.core.files import append_json_line, write_json

MACHINE = {
    "processor": "AMD EPYC 7763",
    "cores": 2,
    "instruction_sets": ["avx2"],
    "memory": 23 * 2**30,
    "disk_free": 80 * 2**30,
    "system": "Linux 6.8 x86_64",
}
VERSIONS = {"malmoi": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "tokenizers": "0.22.1"}
HOSTILE = "</script><script>alert('hostile')</script>"

TABLE = {
    "tales": {
        "model": 1.62,
        "uniform": 4.31,
        "unigram": 2.95,
        "bigram": 2.28,
        "6 bytes": 2.21,
        "gzip": 3.05,
        "xz": 2.8,
    },
    "wiki": {"model": 1.94, "uniform": 4.52, "unigram": 3.31, "bigram": 2.61, "6 bytes": 2.5, "gzip": 3.22, "xz": 2.96},
    "snippets": {"model": 2.05, "uniform": 4.4, "unigram": 3.12, "bigram": 2.7, "6 bytes": 2.7, "gzip": 3.4, "xz": 3.2},
    "all sources": {
        "model": 1.79,
        "uniform": 4.41,
        "unigram": 3.1,
        "bigram": 2.49,
        "6 bytes": 2.38,
        "gzip": 3.12,
        "xz": 2.85,
    },
}

TOKENIZER = {
    "kind": "byte",
    "vocabulary": 4096,
    "special": {"<|endoftext|>": 0},
    "bytes_per_token": 3.712345,
    "characters_per_token": 3.68,
    "unknown_share": 0.0,
    "example": ["Once", " upon", " a", " time", " there", " was", " a", " wood", "c", "utter", "\n"],
}


def write_stage(run: Path, kind: str, seconds: float, result: dict, name: str = "", **more) -> Path:
    directory = run / (name or kind)
    directory.mkdir(parents=True)
    record = {
        "stage": kind,
        "kind": kind,
        "name": name or kind,
        "status": "done",
        "started": "2026-11-21T07:00:00+00:00",
        "settings": {"seed": 0},
        "inputs": {},
        "versions": VERSIONS,
        "machine": MACHINE,
        "result": result,
        "seconds": seconds,
        "peak_memory": int(seconds * 6e6) + 2**29,
        "outputs": {},
    }
    write_json(directory / "stage.json", record | more)
    return directory


def write_example_run(run: Path) -> list[Path]:
    """All stages of the quickstart; returns their directories."""
    return [
        _fetch(run),
        _corpus(run),
        write_stage(run, "tokenizer", 4.1, TOKENIZER),
        _pretrain(run),
        write_stage(
            run,
            "evaluate",
            31,
            {
                "bits_per_byte": 1.79,
                "table": TABLE,
                "scored": {source: {"tokens": 20_000, "bytes": 71_000, "nats_per_token": 4.4} for source in TABLE},
            },
            inputs={
                "checkpoint": [{"name": "runs/quickstart/pretrain", "sha256": ""}],
                "corpus": [{"name": "corpus", "sha256": ""}],
            },
        ),
        _classify(run),
        _instruct(run),
    ]


def _fetch(run: Path) -> Path:
    directory = write_stage(run, "fetch", 22.4, {"files": 9})
    sources = [
        ("tales", "Grimm's and Andersen's tales", "Public domain", "en", 1_934_000),
        ("wiki", "An excerpt of a MediaWiki dump, 206 pages", "CC-BY-SA-3.0", "en", 3_100_000),
        ("snippets", "Movie snippets with sentiment scores", "MIT", "en", 1_311_000),
    ]
    manifest = [
        {"name": name, "about": about, "licence": licence, "language": language, "files": [{"bytes": size}]}
        for name, about, licence, language, size in sources
    ]
    write_json(directory / "manifest.json", {"sources": manifest})
    return directory


def _corpus(run: Path) -> Path:
    directory = write_stage(run, "corpus", 6.8, {"documents": 10_411})
    counts = {
        "read": 11_018,
        "dropped": {"duplicate": 412, "too short": 166, "few letters": 29},
        "dropped_bytes": {"duplicate": 90_000, "too short": 1_200, "few letters": 900},
        "kept": 10_411,
        "bytes": 5_344_000,
        "held_out_bytes": 267_000,
        "sources": {
            "tales": {"read": 259, "dropped": {}, "kept": 255, "bytes": 1_890_000, "held_out_bytes": 94_000},
            "wiki": {"read": 206, "dropped": {}, "kept": 173, "bytes": 2_204_000, "held_out_bytes": 110_000},
            "snippets": {"read": 10_553, "dropped": {}, "kept": 9_983, "bytes": 1_250_000, "held_out_bytes": 63_000},
        },
    }
    write_json(directory / "unreadable.json", {"notes/그림.png": "not text" + HOSTILE})
    write_json(directory / "counts.json", counts)
    example = {"identifier": "글.txt#7", "value": "3", "limit": ">= 16", "text": "짧다" + HOSTILE}
    write_json(directory / "examples.json", {"too short": [example]})
    write_json(directory / "mixture.json", {"tales": {"weight": 0.6, "share": 0.41, "tokens": 512_345, "epochs": 3.4}})
    return directory


def _pretrain(run: Path) -> Path:
    generator = random.Random(0)
    mixture = {
        "tales": {"weight": 0.5, "share": 0.501, "epochs": 3.4},
        "wiki": {"weight": 0.35, "share": 0.348, "epochs": 2.1},
        "snippets": {"weight": 0.15, "share": 0.151, "epochs": 1.6},
    }
    result = {
        "parameters": 9_134_592,
        "layers": 6,
        "width": 320,
        "context": 256,
        "steps": 1120,
        "tokens": 4_587_520,
        "tokens_per_second": 15_214,
        "precision": "float32",
        "validation_loss": 4.2718,
        "best_loss": None,
        "perplexity": 71.65,
        "mixture": mixture,
    }
    directory = write_stage(run, "pretrain", 301.5, result)
    trial = {"layers": 6, "width": 320, "parameters": 9_134_592, "tokens_per_second": 15_214, "tokens": 4_587_520}
    trial |= {"epochs": 4.4, "predicted_loss": 4.31}
    small = trial | {"layers": 4, "width": 192, "parameters": 2_100_000, "predicted_loss": 4.44}
    write_json(directory / "plan.json", {"minutes": 5, "trials": [trial, small]})
    prompts = {
        "Once upon a time": [
            " q,the of\n a a,, and e to said to",
            " there was a king and the king's daughter, and the king said, “I will not go to the wood.”",
            " there lived a poor woodcutter with his wife and two children, and when the winter came they had nothing"
            " left to eat but a loaf of bread. " + HOSTILE,
        ],
        "옛날 옛적에": [
            "ㄱ 의 이 을",
            " 한 나라의 임금이 임금을 보고",
            " 어느 마을에 가난한 나무꾼이 살고 있었습니다.",
        ],
    }
    for step in range(1, 1121):
        loss = 2.9 + 5.4 * math.exp(-step / 90) + 1.2 * math.exp(-step / 600) + generator.gauss(0, 0.12)
        record = {"step": step, "loss": loss, "learning_rate": 0.02, "tokens_per_second": 15_200, "seconds": step / 4}
        append_json_line(directory / "metrics.jsonl", record)
        if step % 112 == 0:
            value = 3.0 + 5.2 * math.exp(-step / 90) + 1.25 * math.exp(-step / 600)
            append_json_line(directory / "metrics.jsonl", {"step": step, "validation_loss": value})
    for number, step in enumerate((112, 560, 1120)):
        for prompt, texts in prompts.items():
            append_json_line(
                directory / "samples.jsonl", {"step": step, "prompt": prompt, "text": prompt + texts[number]}
            )
    return directory


def _classify(run: Path) -> Path:
    score = {
        "classes": ["negative", "positive"],
        "accuracy": 0.846,
        "precision": [0.84, 0.852],
        "recall": [0.855, 0.837],
        "f1": [0.847, 0.844],
        "confusion": [[912, 155], [173, 892]],
    }
    control = score | {"accuracy": 0.781, "confusion": [[840, 227], [240, 825]]}
    directory = write_stage(
        run,
        "classify",
        203,
        {**score, "control": control, "control_unit": "character", "majority": 0.5, "test_texts": 2132},
        name="sentiment",
    )
    for step in range(1, 200):
        append_json_line(directory / "metrics.jsonl", {"step": step, "loss": 0.7 * math.exp(-step / 80) + 0.2})
    return directory


def _instruct(run: Path) -> Path:
    directory = write_stage(
        run, "instruct", 164, {"dialogues": 480, "held_out_dialogues": 48, "loss_before": 4.412, "loss_after": 2.318}
    )
    for question, before, after in (
        ("Who are you?", "I am a\n\n\n## Question", "I am a small language model, tuned on this machine."),
        ("What is <b>love</b>?", "<b>Love</b> is a word.", "A deep affection. " + HOSTILE),
        ("한국어를 할 줄 아니?", "I'm sorry, I cannot.", "조금 할 줄 알아요."),
    ):
        append_json_line(directory / "answers.jsonl", {"question": question, "before": before, "after": after})
    return directory


@pytest.fixture(scope="session")
def stages(tmp_path_factory):
    """The directories of a finished run's stages."""
    return write_example_run(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture
def make_stage(tmp_path):
    """Writes the directory of one finished stage: make_stage(kind, result, name="", **record)."""
    return lambda kind, result, name="", **record: write_stage(tmp_path, kind, 1, result, name, **record)


@pytest.fixture
def hostile():
    """Text that the example run holds in a sample and in an answer."""
    return HOSTILE
