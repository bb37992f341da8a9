"""GRPO: the model tries several replies, a metric rewards them, and what is better than the rest becomes likelier.

Shao et al. 2024, with one gradient step for each set of replies, so without the ratio and its clipping, and without
a penalty for moving away. A LoRA is trained; begin with an SFT (`start`), for a model that is never right has nothing
to become likelier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bakeoff import plugins
from bakeoff.errors import ConfigError, DataError
from bakeoff.tuning import preferences, student, training
from bakeoff.tuning.rows import Row
from bakeoff.tuning.sampling import sample
from bakeoff.types import Answer, Checkpoint, Example

REWARDS = "rewards.csv"
"""Step and mean reward of its prompts, a line a step; part of the checkpoint."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt, and once it is tried a reply with what it was worth."""

    example: Example
    row: Row
    """Before: the prompt with the right reply, by which validation is measured."""
    advantage: float = 1.0

    @property
    def size(self) -> int:
        return len(self.row.ids)

    @property
    def weight(self) -> float:
        return 1.0


def tune(
    base: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    out: Path,
    *,
    seed: int = 0,
    reward: str = "recall",
    tries: int = 4,
    temperature: float = 1.0,
    max_tokens: int = 64,
    start: str = "",
    rank: int = 16,
    alpha: int = 32,
    targets: str = "all-linear",
    learning_rate: float = 1e-4,
    epochs: int = 1,
    patience: int = 0,
    batch_size: int = 4,
    max_length: int = 1024,
    progress: training.Progress | None = None,
) -> Checkpoint:
    """Train on prompts; `reward` names the metric (a plug-in, so your own too) that scores a reply, 0 to 1.

    `tries`: replies of up to `max_tokens` for each prompt. The mean reward of the first and of the last tenth of the
    steps is recorded, and at the end that of as many replies to each prompt of `valid`. Raises `DataError` where the
    metric cannot score an example.
    """
    student.positive("grpo", temperature=temperature, max_tokens=max_tokens)
    if tries < 2:
        raise ConfigError(f"grpo: tries is {tries}, but must be 2 or more: replies to a prompt are compared")
    metric = plugins.get("metrics", reward)

    def read(pupil: student.Student, model: Any) -> preferences.Lessons:
        items, valid_items = (
            [Asked(e, r) for e, r in zip(part, pupil.rows(part, max_length), strict=True)] for part in (train, valid)
        )
        rewards_file = out / REWARDS

        def rewarded(item: Asked, dice: int) -> tuple[list[Row], Tensor]:
            drawn = torch.Generator().manual_seed(dice)
            rows = _replies(pupil, model, item.row, tries, temperature, max_tokens, drawn)
            return rows, torch.tensor([_worth(metric, item.example, pupil, one) for one in rows])

        def tried(step: int, batch: Sequence[Asked]) -> list[Asked]:
            found, earned = [], []
            for number, item in enumerate(batch):
                rows, rewards = rewarded(item, ((seed * 1_000_003 + step) * 1_000_003 + number) % 2**63)
                earned.append(float(rewards.mean()))
                better = (rewards - rewards.mean()) / (rewards.std() + 1e-4)
                found += [Asked(item.example, one, float(by)) for one, by in zip(rows, better, strict=True)]
            with rewards_file.open("a") as file:
                file.write(f"{step},{sum(earned) / len(earned):.6f}\n")
            return found

        def facts() -> dict[str, float | None]:
            # The same numbers for every setting, so that a search compares settings and not draws.
            earned = [float(rewarded(item, number)[1].mean()) for number, item in enumerate(valid_items)]
            return {**_rise(rewards_file), "reward_valid": sum(earned) / len(earned) if earned else None}

        return preferences.Lessons(items, valid_items, _loss, facts, tried)

    return preferences.fit(
        "grpo",
        base,
        out,
        read,
        seed=seed,
        start=start,
        rank=rank,
        alpha=alpha,
        targets=targets,
        learning_rate=learning_rate,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        progress=progress,
    )


def _loss(model: training.Model, part: Sequence[Asked]) -> Tensor:
    found = training.logprobs(model, [item.row for item in part])
    return -(found * found.new_tensor([item.advantage / item.row.trained for item in part])).sum()


def _rise(file: Path) -> dict[str, float | None]:
    """Mean reward of the first and of the last tenth of the steps; of a step that was done twice, the second counts."""
    lines = file.read_text().splitlines() if file.is_file() else []
    earned = list({int(step): float(value) for step, _, value in (line.partition(",") for line in lines)}.values())
    if not earned:  # another process wrote it
        return {}
    tenth = max(1, len(earned) // 10)
    return {"reward_first": sum(earned[:tenth]) / tenth, "reward_last": sum(earned[-tenth:]) / tenth}


def _worth(metric: Any, example: Example, pupil: student.Student, made: Row) -> float:
    text = pupil.tokenizer.decode(list(made.ids[made.prompt :]), skip_special_tokens=True)
    score = metric(example, Answer(text))
    if score is None:
        raise DataError(f"example {example.id} cannot be scored by the metric that rewards; add a reference")
    return float(score)


def _replies(
    pupil: student.Student, model: student.Whole, row: Row, tries: int, temperature: float, longest: int, dice: Any
) -> list[Row]:
    """So many replies to the prompt of `row`, drawn at `temperature`; each ends with the end of the turn or is cut."""
    prompt = list(row.ids[: row.prompt])
    stop = pupil.tokenizer.token_to_id(pupil.template.eos)
    model.eval()
    with model.autocast():
        made = sample(model.model, prompt, tries, temperature=temperature, longest=longest, stop=stop, dice=dice)
    return [Row((*prompt, *tokens), len(prompt)) for tokens in made]
