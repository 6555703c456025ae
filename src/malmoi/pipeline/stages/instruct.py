"""Fine-tune an assistant on dialogues; the loss is on the answers alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from malmoi.core.config import Settings
from malmoi.core.console import console, progress
from malmoi.core.errors import UserError
from malmoi.core.files import append_json_line, read_json_lines
from malmoi.core.hashing import text_digest
from malmoi.data.dialogues import Dialogue, EncodedDialogue, collate_dialogues, encode_dialogues, read_dialogues
from malmoi.data.rows import Rows
from malmoi.formats.adapter import has_places, save_adapter
from malmoi.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from malmoi.generate.generator import collect, generate
from malmoi.generate.sampling import SamplingSettings
from malmoi.layers.low_rank import apply_low_rank, merge_low_rank
from malmoi.models.language_model import LanguageModel
from malmoi.objectives.causal import Causal
from malmoi.pipeline.costs import ASSUMED_TOKENS, UNKNOWN, Training, language_model_shape, token_estimate
from malmoi.pipeline.stage import Estimate, Stage, StageInput
from malmoi.pipeline.stages.fetch import MANIFEST, manifest_files
from malmoi.sources.fetch import fetch_source, fetch_weights
from malmoi.tokenizers.chat import DEFAULT_TEMPLATE, encode_prompt
from malmoi.tokenizers.tokenizer import Tokenizer
from malmoi.train.settings import TrainerSettings
from malmoi.train.trainer import Trainer

ANSWERS = "answers.jsonl"

VALIDATIONS = 4
"""While learning; one more comes before."""


class InstructSettings(Settings):
    """Settings of the stage.

    Attributes:
        base: a stage or checkpoint to start from; by default the public weights named in `weights`.
        weights: a card of public weights.
        fetch: a fetch stage that has the dialogues of `source`.
        source: a card of dialogues.
        file: your own file of dialogues, instead of `fetch` and `source`.
        train: "lora" trains low-rank differences and merges them at the end, "all" trains every weight.
        rank: of the differences.
        limit: most dialogues to learn from, too long ones not counted; 0 for all.
        held_out: share of the dialogues that is not learned from; chosen by the question, so that a question with
            several answers is on one side only.
        longest: longer dialogues, in tokens, are left out.
        rows: dialogues in a step.
        epochs: how often each dialogue is seen.
        learning_rate: of AdamW.
        questions: answered before and after; by default some held-out ones.
        answer_tokens: longest answer shown.
        seed: of the order and of the first low-rank weights.
    """

    base: StageInput | None = None
    weights: str = "smollm2-135m-instruct"
    fetch: StageInput | None = None
    source: str = "chatterbot-english"
    file: StageInput | None = None
    train: Literal["lora", "all"] = "lora"
    rank: PositiveInt = 8
    limit: NonNegativeInt = 480
    held_out: float = Field(0.05, gt=0, lt=1)
    longest: PositiveInt = 96
    rows: PositiveInt = 8
    epochs: PositiveFloat = 1
    learning_rate: PositiveFloat = 1e-3
    questions: list[str] = []
    answer_tokens: PositiveInt = 32
    seed: int = 0


def run(settings: InstructSettings, directory: Path) -> dict[str, Any]:
    """Write `model/` (merged), `adapter/` (what LoRA learned, for `peft`), `answers.jsonl` and `metrics.jsonl`."""
    checkpoint = _base(settings)
    model, tokenizer = checkpoint.language_model, checkpoint.tokenizer
    if tokenizer.chat_template is None:
        tokenizer.chat_template = DEFAULT_TEMPLATE
    train, held_out, longer = _encoded(settings, tokenizer)
    rows = Rows(
        train,
        held_out,
        length=lambda dialogue: len(dialogue.ids),
        collate=collate_dialogues,
        rows=settings.rows,
        seed=settings.seed,
    )
    questions = settings.questions or list(dict.fromkeys(dialogue.question for dialogue in held_out))[:6]
    before = _answer_before(model, tokenizer, questions, settings, directory)
    if settings.train == "lora":
        apply_low_rank(model, settings.rank, 2.0 * settings.rank, seed=settings.seed)
    steps = rows.steps(settings.epochs)
    trainer = TrainerSettings(
        steps=steps,
        optimizer="adamw",
        learning_rate=settings.learning_rate,
        warm_up=max(1, steps // 20),
        cool_down=0.9,
        validate_every=math.ceil(steps / VALIDATIONS),
        seed=settings.seed,
    )
    learner = Trainer(model, Causal(), rows, trainer, directory)
    loss_before = _first_loss(learner, directory)
    result = learner.run()
    if settings.train == "lora":
        if has_places(model):
            save_adapter(directory / "adapter", model, str(settings.base or settings.weights))
        merge_low_rank(model)
    after = _answers(model, tokenizer, questions, settings, "answers after")
    (directory / ANSWERS).unlink()
    for question, first, last in zip(questions, before, after, strict=True):
        append_json_line(directory / ANSWERS, {"question": question, "before": first, "after": last})
    facts = {
        "dialogues": len(train),
        "held_out_dialogues": len(held_out),
        "too_long": longer,
        "train": settings.train,
        "steps": result.steps,
        "learned_tokens": result.items,
        "training_seconds": round(result.seconds, 1),
        "precision": result.precision,
        "loss_before": loss_before,
        "loss_after": result.validation_loss,
    }
    save_checkpoint(directory / "model", model, tokenizer, _card(settings, facts))
    console.print(f"  loss on held-out answers {loss_before:.3f} before, {result.validation_loss:.3f} after")
    return facts


def _base(settings: InstructSettings) -> Checkpoint:
    return load_checkpoint(settings.base if settings.base is not None else fetch_weights(settings.weights))


def _split(settings: InstructSettings) -> tuple[list[Dialogue], list[Dialogue]]:
    if settings.file is not None:
        paths = [settings.file]
    elif settings.fetch is not None:
        paths = manifest_files(settings.fetch, settings.source)
    else:
        paths = fetch_source(settings.source)
    dialogues = sorted(
        (dialogue for path in paths for dialogue in read_dialogues(path)),
        key=lambda dialogue: text_digest(f"{settings.seed}" + "\n".join(message["content"] for message in dialogue)),
    )
    held_out = [dialogue for dialogue in dialogues if _is_held_out(dialogue, settings.held_out)]
    train = [dialogue for dialogue in dialogues if not _is_held_out(dialogue, settings.held_out)]
    for part, purpose, change in ((train, "to learn from", "lower"), (held_out, "to hold out", "raise")):
        if not part:
            raise UserError(
                f"Of {len(dialogues)} dialogues none is left {purpose}.", f"Add dialogues, or {change} held_out."
            )
    return train, held_out


def _sizes(settings: InstructSettings, train: list[Dialogue]) -> tuple[int, int]:
    """Most dialogues to learn from and to hold out."""
    most = settings.limit or len(train)
    return most, max(16, most // 10)


def _is_held_out(dialogue: Dialogue, share: float) -> bool:
    question = dialogue[0]["content"].casefold()
    return int.from_bytes(text_digest(question)[:4], "little") / 2**32 < share


def _encoded(
    settings: InstructSettings, tokenizer: Tokenizer
) -> tuple[list[EncodedDialogue], list[EncodedDialogue], int]:
    """The dialogues to learn from, those held out, and how many were left out as too long."""
    parts = _split(settings)
    found = []
    for dialogues, most, purpose in zip(parts, _sizes(settings, parts[0]), ("learn from", "hold out"), strict=True):
        encoded, longer = encode_dialogues(tokenizer, dialogues, settings.longest, most)
        if not encoded:
            raise UserError(
                f"All {len(dialogues):,} dialogues to {purpose} have more than {settings.longest} tokens.",
                "Raise longest, or add shorter dialogues.",
            )
        found.append((encoded, longer))
    (train, longer), (held_out, also_longer) = found
    if too_long := longer + also_longer:
        console.print(f"  {too_long:,} dialogues left out: more than {settings.longest} tokens")
    return train, held_out, too_long


def _answer_before(
    model: LanguageModel, tokenizer: Tokenizer, questions: list[str], settings: InstructSettings, directory: Path
) -> list[str]:
    """Answers of the untouched base, kept for a run that is killed and goes on with trained weights."""
    path = directory / ANSWERS
    if path.exists():
        kept = [record["before"] for record in read_json_lines(path)]
        if len(kept) == len(questions):
            return kept
        path.unlink()
    answers = _answers(model, tokenizer, questions, settings, "answers before")
    for question, answer in zip(questions, answers, strict=True):
        append_json_line(path, {"question": question, "before": answer, "after": ""})
    return answers


def _answers(
    model: LanguageModel, tokenizer: Tokenizer, questions: list[str], settings: InstructSettings, title: str
) -> list[str]:
    """Greedy answers, so that before and after differ by the weights alone; an ellipsis where the limit cut one."""
    sampling = SamplingSettings(temperature=0, maximum_tokens=settings.answer_tokens)
    answers = []
    with progress(title, len(questions)) as advance:
        for question in questions:
            prompt = encode_prompt(tokenizer, [{"role": "user", "content": question}])
            answer = collect(generate(model, tokenizer, prompt, sampling))
            answers.append(answer.text.strip() + ("…" if answer.finish_reason == "length" else ""))
            advance(1)
    return answers


def _first_loss(learner: Trainer, directory: Path) -> float:
    """Validation loss of the untouched base, measured once and read back when a killed run goes on."""
    path = directory / "before.jsonl"
    kept = list(read_json_lines(path)) if path.exists() else []
    if kept:
        return float(kept[0]["validation_loss"])
    with torch.no_grad():
        loss = learner.validate()["validation_loss"]
    append_json_line(path, {"validation_loss": loss})
    return loss


def _card(settings: InstructSettings, facts: dict[str, Any]) -> str:
    base = settings.base.name if settings.base is not None else settings.weights
    data = settings.file.name if settings.file is not None else settings.source
    left_out = f", {facts['too_long']} of more than {settings.longest} tokens left out" if facts["too_long"] else ""
    return (
        f"# An assistant fine-tuned from {base}\n\n"
        f"Trained by malmoi on {facts['dialogues']} dialogues of {data} ({settings.train}, {facts['steps']} steps, "
        f"seed {settings.seed}{left_out}); the loss is on the answers alone. Loss on held-out answers: "
        f"{facts['loss_before']:.3f} before, {facts['loss_after']:.3f} after. "
        "It may say what is not so; check what matters.\n"
    )


def estimate(settings: InstructSettings) -> Estimate:
    """Time and memory, from the dialogues when they are here and else from `limit`."""
    config = language_model_shape(settings.base, settings.weights)
    here = settings.file or (settings.fetch and (settings.fetch / MANIFEST).is_file())
    if config is None or not (here or settings.limit):
        return UNKNOWN
    if here:
        parts = _split(settings)
        learned, scored = (
            sum(token_estimate(json.dumps(dialogue, ensure_ascii=False), settings.longest) for dialogue in part[:most])
            for part, most in zip(parts, _sizes(settings, parts[0]), strict=True)
        )
    else:
        learned, scored = settings.limit * ASSUMED_TOKENS, settings.limit // 10 * ASSUMED_TOKENS
    training = Training(
        config=config,
        learned=learned,
        scored=(VALIDATIONS + 1) * scored,
        epochs=settings.epochs,
        batch=settings.rows * settings.longest,
        head=True,
        adapters=settings.train == "lora",
    )
    words = f"about {training.learned:,} tokens to learn from" + ("" if here else ", if the texts are short")
    return Estimate(training.seconds(), training.memory(), (words,))


STAGE = Stage(InstructSettings, run, estimate)
