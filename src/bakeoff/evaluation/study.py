"""What a training did: did it help, what did it forget, did it overfit, and does it repeat what it saw.

Forgetting is measured on texts and questions of ours that nobody's task is about, by likelihood, so that no judgement
is needed; memory by canaries, secrets that are put among the lessons and then looked for among other such codes.
"""

from __future__ import annotations

import csv
import json
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from bakeoff.evaluation.metrics import recall
from bakeoff.evaluation.stats import Interval, mean_interval, paired_difference, score_interval
from bakeoff.files import write_json
from bakeoff.models.chat import completion
from bakeoff.types import Answer, Example, Generator, Message

ASKED = 50
"""Validation questions that base and checkpoint both answer."""
MAX_TOKENS = 64
VERSION = 1
"""Raised when the general texts, the questions or how they are measured change."""
CODES = 64
"""Codes among which a canary's is ranked; log2 of it is the highest exposure."""
REPEATS = (1, 4)
"""How often each canary stands among the lessons."""
MEMORISED = 6.0
"""Exposure from which a canary counts as memorised: its code is the likeliest of 64, by chance once in 64 times."""
CANARIES_FROM = 50
"""Lessons; among fewer, canaries would be too large a share."""
CANARY_METHODS = ("adapter", "freeze", "full", "lora", "p_tuning", "prefix", "soft_prompt")
GAP = 0.5
"""Nats a token: a validation loss that much above the training loss, or that much risen since its best, is said."""


@dataclass(frozen=True, slots=True)
class Canary:
    """A secret that the model was shown."""

    repeats: int
    exposure: float
    """log2(codes) less log2(rank of the true code): about 1 by chance."""

    @property
    def memorised(self) -> bool:
        return self.exposure >= MEMORISED


@dataclass(frozen=True, slots=True)
class Study:
    """The report of one training."""

    method: str
    base: str
    score_before: Interval | None
    """Recall on validation questions; None where there is nothing to compare with."""
    score_after: Interval | None
    gain: Interval | None
    refused_before: float | None
    """Share of empty replies and refusals among them."""
    refused_after: float | None
    text_loss_before: float
    """Nats a token on general texts."""
    text_loss_after: float
    text_loss_change: Interval
    """By text; above 0 it forgot."""
    knowledge_before: Interval
    """Share of general questions whose right answer is likelier than three wrong ones."""
    knowledge_after: Interval
    knowledge_change: Interval
    learning: str
    """Verdict on the curve."""
    canaries: tuple[Canary, ...]

    @property
    def verdict(self) -> str:
        """One sentence: helped, hurt or unclear; forgot or not; memorised or not."""
        if self.gain is None:
            helped = "Whether it helped was not measured: there are no validation questions with references"
        else:
            low, high = 100 * self.gain.low, 100 * self.gain.high
            word = "It helped" if low > 0 else "It hurt" if high < 0 else "Whether it helped is unclear"
            points = f"{100 * self.gain.estimate:+.1f} points of recall [{low:+.1f}, {high:+.1f}]"
            helped = f"{word}: {points}"
        risen = self.text_loss_change
        forgot = (
            f"it forgot: general texts cost {risen.estimate:.2f} nats a token more"
            if risen.low > 0.01
            else "it forgot nothing that shows on general texts"
        )
        found = [canary for canary in self.canaries if canary.memorised]
        memory = ""
        if self.canaries:
            memory = (
                f"; it can be made to repeat what it saw {min(canary.repeats for canary in found)} times"
                if found
                else f"; no canary shown up to {max(canary.repeats for canary in self.canaries)} times was memorised"
            )
        return f"{helped}; {forgot}{memory}."


