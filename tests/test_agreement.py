"""How well metrics agree with people: the figures, the files, the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bakeoff.cli import app
from bakeoff.errors import DataError
from bakeoff.evaluation import agreement
from bakeoff.evaluation.agreement import Labelled, auc, best_threshold, read_labelled, validate
from bakeoff.evaluation.metrics import Scoring
from bakeoff.types import Answer, Example

LENGTH = Scoring("length", 1, lambda example, answer: len(answer.text) / 10)
"""A metric whose score the test decides by the answer's length."""


def labelled(length: int, right: bool, system: str = "", question: str = "") -> Labelled:
    return Labelled(Example("", question or f"q{length}{right}"), Answer("x" * length), right, system)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_auc_is_the_share_of_pairs_in_the_right_order() -> None:
    scores, right = np.array([0.9, 0.4, 0.4, 0.1, 0.6]), np.array([True, True, False, False, False])
    pairs = [(a > b) + (a == b) / 2 for a in scores[right] for b in scores[~right]]
    found = auc(scores, right, list("abcde"))
    assert found and found.estimate == pytest.approx(sum(pairs) / len(pairs))
    assert auc(scores[:2], right[:2], list("ab")) is None


def test_an_auc_of_one_from_few_answers_is_not_certain() -> None:
    found = auc(np.array([1.0, 0.9, 0.1, 0.0]), np.array([True, True, False, False]), list("abcd"))
    assert found and found.high == 1 and found.low < 0.5


@pytest.mark.parametrize(("clusters", "size", "between"), [(150, 1, 0.0), (60, 5, 0.6)])
def test_the_interval_of_the_auc_covers_what_it_says(clusters: int, size: int, between: float) -> None:
    """Scores of right answers are one standard deviation higher; clusters share a part of their deviation."""
    draw, truth, covered, draws = np.random.default_rng(3), 0.76025, 0, 600
    for _ in range(draws):
        groups = np.repeat(np.arange(clusters), size)
        right = draw.random(len(groups)) < 0.4
        shared, own = draw.normal(size=clusters)[groups], draw.normal(size=len(groups))
        scores = right + np.sqrt(between) * shared + np.sqrt(1 - between) * own
        found = auc(scores, right, groups.astype(str).tolist())
        assert found
        covered += found.low <= truth <= found.high
    assert 0.925 <= covered / draws <= 0.975


def test_clusters_that_are_overlooked_would_make_the_interval_too_narrow() -> None:
    draw = np.random.default_rng(5)
    groups = np.repeat(np.arange(40), 6)
    right = np.repeat(draw.random(40) < 0.5, 6)
    scores = right + np.repeat(draw.normal(size=40), 6) + 0.1 * draw.normal(size=240)
    clustered, alone = auc(scores, right, groups.astype(str).tolist()), auc(scores, right, [str(n) for n in range(240)])
    assert clustered and alone
    assert clustered.high - clustered.low > 1.8 * (alone.high - alone.low)


def test_a_metric_is_held_against_people_as_counted_by_hand() -> None:
    rows = [labelled(9, True), labelled(6, True), labelled(4, True), labelled(2, False), labelled(7, False)]
    found = validate(rows, [LENGTH]).metrics[0]
    assert found.n == 5 and found.accuracy.estimate == 3 / 5
    # 6 pairs, of which (6, 7) and (4, 7) are in the wrong order.
    assert found.auc and found.auc.estimate == pytest.approx(4 / 6)
    # By chance: 3/5 are called right and 3/5 are, so .36 + .16 = .52 would agree.
    assert found.kappa == pytest.approx((0.6 - 0.52) / (1 - 0.52))


