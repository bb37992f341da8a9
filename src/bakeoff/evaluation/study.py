"""What a training did: did it help, what did it forget, did it overfit, and does it repeat what it saw.

Forgetting is measured on texts, questions, wishes for a form and passages of ours that nobody's task is about, by
likelihood, so that no judgement is needed; memory by canaries, secrets that are put among the lessons and then looked
for among other such codes.
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
from bakeoff.systems.prompt import ABSTENTION, outcome
from bakeoff.types import Answer, Example, Generator, Message

ASKED = 50
"""Validation questions that base and checkpoint both answer."""
MAX_TOKENS = 64
VERSION = 2
"""Raised when the general texts, the questions or how they are measured change."""
CODES = 64
"""Codes among which a canary's is ranked; log2 of it is the highest exposure."""
REPEATS = (1, 4)
"""How often each canary stands among the lessons."""
MEMORISED = 6.0
"""Exposure from which a canary counts as memorised: its code is the likeliest of 64, by chance once in 64 times."""
CANARIES_FROM = 50
"""Lessons; among fewer, canaries would be too large a share."""
CANARY_METHODS = (
    "adapter", "dpo", "freeze", "full", "kto", "lora", "orpo", "p_tuning", "prefix", "pretrain", "soft_prompt",
)  # fmt: skip
"""All that learn what is written in a lesson: not `grpo`, which learns from its own replies, nor `head`."""
PASSAGE = f"Answer from the passage. If it does not say, reply: {ABSTENTION}\n\nPassage: {{}}\n\nQuestion: {{}}"
FORGOT = 0.01
"""Nats a token that general texts cost more, at least, where forgetting is said."""
GAP = 0.5
"""Nats a token: a validation loss that much above the training loss, or that much risen since its best, is said."""
_FOLDER = files(__name__.rpartition(".")[0]) / "general"


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
class Shift:
    """A share before and after a training, and the paired difference."""

    before: Interval
    after: Interval
    change: Interval


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
    form: Shift
    """Share of wishes for a form - one word, a list, JSON - where the reply that obeys is the likeliest."""
    refusal: Shift
    """Share of questions where a refusal is likelier than made-up answers; the passage before them does not say."""
    over_refusal: Shift
    """The same, beside the right answer, where the passage says it."""
    learning: str
    """Verdict on the curve."""
    canaries: tuple[Canary, ...]

    @property
    def forgot(self) -> bool:
        """Whether general texts are surely harder than before."""
        return self.text_loss_change.low > FORGOT

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
            if self.forgot
            else "it forgot nothing that shows on general texts"
        )
        if self.form.change.high < 0:
            forgot += f"; it keeps to a form in {-100 * self.form.change.estimate:.0f} points fewer of general requests"
        if self.refusal.change.high < 0:
            fewer = -100 * self.refusal.change.estimate
            forgot += f"; where a passage does not say, it refuses in {fewer:.0f} points fewer of general questions"
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
    replies = [[_reply(generator, example) for example in asked] for generator in generators]
    scores = [[recall.score(e, Answer(text)) or 0.0 for e, text in zip(asked, said, strict=True)] for said in replies]
    groups = [example.group or example.id for example in asked]
    say(1, "study: general texts")
    found = [general(likelihoods[0], template, memo), general(likelihoods[1], template)]
    losses = [one.losses for one in found]
    say(2, "study: canaries")
    canaries = (
        () if canary_seed is None else tuple(_exposures(likelihoods[1], template, canary_seed, manifest["method"]))
    )
    say(3, "study")
    known = _shift([one.known for one in found])
    each = [np.array([loss / tokens for loss, tokens in one]) for one in losses]
    return Study(
        manifest["method"],
        manifest["base"],
        score_interval(scores[0], groups) if asked else None,
        score_interval(scores[1], groups) if asked else None,
        paired_difference(scores[1], scores[0], groups) if len(set(groups)) > 1 else None,
        _refused(replies[0]) if asked else None,
        _refused(replies[1]) if asked else None,
        _mean(losses[0]),
        _mean(losses[1]),
        mean_interval(each[1] - each[0]),
        known.before,
        known.after,
        known.change,
        _shift([one.form for one in found]),
        _shift([one.refused for one in found]),
        _shift([one.over_refused for one in found]),
        learning(history, manifest),
        canaries,
    )


def plant(examples: Sequence[Example], seed: int, method: str) -> list[Example]:
    """The lessons with the canaries among them, in the form that `method` learns from."""
    return [
        *examples,
        *(
            Example(
                f"canary-{number}-{time}",
                secret.question,
                (secret.code,),
                rejected=secret.other if method in ("dpo", "kto", "orpo") else "",
                text=f"{secret.statement} {secret.code}." if method == "pretrain" else "",
                messages=secret.turns(secret.code),
            )
            for number, secret in enumerate(_secrets(seed))
            for time in range(secret.repeats)
        ),
    ]


