"""Exports: whole models that answer as the checkpoint did, and refusals that leave nothing behind."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tiny_model
from bakeoff.cli import app
from bakeoff.errors import BakeoffError, ConfigError, DataError, ModelError
from bakeoff.evaluation.exporting import Exported, export
from bakeoff.models import generator
from bakeoff.tuning import tune
from bakeoff.types import Example, Generator, Message

torch = pytest.importorskip("torch")

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Peru": "Lima", "Cuba": "Havana"}
TRAIN = [Example(f"q{n}", f"capital of {country}?", (city,)) for n, (country, city) in enumerate(CAPITALS.items())]
ASKED = [replace(e, messages=(Message("user", e.question), Message("assistant", e.references[0]))) for e in TRAIN]
LORA: dict[str, Any] = {"rank": 8, "learning_rate": 0.02, "epochs": 12, "batch_size": 3}
LABELLED = [
    Example(f"{label}{n}", f"{words} {n}", label=label)
    for label, words in (("refund", "I want my money back"), ("repair", "my lamp is broken"))
    for n in range(5)
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        base = tiny_model.save(root / "tiny")
        yield {"safetensors": str(base), "gguf": str(tiny_model.save_gguf(base, root / "tiny.gguf"))}


@pytest.fixture(scope="module")
def tuned(models: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(kind of base, method) -> checkpoint, trained once."""
    root, made = tmp_path_factory.mktemp("tuned"), dict[tuple[str, str], Path]()

    def train(kind: str, method: str, **options: Any) -> Path:
        if (kind, method) not in made:
            out = root / f"{kind}-{method}"
            train, base = (LABELLED if method == "head" else TRAIN), models[kind]
            made[kind, method] = tune(method, base, train, out=out, seed=3, **options).path
        return made[kind, method]

    return train


def exported(checkpoint: Path, target: Path, **options: Any) -> Exported:
    return export(checkpoint, target, ASKED, lambda: generator(checkpoint), **options)


def answers(model: Generator) -> list[str]:
    return [model.generate([Message("user", example.question)], max_tokens=8).text for example in TRAIN]


@pytest.mark.parametrize("encoding", ["own", "f16", "q8_0"])
def test_a_lora_on_a_gguf_base_becomes_one_gguf_file_with_the_same_answers(
    tuned: Any, tmp_path: Path, encoding: str
) -> None:
    from gguf import GGUFReader

    checkpoint = tuned("gguf", "lora", **LORA)
    found = exported(checkpoint, tmp_path / "whole.gguf", encoding=encoding)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole.gguf", "whole.gguf.json"]
    assert (found.proof.n, found.proof.differing, found.proof.after) == (6, 0, 1.0)
    assert answers(generator(tmp_path / "whole.gguf")) == [example.references[0] for example in TRAIN]
    kinds = {tensor.name: tensor.tensor_type.name for tensor in GGUFReader(found.path).tensors}
    assert kinds["blk.0.attn_q.weight"] == {"own": "F32", "f16": "F16", "q8_0": "Q8_0"}[encoding]
    assert kinds["token_embd.weight"] == "F32"  # it did not change, and stays as the base has it
    manifest = json.loads(found.manifest.read_text())
    assert manifest["files"] == {"whole.gguf": hashlib.sha256(found.path.read_bytes()).hexdigest()}
    assert manifest["proof"]["tolerance"] == 0.02
    assert manifest["checkpoint"]["files"] == json.loads((checkpoint / "checkpoint.json").read_text())["files"]


@pytest.mark.parametrize(("kind", "encoding"), [("gguf", "own"), ("safetensors", "own"), ("safetensors", "f16")])
def test_a_lora_becomes_a_folder_that_transformers_loads_by_itself(
    tuned: Any, tmp_path: Path, kind: str, encoding: str
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    checkpoint = tuned(kind, "lora", **LORA)
    found = exported(checkpoint, tmp_path / "whole", encoding=encoding)
    assert found.proof.after == 1.0
    model: Any = AutoModelForCausalLM.from_pretrained(found.path)
    tokenizer: Any = AutoTokenizer.from_pretrained(found.path)
    assert model.dtype == (torch.float16 if encoding == "f16" else torch.float32)
    turns = [{"role": "user", "content": TRAIN[0].question}]
    ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    made = model.float().generate(**ids, max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=2)
    assert tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True) == "Paris"
    assert answers(generator(found.path)) == answers(generator(checkpoint))
    assert set(json.loads(found.manifest.read_text())["files"]) >= {"config.json", "model.safetensors"}
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize("kind", ["gguf", "safetensors"])
def test_a_whole_model_is_exported_too(tuned: Any, tmp_path: Path, kind: str) -> None:
    checkpoint = tuned(kind, "full", learning_rate=0.005, epochs=8, batch_size=3)
    target = tmp_path / ("whole.gguf" if kind == "gguf" else "whole")
    assert exported(checkpoint, target).proof.differing == 0
    assert answers(generator(target)) == answers(generator(checkpoint))


