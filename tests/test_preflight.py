"""The preflight finds every seeded fault by its name, and nothing in a sound project."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import seeded_faults
import tiny_model
from bakeoff import load_examples, plugins
from bakeoff.cli import app
from bakeoff.errors import BakeoffError, DataError
from bakeoff.examples import write
from bakeoff.models import weights
from bakeoff.models.vocabulary import load_vocabulary
from bakeoff.project import Project
from bakeoff.tuning.check import Preflight, Training, check, preflight, refuse_private
from bakeoff.tuning.check.near import similar_pairs, similarity
from bakeoff.types import Evidence, Example, Message

pytest.importorskip("torch")
FAULTS = {fault.kind: fault for fault in seeded_faults.faults()}
LOADING = {
    "unknown-format": "train.jsonl:1: unknown format",
    "mixed-formats": "train.jsonl:25: no 'messages', and the first row was read as chat (messages): it looks like",
    "missing-field": "train.jsonl:25: no 'completion', and the first row was read as prompt-completion: add",
}
"""What is said of faults that make a file unreadable."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.save(tmp_path_factory.mktemp("tiny") / "model")


def planted(fault: seeded_faults.Fault, model: Path, folder: Path) -> Project:
    seeded_faults.plant(fault, model, folder)
    if fault.checkpoint:
        base = weights.resolve(str(folder / "model"))
        facts = {"base_fingerprint": base.fingerprint, "template_sha256": weights.template(base).sha256}
        (folder / "checkpoints" / "x").mkdir(parents=True)
        manifest = {"format": 1, "method": "lora", "base": base.name, **facts, **fault.checkpoint}
        (folder / "checkpoints" / "x" / "checkpoint.json").write_text(json.dumps(manifest))
    project = Project(folder)
    if fault.documents:
        project.ingest()
    return project


def kinds(found: Preflight) -> set[str]:
    return {problem.kind for problem in found.problems}


def test_there_are_at_least_25_faults_of_different_kinds() -> None:
    assert len(FAULTS) == len(seeded_faults.faults()) == 35


def test_a_sound_project_has_no_problem(model: Path, tmp_path: Path) -> None:
    found = planted(seeded_faults.SOUND, model, tmp_path / "sound").check()
    assert (list(found.problems), found.unchecked) == ([], "")
    assert (found.parts, found.usable["lora"]) == ({"train": 24, "valid": 0, "test": 8}, 24)


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in LOADING])
def test_a_seeded_fault_is_found_by_its_name_and_nothing_else_is(kind: str, model: Path, tmp_path: Path) -> None:
    fault = FAULTS[kind]
    found = planted(fault, model, tmp_path / kind).check()
    assert kinds(found) == {kind, *fault.also}, [problem.what for problem in found.problems]
    assert all(problem.where and problem.cure for problem in found.problems)


@pytest.mark.parametrize("kind", LOADING)
def test_a_file_that_cannot_be_read_is_refused_with_its_line(kind: str, model: Path, tmp_path: Path) -> None:
    project = planted(FAULTS[kind], model, tmp_path / kind)
    with pytest.raises(DataError) as caught:
        project.check()
    assert LOADING[kind] in str(caught.value)


def test_too_long_rows_are_told_with_what_a_cut_would_lose(model: Path, tmp_path: Path) -> None:
    (problem,) = planted(FAULTS["too-long"], model, tmp_path / "long").check().problems
    assert problem.what.startswith("1 of 25 rows (4%) are longer than max_length=256, the longest has ")
    longest = int(problem.what.partition("longest has ")[2].split()[0].replace(",", ""))
    lost = int(problem.what.partition("all of them ")[2].split()[0].replace(",", ""))
    assert lost == longest - 256 > 0
    assert "0 would lose their whole answer" in problem.what


def test_lengths_are_those_of_the_rows_that_training_makes(model: Path, tmp_path: Path) -> None:
    from bakeoff.models.gguf import load_for_training
    from bakeoff.tuning.rows import encode

    project = planted(seeded_faults.SOUND, model, tmp_path / "sound")
    (plan,) = project.check().plans
    base = weights.resolve(str(model))
    rows = encode(list(project.split.train), weights.template(base), load_for_training(model)[1], 512)
    assert plan.lengths.rows == tuple(len(row.ids) for row in rows)
    assert plan.lengths.replies == tuple(row.trained for row in rows)


