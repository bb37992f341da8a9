"""The report, from a made-up comparison of five systems on sixty questions."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import random
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bakeoff.evaluation import records
from bakeoff.evaluation.comparison import Comparison
from bakeoff.evaluation.diagnosis import Diagnosis
from bakeoff.evaluation.money import Accounts
from bakeoff.evaluation.prices import Book
from bakeoff.evaluation.recommend import Recommendation
from bakeoff.evaluation.report import plots, write
from bakeoff.evaluation.report.explorer import evidence_spans
from bakeoff.evaluation.report.packing import unpacked
from bakeoff.types import Answer, Chunk, Citation, Evidence, Example, Hit, Trial, Usage

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> | *bold* \u2028 \ud83d ${x} {{ 7*7 }}"
TOPICS = ("annual leave", "travel costs", "remote work", "parental leave", "laptops", "training budget")
KINDS = ("fact", "number", "table", "several documents", "not in the documents")
SKILLS = {"prompt": 0.28, "few-shot": 0.36, "rag": 0.74, "lora": 0.47, "lora + rag": 0.78}
"""How often each made-up system is right."""
PACES = {"prompt": 0.4, "few-shot": 0.9, "rag": 2.6, "lora": 0.38, "lora + rag": 2.4}


def made_up(questions: int = 60, seed: int = 7) -> Comparison:
    """A comparison that looks like a real one; "few-shot" raises on two questions."""
    draw = random.Random(seed)
    examples = [example(i, draw) for i in range(questions)]
    trials, scores = [], {}
    for one in examples:
        for system, skill in SKILLS.items():
            right = draw.random() < skill
            trial = asked(system, one, right, draw)
            if system == "few-shot" and one.id in ("q-03", "q-41"):
                right, trial = False, replace(trial, answer=Answer("", "error"), error="ValueError: prompt too long")
            trials.append(trial)
            scores[system, one.id] = {
                "recall": float(right),
                "f1": round(draw.uniform(0.5, 0.9) if right else draw.uniform(0, 0.4), 3),
                "support": draw.random() if trial.answer.hits else None,
            }
    return Comparison(
        systems=tuple(SKILLS),
        metrics=("recall", "f1", "support"),
        examples={one.id: one for one in examples},
        trials=tuple(trials),
        scores=scores,
        failures=("support on rag/q-07: ValueError: no words",),
        run={
            "bakeoff": "0.1.0",
            "seed": 7,
            "examples": "9f2c" * 16,
            "systems": list(SKILLS),
            "settings": {"rag": {"k": 8, "retriever": "hybrid"}, "lora": {"rank": 16}},
        },
        machine={"platform": "Linux-6.1-x86_64", "cpus": 2, "peak_mb": dict.fromkeys(SKILLS, 812.5)},
    )


def example(i: int, draw: random.Random) -> Example:
    topic, kind = TOPICS[i % len(TOPICS)], draw.choice(KINDS)
    days = draw.randrange(3, 40)
    evidence = Evidence(f"handbook/{topic.replace(' ', '-')}.md", 40, 85, f"is {days} days")
    return Example(
        id=f"q-{i:02}",
        question=f"How many days of {topic} may someone in team {i} take after {days} months with the company?",
        references=(f"{days} days",) if kind != KINDS[-1] else (),
        evidence=(evidence,) if kind != KINDS[-1] else (),
        group=f"{topic} {i % 5}",
        kind=kind,
        answerable=kind != KINDS[-1],
    )


def asked(system: str, one: Example, right: bool, draw: random.Random) -> Trial:
    wanted = one.references[0] if one.references else "The documents do not say."
    text = wanted if right else f"About {draw.randrange(40, 90)} days, as far as the policy goes."
    if right and "rag" in system and one.references:
        text = f"According to the handbook it is {wanted} per calendar year, unless the manager agrees otherwise [1]."
    hits = tuple(Hit(passage(one, i), 1.2 / (i + 1)) for i in range(3)) if "rag" in system else ()
    citations = (Citation(1, hits[0].chunk, 40, 85, "the allowance for a full year"),) if hits and right else ()
    tokens = {"prompt": 90, "few-shot": 480, "lora": 70}.get(system, 1900) + draw.randrange(60)
    return Trial(
        system=system,
        example_id=one.id,
        answer=Answer(
            text=text,
            outcome="abstained" if right and not one.references else "answered",
            citations=citations,
            hits=hits,
            usage=Usage(tokens, tokens // 3, len(text.split()) * 2, 0.3),
        ),
        seconds=PACES[system] * draw.uniform(0.7, 1.9),
    )


def passage(one: Example, i: int) -> Chunk:
    document = one.evidence[0].document_id if one.evidence and i == 0 else f"handbook/other-{one.group[0]}{i}.md"
    text = f"Section {i + 1}. For every member of staff the allowance for a full year {one.question[9:30]}. " * 4
    return Chunk(
        f"{document}#{i}-{one.id[-1]}", document, text, 0, len(text), page=i + 1, section=f"{one.group} > Rules"
    )


def clear() -> Recommendation:
    return Recommendation(
        system="lora + rag",
        confidence="CLEAR",
        reasons=(
            "right on 78.0% of the questions, in the best set; 50 points better than prompt (95% interval 38 to 61)",
            "as good as rag, and 8% cheaper per question",
            "p95 of 4.4 s stays inside your limit of 6 s",
        ),
        flips_if=("the documents change more often than you want to train", "answers must come within 1 s: then lora"),
        more_questions=0,
    )


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return made_up()


@pytest.fixture(scope="module")
def page(comparison: Comparison, tmp_path_factory: pytest.TempPathFactory) -> str:
    return rendered(comparison, clear(), tmp_path_factory.mktemp("report"))


def rendered(comparison: Comparison, recommendation: Recommendation, folder: Path) -> str:
    return write(comparison, recommendation, folder)["html"].read_text(encoding="utf-8")


def hostile(comparison: Comparison) -> Comparison:
    """The same comparison with an attack in every text that users, documents or models can write."""
    chunk = Chunk(HOSTILE, HOSTILE, HOSTILE, 0, len(HOSTILE), section=HOSTILE)
    answer = Answer(HOSTILE, citations=(Citation(1, chunk, 0, 9, HOSTILE),), hits=(Hit(chunk, 1.0),))
    first, *others = comparison.trials
    id = first.example_id
    attacked = replace(comparison.examples[id], question=HOSTILE, kind=HOSTILE, references=(HOSTILE,), group=HOSTILE)
    return replace(
        comparison,
        examples={**comparison.examples, id: attacked},
        trials=(replace(first, answer=answer), *others),
        failures=(HOSTILE,),
        run={"settings": {HOSTILE: {HOSTILE: HOSTILE}}},
    )


class Outline(HTMLParser):
    """Fails on unbalanced tags; notes every tag, attribute and the texts of scripts."""

    VOID = frozenset({"meta", "br", "img", "input", "link", "hr"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text += data


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    outline = Outline(page)
    assert not re.search(r"https?:|url\(|@import|//cdn", page)
    assert not [tag for tag, attributes in outline.tags if {"src", "srcset", "style", "onclick"} & attributes.keys()]
    assert all((attributes["href"] or "").startswith("#") for tag, attributes in outline.tags if tag == "a")


def test_the_policy_names_the_hash_of_the_only_script_and_style(page: str) -> None:
    policy = next(a["content"] for _, a in Outline(page).tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none';") and "unsafe" not in policy
    bodies = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", page, re.DOTALL)
    assert len(bodies) == 2
    for body in bodies:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in policy


def test_every_system_question_and_answer_is_on_the_page(comparison: Comparison, page: str) -> None:
    data = unpacked(Outline(page).scripts[0])
    assert sorted(data["systems"]) == sorted(comparison.systems)
    assert [question["id"] for question in data["questions"]] == list(comparison.examples)
    shown = {
        (question["id"], name): answer["text"]
        for question in data["questions"]
        for name, answer in zip(data["systems"], question["answers"], strict=True)
    }
    assert shown == {(trial.example_id, trial.system): trial.answer.text for trial in comparison.trials}
    for system in comparison.systems:
        assert len(re.findall(rf'<th scope="(?:row|col)">(?:<span[^>]*>)?{re.escape(system)}<', page)) == 3


def test_each_passage_stands_in_the_page_once(comparison: Comparison, page: str) -> None:
    data = unpacked(Outline(page).scripts[0])
    held = {hit.chunk.id for trial in comparison.trials for hit in trial.answer.hits}
    assert len(data["chunks"]) == len(held) < sum(len(trial.answer.hits) for trial in comparison.trials)


def test_hostile_text_stays_text(comparison: Comparison, page: str, tmp_path: Path) -> None:
    attacked = Outline(rendered(hostile(comparison), replace(clear(), reasons=(HOSTILE,)), tmp_path))
    tags = [tag for tag, _ in attacked.tags]
    assert tags.count("script") == 2 and "img" not in tags
    assert not [name for _, attributes in attacked.tags for name in attributes if name.startswith("on")]
    questions = unpacked(attacked.scripts[0])["questions"]
    assert HOSTILE in [answer["text"] for question in questions for answer in question["answers"]]
    assert "{{ 7*7 }}" in attacked.text


def test_the_script_never_writes_markup(page: str) -> None:
    script = Outline(page).scripts[-1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|fetch|XMLHttp", script
    )


def test_the_markdown_opens_with_the_verdict_and_its_tables_parse(comparison: Comparison, tmp_path: Path) -> None:
    for one in (comparison, hostile(comparison)):
        text = write(one, clear(), tmp_path)["md"].read_text(encoding="utf-8")
        assert text.startswith("**Ship lora + rag.** CLEAR")
        tables = re.findall(r"(?:^\|.*\|$\n?)+", text, re.MULTILINE)
        assert len(tables) == 3
        for table in tables:
            widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(widths) == 1
        assert len(tables[0].splitlines()) == 2 + len(comparison.systems)
        assert text.index("<details>") < text.index(tables[1]) < text.index("</details>")
        assert "<script" not in re.sub(r"\\<", "", text)


def test_a_comparison_without_kinds_has_no_empty_sections(comparison: Comparison, tmp_path: Path) -> None:
    examples = {id: replace(one, kind="") for id, one in comparison.examples.items()}
    paths = write(replace(comparison, examples=examples, failures=()), replace(clear(), flips_if=()), tmp_path)
    for path in (paths["html"], paths["md"]):
        text = path.read_text(encoding="utf-8")
        assert "By kind of question" not in text and "Flips if" not in text and "not be computed" not in text


def test_the_json_holds_the_comparison_and_the_recommendation(comparison: Comparison, tmp_path: Path) -> None:
    held = json.loads(write(comparison, clear(), tmp_path)["json"].read_text())
    assert held.pop("recommendation") == json.loads(json.dumps(asdict(clear())))
    assert held.pop("money") == json.loads(json.dumps(Accounts(comparison, Book()).to_json()))
    assert held == json.loads(json.dumps(comparison.to_json()))


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write(made_up(), clear(), tmp_path / name) for name in ("first", "second"))
    assert list(first) == ["html", "md", "json", "csv"]
    assert all(first[suffix].read_bytes() == second[suffix].read_bytes() for suffix in first)


def test_an_undecided_verdict_names_the_rivals_and_recommends_none(comparison: Comparison, tmp_path: Path) -> None:
    undecided = Recommendation(None, "UNDECIDED", ("they cannot be told apart",), (), 180, ("lora", "rag"))
    outline = Outline(rendered(comparison, undecided, tmp_path))
    assert "Undecided between lora and rag." in outline.text
    assert unpacked(outline.scripts[0])["pair"] == ["lora", "rag"]
    assert "about 180 more questions would settle it" in outline.text
    assert "recommended" not in outline.text


def test_a_system_that_failed_is_shown_with_its_count_and_reason(page: str) -> None:
    assert '<span class="bad">2 of 60</span>' in page
    questions = unpacked(Outline(page).scripts[0])["questions"]
    failed = [answer for question in questions for answer in question["answers"] if answer["verdict"] == "error"]
    assert [answer["error"] for answer in failed] == ["ValueError: prompt too long"] * 2


def test_what_was_not_scored_is_a_dash_and_never_nan(comparison: Comparison, tmp_path: Path) -> None:
    nothing = {key: dict.fromkeys(scores) for key, scores in comparison.scores.items()}
    unscored = replace(comparison, scores=nothing)
    undecided = Recommendation(None, "UNDECIDED", ("nothing could be scored",), (), None)
    for path in write(unscored, undecided, tmp_path).values():
        said = path.read_text(encoding="utf-8").rsplit("<script>", 1)[0]
        assert not re.search(r"\b(NaN|nan|inf|Infinity|None)\b", said)


def test_one_system_and_one_question_make_a_page(comparison: Comparison, tmp_path: Path) -> None:
    trial = comparison.trials[0]
    one = replace(
        comparison,
        systems=(trial.system,),
        examples={trial.example_id: comparison.examples[trial.example_id]},
        trials=(trial,),
        scores={(trial.system, trial.example_id): {"recall": 1.0, "f1": 0.5, "support": None}},
    )
    assert "prompt" in Outline(rendered(one, replace(clear(), system="prompt"), tmp_path)).text


def test_evidence_is_marked_in_the_units_of_javascript() -> None:
    chunk = Chunk("c", "d", "😀 leave is 30 days", 100, 118)
    assert evidence_spans((Evidence("d", 111, 118),), chunk) == [[12, 19]]
    assert evidence_spans((Evidence("d", -1, -1, "is  30 days"),), chunk) == [[9, 19]]
    assert evidence_spans((Evidence("d", 102, 107), Evidence("d", 105, 110)), chunk) == [[3, 11]]
    assert evidence_spans((Evidence("other", 111, 118),), chunk) == []


def test_no_pair_beats_a_member_of_the_frontier() -> None:
    assert plots.frontier([(1.0, 0.5), (2.0, 0.9), (3.0, 0.8), (0.5, 0.2), (1.0, 0.5)]) == {0, 1, 3, 4}


@pytest.mark.parametrize("seed", range(20))
def test_labels_of_the_scatter_plot_do_not_collide(seed: int) -> None:
    draw = random.Random(seed)
    systems = []
    for i in range(6):
        quality = draw.uniform(0.2, 0.9)
        cost, size = 10 ** draw.uniform(-1, 1), draw.uniform(0.3, 4)
        systems.append((f"system {i}", cost, quality, quality - 0.1, quality + 0.1, size))
    boxes = []
    for point in plots.scatter(systems).points:
        width = len(point.label) * plots.LETTER
        left = point.label_x if point.anchor == "start" else point.label_x - width
        boxes.append((left, point.label_y - 9, left + width, point.label_y + 2))
    for i, a in enumerate(boxes):
        assert a[0] >= 0 and a[2] <= plots.WIDTH and a[1] >= 0 and a[3] <= plots.HEIGHT
        for b in boxes[:i]:
            assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])


def test_axes_hold_their_values_and_have_ticks() -> None:
    assert plots.quality_axis([0.52, 0.88]).at(0.52) > 0 and plots.quality_axis([0.52, 0.88]).at(0.88) < 1
    for low, high in ((1.0, 1.0), (1e-5, 2e-5), (0.3, 0.31), (0.001, 900.0)):
        axis = plots.log_axis([low, high])
        assert len(axis.ticks) >= 1 and 0 <= axis.at(low) <= axis.at(high) < 1


def test_a_kind_in_which_another_system_is_better_is_flagged_and_others_are_not(tmp_path: Path) -> None:
    plain = made_up(200)
    scores = {key: dict(value) for key, value in plain.scores.items()}
    for (system, id), value in scores.items():
        if plain.examples[id].kind == "table":
            value["recall"] = float(system == "rag")
    run = replace(plain, scores=scores)
    assert run.flagged("lora + rag")["table", "rag"] == 1
    assert run.flagged("rag")["table", "lora + rag"] == -1
    assert ("table", "lora + rag") not in run.flagged("lora + rag")
    page = rendered(run, clear(), tmp_path)
    assert "100.0 <b>▲</b>" in page and "among all 20 looks" in page


def test_what_a_diagnosed_system_said_to_other_passages_is_beside_its_answer(
    comparison: Comparison, tmp_path: Path
) -> None:
    folder = tmp_path / "diagnosis" / "rag"
    folder.mkdir(parents=True)
    asked = [
        Trial(name, "q-00", Answer(text), 1.0)
        for name, text in (("C0 closed book", "no idea"), ("C2 gold only", "7 days"), ("C4 gold removed", "nothing"))
    ]
    (folder / "trials.jsonl").write_text(records.lines(asked))
    found = Diagnosis("rag", 60, (), {}, {}, {}, None, None, None, None)
    outline = Outline(rendered(replace(comparison, diagnoses={"rag": found}), clear(), tmp_path))
    (first, *_), place = (one := unpacked(outline.scripts[0]))["questions"], one["systems"].index("rag")
    assert first["answers"][place]["again"] == [["closed book", "no idea"], ["gold only", "7 days"]]


def test_the_spreadsheet_has_a_row_for_each_answer_and_runs_no_formula(tmp_path: Path) -> None:
    comparison = made_up(4)
    first = comparison.trials[0]
    formula = replace(first, answer=replace(first.answer, text='=HYPERLINK("http://x")'), alone=False)
    comparison = replace(comparison, trials=(formula, *comparison.trials[1:]))
    paths = write(comparison, clear(), tmp_path)
    rows = list(csv.DictReader(paths["csv"].read_text(encoding="utf-8").splitlines()))
    assert [(row["system"], row["example"]) for row in rows] == [(t.system, t.example_id) for t in comparison.trials]
    assert rows[0]["answer"] == '\'=HYPERLINK("http://x")' and rows[0]["seconds"] == ""
    for row, trial in zip(rows, comparison.trials, strict=True):
        scores = comparison.scores[trial.system, trial.example_id]
        assert {name: row[name] for name in scores} == {
            name: "" if score is None else str(score) for name, score in scores.items()
        }
        assert row["verdict"] == comparison.verdict(trial)
        assert int(row["fresh_tokens"]) == trial.answer.usage.fresh
