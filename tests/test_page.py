"""The report's page in a real browser: what its scripts compute is what Python computes."""

from __future__ import annotations

import csv
import json
import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bakeoff.errors import DataError
from bakeoff.evaluation import stats
from bakeoff.evaluation.checks import drawn, read, take
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import Book, Tokens
from bakeoff.evaluation.race import Race
from bakeoff.evaluation.recommend import recommend
from bakeoff.evaluation.report import write
from bakeoff.evaluation.report.page import page
from big_run import big_run
from browser import Browser
from test_report import clear, made_up

CONTROLS = """[...document.querySelectorAll("a[href], button:not(:disabled), input, select, summary, [tabindex]")]
    .filter((one) => one.checkVisibility())"""
CONTRAST = """(() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (color, below) => {
    context.fillStyle = below;
    context.fillRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
  const light = (rgb) => rgb.map((one) => linear(one / 255))
    .reduce((total, one, i) => total + one * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    let color = "#fff";
    const line = [];
    for (let one = element; one; one = one.parentElement) line.unshift(getComputedStyle(one).backgroundColor);
    for (const one of line) color = `rgb(${paint(one, color)})`;
    return color;
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = texts.nextNode(); node; node = texts.nextNode()) {
    const element = node.parentElement;
    const unseen = !element.checkVisibility() || element.closest("script, style, :disabled, .skip");
    if (unseen || !node.textContent.trim()) continue;
    const style = getComputedStyle(element);
    const ground = behind(element);
    const ink = paint(element.closest("svg") ? style.fill : style.color, ground);
    const [a, b] = [light(ink), light(paint(ground, "#fff"))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${element.tagName} ${node.textContent.slice(0, 40)}`);
  }
  return [...new Set(faint)];
})()"""
"""Texts whose contrast to the colour behind them is below 4.5 to 1 (WCAG 2.2, AA)."""


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = big_run()
    return write(run, recommend(run), tmp_path_factory.mktemp("big"))["html"]


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
    found = chromium.js(f"bakeoff.handChecked({json.dumps(metric)}, new Map({json.dumps(pairs)}), {given})")
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
    shown = chromium.js("bakeoff.estimates()")
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
    assert chromium.js("bakeoff.estimates()") == shown
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
    left = chromium.js("bakeoff.marks.size")
    assert left < len(comparison.systems)
    chromium.open(page, "#show=check")
    assert chromium.js("bakeoff.marks.size") == left
    chromium.js("localStorage.clear()")


MODELS = {"few-shot": Tokens(0.4, 0.1, 1.6, "bakeoff.toml")}
SETTINGS: list[dict[str, Any]] = [
    dict(zip(("hour", "utilisation", "scale", "wrong", "delta", "by"), values, strict=True)) | life
    for *values, life in product(
        *((0.05, 3.0), (0.1, 0.9), (0.02, 30.0), (0.0, 0.001, 2.0), (0.0, 0.03, 0.1, 0.2)),
        ("tokens", "dollars"),
        ({"questions": 500.0, "changes": 0.0}, {"questions": 1e7, "changes": 3e4}),
    )
]


def priced(seed: int, questions: int) -> Comparison:
    """A comparison in which some systems were trained, some search, and one is asked over an endpoint."""
    draw = random.Random(seed)
    plain = made_up(questions, seed)
    trials = tuple(
        replace(trial, answer=replace(trial.answer, usage=replace(trial.answer.usage, seconds=trial.seconds * 0.8)))
        for trial in plain.trials
    )
    tuned, reads = {"tuned": "x"}, {"corpus": "y"}
    return replace(
        plain,
        trials=trials,
        run={**plain.run, "settings": {"rag": reads, "lora": tuned, "lora + rag": tuned | reads}},
        machine={
            "build_seconds": {"lora": draw.uniform(1, 900), "lora + rag": draw.uniform(1, 900)},
            "lessons": {"lora": 40, "lora + rag": 40},
            "effort": {"indexing": 30.0, "documents": 120, "drafting": 90.0, "examples": 100},
        },
    )


def accounts_at(comparison: Comparison, book: Book, setting: dict[str, Any]) -> Accounts:
    """The accounts of Python at the settings of the page's sliders."""
    scale = setting["scale"]
    models = {
        name: Tokens(scale * model.input, scale * model.cached, scale * model.output, model.source)
        for name, model in book.models.items()
    }
    kept = {name: setting[name] for name in ("hour", "utilisation", "questions", "changes", "wrong")}
    return Accounts(comparison, replace(book, models=models, said=setting["by"] == "dollars", **kept))