def test_an_export_that_answers_otherwise_is_refused_and_leaves_nothing(
    tuned: Any, models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What goes wrong in the field: the adapter did not make it into the file.
    monkeypatch.setattr("bakeoff.models.additions.add", lambda model, folder: (model, None))
    checkpoint = tuned("gguf", "lora", **LORA)
    with pytest.raises(ModelError, match=r"nothing was written: 6 examples: .* before, .* 6 answers differ") as caught:
        exported(checkpoint, tmp_path / "x.gguf")
    assert "\n" not in str(caught.value) and "--tolerance" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    found = exported(checkpoint, tmp_path / "x.gguf", tolerance=1.0)
    assert (found.proof.before, found.proof.differing) == (1.0, 6)
    assert found.proof.change == pytest.approx(1 - found.proof.after)
    assert answers(generator(found.path)) == answers(generator(models["gguf"]))


def test_gains_and_losses_do_not_cancel_out() -> None:
    from bakeoff.evaluation.exporting import prove

    right, wrong = (lambda e: e.references[0]), (lambda e: "no")

    def mixed(good: int) -> Any:
        return lambda example: (right if int(example.id[1:]) % 2 == good else wrong)(example)

    found = prove(ASKED, mixed(0), mixed(1), labels=False, tolerance=1.0, progress=lambda done, total, text: None)
    assert (found.before, found.after, found.change) == (0.5, 0.5, 1.0)


@pytest.mark.parametrize("kind", ["logistic", "forest"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_head_becomes_onnx_with_the_same_probabilities(
    models: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, classes: int
) -> None:
    import numpy as np

    pytest.importorskip("sklearn")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("bakeoff.tuning.methods.head.TREES", 7)
    from bakeoff.models import embedder, head_graph, heads

    third = [Example(f"track{n}", f"where is my parcel {n}", label="track") for n in range(5)]
    train = LABELLED + (third if classes == 3 else [])
    checkpoint = tune("head", models["gguf"], train, out=tmp_path / "head", features="hashing", kind=kind).path
    found = export(checkpoint, tmp_path / "head.onnx", train, lambda: generator(models["gguf"]))
    assert (found.proof.metric, found.proof.n, found.proof.differing) == ("accuracy", len(train), 0)
    vectors = embedder("hashing").embed([example.question for example in train] + ["something else altogether"])
    served, written = heads.load(checkpoint), head_graph.load(found.path)
    assert list(written.classes) == list(served.classes)
    assert np.allclose(written.probabilities(vectors), served.probabilities(vectors), atol=1e-6)
    limits = np.random.default_rng(0).random((500, vectors.shape[1]), dtype=np.float32)
    assert np.allclose(written.probabilities(limits), served.probabilities(limits), atol=1e-6)


def test_boosted_trees_are_not_exported_and_the_line_says_what_to_take(models: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("xgboost")
    options: dict[str, Any] = {"features": "hashing", "kind": "boosting"}
    checkpoint = tune("head", models["gguf"], LABELLED, out=tmp_path / "head", **options).path
    with pytest.raises(ModelError, match="boosting.json is XGBoost's own portable form"):
        export(checkpoint, tmp_path / "head.onnx", LABELLED, lambda: generator(models["gguf"]))
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize(
    ("kind", "method", "options", "target", "asked", "message"),
    [
        ("gguf", "prefix", {"epochs": 1}, "x.gguf", {}, "keys and values that go before every prompt, not weights"),
        ("gguf", "adapter", {"epochs": 1}, "x.gguf", {}, "layers that no other engine knows"),
        ("safetensors", "lora", LORA, "x.gguf", {}, "which is not GGUF.*convert_hf_to_gguf"),
        ("gguf", "lora", LORA, "x.onnx", {}, "generators are not exported to ONNX"),
        ("gguf", "head", {"features": "hashing"}, "x.gguf", {}, "is a head.*--to onnx"),
        (
            "gguf",
            "lora",
            LORA,
            "x.gguf",
            {"to": "safetensors"},
            "--to safetensors writes a folder, and .*x.gguf is none",
        ),
        ("gguf", "lora", LORA, "x", {"to": "gguf"}, "--to gguf writes a file that ends in .gguf"),
        ("gguf", "lora", LORA, "x", {"to": "ggfu"}, "did you mean 'gguf'"),
        ("gguf", "lora", LORA, "x.gguf", {"encoding": "q4"}, "unknown encoding 'q4'"),
        ("gguf", "lora", LORA, "x", {"encoding": "q8_0"}, "one of GGUF files"),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line_and_nothing_is_written(
    tuned: Any,
    tmp_path: Path,
    kind: str,
    method: str,
    options: dict[str, Any],
    target: str,
    asked: dict[str, str],
    message: str,
) -> None:
    with pytest.raises(BakeoffError, match=message) as caught:
        exported(tuned(kind, method, **options), tmp_path / target, **asked)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_and_nothing_is_exported_unproven(tuned: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.gguf").write_text("precious")
    checkpoint = tuned("gguf", "lora", **LORA)
    with pytest.raises(ConfigError, match=r"mine.gguf is there already"):
        exported(checkpoint, tmp_path / "mine.gguf")
    assert (tmp_path / "mine.gguf").read_text() == "precious"
    with pytest.raises(DataError, match="none has a right answer; add some"):
        export(checkpoint, tmp_path / "x.gguf", [], lambda: generator(checkpoint))


PROJECT = """\
base = "{base}"
[examples]
test = 0.3
valid = 0.3
[systems.zero-shot]
type = "prompt"
[tune.reader]
method = "lora"
lesson = "zero-shot"
"""


def test_the_command_exports_what_was_tuned(models: dict[str, str], tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "bakeoff.toml").write_text(PROJECT.format(base=models["gguf"]))
    lines = [{"question": e.question, "answer": e.references[0]} for e in TRAIN]
    (project / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "-C", str(project)])

    target = str(tmp_path / "out" / "reader.gguf")
    assert "did you mean 'reader'" in str(run("export", "raeder", target).exception)
    missing = run("export", "reader", target)
    assert "run `bakeoff tune reader`" in str(missing.exception)
    assert run("tune", "reader", "--no-study").exit_code == 0
    found = run("export", "reader", target)
    assert found.exit_code == 0, found.output
    assert f"made {target}" in found.stdout.replace("\n", "") and "4 examples: recall" in found.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["reader.gguf", "reader.gguf.json"]
    assert "is there already" in str(run("export", "reader", target).exception)
