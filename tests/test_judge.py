"""A judge behind a real endpoint: what it is asked, what becomes of its replies, and how far people agree with it."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripted_endpoint import serve

pytest.importorskip("openai")

from bakeoff import plugins
from bakeoff.cli import app
from bakeoff.errors import ConfigError, ModelError
from bakeoff.evaluation.compare import compare
from bakeoff.evaluation.metrics import Scoring, judge
from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.types import Answer, Example, Message, Question

EXAMPLE = Example("q", "Who may enter?", ("nobody", "no one"))


def asked_of(reply: str, tmp_path: Path) -> judge.Judge:
    return judge.Judge("m", lambda: Generator(default=reply), memo=tmp_path / "judgements.jsonl")


@pytest.mark.parametrize(
    ("reply", "score"), [("yes", 1), ("No.", 0), ("**Yes**", 1), ("<think>Hm, no.</think> yes, it is", 1), ("NO", 0)]
)
def test_yes_and_no_are_read_in_any_clothes(reply: str, score: float, tmp_path: Path) -> None:
    assert asked_of(reply, tmp_path)(EXAMPLE, Answer("not a soul")) == score


@pytest.mark.parametrize(
    "reply",
    ["", "maybe", "Not sure", "The answer is right.", "<think>yes yes yes", "yesterday", "yes or no", "Yes/no."],
)
def test_what_is_neither_yes_nor_no_is_no_verdict(reply: str, tmp_path: Path) -> None:
    with pytest.raises(judge.Unread, match="neither yes nor no"):
        asked_of(reply, tmp_path)(EXAMPLE, Answer("not a soul"))


def test_the_judge_sees_question_references_and_answer_and_only_what_was_spoken(tmp_path: Path) -> None:
    seen: list[Sequence[Message]] = []

    def reply(messages: Sequence[Message]) -> str:
        seen.append(messages)
        return "yes"

    with serve(reply) as url:
        grade = judge.make(tmp_path, model=f"{url}#m")
        assert grade(EXAMPLE, Answer("<think>who knows</think>Not a soul [1].")) == 1
        assert grade(EXAMPLE, Answer("Not a soul.")) == 1, "the same words are judged once"
        assert judge.make(tmp_path, model=f"{url}#m")(EXAMPLE, Answer("Not a soul.")) == 1, "also in a later process"
        assert judge.make(tmp_path, model=f"{url}#other")(EXAMPLE, Answer("Not a soul.")) == 1
    assert len(seen) == 2, "another model is asked anew"
    text = seen[0][-1].content
    assert all(part in text for part in ("Who may enter?", "Reference: nobody", "Reference: no one", "Not a soul"))
    assert "who knows" not in text and "[1]" not in text


def test_refusals_and_questions_without_reference_need_no_judge(tmp_path: Path) -> None:
    grade = asked_of("gibberish", tmp_path)
    assert grade(EXAMPLE, Answer("I don't know.", "abstained")) == 0
    assert grade(Example("q", "Who?", answerable=False), Answer("I don't know.", "abstained")) == 1
    assert grade(Example("q", "Who?", answerable=False), Answer("Ada")) == 0
    assert grade(Example("q", "Who?"), Answer("Ada")) is None


def test_a_judge_without_a_model_says_what_to_write() -> None:
    with pytest.raises(ConfigError, match=r"needs a model: \[metrics.judge\] model ="):
        plugins.get("metrics", "judge")(EXAMPLE, Answer("Ada"))


# ---------------------------------------------------------------- in a comparison


class Contestant:
    """Right on the even questions, and mute to a judge on each seventh."""

    name = "fox"

    def answer(self, question: Question | str) -> Answer:
        number = int(Question.of(question).text.split()[-1])
        return Answer("mumble" if number % 7 == 0 else "nobody" if number % 2 == 0 else "everybody")


EXAMPLES = [Example(f"q{n:03}", f"Who may enter room {n}", ("nobody",)) for n in range(70)]


def verdict(messages: Sequence[Message]) -> str:
    text = messages[-1].content
    return "hm" if "mumble" in text else "no" if "everybody" in text else "yes"


def test_what_could_not_be_read_is_not_scored_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    with serve(verdict) as url:
        model = f"{url}#m"
        scoring = Scoring("judge", 1, judge.make(tmp_path, model=model), model)
        result = compare([Contestant()], EXAMPLES, ["recall", scoring], out=tmp_path / "run")
    found = result.interval("fox", "judge")
    assert found and found.n == 60 and found.estimate == 30 / 60
    (line,) = result.opinions()
    assert line == (
        f"judge is the opinion of {model}, which gave no verdict on 10 of 70 answers; "
        "not calibrated: nobody has checked it (`bakeoff report --checks 50`)"
    )
    assert line in str(result) and len(result.failures) == 10


def test_a_judge_that_does_not_answer_stops_the_run_and_the_answers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    with serve(verdict) as url:
        model = f"{url}#m"
    scoring = Scoring("judge", 1, judge.make(tmp_path, model=model), model)
    monkeypatch.setattr(scoring.score._generator._client, "max_retries", 0)  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="is the server running"):
        compare([Contestant()], EXAMPLES[:3], ["recall", scoring], out=tmp_path / "run")
    assert len((tmp_path / "run" / "trials.jsonl").read_text().splitlines()) == 3


def test_hand_checks_calibrate_the_judge_of_a_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    run = CliRunner()
    with serve(lambda messages: "yes" if "wicks" in messages[-1].content else "no") as url:
        toml = (project / "bakeoff.toml").read_text()
        table = f'[compare]\nmetrics = ["recall", "judge"]\n[metrics.judge]\nmodel = "{url}#m"\n'
        (project / "bakeoff.toml").write_text(toml + table)
        answers = iter(range(1000))
        monkeypatch.setattr(Generator, "_reply", lambda self, messages: f"wicks, says {next(answers)}")
        shown = run.invoke(app, ["compare", "-C", str(project), "--limit", "20"])
        assert "not calibrated: nobody has checked it" in shown.output, shown.output
    # Scoring again asks nobody: the endpoint is gone.
    assert run.invoke(app, ["report", "-C", str(project), "--checks", "15"]).exit_code == 0
    sheet = project / "runs" / "latest" / "checks.csv"
    with sheet.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with sheet.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "right": "no" if n % 5 == 0 else "yes"} for n, row in enumerate(rows))
    shown = run.invoke(app, ["report", "-C", str(project)])
    assert f"it agrees with {len(rows)} hand checks to 80.0 [" in shown.output, shown.output
    assert "corrected by them (PPI++): " in shown.output
    report = json.loads((project / "runs" / "latest" / "report.json").read_text())
    found = report["comparison"]["judges"]["judge"] if "comparison" in report else report["judges"]["judge"]
    assert found["model"] == f"{url}#m" and found["agrees"]["estimate"] == pytest.approx(0.8)
    page = (project / "runs" / "latest" / "report.html").read_text()
    assert "Judge is the opinion of" in page and "hand checks to 80.0" in page
    validated = run.invoke(app, ["validate-metrics", "-C", str(project)])
    assert validated.exit_code == 0 and "judge" in validated.output


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("[metrics.judge]\n", "names no model"),
        ("", r"\[metrics.judge\] names no model; write model = "),
        ('[metrics.judge]\nmodle = "m"\n', "did you mean 'model'"),
        ('[metrics.recall]\nmodel = "m"\n', "the metric 'recall' has no options; delete the table"),
        ('[metrics.jugde]\nmodel = "m"\n', "unknown metric 'jugde': did you mean 'judge'"),
    ],
)
def test_a_wrong_table_of_a_metric_is_named(project: Path, table: str, complaint: str) -> None:
    toml = (project / "bakeoff.toml").read_text()
    (project / "bakeoff.toml").write_text(toml + '[compare]\nmetrics = ["recall", "judge"]\n' + table)
    with pytest.raises(Exception, match=complaint):
        Project(project).metrics  # noqa: B018