def test_the_best_threshold_is_found_on_one_half_and_reported_on_the_other() -> None:
    draw = np.random.default_rng(0)
    right = draw.random(400) < 0.5
    rows = [
        labelled(int(length), bool(yes), question=f"q{n}")
        for n, (yes, length) in enumerate(zip(right, np.where(right, 3, 1) + draw.integers(0, 2, 400), strict=True))
    ]
    found = validate(rows, [LENGTH]).metrics[0]
    assert found.accuracy.estimate < 0.6 and found.tuned.estimate == 1 and found.thresholds == (0.25, 0.25)
    noise = [labelled(int(draw.integers(10)), bool(yes), question=f"q{n}") for n, yes in enumerate(right)]
    assert validate(noise, [LENGTH]).metrics[0].tuned.low < 0.5, "what was chosen does not judge itself"


def test_of_equally_good_thresholds_the_usual_one_stays() -> None:
    assert best_threshold(np.array([0.0, 0.2, 0.9, 1.0]), np.array([False, False, True, True])) == 0.5


def test_systems_are_ranked_and_what_people_barely_tell_apart_has_a_wide_interval() -> None:
    def of(system: str, share: int, length: int) -> list[Labelled]:
        return [labelled(length, n < share, system, f"q{n}") for n in range(100)]

    clear = validate([*of("a", 20, 2), *of("b", 50, 4), *of("c", 80, 6)], [LENGTH]).metrics[0].tau
    backwards = validate([*of("a", 20, 6), *of("b", 50, 4), *of("c", 80, 2)], [LENGTH]).metrics[0].tau
    assert clear and (clear.estimate, clear.low, clear.n) == (1, 1, 3)
    assert backwards and (backwards.estimate, backwards.high) == (-1, -1)
    mixed = [
        labelled(2 + n % 5, n * 7 % 20 < 10 + place, s, f"q{n}") for place, s in enumerate("abc") for n in range(60)
    ]
    close = validate(mixed, [Scoring("first", 1, lambda e, a: float(int(e.question[1:]) % 3 == 0) + len(a.text) / 99)])
    tau = close.metrics[0].tau
    assert tau is None or tau.high - tau.low > 0.5
    assert validate([*of("a", 20, 2), *of("b", 50, 4)], [LENGTH]).metrics[0].tau is None


def test_a_metric_that_fails_is_counted_and_its_reason_said() -> None:
    def moody(example: Example, answer: Answer) -> float | None:
        if len(answer.text) == 2:
            raise ValueError("no verdict")
        return None if len(answer.text) == 3 else 1.0

    found = validate([labelled(n, True) for n in (1, 2, 3, 4)], [Scoring("moody", 1, moody)])
    assert (found.metrics[0].n, found.metrics[0].unscored, found.metrics[0].failed) == (2, 2, 1)
    assert "moody failed on 1: ValueError: no verdict" in str(found)
    assert "all of one kind" in str(found)


# ---------------------------------------------------------------- files and the command


ROWS: list[dict[str, object]] = [
    {"question": "Who may enter?", "references": ["nobody"], "answer": "Nobody may.", "right": 1, "system": "a"},
    {"question": "Who may leave?", "references": "everybody", "answer": "Ask Ada.", "label": "no", "note": "odd"},
    {"question": "Who may stay?", "context": ["Only Ada may stay."], "facts": ["Ada"], "answer": "Ada", "right": 1},
]


def test_a_labelled_file_is_read_with_all_its_columns(tmp_path: Path) -> None:
    rows, unused = read_labelled(write(tmp_path / "labels.jsonl", ROWS))
    assert [row.right for row in rows] == [True, False, True]
    assert rows[1].example.references == ("everybody",) and rows[2].answer.hits[0].chunk.text == "Only Ada may stay."
    assert (rows[0].system, rows[2].example.facts, unused) == ("a", ("Ada",), ["note"])