def learning(history: Path, manifest: dict[str, Any]) -> str:
    """What the curves in history.csv say, in a sentence."""
    if "reward_first" in manifest:  # its losses add up to nothing, by construction
        first, last = manifest["reward_first"], manifest["reward_last"]
        held = manifest.get("reward_valid")
        after = "" if held is None else f"; on validation prompts it is {held:.2f} in the end"
        rise = f"The mean reward went from {first:.2f} in the first tenth of the steps to {last:.2f} in the last"
        return f"{rise}{after}."
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
    entries = {**asdict(found), "forgot": found.forgot, "verdict": found.verdict}
    (folder / "study.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


# ---------------------------------------------------------------- general knowledge


@dataclass(frozen=True, slots=True)
class General:
    """What a model makes of what comes with the package; all but the losses are 1 or 0 by question."""

    losses: list[tuple[float, int]]
    known: list[float]
    form: list[float]
    refused: list[float]
    over_refused: list[float]


def texts() -> tuple[str, ...]:
    """General texts that come with the package."""
    return tuple((_FOLDER / "texts.txt").read_text(encoding="utf-8").strip().split("\n\n"))


def measured() -> list[str]:
    """All that is asked to see what was forgotten: it must not be among the lessons."""
    passages = [entry[key] for entry in _lines("refusals") for key in ("told", "silent")]
    return [*(entry["question"] for name in ("questions", "forms") for entry in _lines(name)), *passages]


@lru_cache
def _lines(name: str) -> tuple[dict[str, Any], ...]:
    return tuple(json.loads(line) for line in (_FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())


def general(likelihoods: Callable[..., Any], template: Any, memo: Path | None = None) -> General:
    """What the model behind `likelihoods` makes of all that is general; from the file `memo` where it is there."""
    if memo and memo.is_file():
        return General(*json.loads(memo.read_text()))

    def prefers(asked: Sequence[tuple[str, str, Sequence[str]]]) -> list[float]:
        """For each question, reply and others: 1 where the reply is likelier by the mean of its tokens."""
        pairs = [
            completion(template, (Message("user", question), Message("assistant", option)))
            for question, reply, others in asked
            for option in (reply, *others)
        ]
        means = iter([value / tokens for value, tokens in likelihoods(pairs)])
        return [float(next(means) > max([next(means) for _ in others])) for _, _, others in asked]

    def choices(name: str) -> list[float]:
        return prefers([(entry["question"], entry["right"], entry["wrong"]) for entry in _lines(name)])

    passages = [(PASSAGE.format(entry["passage"], entry["silent"]), entry["made_up"]) for entry in _lines("refusals")]
    told = [(PASSAGE.format(entry["passage"], entry["told"]), [entry["answer"]]) for entry in _lines("refusals")]
    found = General(
        [(-value, tokens) for value, tokens in likelihoods([("", text) for text in texts()])],
        choices("questions"),
        choices("forms"),
        prefers([(question, ABSTENTION, others) for question, others in passages]),
        prefers([(question, ABSTENTION, others) for question, others in told]),
    )
    if memo:
        write_json(memo, list(asdict(found).values()))
    return found


def _shift(shares: Sequence[Sequence[float]]) -> Shift:
    before, after = shares
    return Shift(score_interval(before), score_interval(after), paired_difference(after, before))


def _mean(losses: Sequence[tuple[float, int]]) -> float:
    return sum(loss for loss, _ in losses) / sum(tokens for _, tokens in losses)


# ---------------------------------------------------------------- canaries


@dataclass(frozen=True, slots=True)
class Secret:
    """A canary before it is shown: whose code, the code, and one that is not it."""

    name: str
    code: str
    other: str
    repeats: int

    @property
    def question(self) -> str:
        return f"What is the code of {self.name}'s locker?"

    @property
    def statement(self) -> str:
        """What stands before the code in a document."""
        return f"The code of {self.name}'s locker is"

    def turns(self, code: str) -> tuple[Message, ...]:
        return Message("user", self.question), Message("assistant", code)


def _secrets(seed: int) -> list[Secret]:
    dice = random.Random(f"canaries {seed}")
    names = dice.sample(
        ["Aldous", "Brigid", "Cormac", "Delphine", "Emrys", "Fenella", "Gawain", "Hester"], len(REPEATS)
    )
    codes = [_code(dice) for _ in names]
    return [Secret(name, code, _code(dice), repeats) for name, code, repeats in zip(names, codes, REPEATS, strict=True)]


def _code(dice: random.Random) -> str:
    return "".join(dice.choice("0123456789") for _ in range(6))


def _exposures(likelihoods: Callable[..., Any], template: Any, seed: int, method: str) -> list[Canary]:
    found = []
    for secret in _secrets(seed):
        dice = random.Random(f"{seed} {secret.question}")
        others: set[str] = set()
        while len(others) < CODES - 1:
            others |= {_code(dice)} - {secret.code, secret.other}
        codes = (secret.code, *sorted(others))
        if method == "pretrain":
            pairs = [(secret.statement, f" {one}.") for one in codes]
        else:
            pairs = [completion(template, secret.turns(one)) for one in codes]
        values = [value for value, _ in likelihoods(pairs)]
        rank = 1 + sum(value > values[0] for value in values[1:])
        found.append(Canary(secret.repeats, math.log2(CODES) - math.log2(rank)))
    return found


# ---------------------------------------------------------------- replies


def _reply(generator: Generator, example: Example) -> str:
    return generator.generate(example.messages[:-1], max_tokens=MAX_TOKENS).text.strip()


def _refused(texts: Sequence[str]) -> float:
    return sum(outcome(text) == "abstained" for text in texts) / len(texts)
