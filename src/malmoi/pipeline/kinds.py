"""The registry of stages: one entry a kind. Imports nothing, so that `malmoi --help` can list it at once."""

from typing import NamedTuple


class Kind(NamedTuple):
    """Where a kind of stage is defined, what it does in one sentence, and what may stand behind its name."""

    module: str
    about: str
    example: str


STAGES = {
    "fetch": Kind(
        "malmoi.pipeline.stages.fetch",
        "Get named sources by their cards, checked by sha256.",
        "sources=[shakespeare] --out shakespeare",
    ),
    "crawl": Kind(
        "malmoi.pipeline.stages.crawl",
        "Fetch the pages of your own web sites, into WARC archives.",
        "urls=https://example.com contact=you@example.com --out my-site",
    ),
    "corpus": Kind(
        "malmoi.pipeline.stages.corpus",
        "Read, normalise, filter and deduplicate documents.",
        "folder=~/texts --out my-corpus",
    ),
    "tokenizer": Kind(
        "malmoi.pipeline.stages.tokenizer",
        "Train a tokenizer: byte-level BPE, characters or words.",
        "corpus=my-corpus vocabulary=4096 --out my-tokenizer",
    ),
    "pretrain": Kind(
        "malmoi.pipeline.stages.pretrain",
        "Train a base model from scratch in a number of minutes.",
        "corpus=my-corpus tokenizer=my-tokenizer minutes=5 --out my-model",
    ),
    "pretrain-encoder": Kind(
        "malmoi.pipeline.stages.pretrain_encoder",
        "Train an encoder on hidden words and pairs.",
        "corpus=my-corpus tokenizer=my-tokenizer minutes=10 --out my-encoder",
    ),
    "evaluate": Kind(
        "malmoi.pipeline.stages.evaluate",
        "Bits per byte on held-out text, beside simple models.",
        "checkpoint=my-model corpus=my-corpus --out my-evaluation",
    ),
    "compare": Kind(
        "malmoi.pipeline.stages.compare",
        "Models on the same text: loss along the context, costs.",
        "checkpoints=[runs/long/dense,runs/long/window] corpus=runs/long/corpus",
    ),
    "scaling": Kind(
        "malmoi.pipeline.stages.scaling",
        "Train a ladder of sizes, fit the law, predict the next.",
        "corpus=my-corpus tokenizer=my-tokenizer --out my-ladder",
    ),
    "translator": Kind(
        "malmoi.pipeline.stages.translator",
        "Train a translator from pairs of texts.",
        "files=[train.en,train.de] languages=[en,de] --out my-translator",
    ),
    "classify": Kind(
        "malmoi.pipeline.stages.classify",
        "Fine-tune a classifier on labelled texts.",
        "file=reviews.tsv text=review label=stars --out my-classifier",
    ),
    "questions": Kind(
        "malmoi.pipeline.stages.questions",
        "Fine-tune an encoder that finds answers in passages.",
        "file=squad.json --out my-answers",
    ),
    "label-words": Kind(
        "malmoi.pipeline.stages.label_words",
        "Train an encoder that gives every word a label.",
        "file=names.conll --out my-names",
    ),
    "classify-images": Kind(
        "malmoi.pipeline.stages.classify_images",
        "Train a classifier of images.",
        "images=~/pictures weights=efficientnet-lite0 train=head --out my-images",
    ),
    "generate-images": Kind(
        "malmoi.pipeline.stages.generate_images",
        "Train a generator of images (GAN).",
        "judge=runs/digits/classify-images --out my-digits",
    ),
    "classic": Kind(
        "malmoi.pipeline.stages.classic",
        "Sort texts by hand-made features, naive Bayes, words.",
        "file=messages.tsv text=message label=kind --out my-classic",
    ),
    "instruct": Kind(
        "malmoi.pipeline.stages.instruct",
        "Fine-tune an assistant on dialogues.",
        "file=dialogues.jsonl --out my-assistant",
    ),
    "few-shot": Kind(
        "malmoi.pipeline.stages.few_shot",
        "Tasks from examples in the prompt, without training.",
        "checkpoint=my-model file=pairs.tsv tasks.spelling.kind=answer --out my-answers",
    ),
    "compress": Kind(
        "malmoi.pipeline.stages.compress",
        "Hold a checkpoint in fewer numbers, beside the original.",
        "checkpoint=my-model corpus=my-corpus recipe=int8 --out my-small-model",
    ),
    "distil": Kind(
        "malmoi.pipeline.stages.distil",
        "Teach a smaller model what a larger one answers.",
        "teacher=my-model corpus=my-corpus layers=2 --out my-student",
    ),
    "report": Kind(
        "malmoi.pipeline.stages.report",
        "Write one self-contained page about a run.",
        "stages=[my-corpus,my-model,my-evaluation] --out my-report",
    ),
}
"""Kind of stage -> its module, imported only when the stage is used."""
