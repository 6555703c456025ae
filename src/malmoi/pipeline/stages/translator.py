"""Train a translator from pairs of texts, beside copying and a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from malmoi.core.console import console
from malmoi.core.errors import UserError
from malmoi.core.files import append_json_line, read_json, read_json_lines, write_json
from malmoi.data.pair_batches import PairBatches
from malmoi.data.pairs import Pair, PairSplits
from malmoi.evaluate.translation import signatures
from malmoi.formats.checkpoint import save_checkpoint
from malmoi.generate.translate import translate
from malmoi.models.seq2seq import EncoderDecoder
from malmoi.models.seq2seq_config import EncoderDecoderConfig
from malmoi.models.seq2seq_shapes import as_published
from malmoi.objectives.sequence_to_sequence import SequenceToSequence
from malmoi.pipeline.pretraining.plan import keep_steps
from malmoi.pipeline.stage import Stage
from malmoi.pipeline.translation_pairs import encode_pairs, print_left_out, read_translation_pairs
from malmoi.pipeline.translator_plan import TranslatorSettings, derive_plan, estimate, first_weights, model_config
from malmoi.pipeline.translator_results import TRANSLATIONS, measure, write_attention
from malmoi.tokenizers.load import load_tokenizer
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.tokenizers.train import TokenizerSettings, train_tokenizer
from malmoi.train.result import TrainingResult, perplexity
from malmoi.train.samples import Samples
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

PLAN, SAMPLES, TEXTS, TOKENIZER = "plan.json", "samples.jsonl", "texts.json", "tokenizer"

SAMPLED = 13
"""Times that some texts are translated on the way, the first before anything is learned."""

WATCHED = 3
"""Held-out texts that are translated while it learns."""


def run(settings: TranslatorSettings, directory: Path) -> dict[str, Any]:
    """Train into `directory`: `model/`, `plan.json`, `metrics.jsonl`, `samples.jsonl`, and what `measure` writes."""
    signatures()  # whether translations can be scored, before anything is learned
    splits = read_translation_pairs(settings)
    tokenizer = _tokenizer(settings, splits.train, directory / TOKENIZER)
    splits, batches = _encode(settings, splits, tokenizer)
    if not (directory / PLAN).exists():
        write_json(directory / PLAN, derive_plan(settings, model_config(settings, tokenizer), batches))
    plan = read_json(directory / PLAN)
    steps, epochs = plan["trainer"]["steps"], plan["epochs"]
    console.print(f"  {plan['parameters']:,} parameters, {len(splits.train):,} pairs, {steps:,} steps, {epochs} epochs")
    model = first_weights(EncoderDecoderConfig(**plan["model"]), settings.seed)

    def sample(step: int) -> None:
        _write_samples(model, tokenizer, splits.validation[:WATCHED], step, directory / SAMPLES)

    objective = SequenceToSequence(settings.smoothing)
    samples = Samples(SAMPLED, sample)
    trainer = Trainer(model, objective, batches, TrainerSettings(**plan["trainer"]), directory, samples)
    result = trainer.run()
    keep_steps(directory / PLAN, trainer.settings)
    plan["epochs"] = round(result.steps * settings.slots / batches.batches, 2)
    figures = measure(model, tokenizer, splits.train, splits.test, settings.beams, directory)
    write_attention(model, tokenizer, read_json(directory / TRANSLATIONS)["pairs"], directory)
    targets = translate(model, tokenizer, settings.texts, None, settings.beams)
    write_json(directory / TEXTS, [list(pair) for pair in zip(settings.texts, targets, strict=True)])
    facts = _facts(splits, plan, result, directory) | figures
    save_checkpoint(directory / "model", as_published(model, settings.beams), tokenizer, _card(settings, facts))
    dictionary, copied = (facts["controls"][name] for name in ("dictionary", "copy"))
    console.print(
        f"  BLEU {facts['bleu']:.1f}, chrF {facts['chrf']:.1f} on {len(splits.test):,} held-out pairs; word by word "
        f"{dictionary['bleu']:.1f} and {dictionary['chrf']:.1f}, copying {copied['bleu']:.1f} and {copied['chrf']:.1f}"
    )
    return facts


def _tokenizer(settings: TranslatorSettings, pairs: list[Pair], directory: Path) -> Tokenizer:
    """The vocabulary of both sides of the pairs, learned once."""
    if not (directory / "tokenizer.json").is_file():
        texts = (text for pair in pairs for text in (pair.source, pair.target))
        wanted = TokenizerSettings(vocabulary=settings.vocabulary)
        train_tokenizer(texts, wanted, at_most="vocabulary" not in settings.model_fields_set).save(directory)
    return load_tokenizer(directory)


def _encode(settings: TranslatorSettings, splits: PairSplits, tokenizer: Tokenizer) -> tuple[PairSplits, PairBatches]:
    """The pairs that are not too long, and batches of them; says what is left out.

    Raises:
        UserError: all are too long.
    """
    context, left_out = 2 * settings.longest, splits.left_out
    train, learned = encode_pairs(tokenizer, splits.train, settings.longest, left_out)
    validation, watched = encode_pairs(tokenizer, splits.validation, context, left_out)
    test, _ = encode_pairs(tokenizer, splits.test, context, left_out)
    print_left_out(left_out)
    for title, part, limit in (("learn from", train, settings.longest), ("test on", test, context)):
        if not part:
            raise UserError(f"No pair to {title} has {limit} tokens or fewer on each side.", "Raise longest.")
    batches = PairBatches(learned, watched, tokenizer.end, settings.tokens, settings.slots, settings.seed)
    return PairSplits(train, validation, test, left_out), batches


def _write_samples(model: EncoderDecoder, tokenizer: Tokenizer, pairs: list[Pair], step: int, path: Path) -> None:
    """Translate some texts once a step, also when a killed run comes by the same step again."""
    if path.exists() and any(line["step"] == step for line in read_json_lines(path)):
        return
    texts = translate(model, tokenizer, [pair.source for pair in pairs], 64, beams=1)
    for pair, text in zip(pairs, texts, strict=True):
        append_json_line(path, {"step": step, "prompt": pair.source, "text": text, "wanted": pair.target})


def _facts(splits: PairSplits, plan: dict[str, Any], result: TrainingResult, directory: Path) -> dict[str, Any]:
    """What the report and the card show beside the figures."""
    records = [
        record for record in read_json_lines(directory / "metrics.jsonl") if "validation_cross_entropy" in record
    ]
    return {
        "train_pairs": len(splits.train),
        "validation_pairs": len(splits.validation),
        "test_pairs": len(splits.test),
        "left_out": dict(splits.left_out.counts),
        "left_out_places": splits.left_out.places,
        "parameters": plan["parameters"],
        "layers": plan["model"]["layers"],
        "decoder_layers": plan["model"]["decoder_layers"],
        "width": plan["model"]["width"],
        "vocabulary": plan["model"]["vocabulary"],
        "steps": result.steps,
        "epochs": plan["epochs"],
        "tokens": result.items,
        "training_seconds": round(result.seconds, 1),
        "precision": result.precision,
        "validation_loss": result.validation_loss,
        "perplexity": perplexity(records[-1]["validation_cross_entropy"]) if records else None,
    }


def _card(settings: TranslatorSettings, facts: dict[str, Any]) -> str:
    data = ", ".join(settings.sources or [path.name for path in settings.files])
    ours, theirs = settings.languages
    dictionary = facts["controls"]["dictionary"]
    return (
        f"# A translator from {ours} to {theirs} of {facts['parameters']:,} parameters\n\n"
        f"Trained from scratch by malmoi on {facts['train_pairs']:,} pairs of {data}: {facts['steps']:,} steps, "
        f"{facts['epochs']} epochs, {facts['training_seconds']:.0f} s, {facts['precision']}, seed {settings.seed}. "
        f"On {facts['test_pairs']:,} held-out pairs BLEU {facts['bleu']:.1f} and chrF {facts['chrf']:.1f} with "
        f"{facts['beams']} beams ({facts['signatures']['bleu']}); a dictionary word by word {dictionary['bleu']:.1f} "
        f"and {dictionary['chrf']:.1f}. What is unlike these pairs it translates badly.\n"
    )


STAGE = Stage(TranslatorSettings, run, estimate)
