"""The report's page in a real browser: what its scripts compute is what Python computes."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from bakeoff.errors import DataError
from bakeoff.evaluation import stats
from bakeoff.evaluation.checks import drawn, read, take
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.report import write
from browser import Browser
from test_report import clear, made_up


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return made_up()


@pytest.fixture(scope="module")
def report(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(comparison, clear(), tmp_path_factory.mktemp("page"))["html"]


@pytest.mark.parametrize("seed", range(8))
def test_the_estimate_from_hand_checks_in_the_page_is_that_of_python(
    chromium: Browser, report: Path, seed: int
) -> None:
    draw = random.Random(seed)
    n = draw.choice([12, 60, 200])
    groups = [f"g{draw.randrange(n // 3)}" if seed % 2 else f"e{i}" for i in range(n)]
    metric = [float(draw.random() < 0.6) if seed % 4 < 2 else draw.random() for _ in range(n)]
    places = sorted(draw.sample(range(n), draw.choice([2, 3, 9, n])))
    hand = [float(draw.random() < 0.3 + 0.5 * metric[place]) for place in places]
    wanted = stats.hand_checked(metric, places, hand, groups).clip(0, 1)
    critical = [stats.t_critical(degrees) for degrees in range(1, n)]
    if seed == 0:
        chromium.open(report)
    pairs = list(zip(places, hand, strict=True))
    given = ", ".join(map(json.dumps, (groups, critical)))
    found = chromium.js(f"handChecked({json.dumps(metric)}, new Map({json.dumps(pairs)}), {given})")
    for end in ("estimate", "low", "high"):
        assert found[end] == pytest.approx(getattr(wanted, end), abs=1e-9)


def test_answers_marked_by_keyboard_give_a_file_from_which_python_estimates_the_same(
    chromium: Browser, comparison: Comparison, report: Path, tmp_path: Path
) -> None:
    chromium.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    chromium.open(report, "#show=check")
    chromium.js("localStorage.clear()")
    chromium.open(report, "#show=check")
    draw = random.Random(3)
    chromium.js("document.body.focus()")
    for _ in range(90):
        chromium.press(draw.choice("rrw"))
    shown = chromium.js("estimates()")
    assert set(shown) == set(comparison.systems)
    chromium.js("[...document.querySelectorAll('button')].find((one) => one.textContent === 'Save checks.csv').click()")
    until = 100
    while not (tmp_path / "checks.csv").is_file() and until:
        chromium.js("new Promise((done) => setTimeout(done, 50))")
        until -= 1
    found = read(tmp_path, comparison.trials)
    assert len(found) >= 90
    first = drawn(comparison)[: len({id for _, id in found})]
    assert {id for _, id in found} == set(first)
    wanted = replace(comparison, checks=found).hand_checked()
    for system, interval in wanted.items():
        for end in ("estimate", "low", "high"):
            assert shown[system][end] == pytest.approx(getattr(interval, end), abs=1e-9)
    # What the page tells is what it computed, and a reload keeps it.
    assert f"{100 * wanted['rag'].estimate:.1f}" in chromium.js("document.querySelector('.estimates').innerText")
    chromium.open(report, "#show=check")
    assert chromium.js("estimates()") == shown
    chromium.js("localStorage.clear()")
    assert chromium.errors == []


def test_marks_in_the_sheet_stand_in_the_page_and_can_be_taken_back(
    chromium: Browser, comparison: Comparison, tmp_path: Path
) -> None:
    id = drawn(comparison)[0]
    checked = replace(comparison, checks={(system, id): 1.0 for system in comparison.systems})
    page = write(checked, clear(), tmp_path)["html"]
    chromium.open(page, "#show=check")
    assert chromium.js("[...document.querySelectorAll('.checking [aria-pressed=true]')].map((one) => one.innerText)")
    chromium.js("document.querySelector('.checking [aria-pressed=true]').click()")
    left = chromium.js("marks.size")
    assert left < len(comparison.systems)
    chromium.open(page, "#show=check")
    assert chromium.js("marks.size") == left
    chromium.js("localStorage.clear()")


def test_a_sheet_of_another_run_is_refused(comparison: Comparison, tmp_path: Path) -> None:
    sheet = tmp_path / "saved.csv"
    trial = comparison.trials[0]

    def fill_in(answer: str, right: str) -> None:
        with sheet.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["example", "system", "answer", "right"])
            rows.writerow([trial.example_id, trial.system, answer, right])

    fill_in(trial.answer.text, "yes")
    assert take(sheet, comparison, tmp_path) == 1
    assert read(tmp_path, comparison.trials) == {(trial.system, trial.example_id): 1.0}
    fill_in("something else", "yes")
    with pytest.raises(DataError, match="did not answer that to 'q-00'"):
        take(sheet, comparison, tmp_path)
    fill_in(trial.answer.text, "")
    with pytest.raises(DataError, match="holds no checks"):
        take(sheet, comparison, tmp_path)
    with pytest.raises(DataError, match="there is no file"):
        take(tmp_path / "none.csv", comparison, tmp_path)


def test_a_check_counts_only_for_the_answer_that_was_checked(comparison: Comparison, tmp_path: Path) -> None:
    first, second = comparison.trials[:2]
    (tmp_path / "checks.csv").write_text(
        "example,system,answer,right\n"
        f'{first.example_id},{first.system},"{first.answer.text} ",yes\n'
        f"{second.example_id},{second.system},another,no\n"
    )
    assert read(tmp_path, comparison.trials) == {(first.system, first.example_id): 1.0}
