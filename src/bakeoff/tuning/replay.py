"""General conversations among the lessons, so that a model goes on doing what the lessons are not about.

They come from a file of the user's, or from the base itself: it is given the beginning of a user's turn, writes a
question (Xu et al. 2024, "Magpie"), and answers it. What it already does is then part of what it learns (Robins 1995),
and no data of others are needed. Replies are drawn, not the likeliest: of what a model draws it learns nothing as long
as it is what it was, and is pulled back once it is not; the likeliest would sharpen it from the first step.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from bakeoff.errors import ConfigError, DataError, ModelError
from bakeoff.examples import read_examples
from bakeoff.files import write_atomically
from bakeoff.models import weights as files
from bakeoff.models.chat import Template, render
from bakeoff.tuning import student
from bakeoff.tuning.check.private import find_private
from bakeoff.tuning.rows import lesson
from bakeoff.tuning.sampling import sample
from bakeoff.types import Example, Message

METHODS = ("adapter", "freeze", "full", "lora", "p_tuning", "prefix", "pretrain", "soft_prompt")
"""Those that learn replies or texts; what learns preferences is held to its start in other ways."""
DRAWN = 16
"""Questions that are drawn at once."""
QUESTION, REPLY = 48, 96
"""Tokens at most; longer ones are dropped."""
TRIES = 4
"""Replies that are drawn to a question, of which the first that ends is kept."""
FRUITLESS = 10
"""Draws in a row without a usable question after which the base is given up."""

Progress = Callable[[int, int, str], None]


def check(method: str, ratio: float, source: str) -> None:
    """Raises `ConfigError` for a ratio that is none, and for methods that cannot replay."""
    if not 0 <= ratio < math.inf or (source and not ratio):
        raise ConfigError(
            f"replay is {ratio}: write how many general conversations come on one lesson, as in replay = 0.25"
        )
    if ratio and method not in METHODS:
        raise ConfigError(
            f"replay is for {', '.join(METHODS)}; {method} "
            + ("trains no generator" if method == "head" else "learns from preferences, which hold no general replies")
        )


def with_replay(
    train: Sequence[Example], general: Sequence[Example], ratio: float, seed: int, text: Template | None = None
) -> list[Example]:
    """The lessons with so many general ones for each, drawn without repeats while there are some.

    `text`: the template in which they are written where the method reads texts.
    """
    dice, count = random.Random(f"replay {seed}"), wanted(train, ratio)
    drawn: list[Example] = []
    while len(drawn) < count:
        drawn += dice.sample(general, min(len(general), count - len(drawn)))
    made = [replace(example, id=f"replay-{number}") for number, example in enumerate(drawn)]
    if text:
        made = [Example(e.id, e.id, text=e.text or render(text, lesson(e), generate=False)) for e in made]
    return [*train, *made]


def wanted(train: Sequence[Example], ratio: float) -> int:
    """General conversations for so many lessons; one at least."""
    return max(1, round(ratio * len(train)))


MEASURED = "one of the questions by which forgetting is measured"
HELD_OUT = "one of your questions for validation or test"


def from_file(path: Path, avoid: Mapping[str, str]) -> list[Example]:
    """What in the file can be learnt.

    `avoid`: question -> why it may not be. Raises `DataError` where nothing can be learnt, or one of them stands there.
    """
    found = [example for example in read_examples(path).examples if example.references or example.messages]
    if not found:
        raise DataError(f"replay_from: {path} holds no replies to learn; name a file of conversations or questions")
    known = {_plain(question): why for question, why in avoid.items()}
    for example in found:
        if why := known.get(_plain(example.question)):
            raise DataError(
                f"replay_from: {path}: example {example.id} is {why}; take it out, or the measure would say nothing"
            )
    return found


def from_base(
    base: str,
    count: int,
    *,
    seed: int,
    folder: Path,
    avoid: Collection[str],
    progress: Progress | None = None,
) -> list[Example]:
    """`count` questions that the base asks, with its own replies, kept in `folder` and drawn there the next time.

    Left out: what ends too late, comes twice, holds personal data, or stands in `avoid`. Raises `ModelError` where the
    base asks nothing that can be used.
    """
    weights = files.resolve(base)
    path = folder / f"{weights.fingerprint[:16]}-{seed}-drawn.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    seen = {_plain(row["messages"][0]["content"]) for row in rows} | {_plain(question) for question in avoid}
    if len(rows) < count:
        speaker, fruitless = _Speaker(base, seed), 0
        number = rows[-1]["draw"] + 1 if rows else 0
        while len(rows) < count:
            kept = len(rows)
            for question in speaker.questions(number):
                if _plain(question) in seen:
                    continue
                seen.add(_plain(question))
                reply = speaker.reply(question)
                if reply and not find_private([Example("-", question, (reply,))]):
                    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
                    rows.append({"messages": turns, "draw": number})
                if progress:
                    progress(min(len(rows), count), count, "replay: asking the base")
            fruitless = 0 if len(rows) > kept else fruitless + 1
            if fruitless == FRUITLESS:
                raise ModelError(
                    f"{base} does not ask questions of its own to replay; name a file of general conversations as "
                    "replay_from"
                )
            number += 1
            # Whole draws only: the same seed then gives the same file, however often it grows.
            write_atomically(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return [
        Example(
            f"replay-{n}", row["messages"][0]["content"], messages=tuple(Message(**turn) for turn in row["messages"])
        )
        for n, row in enumerate(rows)
    ][:count]


class _Speaker:
    """The base, asked for user's turns and for replies to them; both depend on the seed and on what is asked only."""

    def __init__(self, base: str, seed: int) -> None:
        self._pupil = student.load(base)
        mark = "\N{REPLACEMENT CHARACTER}"
        self._begun, _, after = render(self._pupil.template, [Message("user", mark)]).partition(mark)
        if not after:
            raise ModelError(f"the template of {base} writes no user's turn to begin; name a file as replay_from")
        self._seed = seed
        self._stop = self._pupil.tokenizer.token_to_id(self._pupil.template.eos)

    def questions(self, number: int) -> list[str]:
        """Those of one draw, each once."""
        texts = self._said(self._begun, DRAWN, QUESTION, self._seed * 1_000_003 + number)
        return list(dict.fromkeys(text for text in texts if text and "\N{REPLACEMENT CHARACTER}" not in text))

    def reply(self, question: str) -> str:
        """The first that ends; "" where none does."""
        seed = int.from_bytes(hashlib.sha256(f"{self._seed} {question}".encode()).digest()[:6], "big")
        prompt = render(self._pupil.template, [Message("user", question)])
        return next(filter(None, self._said(prompt, TRIES, REPLY, seed, first=True)), "")

    def _said(self, before: str, count: int, longest: int, seed: int, *, first: bool = False) -> list[str]:
        """Texts that ended."""
        pupil = self._pupil
        ids = pupil.tokenizer.encode(before, add_special_tokens=False).ids
        dice = torch.Generator().manual_seed(seed)
        how: dict[str, Any] = {"temperature": 1.0, "longest": longest, "stop": self._stop, "dice": dice}
        made = sample(pupil.model, ids, count, first=first, **how)
        return [pupil.tokenizer.decode(one, skip_special_tokens=True).strip() for one in made if self._stop in one]


def _plain(question: str) -> str:
    return " ".join(question.lower().split()).strip(" ?.!")