@pytest.mark.parametrize(("seed", "questions"), [(1, 30), (3, 120)])
def test_sliders_give_the_choice_and_the_bills_of_python(
    chromium: Browser, tmp_path: Path, seed: int, questions: int
) -> None:
    comparison, book = priced(seed, questions), Book(models=MODELS, example=0.5)
    chromium.open(write(comparison, clear(), tmp_path, accounts=Accounts(comparison, book))["html"])
    shown = chromium.js(
        f"{json.dumps(SETTINGS)}.map((one) => ({{"
        "choice: bakeoff.recommend(one), bills: bakeoff.rows.map((row) => bakeoff.billOf(row, one)),"
        "back: bakeoff.paybacks(one), worth: bakeoff.rows.map((row) => bakeoff.worth(row.system, one)) }))"
    )
    assert len(shown) == len(SETTINGS) == 384
    verdicts = set()
    for one, found in zip(SETTINGS, shown, strict=True):
        accounts = accounts_at(comparison, book, one)
        wanted, choice = recommend(comparison, delta=one["delta"], accounts=accounts), found["choice"]
        assert (choice["system"], choice["confidence"]) == (wanted.system, wanted.confidence), one
        assert (choice["more"], choice["between"]) == (wanted.more_questions, list(wanted.between)), one
        verdicts.add((wanted.system, wanted.confidence))
        for bill, mine in zip(found["bills"], accounts.bills.values(), strict=True):
            shares = (mine.at(one["questions"], 0), mine.at(one["questions"], one["wrong"]))
            shown_bill = [
                *(bill[name] for name in ("question", "perRight", "built", "upkeep", "plain", "total")),
                *bill["ends"],
            ]
            assert close(shown_bill, (mine.question, mine.per_right, mine.build, mine.upkeep, *shares, *mine.band))
        for back, payback in zip(found["back"], accounts.paybacks, strict=True):
            assert (back["system"], back["other"]) == (payback.system, payback.other)
            assert close([*back["questions"], back["build"]], [*payback.questions, payback.build])
        for seen, worth in zip(found["worth"], map(accounts.worth, accounts.bills), strict=True):
            assert (seen is None) is (worth is None)
            if worth:
                assert (seen["below"], seen["above"]) == (worth.below, worth.above)
                assert close((seen["low"], seen["high"]), (worth.low, worth.high))
    assert len(verdicts) > 1  # the settings matter


def test_curves_cross_where_training_has_paid_for_itself(chromium: Browser, tmp_path: Path) -> None:
    comparison = priced(2, 60)
    chromium.open(write(comparison, clear(), tmp_path)["html"], "#hour=3&utilisation=0.9")
    lines = chromium.js(
        "Object.fromEntries([...document.querySelectorAll('.curves g')].filter((one) => one.querySelector('.trend'))"
        ".map((one) => [one.textContent, [...one.querySelector('.trend').points].map(({ x, y }) => [x, y])]))"
    )
    assert set(lines) == set(comparison.systems)
    accounts = Accounts(comparison, Book(hour=3.0, utilisation=0.9))
    asked = [100 * 1e7 ** (i / 59) for i in range(60)]
    for name, points in lines.items():
        # Lower on the page is cheaper, and so it is in the bills.
        costs = [accounts.bills[name].at(questions, 0) for questions in asked]
        for other, theirs in lines.items():
            for i in (0, 30, 59):
                apart = costs[i] - accounts.bills[other].at(asked[i], 0)
                if abs(apart) > 0.02 * costs[i]:
                    assert (points[i][1] < theirs[i][1]) is (apart > 0)
    assert "NaN" not in chromium.js("document.querySelector('.curves').outerHTML")


def close(found: Sequence[float | None], wanted: Sequence[float | None]) -> bool:
    """Equal to 9 digits; never stays never."""
    pairs = zip(found, wanted, strict=True)
    return all(a == b if a is None or b is None else math.isclose(a, b, rel_tol=1e-9) for a, b in pairs)


def test_the_address_keeps_what_was_set_and_brings_it_back(chromium: Browser, tmp_path: Path) -> None:
    comparison = priced(2, 60)
    page = write(comparison, clear(), tmp_path, accounts=Accounts(comparison, Book(models=MODELS)))["html"]
    chromium.open(page, "#hour=2.5&wrong=0.4&delta=7&by=dollars&show=differ&a=lora&b=prompt&cell=10&order=slowest")
    told = "document.querySelector('.outcome').innerText + document.getElementById('explorer').innerText"
    first = chromium.js(told)
    assert chromium.js("(({ hour, wrong, delta, by }) => [hour, wrong, delta, by])(bakeoff.settings())") == [
        2.5,
        0.4,
        0.07,
        "dollars",
    ]
    chromium.js("bakeoff.set({ questions: 5000 })")
    chromium.open(page, chromium.js("location.hash"))
    assert chromium.js("[bakeoff.settings().questions, bakeoff.state.cell]") == [5000, "10"]
    chromium.js("bakeoff.set({ questions: 100000 })")
    assert chromium.js(told) == first
    chromium.open(page, "#order=hardest")
    rights = chromium.js(
        "[...document.querySelectorAll('#explorer article')].map((one) => one.querySelectorAll('.answer.right').length)"
    )
    assert rights == sorted(rights) and rights[0] < rights[-1]
    chromium.open(page, "#hour=-3&wrong=lots&by=shells&at=900&cell=7")
    assert chromium.js("(({ hour, wrong, by, at, cell }) => [hour, wrong, by, at, cell])(bakeoff.state)") == [
        *(0.1, 0, "tokens", 1, "")
    ]
    assert chromium.errors == []


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
    with pytest.raises(DataError, match="nobody answered that to 'q-00'"):
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


