"""Conditions on which continuous integration fails."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from bakeoff import cli
from bakeoff.errors import ConfigError, UnknownNameError
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.gates import Gate, judge, junit, parse
from bakeoff.types import Answer, Example, Trial, Usage

SYSTEMS, METRICS = ("rag", "rag + lora", "zero-shot"), ("recall", "ndcg@10")


def measured(right: int, n: int = 100, seconds: float = 1.0) -> Comparison:
    ids = [f"q{i}" for i in range(n)]
    trials = tuple(Trial("rag", id, Answer("x", usage=Usage(200)), seconds) for id in ids)
    scores = {("rag", id): {"recall": float(i < right), "ndcg@10": None} for i, id in enumerate(ids)}
    return Comparison(("rag",), METRICS, {id: Example(id, "?", ("x",)) for id in ids}, trials, scores)


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("rag < 0.7", ("rag", "recall", "<", 0.7, False)),
        ("rag<70%", ("rag", "recall", "<", 0.7, False)),
        ("surely rag + lora ndcg@10 <= .5", ("rag + lora", "ndcg@10", "<=", 0.5, True)),
        ("zero-shot p95 > 2", ("zero-shot", "p95", ">", 2.0, False)),
        ("rag errors >= 1", ("rag", "errors", ">=", 1.0, False)),
    ],
)
def test_conditions_are_read(text: str, gate: tuple[str, str, str, float, bool]) -> None:
    assert parse(text, SYSTEMS, METRICS) == Gate(text, *gate)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("rag is bad", ConfigError, 'write one like "rag < 0.7"'),
        ("rag < high", ConfigError, "no condition"),
        ("rga < 0.7", UnknownNameError, "did you mean 'rag'"),
        ("rag recal < 0.7", UnknownNameError, "did you mean 'recall'"),
    ],
)
def test_what_is_no_condition_is_refused_with_what_is_one(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        parse(text, SYSTEMS, METRICS)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("rag < 0.7", True),
        ("rag < 0.6", False),
        ("rag <= 0.65", True),
        ("rag right < 66%", True),
        ("surely rag < 0.7", False),  # 65 of 100 may be 74
        ("surely rag < 0.8", True),
        ("rag p95 > 0.5", True),
        ("rag p95 > 1.5", False),
        ("rag cost > 199", True),
        ("rag errors > 0", False),
        ("rag ndcg@10 < 0.1", True),  # not scored at all
    ],
)
def test_a_condition_is_held_against_what_was_measured(text: str, failed: bool) -> None:
    (result,) = judge([parse(text, SYSTEMS, METRICS)], measured(65))
    assert result.failed is failed
    assert str(result).startswith("failed: " if failed else "passed: ")


def test_junit_has_a_case_for_each_condition() -> None:
    gates = [parse(text, SYSTEMS, METRICS) for text in ("rag < 0.7", "rag < 0.1")]
    suite = ElementTree.fromstring(junit(judge(gates, measured(65)), "<latest> & co"))
    assert (suite.get("tests"), suite.get("failures"), suite.get("name")) == ("2", "1", "bakeoff <latest> & co")
    assert [len(case) for case in suite] == [1, 0]
    failure = suite[0].find("failure")
    assert failure is not None and "0.65 [0.553, 0.736], n = 100" in str(failure.get("message"))


def test_a_pipeline_sees_exit_code_junit_and_markdown(project: Path) -> None:
    def call(*arguments: str) -> int:
        return CliRunner().invoke(cli.app, [*arguments, "-C", str(project)], catch_exceptions=False).exit_code

    run = project / "runs" / "latest"
    assert call("compare", "--limit", "8", "--fail-if", "rag errors > 0") == 0
    assert 'failures="0"' in (run / "junit.xml").read_text()
    assert call("report", "--fail-if", "rag < 1", "--fail-if", "rag errors > 0") == 3
    assert 'failures="1"' in (run / "junit.xml").read_text()
    markdown = (run / "report.md").read_text()
    assert markdown.startswith("**Conditions**") and "failed: rag \\< 1 (" in markdown
    with pytest.raises(UnknownNameError, match="did you mean 'rag'"):
        call("compare", "--limit", "8", "--fail-if", "rga < 1")
