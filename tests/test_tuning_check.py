"""Faults planted in examples, each found by name; sound examples give no finding."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bakeoff.tuning.check import Problem, check
from bakeoff.types import Example, Message

GOOD = Example("good", "Who may travel first class?", ("nobody",), group="travel.md")
OTHER = Example("other", "When does the shop open?", ("at nine", "9:00"), group="shop.md")


def findings(problems: list[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.severity, problem.where, problem.what) for problem in problems]


def test_sound_examples_give_no_finding() -> None:
    unanswerable = Example("none", "Who is the queen?", answerable=False)
    labelled = Example("label", "my lamp is broken", label="repair")
    talk = Example("talk", "hi", messages=(Message("user", "hi"), Message("assistant", "hello")))
    assert check([GOOD, unanswerable], [labelled, talk], [OTHER]) == []


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        (Example("bad", " \n", ("x",)), "empty question"),
        (Example("bad", "why?"), "no reference answer"),
        (Example("bad", "why?", ("",)), "no reference answer"),
        (Example("bad", "why?", messages=(Message("user", "why?"),)), "the last message is not the assistant's"),
    ],
)
def test_a_fault_of_one_example_is_an_error_with_its_id(bad: Example, what: str) -> None:
    assert findings(check([GOOD, bad], [OTHER])) == [("error", "bad", what)]


def test_a_very_long_example_is_a_warning() -> None:
    assert findings(check([Example("long", "why? " * 3000, ("because",))], [])) == [
        ("warning", "long", "very long: 15007 characters")
    ]


def test_duplicates_are_warnings_and_conflicts_are_errors_whatever_case_and_spaces() -> None:
    again = Example("again", "who may  travel FIRST class?", ("Nobody",), group="travel.md")
    refusal = Example("refusal", "Who may travel first class?", answerable=False)
    conflict = Example("conflict", "Who may travel first class?", ("directors",), group="travel.md")
    alias = Example("alias", "When does the shop open?", ("9:00",), group="shop.md")
    assert findings(check([GOOD, again], [])) == [("warning", "good, again", "duplicate question in train")]
    assert findings(check([GOOD], [OTHER, alias])) == [("warning", "other, alias", "duplicate question in valid")]
    assert findings(check([], [GOOD, conflict])) == [
        ("error", "good, conflict", "the same question with different answers in valid")
    ]
    assert findings(check([GOOD, GOOD, refusal], [])) == [
        ("error", "good, good, refusal", "the same question with different answers in train")
    ]


def test_labels_of_the_same_question_that_differ_are_a_conflict() -> None:
    one, other = Example("one", "my lamp broke", label="repair"), Example("other", "my lamp broke", label="refund")
    assert [problem.kind for problem in check([one, other], []) if problem.severity == "error"] == ["conflict"]


def test_a_question_or_a_group_on_both_sides_of_a_split_is_an_error() -> None:
    copy = Example("copy", "WHO may travel first class?", ("nobody",))
    sibling = Example("sibling", "Who books hotels?", ("the office",), group="travel.md")
    assert findings(check([GOOD], [], [copy])) == [("error", "good, copy", "the question is in train and in test")]
    assert findings(check([], [GOOD], [sibling])) == [("error", "good, sibling", "the group is in valid and in test")]


def test_conversations_that_only_begin_alike_are_no_leak_and_no_duplicates() -> None:
    def talk(id: str, then: str) -> Example:
        turns = (
            Message("user", "hi"),
            Message("assistant", "hello"),
            Message("user", then),
            Message("assistant", then),
        )
        return Example(id, "hi", messages=turns)

    assert check([talk("a", "Where is the red lamp?"), talk("b", "What costs oil?")], [], [talk("c", "Why not?")]) == []
    assert [p.kind for p in check([talk("a", "Why not?")], [], [talk("c", "why  NOT?")])] == ["leak-exact"]


def test_noise_is_told_by_what_it_is() -> None:
    noise = {
        "a refusal for an answer": "As an AI language model, I cannot say.",
        "a placeholder": "TODO",
        "markup of a page": "<div class='a'>nobody</div>",
        "text in a wrong encoding": "the caf\xc3\xa9",
        "one character again and again": "so" + "o" * 30,
        "the question itself for an answer": "who may travel",
    }
    examples = [
        Example(kind, "Who may travel?" if "itself" in kind else f"What of {n}?", (text,))
        for n, (kind, text) in enumerate(noise.items())
    ]
    found = [p for p in check(examples, []) if p.kind == "noise"]
    assert {p.where: p.what for p in found} == {kind: f"{kind} in 1 example" for kind in noise}
    clean = ["a < b and b > c", "None", "na\xefve caf\xe9", "x = 3; y &lt", "As an accountant, I say so."]
    assert check([Example(str(n), f"How of {n}?", (text,)) for n, text in enumerate(clean)], []) == []


def test_labels_that_differ_only_in_case_or_spaces_are_found() -> None:
    labels = ["Refund", "refund", "refund ", "repair", "repair"]
    problems = check([Example(f"q{n}", f"question {n}", label=label) for n, label in enumerate(labels)], [])
    assert findings(problems) == [("error", "labels", "spelt in 3 ways: ['Refund', 'refund', 'refund ']")]


def test_errors_come_first_and_all_name_a_cure() -> None:
    problems = check([Example("long", "why? " * 3000, ("x",)), Example("bad", "how?")], [])
    assert [problem.severity for problem in problems] == ["error", "warning"]
    assert all(problem.cure for problem in problems)


def test_checking_loads_no_model_library() -> None:
    script = (
        "import sys; from bakeoff.tuning.check import check; from bakeoff.types import Example\n"
        "check([Example(str(n), f'question {n}', ('x',)) for n in range(10000)], [])\n"
        "assert not {'torch', 'transformers', 'xllamacpp', 'sklearn'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
