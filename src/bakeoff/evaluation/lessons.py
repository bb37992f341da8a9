"""What is added to the lessons before a training: documents said again, and general conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bakeoff.evaluation.study import measured
from bakeoff.models.weights import resolve, template
from bakeoff.tuning import paraphrase, replay
from bakeoff.tuning.check.private import refuse_private
from bakeoff.tuning.processes import in_turn
from bakeoff.types import Example, Generator

Progress = Callable[[int, int, str], None]


def said_again(
    train: Sequence[Example],
    method: str,
    count: int,
    generator: Callable[[], Generator],
    folder: Path,
    seed: int,
    progress: Progress | None,
) -> list[Example]:
    """The texts with `count` paraphrases each; kept in `paraphrases.jsonl` of the project's `folder`."""
    paraphrase.check(method, count)
    path = folder / "paraphrases.jsonl"
    with in_turn():
        return paraphrase.paraphrased(train, count, generator(), path=path, seed=seed, progress=progress)


def with_general(
    train: Sequence[Example],
    method: str,
    ratio: float,
    source: str,
    *,
    held_out: Sequence[str],
    base: str,
    folder: Path,
    seed: int,
    allow_personal: bool,
    progress: Progress | None,
) -> list[Example]:
    """The lessons with general conversations among them, of the file `source` or of the base's own.

    None of them is a question by which forgetting is measured, nor one of those `held_out` for validation and test.
    """
    replay.check(method, ratio, source)
    avoid = {**dict.fromkeys(measured(), replay.MEASURED), **dict.fromkeys(held_out, replay.HELD_OUT)}
    if source:
        found = replay.from_file(folder / source, avoid)
        if not allow_personal:
            refuse_private(found)
    else:
        with in_turn():
            found = replay.from_base(
                base,
                replay.wanted(train, ratio),
                seed=seed,
                folder=folder / "replay",
                avoid=avoid,
                progress=progress,
            )
    written = template(resolve(base)) if method == "pretrain" else None
    return replay.with_replay(train, found, ratio, seed, written)
