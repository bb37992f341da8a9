"""Export a checkpoint, and keep the export only if it still answers as the checkpoint did.

Both are asked the same examples, each through what serves it: llama.cpp, torch, or ONNX Runtime.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from bakeoff.errors import DataError, ModelError
from bakeoff.evaluation.metrics import recall
from bakeoff.tuning import export as files
from bakeoff.types import Answer, Example, Generator

ASKED = 50
"""Examples that both are asked at most."""
MAX_TOKENS = 64

Reply = Callable[[Example], str]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True)
class Proof:
    """Answers before and after."""

    metric: str
    n: int
    before: float
    """Mean score of the checkpoint."""
    after: float
    change: float
    """Mean of how far each answer's score moved, up or down: gains and losses do not cancel out."""
    differing: int
    """Answers whose text is another."""
    tolerance: float

    def __str__(self) -> str:
        return (
            f"{self.n} examples: {self.metric} {100 * self.before:.1f} before, {100 * self.after:.1f} "
            f"after; {self.differing} answers differ, scores moved by {100 * self.change:.1f} points on average of "
            f"{100 * self.tolerance:g} allowed"
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    path: Path
    manifest: Path
    megabytes: float
    proof: Proof


def export(
    checkpoint: Path,
    target: Path,
    examples: Sequence[Example],
    generator: Callable[[], Generator],
    *,
    to: str = "",
    encoding: str = "own",
    tolerance: float = 0.02,
    progress: Progress | None = None,
) -> Exported:
    """Write `checkpoint` to `target` in the form `to`, which by default its suffix tells; see `tuning.export.write`.

    `examples`: lessons, prompt and right reply in their `messages`, or questions with a `label` for a head.
    `generator` builds what serves the checkpoint. Raises `ModelError` where the scores of the answers move by more
    than `tolerance` on average: then nothing is left of the export.
    """
    form = files.form_of(target, to)
    files.check(checkpoint, target, form, encoding)
    labels = form == "onnx"
    asked = _usable(examples, labels)
    say = progress or (lambda done, total, text: None)
    say(0, len(asked), "writing the whole model")
    scratch = target.with_name(f".{target.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir(parents=True)
        files.write(checkpoint, form, encoding, scratch / target.name)
        replies = _heads(checkpoint, scratch / target.name) if labels else _models(generator(), scratch / target.name)
        proof = prove(asked, *replies, labels=labels, tolerance=tolerance, progress=say)
        place = files.move(scratch / target.name, target, checkpoint, {"proof": asdict(proof), "encoding": encoding})
    except OSError as error:
        raise ModelError(f"cannot write {target}: {error.strerror}; free some space, or name another target") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    inside = list(target.iterdir()) if target.is_dir() else [target]
    return Exported(target, place, round(sum(path.stat().st_size for path in inside) / 1e6, 1), proof)


def prove(
    examples: Sequence[Example],
    before: Reply,
    after: Reply,
    *,
    labels: bool,
    tolerance: float,
    progress: Progress,
) -> Proof:
    """Ask both each of `examples`; `labels`: an answer is right if it is the label, else it is scored by recall.

    Raises `ModelError` where the scores moved by more than `tolerance` on average.
    """

    def score(example: Example, text: str) -> float:
        return float(text == example.label) if labels else recall.score(example, Answer(text)) or 0.0

    texts = []
    for done, example in enumerate(examples):
        texts.append((before(example), after(example)))
        progress(done + 1, len(examples), "asking the checkpoint and its export")
    scores = [(score(e, one), score(e, other)) for e, (one, other) in zip(examples, texts, strict=True)]
    n = len(scores)
    found = Proof(
        "accuracy" if labels else "recall",
        n,
        sum(one for one, _ in scores) / n,
        sum(other for _, other in scores) / n,
        sum(abs(one - other) for one, other in scores) / n,
        sum(one != other for one, other in texts),
        tolerance,
    )
    if found.change > tolerance:
        raise ModelError(
            f"the export does not answer as the checkpoint does, so nothing was written: {found}; one answer of {n} is "
            f"{100 / n:.1f} points: allow more with --tolerance, or try another --encoding"
        )
    return found


def _usable(examples: Sequence[Example], labels: bool) -> list[Example]:
    found = [e for e in examples if (e.label if labels else e.references and e.messages)]
    if not found:
        what = "label" if labels else "right answer"
        raise DataError(f"an export is proven on examples, and none has a {what}; add some to the questions")
    return found[:ASKED]


def _models(generator: Generator, exported: Path) -> tuple[Reply, Reply]:
    from bakeoff.models import generator as build

    def replies(model: Generator) -> Reply:
        return lambda example: model.generate(example.messages[:-1], max_tokens=MAX_TOKENS).text.strip()

    return replies(generator), replies(build(exported))


def _heads(checkpoint: Path, exported: Path) -> tuple[Reply, Reply]:
    from bakeoff.models import embedder, head_graph, heads

    def replies(head: heads.Head) -> Reply:
        model = embedder(head.features)

        def reply(example: Example) -> str:
            return head.classes[int(np.argmax(head.probabilities(heads.features(model, [example.question]))))]

        return reply

    return replies(heads.load(checkpoint)), replies(head_graph.load(exported))
