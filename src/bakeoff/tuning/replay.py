"""General conversations among the lessons, so that a model goes on doing what the lessons are not about.

They come from a file of the user's, or from the base itself: it is given the beginning of a user's turn, writes a
question (Xu et al. 2024, "Magpie"), and answers it. What it already does is then part of what it learns (Robins 1995),
and no data of others are needed.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path

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
from bakeoff.types import Example, Generator, Message

METHODS = ("adapter", "freeze", "full", "lora", "p_tuning", "prefix", "pretrain", "soft_prompt")
"""Those that learn replies or texts; what learns preferences is held to its start in other ways."""
DRAWN = 16
"""Questions that are drawn at once."""
QUESTION, REPLY = 48, 96
"""Tokens at most; longer ones are dropped."""
FRUITLESS = 10
"""Draws in a row without a usable question after which the base is given up."""

Progress = Callable[[int, int, str], None]


def check(method: str, ratio: float, source: str) -> None:
    """Raises `ConfigError` for a ratio that is none, and for methods that cannot replay."""
    if ratio < 0 or (source and not ratio):
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


def from_file(path: Path, avoid: Collection[str]) -> list[Example]:
    """What in the file can be learnt; raises `DataError` where nothing can, or where it holds a question of `avoid`."""
    found = [example for example in read_examples(path).examples if example.references or example.messages]
    if not found:
        raise DataError(f"replay_from: {path} holds no replies to learn; name a file of conversations or questions")
    known = {_plain(question) for question in avoid}
    for example in found:
        if _plain(example.question) in known:
            raise DataError(
                f"replay_from: {path}: example {example.id} is one of the questions by which forgetting is measured; "
                "take it out, or the measure would say nothing"
            )
    return found


def from_base(
    base: str,
    generator: Generator,
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
    path = folder / f"{weights.fingerprint[:16]}-{seed}.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    seen = {_plain(row["messages"][0]["content"]) for row in rows} | {_plain(question) for question in avoid}
    if len(rows) < count:
        draw, fruitless = _drawer(base, seed), 0
        number = rows[-1]["draw"] + 1 if rows else 0
        while len(rows) < count:
            questions = [question for question in draw(number) if _plain(question) not in seen]
            kept = len(rows)
            for question in questions:
                seen.add(_plain(question))
                reply = generator.generate([Message("user", question)], max_tokens=REPLY)
                turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply.text.strip()}]
                told = Example("-", question, (reply.text,))
                if reply.finish == "stop" and reply.text.strip() and not find_private([told]):
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


def _drawer(base: str, seed: int) -> Callable[[int], list[str]]:
    """Questions of the draw with that number, each once."""
    pupil = student.load(base)
    mark = "\N{REPLACEMENT CHARACTER}"
    before, _, after = render(pupil.template, [Message("user", mark)]).partition(mark)
    if not after:
        raise ModelError(f"the template of {base} writes no user's turn to begin; name a file as replay_from")
    prompt = pupil.tokenizer.encode(before, add_special_tokens=False).ids
    stop = pupil.tokenizer.token_to_id(pupil.template.eos)

    def draw(number: int) -> list[str]:
        dice = torch.Generator().manual_seed(seed * 1_000_003 + number)
        made = sample(pupil.model, prompt, DRAWN, temperature=1.0, longest=QUESTION, stop=stop, dice=dice)
        texts = [pupil.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in made if stop in ids]
        return list(dict.fromkeys(text for text in texts if text and mark not in text))

    return draw


def _plain(question: str) -> str:
    return " ".join(question.lower().split()).strip(" ?.!")