def test_the_files_of_evouna_begin_and_halueval_are_read_as_they_were_published(tmp_path: Path) -> None:
    asked: dict[str, object] = {"question": "Who?", "golden_answer": "Ann/Ada"}
    told: dict[str, object] = {"answer_fid": "Ann", "judge_fid": True, "answer_gpt4": "Bo", "judge_gpt4": False}
    improper = {**asked, **told, "golden_answer": None, "improper": True}
    (tmp_path / "NQ.json").write_text(json.dumps([{**asked, **told, "improper": False}, improper]))
    rows, unused = read_labelled(tmp_path / "NQ.json")
    assert [(row.system, row.answer.text, row.right) for row in rows] == [("fid", "Ann", True), ("gpt4", "Bo", False)]
    assert (rows[0].example.references, unused) == (("Ann", "Ada"), [])

    labels = ("Fully attributable", "Not fully attributable", "Generic")
    lines = [f'gpt2\tcmu\tIt "rains" .\tHow so ?\tRain\t{label}' for label in labels]
    head = "model_name\tdata_source\tknowledge\tmessage\tresponse\tbegin_label"
    (tmp_path / "begin.tsv").write_text("\r\n".join([head, *lines]))
    rows, _ = read_labelled(tmp_path / "begin.tsv")
    assert [(row.right, row.group) for row in rows] == [(right, 'It "rains" .') for right in (True, False, False)]
    assert rows[0].answer.hits[0].chunk.text == 'It "rains" .'

    lines = [
        json.dumps({"user_query": "Why?", "chatgpt_response": "So", "hallucination": said}) for said in ("no", "yes")
    ]
    (tmp_path / "general_data.json").write_text("\n".join(lines))
    assert [row.right for row in read_labelled(tmp_path / "general_data.json")[0]] == [True, False]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"question": "Why?", "answer": "So", "right": "maybe"}, r"labels.jsonl:1: right is 'maybe'; write 1 or 0"),
        ({"question": "Why?", "answer": "So"}, r"right is ''; write 1 or 0"),
        ({"question": "Why?", "right": 1}, r"'answer' is missing or no text; a row looks like"),
        ({"question": "Why?", "answer": "So", "right": 1, "context": 3}, "'context' must be text, or a list"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path: Path, row: dict[str, object], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        read_labelled(write(tmp_path / "labels.jsonl", [row]))


def test_files_are_validated_without_a_project(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.jsonl", ROWS * 3)
    result = CliRunner().invoke(app, ["validate-metrics", str(path), "-C", str(tmp_path), "--json"])
    (found,) = json.loads(result.output).values()
    assert result.exit_code == 0 and found["n"] == 9 and found["right"] == 6
    scored = {one["metric"]: one["n"] for one in found["metrics"]}
    assert scored == {"exact": 6, "f1": 6, "facts": 3, "recall": 6, "support": 3}
    shown = CliRunner().invoke(app, ["validate-metrics", str(path), "-C", str(tmp_path), "--metric", "recall"])
    assert "not used: note" in shown.output and "so few answers show little" in shown.output


def test_what_no_metric_can_score_is_an_error_with_the_cure(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.jsonl", [{"question": "Why?", "answer": "So", "right": 1}])
    with pytest.raises(DataError, match="give each row references, or context"):
        validate(read_labelled(path)[0], ["recall", "support"])
    with pytest.raises(DataError, match="there is no file .* of labelled answers; make one"):
        read_labelled(tmp_path / "other.jsonl")


def test_the_hand_checks_of_a_run_validate_its_metrics(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    run = CliRunner()
    assert run.invoke(app, ["compare", "-C", str(project), "--limit", "12"]).exit_code == 0
    missing = run.invoke(app, ["validate-metrics", "-C", str(project)])
    assert "holds no hand checks; `bakeoff report --run latest --checks 50`" in str(missing.exception)
    assert run.invoke(app, ["report", "-C", str(project), "--checks", "5"]).exit_code == 0
    sheet = project / "runs" / "latest" / "checks.csv"
    lines = sheet.read_text().splitlines()
    sheet.write_text("\n".join([lines[0], *(line + ("yes" if n % 3 else "no") for n, line in enumerate(lines[1:]))]))
    found = run.invoke(app, ["validate-metrics", "-C", str(project)])
    assert found.exit_code == 0 and "hand checks of latest: 10 answers" in found.output
    assert json.loads((sheet.parent / agreement.FILE).read_text())["n"] == 10
