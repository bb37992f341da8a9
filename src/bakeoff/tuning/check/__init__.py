"""Look for faults before anything is trained: in examples, in the model's files, and in how they fit together.

Loads tokenizer and chat template, never the weights. Each finding names what to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bakeoff.errors import BakeoffError, ModelError
from bakeoff.models import weights as files
from bakeoff.models.vocabulary import load_vocabulary
from bakeoff.tuning.check.data import data_problems
from bakeoff.tuning.check.estimates import Estimate, estimate, free_memory_mb
from bakeoff.tuning.check.lengths import NO_REPLY, Lengths, measure, text_tokens
from bakeoff.tuning.check.model import Base, model_problems
from bakeoff.tuning.check.private import private_problems, refuse_private
from bakeoff.tuning.check.problems import Problem, by_severity
from bakeoff.tuning.rows import replied
from bakeoff.types import Example

__all__ = [
    "Base",
    "Plan",
    "Preflight",
    "Problem",
    "Training",
    "by_severity",
    "check",
    "preflight",
    "read_base",
    "refuse_private",
    "usable",
]

MAX_LENGTH = 1024
"""What `lora` accepts by default."""


@dataclass(frozen=True, slots=True)
class Training:
    """What is to be trained: an entry of [tune]."""

    name: str
    method: str
    lessons: Callable[[Base], Sequence[Example]]
    """The examples as the method will see them, or a fair sample of them."""
    rows: int
    """How many are trained on in each epoch."""
    max_length: int = MAX_LENGTH
    batch_size: int = 4
    epochs: int = 2
    tokens_per_second: float = 0.0
    """Of an earlier training of the same base, where there is one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a training before it starts."""

    name: str
    lengths: Lengths
    cost: Estimate


@dataclass(frozen=True, slots=True)
class Preflight:
    """Everything that a check says."""

    problems: Sequence[Problem]
    parts: Mapping[str, int]
    """Part of the split -> examples."""
    usable: Mapping[str, int]
    """Method -> training examples that it could learn from."""
    plans: Sequence[Plan] = ()
    text_tokens: int = 0
    """Tokens of the running text to train on."""
    unchecked: str = ""
    """Why lengths and the model's files were not looked at."""
    read_as: str = ""
    """Format and conversion of the file."""


def check(
    train: Sequence[Example],
    valid: Sequence[Example],
    test: Sequence[Example] = (),
    *,
    allow_personal: bool = False,
    lengths: bool = True,
) -> list[Problem]:
    """All findings about the examples, errors first; `lengths` judges lengths by characters."""
    splits = {"train": train, "valid": valid, "test": test}
    everything = [example for split in splits.values() for example in split]
    return by_severity([*data_problems(splits, lengths=lengths), *private_problems(everything, allowed=allow_personal)])


def preflight(
    train: Sequence[Example],
    valid: Sequence[Example],
    test: Sequence[Example] = (),
    *,
    base: str = "",
    trainings: Sequence[Training] = (),
    checkpoints: Sequence[Path] = (),
    allow_personal: bool = False,
) -> Preflight:
    """All findings about the examples, the model `base`, how they fit together, and checkpoints trained on it.

    Without `trainings`, lengths are those of the questions and their answers by themselves.
    """
    try:
        model = read_base(base) if base else None
        unchecked, problems = "" if base else "no model is named", list[Problem]()
    except BakeoffError as error:
        missing = isinstance(error, ModelError) and "chat template" in str(error)
        model, unchecked = None, str(error)
        what, _, cure = str(error).rpartition("; ")
        problems = [Problem("error", base, what, cure, "template-missing")] if missing else []
    problems += check(train, valid, test, allow_personal=allow_personal, lengths=model is None)
    everything = [*train, *valid, *test]
    one_group = len({example.group or example.id for example in everything}) == 1 and len(everything) > 1
    if not train:
        cure = "add examples, or give `test` and `valid` smaller shares under [examples]"
        if one_group:
            cure = "all share one `group`, which is never divided; give examples the group of their document"
        problems.append(Problem("error", "train", "no training examples", cure, "no-training"))
    plans, tokens = [], 0
    if model:
        tokens = text_tokens(train, model)
        problems += model_problems(model)
        if any(problem.kind in ("renders-apart", "template-fails") for problem in problems):
            trainings, alone = (), []  # no row could be written
        else:
            alone = [*train, *valid]
        for training in trainings or [Training("lora", "lora", lambda _: alone, len(train))]:
            lengths, found = measure(training.lessons(model), model, training.max_length)
            # Whoever trains nothing needs no replies, and kto takes what there is.
            also = trainings and training.method != "kto"
            problems += [one for one in found if one not in problems and (also or one.kind != NO_REPLY)]
            if lengths.rows:
                plans.append(_plan(training, lengths, model))
        problems += _too_big(plans)
    for path in checkpoints:
        problems += _checkpoint(path)
    parts = {"train": len(train), "valid": len(valid), "test": len(test)}
    return Preflight(by_severity(problems), parts, usable(train), plans, tokens, unchecked)


