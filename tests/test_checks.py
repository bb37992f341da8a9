"""Hand checks: the sheet, what is filled in, and what that says of all answers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bakeoff.errors import ConfigError, DataError
from bakeoff.evaluation import checks
from bakeoff.evaluation.checks import COLUMNS, read, take, write_sheet
from bakeoff.evaluation.compare import compare, load
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.recommend import recommend
from bakeoff.evaluation.report import write
from bakeoff.types import Answer, Example, Question


class Contestant:
    """Says the reference on some of each ten questions, and what means the same on one more."""

    def __init__(self, name: str, share: int) -> None:
        self.name = name
        self._share = share

    def answer(self, question: Question | str) -> Answer:
        place = int(Question.of(question).text.split()[-1]) * 7 % 10
        return Answer("nobody" if place < self._share else "=no one" if place == self._share else "everybody")


EXAMPLES = [Example(f"q{n:03}", f"Who may enter room {n}", ("nobody",)) for n in range(200)]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparison:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    return compare([Contestant("a", 4), Contestant("b", 6)], EXAMPLES, ["recall"], out=tmp_path)


def fill_in(path: Path, rows: int | None = None) -> None:
    with path.open(newline="") as file:
        held = list(csv.DictReader(file))
    for row in held[:rows]:
        row["right"] = "yes" if row["answer"] in ("nobody", "'=no one") else "No"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(held)


def test_hand_checks_correct_what_the_metric_says_of_all_answers(run: Comparison, tmp_path: Path) -> None:
    assert not run.hand_checked()
    path = write_sheet(run, tmp_path, 60)
    fill_in(path)
    checked = load(tmp_path)
    found, metric = checked.hand_checked()["a"], checked.interval("a", "recall")
    assert metric and metric.estimate == pytest.approx(0.4)
    assert found.low < 0.5 < found.high and found.estimate > metric.high - 0.05
    assert "right by 120 hand checks" in str(checked) and "b " in str(checked)
    page = write(checked, recommend(checked), tmp_path)["html"].read_text()
    assert "By hand: right by 120 hand checks" in page


def test_the_sheet_shows_all_answers_to_some_questions_and_runs_no_formula(run: Comparison, tmp_path: Path) -> None:
    with write_sheet(run, tmp_path, 50).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100 and len({row["example"] for row in rows}) == 50
    assert {row["answer"] for row in rows} == {"nobody", "'=no one", "everybody"}
    # Neither a name nor the order tells whose it is.
    whose = {checks._answer_id(trial): trial.system for trial in run.trials}
    assert "system" not in rows[0] and {whose[rows[place]["answer id"]] for place in range(0, 100, 2)} == {"a", "b"}


def test_checks_that_were_made_are_not_written_over(run: Comparison, tmp_path: Path) -> None:
    path = write_sheet(run, tmp_path, 20)
    assert write_sheet(run, tmp_path, 20) == path  # nothing was filled in yet
    fill_in(path, rows=4)
    assert len(read(tmp_path, run.trials)) == 4
    with pytest.raises(ConfigError, match="holds checks already"):
        write_sheet(run, tmp_path, 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("example,system,right\nq001,a,perhaps\n", "checks.csv:2: right is 'perhaps'; write yes or no"),
        ("example,system\nq001,a\n", "lacks the column 'right'"),
        ("example,right\nq001,yes\n", "lacks the column 'answer id'"),
    ],
)
def test_a_sheet_that_cannot_be_read_says_where(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "checks.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        read(tmp_path, ())


def test_a_sheet_that_names_the_systems_is_read_too(run: Comparison, tmp_path: Path) -> None:
    (tmp_path / "checks.csv").write_text("example,system,right\nq001,a,yes\nq002,b,no\n")
    assert read(tmp_path, run.trials) == {("a", "q001"): 1.0, ("b", "q002"): 0.0}


def test_a_sheet_from_any_spreadsheet_is_read_and_one_that_cannot_be_says_how(run: Comparison, tmp_path: Path) -> None:
    path = write_sheet(run, tmp_path, 5)
    fill_in(path)
    text, checked = path.read_text(), read(tmp_path, run.trials)
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    assert read(tmp_path, run.trials) == checked and len(checked) == 10
    path.write_bytes(text.replace("nobody", "n\u00f6body").encode("cp1252"))
    with pytest.raises(DataError, match="save it again from the spreadsheet as CSV UTF-8"):
        read(tmp_path, run.trials)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"lacks the column 'answer id'; its first line was example,answer id"):
        read(tmp_path, run.trials)


def test_the_checks_of_two_people_are_put_together(run: Comparison, tmp_path: Path) -> None:
    path = write_sheet(run, tmp_path, 20)
    fill_in(path)
    with path.open(newline="") as file:
        heading, *rows = list(csv.reader(file))
    path.unlink()
    for name, part in (("anna", rows[:24]), ("ben", rows[20:])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([heading, *part])
        take(tmp_path / f"{name}.csv", run, tmp_path)
    assert len(read(tmp_path, run.trials)) == 40
