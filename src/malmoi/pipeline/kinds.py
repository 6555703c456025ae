"""The registry of stages: one line a kind. Imports nothing, so that `malmoi --help` can list it at once."""

from typing import NamedTuple


class Kind(NamedTuple):
    """Where a kind of stage is defined, and what it does in one sentence."""

    module: str
    about: str


STAGES = {
    "fetch": Kind("malmoi.pipeline.stages.fetch", "Get named sources by their cards, checked by sha256."),
    "crawl": Kind("malmoi.pipeline.stages.crawl", "Fetch the pages of your own web sites, into WARC archives."),
    "corpus": Kind("malmoi.pipeline.stages.corpus", "Read, normalise, filter and deduplicate documents."),
    "tokenizer": Kind("malmoi.pipeline.stages.tokenizer", "Train a tokenizer: byte-level BPE, characters or words."),
    "pretrain": Kind("malmoi.pipeline.stages.pretrain", "Train a base model from scratch in a number of minutes."),
    "pretrain-encoder": Kind("malmoi.pipeline.stages.pretrain_encoder", "Train an encoder on hidden words and pairs."),
    "evaluate": Kind("malmoi.pipeline.stages.evaluate", "Bits per byte on held-out text, beside simple models."),
    "compare": Kind("malmoi.pipeline.stages.compare", "Models on the same text: loss along the context, costs."),
    "translator": Kind("malmoi.pipeline.stages.translator", "Train a translator from pairs of texts."),
    "classify": Kind("malmoi.pipeline.stages.classify", "Fine-tune a classifier on labelled texts."),
    "classify-images": Kind("malmoi.pipeline.stages.classify_images", "Train a classifier of images."),
    "generate-images": Kind("malmoi.pipeline.stages.generate_images", "Train a generator of images (GAN)."),
    "classic": Kind("malmoi.pipeline.stages.classic", "Sort texts by hand-made features, naive Bayes, words."),
    "instruct": Kind("malmoi.pipeline.stages.instruct", "Fine-tune an assistant on dialogues."),
    "few-shot": Kind("malmoi.pipeline.stages.few_shot", "Tasks from examples in the prompt, without training."),
    "report": Kind("malmoi.pipeline.stages.report", "Write one self-contained page about a run."),
}
"""Kind of stage -> its module, imported only when the stage is used."""