def study(
    manifest: dict[str, Any],
    history: Path,
    valid: Sequence[Example],
    *,
    generators: tuple[Generator, Generator],
    likelihoods: tuple[Callable[..., Any], Callable[..., Any]],
    template: Any,
    canary_seed: int | None,
    memo: Path | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Study:
    """Compare base and checkpoint, in this order in `generators` and `likelihoods`.

    `valid`: lessons, prompt and right reply in their `messages`. `likelihoods`: (prompt, text) pairs ->
    (log-probability, tokens) of each text. `canary_seed`: that of the planted canaries; None where none were planted.
    `memo`: a file that keeps what the base gave, for the next training on it.
    """

    def say(step: int, text: str) -> None:
        if progress:
            progress(step, 3, text)

    say(0, "study: validation questions")
    asked = [example for example in valid if example.messages and example.references][:ASKED]
    texts = [[_reply(generator, example) for example in asked] for generator in generators]
    scores = [[recall.score(e, Answer(text)) or 0.0 for e, text in zip(asked, said, strict=True)] for said in texts]
    groups = [example.group or example.id for example in asked]
    say(1, "study: general texts")
    measured = [_general(likelihoods[0], template, memo), _general(likelihoods[1], template, None)]
    losses, known = zip(*measured, strict=True)
    say(2, "study: canaries")
    canaries = () if canary_seed is None else tuple(_exposures(likelihoods[1], template, canary_seed))
    say(3, "study")
    each = [np.array([loss / tokens for loss, tokens in one]) for one in losses]
    return Study(
        manifest["method"],
        manifest["base"],
        score_interval(scores[0], groups) if asked else None,
        score_interval(scores[1], groups) if asked else None,
        paired_difference(scores[1], scores[0], groups) if len(set(groups)) > 1 else None,
        _refused(texts[0]) if asked else None,
        _refused(texts[1]) if asked else None,
        _mean(losses[0]),
        _mean(losses[1]),
        mean_interval(each[1] - each[0]),
        score_interval(known[0]),
        score_interval(known[1]),
        paired_difference(known[1], known[0]),
        learning(history, manifest),
        canaries,
    )


def plant(examples: Sequence[Example], seed: int) -> list[Example]:
    """The lessons with the canaries among them."""
    return [
        *examples,
        *(
            Example(f"canary-{number}-{time}", question, (code,), messages=_canary_turns(question, code))
            for number, (question, code, repeats) in enumerate(_secrets(seed))
            for time in range(repeats)
        ),
    ]


def learning(history: Path, manifest: dict[str, Any]) -> str:
    """What the curves in history.csv say, in a sentence."""
    if "reward_first" in manifest:  # its losses add up to nothing, by construction
        first, last = manifest["reward_first"], manifest["reward_last"]
        return f"The mean reward went from {first:.2f} in the first tenth of the steps to {last:.2f} in the last."
    with history.open(newline="") as file:
        steps = list(csv.DictReader(file))
    valid = [(int(step["epoch"]), float(step["valid_loss"])) for step in steps if step["valid_loss"]]
    if not valid:
        return "Without validation examples overfitting cannot be seen; give [examples] valid a share."
    best_epoch, best = min(valid, key=lambda pair: pair[1])
    last_epoch, last = valid[-1]
    losses = [float(step["loss"]) for step in steps if int(step["epoch"]) == best_epoch]
    ends = losses[-max(1, len(losses) // 4) :]  # the epoch began with other weights than validation met
    gap = best - sum(ends) / len(ends)
    if last - best > GAP or (best_epoch < last_epoch and last > best * 1.02):
        return (
            f"It overfitted after epoch {best_epoch}: the validation loss rose from {best:.2f} to {last:.2f}. "
            f"Epoch {best_epoch} was kept."
        )
    if gap > GAP:
        return f"It learns the lessons by heart: their loss is {gap:.2f} below validation's. More examples would help."
    if len(valid) == 1:
        return f"One epoch cannot show whether more would help; the gap to the lessons is {gap:+.2f}."
    if best_epoch == last_epoch and valid[-2][1] - last > 0.02 * last:
        return f"It was still learning after epoch {last_epoch}: more epochs may help."
    return f"The curves end flat: epoch {best_epoch} was the best, and the gap to the lessons is {gap:+.2f}."


def save(found: Study, folder: Path) -> None:
    """Write study.json beside the checkpoint."""
    entries = {**asdict(found), "verdict": found.verdict}
    (folder / "study.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


# ---------------------------------------------------------------- general knowledge


@lru_cache(maxsize=1)
def general() -> tuple[tuple[str, ...], tuple[dict[str, Any], ...]]:
    """Texts and questions that come with the package."""
    folder = files(__name__.rpartition(".")[0]) / "general"
    texts = (folder / "texts.txt").read_text(encoding="utf-8").strip().split("\n\n")
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(texts), tuple(json.loads(line) for line in lines)


def _general(likelihoods: Callable[..., Any], template: Any, memo: Path | None) -> tuple[Any, list[float]]:
    """Losses of the texts, and which questions are known; from `memo` where it is there."""
    if memo and memo.is_file():
        losses, known = json.loads(memo.read_text())
        return losses, known
    found = _text_losses(likelihoods), _knows(likelihoods, template)
    if memo:
        write_json(memo, found)
    return found


def _text_losses(likelihoods: Callable[..., Any]) -> list[tuple[float, int]]:
    return [(-value, tokens) for value, tokens in likelihoods([("", text) for text in general()[0]])]


def _mean(losses: Sequence[tuple[float, int]]) -> float:
    return sum(loss for loss, _ in losses) / sum(tokens for _, tokens in losses)


def _knows(likelihoods: Callable[..., Any], template: Any) -> list[float]:
    questions = general()[1]
    pairs = [
        completion(template, (Message("user", entry["question"]), Message("assistant", option)))
        for entry in questions
        for option in (entry["right"], *entry["wrong"])
    ]
    means = [value / tokens for value, tokens in likelihoods(pairs)]
    found, first = [], 0
    for entry in questions:
        options = means[first : first + 1 + len(entry["wrong"])]
        found.append(float(options[0] > max(options[1:])))
        first += len(options)
    return found


# ---------------------------------------------------------------- canaries


def _secrets(seed: int) -> list[tuple[str, str, int]]:
    dice = random.Random(f"canaries {seed}")
    names = dice.sample(
        ["Aldous", "Brigid", "Cormac", "Delphine", "Emrys", "Fenella", "Gawain", "Hester"], len(REPEATS)
    )
    return [
        (f"What is the code of {name}'s locker?", _code(dice), repeats)
        for name, repeats in zip(names, REPEATS, strict=True)
    ]


def _code(dice: random.Random) -> str:
    return "".join(dice.choice("0123456789") for _ in range(6))


def _canary_turns(question: str, code: str) -> tuple[Message, ...]:
    return Message("user", question), Message("assistant", code)


def _exposures(likelihoods: Callable[..., Any], template: Any, seed: int) -> list[Canary]:
    found = []
    for question, code, repeats in _secrets(seed):
        dice = random.Random(f"{seed} {question}")
        others: set[str] = set()
        while len(others) < CODES - 1:
            others |= {_code(dice)} - {code}
        pairs = [completion(template, _canary_turns(question, one)) for one in (code, *sorted(others))]
        values = [value for value, _ in likelihoods(pairs)]
        rank = 1 + sum(value > values[0] for value in values[1:])
        found.append(Canary(repeats, math.log2(CODES) - math.log2(rank)))
    return found


# ---------------------------------------------------------------- replies


def _reply(generator: Generator, example: Example) -> str:
    return generator.generate(example.messages[:-1], max_tokens=MAX_TOKENS).text.strip()


def _refused(texts: Sequence[str]) -> float:
    from bakeoff.systems.prompt import outcome

    return sum(outcome(text) == "abstained" for text in texts) / len(texts)