def read_base(name: str) -> Base:
    """Template, tokenizer and tables of a model, by the name that `base` has in bakeoff.toml; raises `ModelError`."""
    weights = files.resolve(name)
    return Base(name, files.template(weights), load_vocabulary(weights), files.window(weights))


PAIRED = ("dpo", "kto", "orpo")
"""Methods that learn from rejected replies, too."""
NEEDED = {
    "head": "add examples with a `label`, or take a method that learns replies",
    "dpo": "add replies as `rejected` beside the right ones, or use lora",
    "orpo": "add replies as `rejected` beside the right ones, or use lora",
}
"""What to do where there is nothing that a method needs beyond what all need."""


def usable(train: Sequence[Example]) -> dict[str, int]:
    """Method -> examples that it could learn from; `pretrain` takes the documents where there are none."""
    learnt = [example for example in train if replied(example)]
    pairs = sum(bool(example.rejected.strip()) for example in learnt)
    replies = dict.fromkeys(("lora", "full", "freeze", "adapter", "prefix", "soft_prompt", "p_tuning"), len(learnt))
    return {
        "head": sum(bool(example.label) for example in train),
        **replies,
        "dpo": pairs,
        "orpo": pairs,
        "kto": sum(replied(example) or bool(example.rejected.strip()) for example in train),
        "grpo": len(learnt),
        "pretrain": sum(bool(example.text) for example in train),
    }


def _plan(training: Training, lengths: Lengths, base: Base) -> Plan:
    cost = estimate(
        base.vocabulary,
        lengths,
        batch_size=training.batch_size,
        method=training.method,
        epochs=training.epochs * training.rows / max(1, len(lengths.rows)),
        tokens_per_second=training.tokens_per_second,
    )
    return Plan(training.name, lengths, cost)


def _too_big(plans: Sequence[Plan]) -> list[Problem]:
    free = free_memory_mb()
    return [
        Problem(
            "warning",
            plan.name,
            f"training may take {plan.cost.memory_mb / 1000:.1f} GB, and {free / 1000:.1f} GB are free",
            "make batch_size or max_length smaller, name a smaller base, or use a larger machine",
            "memory",
        )
        for plan in plans
        if free and plan.cost.memory_mb > free
    ]


def _checkpoint(path: Path) -> list[Problem]:
    """Whether a checkpoint still belongs to the weights and the template that stand under its base's name."""
    manifest = json.loads((path / "checkpoint.json").read_text(encoding="utf-8"))
    try:
        base = files.resolve(manifest["base"])
        template = files.template(base)
    except BakeoffError as error:
        what, _, cure = str(error).rpartition("; ")
        return [Problem("error", str(path), f"its base: {what}", cure, "other-base")]
    again = f"name the weights it was trained on, or run `bakeoff tune {path.name}` again"
    if base.fingerprint != manifest["base_fingerprint"]:
        what = f"it was trained on other weights than today's {manifest['base']!r}"
        return [Problem("error", str(path), what, again, "other-base")]
    if manifest.get("template_sha256", template.sha256) != template.sha256:
        what = "it was trained with another chat template than today's: it would be asked in a form it has not learnt"
        return [Problem("error", str(path), what, again, "other-template")]
    return []