def test_a_gguf_file_is_looked_into_as_its_safetensors_are(model: Path, tmp_path: Path) -> None:
    seeded_faults.plant(FAULTS["untrained-token"], model, tmp_path / "folder")
    fine, faint = tmp_path / "fine.gguf", tmp_path / "faint.gguf"
    tiny_model.save_gguf(model, fine)
    tiny_model.save_gguf(tmp_path / "folder" / "model", faint)
    examples = [Example(str(n), seeded_faults.sentence(n), (seeded_faults.sentence(n + 50, 2),)) for n in range(5)]
    assert kinds(preflight(examples, [], base=str(fine))) == set()
    assert kinds(preflight(examples, [], base=str(faint))) == {"untrained-token"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_single_embeddings_are_read_in_half_precision_too(dtype: str, model: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text((model / name).read_text())
    tensors = load_file(model / "model.safetensors")
    save_file({name: tensor.to(getattr(torch, dtype)) for name, tensor in tensors.items()}, tmp_path / "m.safetensors")
    found = load_vocabulary(weights.Weights("half", tmp_path, "safetensors", ""))
    table = tensors["model.embed_tokens.weight"]
    assert (len(found.tables), found.tables[0].rows, found.layers) == (1, len(table), 2)
    assert found.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert np.abs(found.tables[0].vectors([1, 5]) - table[[1, 5]].numpy()).max() < 0.01


def test_a_torn_file_of_weights_is_told(model: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_text((model / name).read_text())
    (tmp_path / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:100])
    found = preflight([Example("a", "Who?", ("Ann",))], [], base=str(tmp_path))
    assert "model.safetensors is not a readable safetensors file" in found.unchecked


def test_a_training_that_does_not_fit_into_memory_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.tuning import check as package

    examples = [Example("a", "Why?", ("Because.",))]
    monkeypatch.setattr(package, "free_memory_mb", lambda: 10)
    training = Training("big", "lora", lambda base: examples, 1)
    assert kinds(preflight(examples, [], base=str(model), trainings=[training])) == {"memory"}


def test_estimates_grow_with_the_rows_and_take_the_speed_that_was_measured(model: Path) -> None:
    examples = [Example(str(n), seeded_faults.sentence(n), ("x",)) for n in range(20)]
    trainings = [
        Training("once", "lora", lambda _: examples, 20),
        Training("of more", "lora", lambda _: examples, 40),
        Training("measured", "lora", lambda _: examples, 20, tokens_per_second=1.0),
    ]
    plans = preflight(examples, [], base=str(model), trainings=trainings).plans
    assert plans[1].cost.seconds > plans[0].cost.seconds
    assert plans[2].cost.seconds == 2 * sum(plans[2].lengths.rows)
    assert "at the speed of the last training" in str(plans[2].cost)


def test_learning_all_weights_takes_more_memory_and_time_than_a_lora(model: Path) -> None:
    examples = [Example(str(n), seeded_faults.sentence(n), ("x",)) for n in range(20)]
    trainings = [Training(method, method, lambda _: examples, 20) for method in ("lora", "full")]
    lora, full = (plan.cost for plan in preflight(examples, [], base=str(model), trainings=trainings).plans)
    assert full.memory_mb >= lora.memory_mb and full.seconds > lora.seconds


def test_a_training_with_nothing_to_learn_from_is_an_error_before_it_starts(tmp_path: Path) -> None:
    tables = "".join(f'[tune.{method}]\nmethod = "{method}"\n' for method in ("head", "dpo", "lora"))
    (tmp_path / "bakeoff.toml").write_text(f'base = "scripted"\n[examples]\ntest = 0.5\n{tables}')
    lines = (json.dumps({"question": f"Who is {n}?", "references": ["Ann"]}) for n in range(8))
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    idle = [problem for problem in Project(tmp_path).check().problems if problem.kind == "idle"]
    found = {(problem.where, problem.severity) for problem in idle}
    assert found == {("[tune.head]", "error"), ("[tune.dpo]", "error")}


def test_a_rejected_reply_that_is_too_long_is_found_before_it_is_trained_on(tmp_path: Path, model: Path) -> None:
    table = '[tune.chat]\nmethod = "dpo"\nmax_length = 60\n'
    (tmp_path / "bakeoff.toml").write_text(f'base = "{model}"\n[examples]\ntest = 0.2\n{table}')
    rows = (
        {"id": str(n), "question": f"Who is {n}?", "references": ["Ann"], "rejected": "no " * 100} for n in range(8)
    )
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert any("(rejected)" in str(problem) for problem in Project(tmp_path).check().problems)


def test_a_model_without_files_leaves_lengths_unchecked_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "bakeoff.toml").write_text('base = "scripted"\n[tune.reader]\nmethod = "lora"\n')
    (tmp_path / "questions.jsonl").write_text('{"question": "Who?", "references": ["Ann"]}\n')
    found = Project(tmp_path).check()
    assert kinds(found) == {"no-training"}  # the only question is for the test
    assert (list(found.plans), found.unchecked) == ([], "no model is named")
    assert found.read_as == "questions, 1 row: columns as they are"


def test_what_each_method_could_learn_from_is_counted() -> None:
    examples = [
        Example("a", "Who?", ("Ann",), rejected="Bob"),
        Example("b", "What?", label="thing"),
        Example("e", "And?", label="other"),
        Example("c", "Where?", rejected="Nowhere"),
        Example("d", "", text="Once upon a time."),
    ]
    found = preflight(examples, [])
    others = {"head": 2, "dpo": 1, "orpo": 1, "kto": 2, "grpo": 1, "pretrain": 1}
    assert {method: count for method, count in found.usable.items() if method in others} == others
    assert set(found.usable) == set(plugins.names("methods"))
    assert {count for method, count in found.usable.items() if method not in others} == {1}
    assert not [problem for problem in found.problems if problem.severity == "error"]


def test_running_text_is_counted_in_tokens_and_asks_for_no_template_of_turns(model: Path) -> None:
    from bakeoff.models.gguf import load_for_training

    texts = [Example(str(n), "", text=" ".join(seeded_faults.sentence(m) for m in range(n, n + 5))) for n in (0, 50)]
    found = preflight(texts, [], base=str(model))
    tokenizer = load_for_training(model)[1]
    assert found.text_tokens == sum(len(tokenizer.encode(text.text).ids) for text in texts) > 50
    assert (kinds(found), list(found.plans), found.usable["pretrain"]) == (set(), [], 2)


def test_what_is_empty_noise_or_there_twice_is_left_out_of_a_new_file(tmp_path: Path) -> None:
    (tmp_path / "bakeoff.toml").write_text('base = "scripted"\n')
    good = [{"id": f"g{n}", "question": seeded_faults.sentence(n), "references": [f"{n} EUR"]} for n in range(8)]
    bad = [
        {"id": "twice", "question": good[0]["question"], "references": good[0]["references"]},
        {"id": "todo", "question": "Who pays?", "references": ["TODO"]},
        {"id": "none", "question": "What now?", "references": []},
        {"id": "like", "question": str(good[1]["question"]) + "!", "references": good[1]["references"]},
    ]
    rows = [{**row, "split": "train"} for row in (*good, *bad)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = CliRunner().invoke(app, ["check", "-C", str(tmp_path), "--write", "clean.jsonl"])
    assert "wrote 8 examples to clean.jsonl, 4 left out; name it under [examples] path" in done.stderr
    assert [one.id for one in load_examples(tmp_path / "clean.jsonl")] == [row["id"] for row in good]
    again = CliRunner().invoke(app, ["check", "-C", str(tmp_path), "--write", "clean.jsonl"])
    assert again.exit_code == 1 and "clean.jsonl exists already" in f"{again.stderr}{again.exception}"


def test_examples_that_are_written_are_read_again_as_the_same(tmp_path: Path) -> None:
    turns = (Message("system", "be brief"), Message("user", "who?"), Message("assistant", "he"))
    asked = [
        Example(
            "a", "Who?", ("Ann", "Anna"), (Evidence("a.md", 3, 9, "Ann did"),), rejected="Bob", group="g", kind="fact"
        ),
        Example("b", "What?", label="thing", split="test"),
        Example("c", "who?", ("he",), messages=turns),
        Example("d", "Why?", answerable=False),
    ]
    for name, examples in (("asked", asked), ("texts", [Example("t", "", text="Once upon a time.")])):
        write(examples, tmp_path / f"{name}.jsonl")
        found = [replace(one, question="") if one.text else one for one in load_examples(tmp_path / f"{name}.jsonl")]
        assert found == examples


# ---------------------------------------------------------------- near-duplicates


def test_pairs_are_those_that_comparing_all_would_find() -> None:
    draw = random.Random(1)
    texts = [" ".join(draw.choices(seeded_faults.WORDS, k=12)) for _ in range(60)]
    for text in texts[:40]:
        words = text.split()
        words[draw.randrange(12)] = draw.choice(seeded_faults.WORDS)
        texts.append(" ".join(words))
    every = {(i, j) for j in range(len(texts)) for i in range(j) if similarity(texts[i], texts[j]) >= 0.8}
    assert 5 < len(every) <= 41
    assert set(similar_pairs(texts)) == every


def test_questions_that_differ_in_what_they_ask_for_are_no_duplicates() -> None:
    question = "How long is the warranty on the {} lamp that was bought in {} during the herring fair?"
    one = Example("1", question.format("Titan", "Haddle Quay"), ("two years",))
    other = Example("2", question.format("Atlas", "Haddle Quay"), ("six months",))
    assert similarity(one.question, other.question) > 0.8
    assert check([one], [], [other]) == []
    twin = Example("3", question.format("Titans", "Haddle Quay"), ("Two years",))
    assert [problem.kind for problem in check([one], [], [twin])] == ["leak-near"]


def test_a_crowd_of_near_copies_is_found_without_comparing_all_with_all() -> None:
    text = "Please reset the password of account {} because its owner has lost the sheet on which he wrote it down"
    examples = [Example(f"{n:04}", text.format(n), ("done",)) for n in range(600)]
    (problem,) = check(examples, [])
    assert problem.kind == "near-duplicate"


def test_10_000_rows_are_checked_in_seconds() -> None:
    draw = random.Random(2)
    words = [f"{one}{other}" for one in seeded_faults.WORDS for other in seeded_faults.WORDS]
    examples = [Example(f"{n:05}", " ".join(draw.choices(words, k=12)), (draw.choice(words),)) for n in range(10_000)]
    start = time.process_time()
    assert check(examples[:8000], [], examples[8000:]) == []
    assert time.process_time() - start < 15


# ---------------------------------------------------------------- personal data


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Write to jan.novak@lampworks.cz.", "1 e-mail address, as in j***@lampworks.cz"),
        ("Call +420 601 123 456 now", "1 phone number, as in +420***56"),
        ("Call (212) 555-0175 now", "1 phone number, as in (212***75"),
        ("Pay to DE89 3704 0044 0532 0130 00 today", "1 IBAN, as in DE89***00"),
        ("My card is 4111 1111 1111 1111.", "1 card number, as in 4111***11"),
        ("SSN 078-05-1120", "1 US social security number, as in 078-***20"),
        ("key AKIAIOSFODNN7EXAMPLE", "1 access key, as in AKIA***LE"),
        ("ghp_" + "a1" * 18, "1 access key, as in ghp_***a1"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII", "1 private key, as in ----***--"),
    ],
)
def test_personal_data_and_secrets_are_found_and_not_shown_whole(text: str, what: str) -> None:
    example = Example("a", "What is it?", (text,))
    (problem,) = check([example], [])
    assert (problem.severity, problem.what, problem.kind) == ("error", what, "personal-data")
    assert "--allow-personal" in problem.cure
    assert [p.severity for p in check([example], [], allow_personal=True)] == ["warning"]
    with pytest.raises(DataError, match="the training examples hold 1 .*allow_personal = true"):
        refuse_private([example])


@pytest.mark.parametrize(
    "text",
    [
        "Write to you@example.com.",
        "Order 4111 1111 1111 1112 came on 2026-11-21 at 10:30.",
        "Part DE89 3704 0044 0532 0130 01 weighs 12.5 kg.",
        "The price rose from 1,250 to 1,380 crowns, +10 percent.",
        "ISBN 978-3-16-148410-0, version 3.11.7, 192.168.100.200",
        "sk-lamp is a model name",
    ],
)
def test_numbers_and_names_that_only_look_like_it_are_left_alone(text: str) -> None:
    assert check([Example("a", "What is it?", (text,))], []) == []
    refuse_private([Example("a", "What is it?", (text,))])


def test_errors_of_unreadable_models_are_told_as_unchecked(tmp_path: Path) -> None:
    found = preflight([Example("a", "Who?", ("Ann",))], [], base=str(tmp_path / "none.gguf"))
    assert "there is no file" in found.unchecked
    with pytest.raises(BakeoffError):
        weights.resolve(str(tmp_path / "none.gguf"))


# ---------------------------------------------------------------- the command


def test_lessons_are_measured_with_the_passages_that_they_will_hold(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sound"
    planted(seeded_faults.SOUND, model, folder)
    (folder / "documents").mkdir()
    (folder / "documents" / "a.md").write_text(" ".join(seeded_faults.sentence(n) + "." for n in range(60)))
    with (folder / "bakeoff.toml").open("a") as file:
        file.write('lesson = "rag"\n[systems.rag]\ntype = "rag"\n')
    (bare,) = Project(folder).check().plans
    assert bare.name == "x, without its passages until `bakeoff ingest` was run"
    project = Project(folder)
    project.ingest()
    (plan,) = project.check().plans
    assert plan.name == "x"
    assert min(plan.lengths.prompts) > max(bare.lengths.prompts)


def test_the_command_shows_the_conversion_and_few_of_many_findings(tmp_path: Path) -> None:
    (tmp_path / "bakeoff.toml").write_text('base = "scripted"\n[examples]\npath = "data.jsonl"\n')
    rows = [{"prompt": seeded_faults.sentence(n), "completion": ""} for n in range(30)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = CliRunner().invoke(app, ["check", "-C", str(tmp_path)])
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert lines[0] == "read as: prompt-completion, 30 rows: prompt -> question, completion -> reference"
    assert lines[1] == "divided into: 18 train, 3 valid, 9 test"
    assert lines[2].startswith("could train: head on 0, lora on 0, ")
    assert sum("no reference answer" in line for line in lines) == 10
    assert "  and 20 more like these; --json shows all" in lines
    assert lines[-2] == "30 problems"
    shown = json.loads(CliRunner().invoke(app, ["check", "-C", str(tmp_path), "--json"]).output)
    assert [problem["kind"] for problem in shown["problems"]] == ["no-answer"] * 30


def test_personal_data_can_be_allowed_by_flag_and_by_key(tmp_path: Path) -> None:
    rows = [{"prompt": seeded_faults.sentence(n), "completion": f"mail jan{n}@firma.cz"} for n in range(9)]
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    toml = tmp_path / "bakeoff.toml"
    toml.write_text('base = "scripted"\n')
    assert CliRunner().invoke(app, ["check", "-C", str(tmp_path)]).exit_code == 1
    assert CliRunner().invoke(app, ["check", "-C", str(tmp_path), "--allow-personal"]).exit_code == 0
    toml.write_text('base = "scripted"\n[examples]\nallow_personal = true\n')
    assert CliRunner().invoke(app, ["check", "-C", str(tmp_path)]).exit_code == 0


def test_one_endless_word_does_not_hold_up_the_search_for_addresses() -> None:
    start = time.process_time()
    refuse_private([Example("a", "What is it?", ("x" * 300_000 + " @ " + "y." * 100_000 + "@",))])
    assert time.process_time() - start < 2
