"""Collect, score, compare - with toy systems, kills, full disks and two processes at once."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from bakeoff.config import Costs
from bakeoff.errors import (
    BakeoffError,
    ConfigError,
    DataError,
    ModelError,
    StoreError,
    UnknownNameError,
    UnreachableError,
)
from bakeoff.evaluation import metrics, prices, records
from bakeoff.evaluation.compare import Comparison, collect, compare, examples_of, load, score
from bakeoff.evaluation.folder import locked
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.recommend import recommend
from bakeoff.evaluation.report.whatif import what_if
from bakeoff.types import (
    Answer,
    Chunk,
    Citation,
    Evidence,
    Example,
    Hit,
    Message,
    Question,
    Sentence,
    Step,
    System,
    Trial,
    Usage,
)

EXAMPLES = [Example(f"q{i}", f"What is {i} + {i}?", (str(2 * i),), kind="odd" if i % 2 else "even") for i in range(12)]


@dataclass
class Toy:
    """Answers by a function of the question, and remembers what it was asked."""

    name: str
    reply: Callable[[str], Answer | str]

    def __post_init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, question: Question | str) -> Answer:
        text = Question.of(question).text
        self.asked.append(text)
        reply = self.reply(text)
        return Answer(reply, usage=Usage(10, 0, 2, 0.1)) if isinstance(reply, str) else reply


def adder(name: str = "adder") -> Toy:
    return Toy(name, lambda text: f"It is {2 * int(text.split()[2])}.")


def parrot(name: str = "parrot") -> Toy:
    return Toy(name, lambda text: "no idea")


def fail(error: Exception) -> Answer:
    raise error


def run(systems: Sequence[System], out: Path, examples: Sequence[Example] = EXAMPLES, **options: object) -> Comparison:
    return compare(systems, examples, ("recall", "exact", "support"), out=out, **options)  # type: ignore[arg-type]


# ---------------------------------------------------------------- what a comparison shows


def test_the_better_system_leads_and_stands_alone_in_the_best_set(tmp_path: Path) -> None:
    first, second = run([parrot(), adder()], tmp_path).table()
    assert (first.system, second.system) == ("adder", "parrot")
    assert first.metrics["recall"] is not None
    assert (first.metrics["recall"].estimate, first.n, first.in_best_set) == (1, 12, True)
    assert not second.in_best_set
    assert second.to_top is not None
    assert (second.to_top.other, second.to_top.interval.estimate) == ("adder", -1)
    assert second.to_top.p < 0.001
    assert first.to_top is None
    assert first.to_baseline == replace(second.to_top, other="parrot", interval=first.to_baseline.interval)  # type: ignore[union-attr]


def test_a_system_against_itself_is_a_tie(tmp_path: Path) -> None:
    rows = run([adder("a"), adder("b")], tmp_path).table()
    assert [row.in_best_set for row in rows] == [True, True]
    assert rows[1].to_top is not None
    assert rows[1].to_top.p == 1
    assert rows[1].to_top.interval.low < 0 < rows[1].to_top.interval.high


def test_a_system_that_raises_has_answered_wrongly_and_the_others_go_on(tmp_path: Path) -> None:
    def moody(text: str) -> Answer | str:
        return fail(ModelError("the endpoint is down")) if "3" in text else "6" if "4" in text else fail(KeyError("x"))

    comparison = run([Toy("moody", moody), adder()], tmp_path)
    row = comparison.table()[1]
    assert (row.system, row.n, row.errors) == ("moody", 12, 11)
    assert row.metrics["recall"] is not None
    assert row.metrics["recall"].n == 12
    errors = {trial.example_id: trial.error for trial in comparison.trials if trial.system == "moody"}
    assert errors["q3"] == "ModelError: the endpoint is down"
    assert errors["q4"] == ""
    assert comparison.scores["moody", "q3"] == {"recall": 0, "exact": 0, "support": None}
    verdicts = [comparison.verdict(trial) for trial in comparison.trials if trial.system == "moody"]
    assert set(verdicts) == {"error", "wrong"}


def test_stopping_by_hand_stops(tmp_path: Path) -> None:
    def interrupt(text: str) -> Answer:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run([Toy("slow", interrupt)], tmp_path)


def test_abstentions_are_counted_by_what_was_right(tmp_path: Path) -> None:
    examples = [replace(EXAMPLES[i], answerable=i < 2, references=("4",) if i < 2 else ()) for i in range(4)]

    def shy(text: str) -> Answer | str:
        return Answer("I don't know.", "abstained") if int(text.split()[2]) % 2 else "4"

    row = run([Toy("shy", shy)], tmp_path, examples).table()[0]
    counts = row.abstentions
    assert (counts.right, counts.wrong_refusal, counts.correct_refusal, counts.should_have_refused) == (1, 1, 1, 1)
    assert row.right is not None
    assert row.right.estimate == 0.5


def test_what_no_metric_can_score_is_left_out_and_never_nan(tmp_path: Path) -> None:
    comparison = run([adder()], tmp_path, [*EXAMPLES[:4], replace(EXAMPLES[5], id="open", references=())])
    row = comparison.table()[0]
    assert row.metrics["recall"] is not None
    assert (row.n, row.metrics["recall"].n, row.metrics["support"]) == (5, 4, None)
    assert "NaN" not in json.dumps(comparison.to_json())
    assert comparison.verdict(comparison.trials[-1]) == "unscored"


def test_questions_on_one_document_count_as_a_cluster(tmp_path: Path) -> None:
    half = Toy("half", lambda text: str(2 * int(text.split()[2])) if int(text.split()[2]) < 6 else "no")
    alone = run([half], tmp_path / "a").table()[0].metrics["recall"]
    grouped = [replace(example, group=str(i // 6)) for i, example in enumerate(EXAMPLES)]
    together = run([half], tmp_path / "b", grouped).table()[0].metrics["recall"]
    assert alone is not None
    assert together is not None
    assert together.high - together.low > alone.high - alone.low


def test_macro_f1_and_mcc_are_of_all_answers_together(tmp_path: Path) -> None:
    examples = [Example(f"q{n}", f"message {n}", label="rare" if n % 4 == 0 else "common") for n in range(40)]
    always = Toy("always", lambda text: "common")
    knows = Toy("knows", lambda text: "rare" if int(text.split()[1]) % 4 == 0 else "common")
    comparison = compare([always, knows], examples, ("exact", "macro_f1", "mcc"), out=tmp_path)
    rows = {row.system: row.metrics for row in comparison.table()}
    shown = {(name, metric): found.estimate for name, row in rows.items() for metric, found in row.items() if found}
    assert shown["always", "exact"] == 0.75
    assert shown["always", "macro_f1"] == pytest.approx((2 * 0.75 / 1.75) / 2)
    assert (shown["always", "mcc"], shown["knows", "macro_f1"], shown["knows", "mcc"]) == (0, 1, 1)
    assert all(found.low < found.estimate for row in rows.values() for found in row.values() if found)
    assert comparison.scores["knows", "q0"] == {"exact": 1, "macro_f1": None, "mcc": None}
    few = compare([always, knows], [replace(one, label="") for one in examples], ("exact", "mcc"), out=tmp_path / "b")
    assert few.table()[0].metrics["mcc"] is None


def test_what_is_of_all_answers_together_cannot_decide(tmp_path: Path) -> None:
    toy = adder()
    with pytest.raises(ConfigError, match='of all answers together.*write metrics = ."exact", "mcc".'):
        compare([toy], EXAMPLES, ("mcc", "exact"), out=tmp_path)
    assert not toy.asked


def test_runs_from_before_facts_and_formats_go_on(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    assert "facts" not in (tmp_path / "examples.jsonl").read_text()
    compared = replace(EXAMPLES[0], facts=("0",), format="[0-9]")
    assert records.example(json.loads(records.line(compared))) == compared
    assert examples_of(tmp_path) == EXAMPLES


def test_slices_go_by_kind(tmp_path: Path) -> None:
    even = Toy("even", lambda text: "no" if int(text.split()[2]) % 2 else str(2 * int(text.split()[2])))
    slices = run([even], tmp_path).by_kind()
    assert {kind: row["even"].estimate for kind, row in slices.items()} == {"even": 1, "odd": 0}


def test_the_table_without_timings_is_the_same_bytes_in_every_run(tmp_path: Path) -> None:
    texts = [run([adder(), parrot()], tmp_path / name, seed=3).table_text(timings=False) for name in "ab"]
    assert texts[0] == texts[1]
    assert "* adder" in texts[0]
    assert "p95" not in texts[0]
    whole = str(load(tmp_path / "a"))
    assert "p95" in whole
    assert "100.0 [75.8, 100.0]" in whole
    assert len({line.index("p50") for line in whole.splitlines() if "p50" in line}) == 1


# ---------------------------------------------------------------- the run folder


def test_a_second_run_asks_nothing_and_says_the_same(tmp_path: Path) -> None:
    first = run([adder(), parrot()], tmp_path)
    again = adder()
    second = run([again, parrot()], tmp_path)
    assert again.asked == []
    assert second == first


def test_a_new_system_joins_a_run_and_the_others_keep_their_answers(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    old, new = adder(), parrot()
    assert run([old, new], tmp_path).systems == ("adder", "parrot")
    assert (len(old.asked), len(new.asked)) == (0, 12)
    assert run([new], tmp_path).systems == ("parrot",)
    with pytest.raises(ConfigError, match="'adder' with other settings"):
        run([old], tmp_path, settings={"adder": {"k": 5}})


def test_fresh_asks_everything_anew(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    again = adder()
    run([again], tmp_path, fresh=True, settings={"adder": {"k": 5}})
    assert len(again.asked) == 12


def test_other_questions_or_settings_are_not_mixed_into_a_run(tmp_path: Path) -> None:
    run([adder()], tmp_path, settings={"adder": {"k": 5, "path": Path("a"), "files": {"x": "1"}}})
    changed = [replace(EXAMPLES[0], references=("another",)), *EXAMPLES[1:]]
    with pytest.raises(ConfigError, match=r"before the example 'q0' changed.*--fresh"):
        run([adder()], tmp_path, changed)
    with pytest.raises(ConfigError, match=r"'adder' with other settings.*--run"):
        run([adder()], tmp_path, settings={"adder": {"k": 6, "path": Path("a"), "files": {"x": "1"}}})
    kept = tomllib.loads((tmp_path / "run.toml").read_text())
    assert kept["settings"]["adder"] == {"k": 5, "path": "a", "files": {"x": "1"}}


def test_a_run_grows_and_shrinks_with_the_questions_and_asks_none_twice(tmp_path: Path) -> None:
    toys = [adder() for _ in range(3)]
    counts = [len(run([toy], tmp_path, EXAMPLES[:n]).trials) for toy, n in zip(toys, (3, 12, 2), strict=True)]
    assert counts == [3, 12, 2] and [len(toy.asked) for toy in toys] == [3, 9, 0]


def test_a_run_that_shrinks_to_answers_none_of_which_was_timed_still_loads(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    rows = [{**row, "alone": row["example_id"] != "q0"} for row in records.read(tmp_path / "trials.jsonl")]
    (tmp_path / "trials.jsonl").write_text(records.lines(rows))
    row = run([adder()], tmp_path, EXAMPLES[:1]).table()[0]
    assert (row.n, row.p50.n) == (1, 1) and row.p95.estimate > 0


def test_fewer_systems_show_nothing_of_those_that_are_gone(tmp_path: Path) -> None:
    raising = Toy("broken", lambda text: fail(KeyError("x")))
    run([adder(), raising], tmp_path, EXAMPLES[:3], again=True)
    (tmp_path / "checks.csv").write_text("example,system,right\nq0,broken,no\nq0,adder,yes\n")
    left = run([raising], tmp_path, EXAMPLES[:3])
    assert left.second is None and left.noise() is None
    assert {system for system, _ in left.scores} == {"broken"}
    assert set(left.checks) == {("broken", "q0")}


def test_second_answers_that_never_came_are_none(tmp_path: Path) -> None:
    run([adder()], tmp_path, EXAMPLES[:3], again=True)
    (tmp_path / "again" / "trials.jsonl").write_text("")
    assert load(tmp_path).second is None


def test_an_endpoint_that_is_down_is_no_wrong_answer(tmp_path: Path) -> None:
    away = UnreachableError("no answer from http://localhost:9; is the server running there?")
    with pytest.raises(UnreachableError, match="no answer from"):
        run([Toy("far", lambda text: fail(away) if text.startswith("What is 2") else "It is 4.")], tmp_path)
    found = run([Toy("far", lambda text: "It is 4.")], tmp_path)
    assert found.table()[0].errors == 0 and len(found.trials) == len(EXAMPLES)


def test_a_system_of_which_every_answer_failed_is_never_recommended(tmp_path: Path) -> None:
    found = run([Toy("broken", lambda text: fail(ValueError("prompt too long")))], tmp_path)
    verdict = recommend(found)
    assert verdict.system is None and verdict.reasons == ("every answer of every system failed",)
    assert "12 of 12 answers of broken failed, the first: ValueError: prompt too long" in str(found)
    # Nor is it weighed by the page's sliders, where it would cost nothing.
    both = run([adder("good"), Toy("broken", lambda text: fail(ValueError("x")))], tmp_path / "both")
    assert both.eligible == ("good",)
    accounts = Accounts(both, prices.book(both, Costs()))
    assert {
        row["system"]: (row["eligible"], row["inside"]) for row in what_if(both, recommend(both), accounts)["rows"]
    } == {
        "good": (True, True),
        "broken": (False, False),
    }
    worth = accounts.worth("good")
    assert worth and not worth.above and not worth.below


def test_the_run_file_stands_before_the_first_question(tmp_path: Path) -> None:
    def look(text: str) -> str:
        return (tmp_path / "run.toml").read_text().splitlines()[0]

    assert run([Toy("look", look)], tmp_path).trials[0].answer.text.startswith("bakeoff = ")


@pytest.mark.parametrize(
    ("systems", "examples", "error", "message"),
    [
        ([], EXAMPLES, ConfigError, "no systems"),
        ([adder()], [], DataError, "no examples"),
        ([adder(), adder()], EXAMPLES, ConfigError, "two systems are named 'adder'"),
        ([adder()], [EXAMPLES[0]] * 2, DataError, "two examples have the id 'q0'"),
        ([Toy("text", lambda text: 5)], EXAMPLES, BakeoffError, None),  # type: ignore[arg-type,return-value]
    ],
)
def test_what_cannot_be_compared_is_one_clear_error(
    systems: list[Toy], examples: list[Example], error: type[Exception], message: str | None, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message or r"answered with int; return a bakeoff\.Answer"):
        run(systems, tmp_path, examples)


def test_unknown_names_list_the_known_ones_before_anything_is_asked(tmp_path: Path) -> None:
    system = adder()
    with pytest.raises(
        UnknownNameError,
        match=r"unknown metric 'recal': did you mean 'recall'\? known are choice, citation_recall, citations",
    ):
        compare([system], EXAMPLES, ["recal"], out=tmp_path)
    with pytest.raises(UnknownNameError, match="unknown baseline 'x': known are adder"):
        compare([system], EXAMPLES, out=tmp_path, baseline="x")
    assert system.asked == []


def test_a_folder_without_a_run_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scored run"):
        load(tmp_path)


def test_progress_counts_what_was_answered_before(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    run([adder(), parrot()], tmp_path, progress=lambda *step: seen.append(step))
    assert seen[0] == (1, 24, "adder")
    assert seen[-1] == (24, 24, "parrot")


def test_the_machine_is_noted_beside_the_results(tmp_path: Path) -> None:
    machine = run([adder()], tmp_path).machine
    assert machine["peak_mb"]["adder"] > 10


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak can be reset on Linux only")
def test_the_peak_of_a_system_is_not_that_of_what_ran_before_it(tmp_path: Path) -> None:
    block = np.ones(2**26)  # 512 MB
    high = run([adder()], tmp_path / "high").machine["peak_mb"]["adder"]
    del block
    low = run([adder()], tmp_path / "low").machine["peak_mb"]["adder"]
    assert low < high - 400


def test_the_machine_names_its_cores(tmp_path: Path) -> None:
    machine = run([adder()], tmp_path).machine
    assert machine["cpus"] == os.cpu_count()


# ---------------------------------------------------------------- records and scores


def test_records_survive_the_way_through_json() -> None:
    chunk = Chunk("d#0", "d", 'half \ud83d an emoji, "quotes"\nand lines', 0, 30, 2, "A > B")
    answer = Answer(
        "x [1]",
        "fallback",
        (Citation(1, chunk, 0, 4, "half", "locator"),),
        (Hit(chunk, 0.5, {"bm25": 3.5}),),
        Usage(1, 2, 3, 0.5),
        {"a": 1.5},
        2,
        (Sentence(0, 5, (1,), 0.75),),
        0.25,
        ("passages differ",),
        (Step("generate", "x", 0.5, Usage(1)),),
    )
    trial = Trial("rag", "q", answer, 1.25, "late")
    turn = Message("assistant", "hi")
    example = Example("q", "?", ("a", "b"), (Evidence("d", 0, 4, "half"),), "no", "l", (turn,), "g", "k", False)
    assert records.trial(json.loads(records.line(trial))) == trial
    assert records.example(json.loads(records.line(example))) == example
    older = json.loads(records.line(trial))
    del older["answer"]["sentences"]
    with pytest.raises(DataError, match="recorded by another version; ask anew with `bakeoff compare --fresh`"):
        records.trial(older)


def test_a_dropped_in_file_is_a_metric_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shortness.py").write_text("def score(example, answer):\n    return 1 / len(answer.text)\n")
    (tmp_path / "broken.py").write_text("VERSION = 3\ndef score(example, answer):\n    return 1 / 0\n")
    (tmp_path / "endless.py").write_text("def score(example, answer):\n    return float('nan')\n")
    monkeypatch.setattr(metrics, "__path__", [*metrics.__path__, str(tmp_path)])
    out = tmp_path / "run"
    comparison = compare([adder()], EXAMPLES, ["shortness", "broken", "endless"], out=out)
    assert comparison.metrics == ("shortness", "broken", "endless")
    assert comparison.scores["adder", "q1"] == {"shortness": 1 / 8, "broken": None, "endless": None}
    assert comparison.failures[0] == "broken on adder/q0: ZeroDivisionError: division by zero"
    assert "24 scores could not be computed" in str(comparison)
    lines = records.read(out / "scores.jsonl")
    assert [line["status"] for line in lines[:3]] == ["ok", "error", "error"]
    assert lines[1]["version"] == 3


def test_scores_are_made_again_without_asking(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    assert examples_of(tmp_path) == EXAMPLES
    score(tmp_path, examples_of(tmp_path), ["f1", "ndcg"])
    assert load(tmp_path).metrics == ("f1", "ndcg@10")


# ---------------------------------------------------------------- kills, full disks, company


SCRIPT = """
import sys, time
from pathlib import Path
from bakeoff.evaluation.compare import compare
from bakeoff.types import Answer, Example
folder = Path(sys.argv[1])
class Slow:
    def __init__(self, name): self.name = name
    def answer(self, question):
        with open(folder / "asked.log", "a") as log: log.write(f"{self.name} {question}\\n")
        time.sleep(float(sys.argv[2]))
        return Answer("x" * 2000 + " 1")
