"""Replay against forgetting: what a LoRA gains and forgets at four shares of general conversations among its lessons.

    make bench-replay DATA=path/to/data

Lessons are questions of XQuAD with their paragraph, divided by article. What is replayed the base asked and answered
itself. Each ratio is a training of a project under --out with its study: recall on validation questions, the loss on
general texts, and general questions that nobody trains on. A stopped run goes on; writes docs/results.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from questions import sample, xquad
from results import machine, publish, table

from bakeoff.project import Project

RATIOS = (0.0, 0.1, 0.25, 0.5)
TOML = """\
base = "smollm2-135m"
seed = {seed}
[examples]
test = 0.05
valid = 0.25
"""
TUNE = """\
[tune.{name}]
method = "{method}"
epochs = {epochs}
canaries = false
replay = {ratio}
"""


def main() -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds xquad")
    parser.add_argument("--out", type=Path, default=Path(".bench/replay"), help="the project that is made")
    parser.add_argument("--lessons", type=int, default=200, help="questions, of which a quarter validates")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    if not (arguments.data / "xquad" / "xquad.en.json").is_file():
        sys.exit(f"skipped: {arguments.data}/xquad/xquad.en.json is not there; give its folder with --data")
    folder = arguments.out / f"{arguments.method}-{arguments.lessons}-{arguments.epochs}-{arguments.seed}"
    if not (folder / "bakeoff.toml").exists():
        write_project(arguments, folder)
    project = Project(folder)
    for ratio in RATIOS:
        project.tune(_name(ratio), progress=_print)
        print(_row(folder, ratio, len(project.split.train)), file=sys.stderr, flush=True)
    rows = [_row(folder, ratio, len(project.split.train)) for ratio in RATIOS]
    before = _study(folder, RATIOS[0])
    head = ["replay", "lessons", "recall", "gain", "loss on general texts", "more by", "general questions"]
    text = (
        f"{table(head, rows)}\n\nThe base: recall {100 * before['score_before']['estimate']:.1f}, loss "
        f"{before['text_loss_before']:.3f}, {before['knowledge_before']['estimate']:.0%} of 40 general questions. "
        f"{len(project.split.train)} lessons of XQuAD and {len(project.split.valid)} for validation, by article; "
        f"method {arguments.method}, {arguments.epochs} epochs, one seed; 95% intervals. "
        f"`make bench-replay DATA=...` on {machine()}."
    )
    publish("replay", text)
    print(text)


def write_project(arguments: argparse.Namespace, folder: Path) -> None:
    """Questions with their paragraph, and a [tune] table for each ratio."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "xquad"
        root.mkdir()
        for example in sample(list(xquad(arguments.data, root)), arguments.lessons):
            paragraph = (root.parent / example.evidence[0].document_id).read_text(encoding="utf-8")
            row = {"id": example.id, "question": f"{paragraph}\n\n{example.question}", "group": example.group}
            lines.append(json.dumps({**row, "references": list(example.references)}, ensure_ascii=False))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tables = [
        TUNE.format(name=_name(ratio), method=arguments.method, epochs=arguments.epochs, ratio=ratio)
        for ratio in RATIOS
    ]
    # Last, so that a folder with it is whole.
    (folder / "bakeoff.toml").write_text(TOML.format(seed=arguments.seed) + "".join(tables), encoding="utf-8")


def _row(folder: Path, ratio: float, lessons: int) -> list[str]:
    found = _study(folder, ratio)
    gain, risen = found["gain"], found["text_loss_change"]
    return [
        f"{ratio:g}",
        f"{lessons} + {round(ratio * lessons)}",
        f"{100 * found['score_after']['estimate']:.1f}",
        f"{100 * gain['estimate']:+.1f} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]",
        f"{found['text_loss_after']:.3f}",
        f"{risen['estimate']:+.3f} [{risen['low']:+.3f}, {risen['high']:+.3f}]",
        f"{found['knowledge_after']['estimate']:.0%}",
    ]


def _study(folder: Path, ratio: float) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "checkpoints" / _name(ratio) / "study.json").read_text())
    return found


def _name(ratio: float) -> str:
    return f"replay-{round(100 * ratio):03}"


_last = [""]


def _print(done: int, total: int, text: str) -> None:
    if text.split(":")[0] != _last[0] or done == total:
        _last[0] = text.split(":")[0]
        print(f"{text} {done}/{total}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
