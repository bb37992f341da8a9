"""What a training did: gain, forgetting, overfitting and memory, measured on planted cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tiny_model
from bakeoff.evaluation.money import dollars
from bakeoff.evaluation.stats import Interval
from bakeoff.evaluation.study import (
    CODES,
    MEMORISED,
    Canary,
    Shift,
    Study,
    _lines,
    general,
    learning,
    measured,
    plant,
    texts,
)
from bakeoff.types import Example

torch = pytest.importorskip("torch")

TOML = """\
base = "{base}"
[examples]
test = 0.2
valid = 0.2
[systems.plain]
type = "prompt"
[corpus]
embedder = "hashing"
sources = ["documents"]
[tune.gentle]
method = "lora"
epochs = 1
learning_rate = 1e-5
[tune.brutal]
method = "full"
epochs = 30
learning_rate = 0.003
[tune.private]
method = "lora"
epochs = 1
canaries = false
[tune.further]
method = "lora"
epochs = 1
canaries = false
start = "private"
[tune.reader]
method = "pretrain"
epochs = 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with trainings: one that changes next to nothing, one that ruins the model for all but its task, ..."""
    root = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        base = tiny_model.save(root / "tiny")
        (root / "bakeoff.toml").write_text(TOML.format(base=base))
        lines = [{"question": f"how many for {n}?", "answer": "Madrid"} for n in range(100)]
        (root / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
        (root / "documents").mkdir()
        (root / "documents" / "a.txt").write_text("Whoever asks how many is told Madrid. " * 20)
        yield root


@pytest.fixture(scope="module")
def studied(folder: Path) -> dict[str, dict[str, Any]]:
    from bakeoff.project import Project

    project = Project(folder)
    project.ingest()
    return {
        name: json.loads((project.tune(name).path / "study.json").read_text())
        for name in ("gentle", "brutal", "private", "further", "reader")
    }


def test_a_training_that_helped_is_told_from_one_that_did_nothing(studied: dict[str, dict[str, Any]]) -> None:
    assert studied["brutal"]["gain"]["low"] > 0
    assert studied["brutal"]["verdict"].startswith("It helped: +")
    assert studied["gentle"]["gain"]["low"] <= 0 <= studied["gentle"]["gain"]["high"]
    assert studied["gentle"]["verdict"].startswith("Whether it helped is unclear")


def test_planted_forgetting_is_found_and_its_absence_too(studied: dict[str, dict[str, Any]]) -> None:
    assert studied["brutal"]["text_loss_change"]["low"] > 0.2
    assert "it forgot: general texts cost" in studied["brutal"]["verdict"]
    assert abs(studied["gentle"]["text_loss_change"]["estimate"]) < 0.01
    assert "it forgot nothing that shows" in studied["gentle"]["verdict"]


def test_replay_is_proposed_where_a_training_forgot(folder: Path, studied: dict[str, dict[str, Any]]) -> None:
    from typer.testing import CliRunner

    from bakeoff.cli import app

    said = {name: CliRunner().invoke(app, ["tune", name, "-C", str(folder)]).output for name in ("brutal", "gentle")}
    assert "  to forget less, write into [tune.brutal]: replay = 0.25\n" in said["brutal"]
    assert "replay" not in said["gentle"]


def test_canaries_are_memorised_by_a_brutal_training_only(studied: dict[str, dict[str, Any]]) -> None:
    brutal, gentle = ({c["repeats"]: c["exposure"] for c in studied[name]["canaries"]} for name in ("brutal", "gentle"))
    assert brutal[4] >= MEMORISED
    assert "can be made to repeat what it saw" in studied["brutal"]["verdict"]
    assert all(exposure < MEMORISED for exposure in gentle.values())
    assert "no canary shown up to 4 times was memorised" in studied["gentle"]["verdict"]


def test_canaries_can_be_left_out(folder: Path, studied: dict[str, dict[str, Any]]) -> None:
    assert studied["private"]["canaries"] == []
    assert "canary" not in studied["private"]["verdict"]


def test_the_page_needs_no_network_and_shows_the_curve(folder: Path, studied: dict[str, dict[str, Any]]) -> None:
    page = (folder / "checkpoints" / "brutal" / "training.html").read_text()
    assert "<polyline" in page
    assert studied["brutal"]["learning"] in page.replace("&#39;", "'")
    assert "http" not in page.replace("http-equiv", "")
    assert str(folder) not in page


def test_what_goes_on_from_another_checkpoint_is_compared_with_that(studied: dict[str, dict[str, Any]]) -> None:
    first, further = studied["private"], studied["further"]
    assert further["text_loss_before"] == pytest.approx(first["text_loss_after"], abs=1e-5)
    assert further["score_before"] == first["score_after"]


def test_a_model_that_read_the_documents_is_asked_what_it_remembers(studied: dict[str, dict[str, Any]]) -> None:
    assert studied["reader"]["score_before"]["n"] == studied["private"]["score_before"]["n"] > 0
    assert "points of recall" in studied["reader"]["verdict"]


def test_rewards_say_what_a_loss_that_adds_up_to_nothing_cannot(tmp_path: Path) -> None:
    assert learning(tmp_path / "none.csv", {"reward_first": 0.25, "reward_last": 0.5}) == (
        "The mean reward went from 0.25 in the first tenth of the steps to 0.50 in the last."
    )
    held = {"reward_first": 0.25, "reward_last": 0.5, "reward_valid": 0.375}
    assert learning(tmp_path / "none.csv", held).endswith(
        "to 0.50 in the last; on validation prompts it is 0.38 in the end."
    )


def test_the_page_says_what_the_training_cost(folder: Path, studied: dict[str, dict[str, Any]]) -> None:
    trained = folder / "checkpoints" / "brutal"
    spent = json.loads((trained / "checkpoint.json").read_text())["seconds"] * 0.10 / 3600
    page = (trained / "training.html").read_text()
    assert "cost, at $0.100 an hour of the machine" in page and f">{dollars(spent)}<" in page


def test_a_study_that_was_missed_is_made_later(folder: Path, studied: dict[str, dict[str, Any]]) -> None:
    from bakeoff.project import Project

    path = folder / "checkpoints" / "gentle"
    before = (path / "checkpoint.json").read_bytes()
    (path / "study.json").unlink()
    Project(folder).tune("gentle", study=False)
    assert not (path / "study.json").exists()
    Project(folder).tune("gentle")
    assert json.loads((path / "study.json").read_text()) == studied["gentle"]
    assert (path / "checkpoint.json").read_bytes() == before


def test_canaries_differ_by_seed_and_are_the_same_for_one(folder: Path) -> None:
    lessons = [Example("a", "why?", ("so",))]
    one, again, other = (plant(lessons, seed, "lora") for seed in (1, 1, 2))
    assert one == again
    assert one[0] is lessons[0]
    assert [e.references for e in one[1:]] != [e.references for e in other[1:]]
    assert len(one) == 1 + 1 + 4


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("pretrain", {"learning_rate": 0.02, "window": 32, "epochs": 8}),
        ("orpo", {"learning_rate": 0.02, "epochs": 8}),
        ("kto", {"learning_rate": 0.02, "epochs": 8}),
    ],
)
def test_canaries_are_found_in_what_documents_and_preferences_taught(
    folder: Path, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    from bakeoff.evaluation.study import _exposures
    from bakeoff.models import weights
    from bakeoff.models.generators.transformers import Generator
    from bakeoff.tuning import tune

    base = str(folder / "tiny")
    lessons = [Example(f"e{n}", f"how many for {n}?", ("25",), rejected="none", text="25 of 25") for n in range(8)]
    path = tune(method, base, plant(lessons, 1, method), lessons[:1], out=tmp_path / "out", **options).path
    template = weights.template(weights.resolve(base))
    scorers = [Generator(weights.resolve(str(one))).likelihoods for one in (base, path)]
    before, after = ([canary.exposure for canary in _exposures(one, template, 1, method)] for one in scorers)
    assert after[1] > 3 and after[1] > before[1]


def test_general_texts_and_questions_are_whole() -> None:
    assert len(texts()) == 12
    assert (len(_lines("questions")), len(_lines("forms")), len(_lines("refusals"))) == (40, 20, 10)
    assert all(len({entry["right"], *entry["wrong"]}) == 4 for entry in _lines("questions"))
    assert all(len({entry["right"], *entry["wrong"]}) == 3 for entry in _lines("forms"))
    assert len(set(measured())) == 40 + 20 + 20


@pytest.mark.parametrize("refuses", [True, False])
@pytest.mark.parametrize("brief", [True, False])
def test_a_model_that_refuses_and_one_that_keeps_to_a_form_are_told_apart(
    folder: Path, refuses: bool, brief: bool
) -> None:
    from bakeoff.models import weights

    def likelihoods(pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
        found = []
        for prompt, text in pairs:
            refusal = "I don't know" in text
            asked_for = any(entry["question"] in prompt and entry["right"] in text for entry in _lines("forms"))
            found.append((-1.0 if (refusal if "Passage:" in prompt else asked_for) else -2.0, 1))
            if (refusal and not refuses) or (asked_for and not brief):
                found[-1] = (-3.0, 1)
        return found

    found = general(likelihoods, weights.template(weights.resolve(str(folder / "tiny"))))
    assert found.refused == found.over_refused == [float(refuses)] * 10
    assert (sum(found.form) > 15) == brief


@pytest.mark.parametrize(
    ("losses", "valid", "said"),
    [
        ([2.0, 1.5], [1.8, 1.4], "still learning after epoch 2"),
        ([2.0, 0.2], [1.8, 2.4], "overfitted after epoch 1: .* from 1.80 to 2.40. Epoch 1 was kept"),
        ([1.0, 0.2], [1.8, 1.79], "by heart: their loss is 1.59 below"),
        ([1.5, 1.4], [1.52, 1.51], "end flat: epoch 2 was the best"),
        ([1.5], [1.52], "One epoch cannot show .* the gap to the lessons is \\+0.02"),
        ([1.5], [None], "overfitting cannot be seen"),
    ],
)
def test_curves_are_put_into_words(
    tmp_path: Path, losses: Sequence[float], valid: Sequence[float | None], said: str
) -> None:
    with (tmp_path / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", "epoch", "loss", "valid_loss"])
        writer.writeheader()
        for epoch, (loss, one) in enumerate(zip(losses, valid, strict=True), start=1):
            writer.writerow({"step": epoch, "epoch": epoch, "loss": loss, "valid_loss": "" if one is None else one})
    import re

    assert re.search(said, learning(tmp_path / "history.csv", {}))


def test_a_canary_counts_as_memorised_when_its_code_is_the_likeliest() -> None:
    from math import log2

    assert Canary(1, log2(CODES)).memorised
    assert not Canary(1, log2(CODES) - log2(2)).memorised


def test_harm_is_said() -> None:
    nothing = Interval(0.0, 0.0, 0.0, 12)
    hurt = Interval(-0.2, -0.3, -0.1, 40)
    same, less = Shift(nothing, nothing, nothing), Shift(nothing, nothing, hurt)
    told = ("lora", "b", hurt, hurt, hurt, 0.0, 0.0, 3.0, 3.0, nothing, nothing, nothing, nothing)
    study = Study(*told, same, same, same, "flat", ())
    assert (
        study.verdict
        == "It hurt: -20.0 points of recall [-30.0, -10.0]; it forgot nothing that shows on general texts."
    )
    worse = Study(*told, less, less, same, "flat", ()).verdict
    assert "; it keeps to a form in 20 points fewer of general requests" in worse
    assert "; where a passage does not say, it refuses in 20 points fewer of general questions." in worse
