"""The history of a project's comparisons."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from bakeoff.cli import main
from bakeoff.evaluation.history import FILE, Entry, changes
from bakeoff.evaluation.report.history import write
from bakeoff.evaluation.stats import Interval
from bakeoff.project import Project
from browser import Browser
from test_report import HOSTILE, Outline


def entry(when: str, scores: Mapping[str, float], examples: str = "a", **other: str) -> Entry:
    systems = {name: Interval(score, score - 0.1, score + 0.1, 50) for name, score in scores.items()}
    best = (max(scores, key=lambda name: scores[name]),)
    corpora = {"rag": other.get("corpus", "c")}
    return Entry(when, "latest", 50, examples, "recall", f"Ship {best[0]}.", best, systems, corpora, {}, "0.1.0")


ENTRIES = [
    entry("2026-11-01 09:00", {"prompt": 0.4, "rag": 0.6}),
    entry("2026-11-02 09:00", {"prompt": 0.4, "rag": 0.7}, corpus="d"),
    entry("2026-11-03 09:00", {"prompt": 0.5, "rag": 0.5}, examples="b", corpus="d"),
    entry("2026-11-04 09:00", {"rag": 0.6, "lora": 0.8}, examples="b", corpus="d"),
]


def test_what_changed_between_comparisons_is_said() -> None:
    assert changes(ENTRIES) == ["", "other documents: rag", "other questions", "new: lora; without prompt"]
    assert changes([]) == []


def test_runs_that_asked_other_questions_are_not_joined(chromium: Browser, tmp_path: Path) -> None:
    page = write(ENTRIES, tmp_path)
    text = page.read_text()
    assert "script" not in {tag for tag, _ in Outline(text).tags}
    chromium.look()
    chromium.open(page, wait_for="document")
    joined = chromium.js(
        "[...document.querySelectorAll('figure')].map((one) => [one.querySelector('figcaption').textContent,"
        "[...one.querySelectorAll('.trend')].map((line) => line.points.length), one.querySelectorAll('.dot').length])"
    )
    assert joined == [["rag", [2, 2], 4], ["lora", [1], 1], ["prompt", [2, 1], 3]]
    assert chromium.js("document.querySelectorAll('figure')[0].querySelectorAll('.base').length") == 1
    assert chromium.errors == [] and chromium.requests == [page.as_uri()]
    chromium.look(width=380)
    assert chromium.js("document.documentElement.scrollWidth") <= 380
    chromium.look()


def test_hostile_names_stay_text_in_the_history(tmp_path: Path) -> None:
    text = write([entry("2026-11-01 09:00", {HOSTILE: 0.5})], tmp_path).read_text()
    assert {tag for tag, _ in Outline(text).tags} & {"script", "img"} == set()


def test_a_project_remembers_comparisons_that_later_ones_replace(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    one = Project(project)
    for limit, fresh in ((2, False), (2, False), (3, True)):
        one.report("latest", one.compare(limit=limit, fresh=fresh))
    one.report("latest", one.rescore("latest"))
    toml = project / "bakeoff.toml"
    toml.write_text(toml.read_text() + "[compare]\ndelta = 0.9\n")
    later = Project(project)
    later.report("latest", later.rescore("latest"))  # the same answers, judged in another way
    entries, page = one.history()
    assert [found.questions for found in entries] == [2, 3] and page == project / "runs" / "history.html"
    (project / "runs" / FILE).unlink()
    assert [found.questions for found in Project(project).history()[0]] == [3]  # what still stands in the folder
    run(["history", "-C", str(project)], monkeypatch)
    assert "latest  3 questions" in capsys.readouterr().out
    run(["history", "-C", str(project), "--json"], monkeypatch)
    assert [found["run"] for found in json.loads(capsys.readouterr().out)] == ["latest"]


def test_a_project_without_comparisons_says_how_to_make_one(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(["history", "-C", str(project)], monkeypatch)
    assert "there are no comparisons yet; `bakeoff compare` makes one" in capsys.readouterr().err


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["bakeoff", *arguments])
    with pytest.raises(SystemExit):
        main()