examples = [Example(f"q{i}", f"{i}?", (str(i % 3),)) for i in range(20)]
print(compare([Slow("a"), Slow("b")], examples, out=folder / "run").table_text(timings=False))
"""


def slow_compare(folder: Path, pause: float, *, limit: int = 0) -> subprocess.Popen[str]:
    def shrink() -> None:
        if limit:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-c", SCRIPT, str(folder), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=shrink)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_after_a_kill_the_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    killed, straight = tmp_path / "killed", tmp_path / "straight"
    killed.mkdir()
    straight.mkdir()
    trials, log = killed / "run" / "trials.jsonl", killed / "asked.log"
    process = slow_compare(killed, 0.03)
    wait_for(lambda: trials.is_file() and trials.read_bytes().count(b"\n") >= 7)
    process.kill()
    process.communicate()
    answered = trials.read_bytes().count(b"\n")
    assert answered < 40
    with trials.open("ab") as file:
        file.write(b'{"system": "a", "exam')
    before = log.read_text().splitlines()
    outputs = [slow_compare(folder, 0).communicate()[0] for folder in (killed, straight)]
    assert "* a" in outputs[0]
    assert outputs[0] == outputs[1]
    asked = log.read_text().splitlines()
    assert len(asked) - len(before) == 40 - answered
    # Only the question that was under way when the process died may be asked again.
    assert len(before) - answered in (0, 1)
    assert len(records.read(trials)) == 40


def test_a_full_disk_is_one_clear_error_and_the_answers_stay(tmp_path: Path) -> None:
    process = slow_compare(tmp_path, 0, limit=20_000)
    errors = process.communicate()[1]
    assert "StoreError: cannot write" in errors
    assert "free some space" in errors.splitlines()[-1]
    kept = len(records.read(tmp_path / "run" / "trials.jsonl"))
    assert 5 <= kept < 20


def test_two_processes_do_not_share_a_run_folder(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    with locked(tmp_path), pytest.raises(StoreError, match=r"another bakeoff works in .*; wait"):
        collect([adder()], EXAMPLES, tmp_path)
    collect([adder()], EXAMPLES, tmp_path)


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    run([adder()], tmp_path)
    trials = tmp_path / "trials.jsonl"
    lines = trials.read_text().splitlines()
    trials.write_text("\n".join([lines[0], "{half", *lines[2:], ""]))
    with pytest.raises(DataError, match=r"trials\.jsonl:2: damaged"):
        run([adder()], tmp_path)


def test_the_baseline_asked_twice_shows_what_differs_by_chance(tmp_path: Path) -> None:
    class Fickle:
        """Answers rightly every third time it is asked."""

        name = "fickle"
        asked = 0

        def answer(self, question: Question | str) -> Answer:
            self.asked += 1
            return Answer("yes" if self.asked % 3 == 0 else "no")

    examples = [Example(f"q{n:02}", f"question {n}", ("yes",)) for n in range(40)]
    result = compare([Fickle()], examples, ["recall"], out=tmp_path, again=True)
    noise = result.noise()
    assert noise is not None
    assert (noise.n, noise.differing, noise.largest) == (40, 26, 1.0)
    assert noise.interval.low < 0 < noise.interval.high
    assert "fickle asked twice (A/A): 26 of 40 answers differ" in str(result)
    assert compare([Fickle()], examples, ["recall"], out=tmp_path).noise() == noise
    assert compare([Fickle()], examples[:30], ["recall"], out=tmp_path, fresh=True).noise() is None


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux lets the peak start anew")
def test_memory_that_was_freed_before_is_no_systems() -> None:
    code = (
        "from bakeoff.memory import forget_peak, peak_mb\n"
        "import numpy as np\n"
        "blocks = [np.ones(10_000) for _ in range(4000)]\n"  # 80 kB each: of the heap, and not given back by itself
        "kept = blocks[-1]\n"
        "before = peak_mb()\n"
        "del blocks\n"
        "forget_peak()\n"
        "print(before - peak_mb())\n"
    )
    freed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(freed) > 250
