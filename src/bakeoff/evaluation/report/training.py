"""The page of one training: its verdict, its curves, what changed, what it cost."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from bakeoff.evaluation.money import dollars
from bakeoff.evaluation.prices import Book
from bakeoff.evaluation.report import policy_hash
from bakeoff.evaluation.report.numbers import NONE, count, percent, seconds, span
from bakeoff.evaluation.stats import Interval
from bakeoff.evaluation.study import Shift, Study
from bakeoff.files import write_atomically

WIDTH, HEIGHT = 960, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 16, 34
UNITS = {
    "dpo": "Loss of a pair.",
    "grpo": "Loss of a reply, weighted by what it is better than the others: its mean says nothing.",
    "kto": "Loss of a reply.",
    "orpo": "Loss of a pair.",
}
"""What the loss of a method is of, where it is not nats a token."""
SMOOTHED = 0.05
"""Share of the steps in the mean that the curve shows."""


def write(study: Study, manifest: dict[str, Any], folder: Path, book: Book) -> Path:
    """Write `training.html` into the folder of the checkpoint, the time at the price of `book`."""
    environment = Environment(
        loader=PackageLoader("bakeoff.evaluation.report", ""), autoescape=True, undefined=StrictUndefined
    )
    style = (files("bakeoff.evaluation.report") / "report.css").read_text(encoding="utf-8")
    text = environment.get_template("training.html.j2").render(
        name=folder.name,
        method=study.method,
        base=Path(study.base).name,
        verdict=study.verdict,
        learning=study.learning,
        unit=UNITS.get(study.method, "Nats a token."),
        rows=_rows(study),
        facts=_facts(manifest, folder, book, planted=bool(study.canaries)),
        style=style,
        style_hash=policy_hash(style),
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=WIDTH - RIGHT,
        **_curves(folder / "history.csv", manifest.get("best_step", 0)),
    )
    write_atomically(folder / "training.html", text)
    return folder / "training.html"


def _curves(history: Path, best_step: int) -> dict[str, Any]:
    with history.open(newline="") as file:
        steps = list(csv.DictReader(file))
    losses = [float(step["loss"]) for step in steps]
    valid = [(int(step["step"]), float(step["valid_loss"])) for step in steps if step["valid_loss"]]
    around = max(min(5, len(losses)), round(SMOOTHED * len(losses)))
    smooth = [
        sum(losses[max(0, place - around + 1) : place + 1]) / len(losses[max(0, place - around + 1) : place + 1])
        for place in range(len(losses))
    ]
    values = [*smooth, *(loss for _, loss in valid)]
    low, high = min(values), max(values)
    high = max(high, low + 1e-3)

    def x(step: int) -> float:
        return round(LEFT + (step - 1) / max(1, len(steps) - 1) * (WIDTH - LEFT - RIGHT), 1)

    def y(loss: float) -> float:
        return round(HEIGHT - BOTTOM - (loss - low) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    ends = {int(step["epoch"]): int(step["step"]) for step in steps}
    shown = list(ends.items())[:: max(1, len(ends) // 10)]
    return {
        "curves": " ".join(f"{x(place)},{y(loss)}" for place, loss in enumerate(smooth, start=1)),
        "dots": [(x(step), y(loss), step == best_step) for step, loss in valid],
        "smoothed": around,
        "losses": f"from {smooth[0]:.2f} to {smooth[-1]:.2f}",
        "valid_losses": ", ".join(f"{loss:.2f}" for _, loss in valid) or "not measured",
        "x_ticks": [(min(x(step), WIDTH - 40), f"epoch {epoch}") for epoch, step in shown],
        "y_ticks": [
            (y(low + part * (high - low)), f"{low + part * (high - low):.2f}") for part in (0, 0.25, 0.5, 0.75, 1)
        ],
    }


def _rows(study: Study) -> list[list[str]]:
    def shares(one: Interval | None, sign: bool = False) -> str:
        return f"{percent(one.estimate, sign)} {span(one.low, one.high, sign)}" if one else NONE

    def shift(name: str, one: Shift) -> list[str]:
        return [name, shares(one.before), shares(one.after), shares(one.change, True)]

    change = study.text_loss_change
    refused = (
        None
        if study.refused_before is None or study.refused_after is None
        else study.refused_after - study.refused_before
    )
    return [
        [
            "recall on validation, percent",
            shares(study.score_before),
            shares(study.score_after),
            shares(study.gain, True),
        ],
        [
            "refused or empty, percent",
            percent(study.refused_before),
            percent(study.refused_after),
            percent(refused, True),
        ],
        [
            "general texts, nats a token",
            f"{study.text_loss_before:.3f}",
            f"{study.text_loss_after:.3f}",
            f"{change.estimate:+.3f} [{change.low:+.3f}, {change.high:+.3f}]",
        ],
        [
            "general questions, percent",
            shares(study.knowledge_before),
            shares(study.knowledge_after),
            shares(study.knowledge_change, True),
        ],
        shift("general requests, the form kept, percent", study.form),
        shift("refused where a general passage does not say, percent", study.refusal),
        shift("refused where it does, percent", study.over_refusal),
        *(
            [
                f"canary shown {canary.repeats} times, exposure of at most 6 bits",
                "1 by chance",
                f"{canary.exposure:.1f}",
                "memorised" if canary.memorised else "not memorised",
            ]
            for canary in study.canaries
        ),
    ]


def _facts(manifest: dict[str, Any], folder: Path, book: Book, *, planted: bool) -> list[tuple[str, str]]:
    size = sum((folder / name).stat().st_size for name in manifest["files"])
    return [
        ("time", seconds(manifest["seconds"])),
        (f"cost, at {dollars(book.hour)} an hour of the machine", dollars(book.device(manifest["seconds"]))),
        ("of it training", seconds(manifest["train_seconds"])),
        ("tokens a second, prompts included", count(manifest.get("tokens_per_second"))),
        ("trained numbers", count(manifest.get("trained_parameters"))),
        ("peak memory of the process", f"{count(manifest['peak_mb'])} MB"),
        ("files", f"{size / 1e6:,.1f} MB"),
        *((("canaries", "none: planted among 50 lessons or more, of the methods that learn replies"),) * (not planted)),
        ("seed", str(manifest["seed"])),
        ("lessons, sha256", manifest["data_sha256"][:12]),
        *((f"option {name}", str(value)) for name, value in sorted(manifest["options"].items())),
    ]