def test_the_command_that_does_it_again_asks_for_all_that_was_asked(comparison: Comparison) -> None:
    def command(one: Comparison) -> str:
        found = page(one, clear(), Accounts(one, Book()), {})
        return dict(found.provenance)["to do it again"]

    assert command(comparison).endswith("rag lora 'lora + rag'")
    asked = replace(
        comparison,
        systems=("rag", "lora"),
        run={**comparison.run, "run": "a week ago"},
        machine={**comparison.machine, "split": {"test": 900}},
        race=Race({}, 0.03, len(comparison.examples), 2),
        second=comparison,
    )
    assert command(asked) == "bakeoff compare rag lora --run 'a week ago' --limit 60 --again --race"


def test_a_run_of_500_questions_and_8_systems_makes_a_page_below_2_mb(chromium: Browser, big: Path) -> None:
    assert big.stat().st_size < 2_000_000
    chromium.open(big)
    assert chromium.js("document.querySelectorAll('#explorer article').length") == 20
    assert chromium.js("[bakeoff.data.questions.length, bakeoff.data.systems.length]") == [500, 8]
    assert chromium.errors == [] and [one for one in chromium.requests if not one.startswith("file:")] == []


@pytest.mark.slow
def test_a_big_page_opens_within_fifteen_times_an_empty_one(chromium: Browser, big: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.html"
    empty.write_text("<!doctype html><title>empty</title><script>globalThis.bakeoff = 1</script>")

    def seconds(page: Path) -> float:
        start = time.perf_counter()
        chromium.open(page)
        return time.perf_counter() - start

    pairs = [(seconds(big), seconds(empty)) for _ in range(5)]
    full, nothing = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"{big.stat().st_size / 1e6:.2f} MB open in {full:.2f} s, an empty page in {nothing:.2f} s")
    assert full < 15 * nothing


def test_a_prompt_is_shown_as_it_was_although_its_passages_are_held_once(chromium: Browser, tmp_path: Path) -> None:
    run = big_run(6, 10)
    chromium.open(write(run, replace(clear(), system="rag"), tmp_path)["html"])
    chromium.js("document.querySelectorAll('#explorer details').forEach((one) => { one.open = true })")
    texts = "[...document.querySelectorAll('.step pre')].map((one) => one.textContent)"
    shown = chromium.js(f"new Promise((done) => setTimeout(() => done({texts}), 100))")
    details = {step.detail for trial in run.trials for step in trial.answer.trace}
    assert set(shown) == details and any("Passages:" in one for one in shown)


def test_every_control_is_reached_by_the_tab_key_and_has_a_name(chromium: Browser, report: Path) -> None:
    chromium.look()
    for address in ("", "#show=check"):
        chromium.open(report, address)
        count = chromium.js(f"(globalThis.controls = {CONTROLS}).length")
        assert count > 15
        chromium.js("document.activeElement.blur(), window.scrollTo(0, 0)")
        reached = set()
        for _ in range(2 * count):
            chromium.press("Tab")
            reached.add(chromium.js("controls.indexOf(document.activeElement)"))
            if len(reached - {-1}) == count:
                break
        missed = chromium.js(f"controls.filter((_, i) => !{sorted(reached)}.includes(i)).map((one) => one.outerHTML)")
        assert missed == []
        nodes = chromium.send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "link", "slider", "spinbutton", "combobox", "searchbox", "DisclosureTriangle"}
        named = [node for node in nodes if node.get("role", {}).get("value") in roles and not node["ignored"]]
        assert len(named) >= count / 2
        assert [node for node in named if not node.get("name", {}).get("value")] == []


@pytest.mark.parametrize(("scheme", "media"), [("light", ""), ("dark", ""), ("dark", "print")])
def test_text_stands_out_from_what_is_behind_it(chromium: Browser, report: Path, scheme: str, media: str) -> None:
    chromium.look(scheme=scheme, media=media)
    for address in ("", "#show=check", "#wrong=1&show=differ"):
        chromium.open(report, address)
        faint = chromium.js(CONTRAST)
        assert faint == []
    chromium.look()


@pytest.mark.parametrize(("width", "media"), [(380, ""), (1280, ""), (740, "print")])
def test_nothing_leaves_the_window_sideways(chromium: Browser, tmp_path: Path, width: int, media: str) -> None:
    chromium.look(width=width, media=media)
    chromium.open(write(priced(2, 60), clear(), tmp_path)["html"])
    assert chromium.js("document.documentElement.scrollWidth") <= width
    if media:
        assert chromium.js("[...document.querySelectorAll('.sliders, .controls')].every((one) => !one.offsetHeight)")
    chromium.look()
