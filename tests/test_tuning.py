"""Tuning on a tiny real model: what is learnt, what is written, what is refused."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

import tiny_model
from bakeoff.errors import ConfigError, DataError, ModelError, UnknownNameError
from bakeoff.models import generator
from bakeoff.models import weights as files
from bakeoff.models.chat import render
from bakeoff.tuning import load_checkpoint, tune
from bakeoff.tuning.run import is_current
from bakeoff.types import Example, Message

torch = pytest.importorskip("torch")

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Peru": "Lima", "Cuba": "Havana"}
TRAIN = [Example(f"q{n}", f"capital of {country}?", (city,)) for n, (country, city) in enumerate(CAPITALS.items())]
VALID = [Example("v0", "the capital of France?", ("Paris",)), Example("v1", "the capital of Peru?", ("Lima",))]
OPTIONS: dict[str, Any] = {"rank": 8, "learning_rate": 0.02, "epochs": 12, "batch_size": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        yield str(tiny_model.save(root / "tiny"))


@pytest.fixture(scope="module")
def trained(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tune("lora", base, TRAIN, VALID, out=tmp_path_factory.mktemp("tuned") / "lora", seed=3, **OPTIONS).path


def rows_of(base: str, examples: list[Example], max_length: int = 400) -> Any:
    from bakeoff.models.gguf import load_for_training
    from bakeoff.tuning.rows import encode

    weights = files.resolve(base)
    tokenizer = load_for_training(weights.path)[1]
    return encode(examples, files.template(weights), tokenizer, max_length), tokenizer


# ---------------------------------------------------------------- rows


def test_only_the_answer_and_the_end_of_the_turn_are_trained(base: str) -> None:
    # The question holds the answer's words, so a mask made by searching would find them too early.
    messages = (Message("user", "Paris or Rome?"), Message("assistant", "Paris or Rome?"), Message("user", "Paris?"))
    [row], tokenizer = rows_of(base, [Example("q", "-", messages=(*messages, Message("assistant", "Paris")))])
    assert tokenizer.decode(list(row.ids[row.prompt :]), skip_special_tokens=False) == "Paris<|im_end|>"
    served = render(files.template(files.resolve(base)), messages)
    assert list(row.ids[: row.prompt]) == tokenizer.encode(served, add_special_tokens=False).ids


def test_a_row_that_is_too_long_is_refused_by_its_name(base: str) -> None:
    with pytest.raises(DataError, match=r"example long takes \d+ tokens, more than max_length=40"):
        rows_of(base, [TRAIN[0], Example("long", "why? " * 40, ("because",))], max_length=40)


def test_an_example_without_an_answer_is_refused_by_its_name(base: str) -> None:
    with pytest.raises(DataError, match="example empty has no reference"):
        rows_of(base, [Example("empty", "why?")])


def test_batches_hold_every_row_once_and_pieces_stay_in_their_budget(base: str) -> None:
    from bakeoff.tuning.rows import batches, pieces

    rows, _ = rows_of(base, [replace(TRAIN[n % 6], question="why? " * (n % 13 + 1)) for n in range(50)])
    found = batches(rows, 4, Random(0))
    assert sorted(row.ids for batch in found for row in batch) == sorted(row.ids for row in rows)
    assert found != batches(rows, 4, Random(1))
    for batch in found:
        cut = list(pieces(batch, 150))
        assert sorted(row.ids for piece in cut for row in piece) == sorted(row.ids for row in batch)
        assert all(len(piece) * max(len(row.ids) for row in piece) <= 150 for piece in cut)


def test_padding_and_cutting_into_pieces_change_no_loss(base: str) -> None:
    from bakeoff.models.gguf import load_for_training
    from bakeoff.tuning.student import Whole
    from bakeoff.tuning.training import token_loss

    rows, _ = rows_of(base, [TRAIN[0], replace(TRAIN[1], question="why? " * 12), TRAIN[2]])
    model, _ = load_for_training(Path(base))
    whole = Whole(model, bf16=False)
    with torch.no_grad():
        together = float(token_loss(whole, rows))
        alone = sum(float(token_loss(whole, [row])) for row in rows)
        ids = torch.tensor([rows[1].ids])
        labels = ids.clone()
        labels[:, : rows[1].prompt] = -100
        reference = float(model(input_ids=ids, labels=labels).loss) * rows[1].trained
        assert float(token_loss(whole, [rows[1]])) == pytest.approx(reference, rel=1e-5)
    assert together == pytest.approx(alone, rel=1e-5)


@pytest.fixture
def plain(base: str) -> tuple[Any, Any]:
    """The tiny model in fp32, all of it trained, and rows of very different lengths."""
    from bakeoff.models.gguf import load_for_training

    rows, _ = rows_of(base, [replace(example, question="why? " * n * n) for n, example in enumerate(TRAIN)])
    model, _ = load_for_training(Path(base))
    return model, rows


@pytest.mark.parametrize("budget", [1, 150, 1_000_000], ids=["a row a piece", "some rows a piece", "one piece"])
def test_the_pieces_of_a_batch_add_up_to_the_gradient_of_one_batch(
    plain: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:
    from bakeoff.tuning.rows import pieces
    from bakeoff.tuning.student import Whole
    from bakeoff.tuning.training import _Learner, padded, token_loss

    model, rows = plain
    monkeypatch.setattr("bakeoff.tuning.training.PIECE_TOKENS", budget)
    assert len(list(pieces(rows, budget))) == {1: 6, 150: 4, 1_000_000: 1}[budget]
    learner = _Learner(Whole(model, bf16=False), token_loss, 2, 0.0)
    mean = learner.step(rows, 0.0)  # the weights stay, the gradients are there
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    # Against transformers' own loss of one padded batch, which is the mean over all its trained tokens.
    model.zero_grad()
    ids, mask = padded(rows)
    places = torch.arange(ids.shape[1])
    given = torch.stack([(places < row.prompt) | (places >= len(row.ids)) for row in rows])
    loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(given, -100)).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    assert mean == pytest.approx(float(loss.detach()), rel=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-5, atol=1e-5)
        assert found[name].abs().max() > 0


def test_rows_that_share_a_padded_piece_do_not_see_each_other(plain: tuple[Any, Any]) -> None:
    from bakeoff.tuning.student import Whole
    from bakeoff.tuning.training import logprobs

    model, rows = plain
    whole = Whole(model, bf16=False)
    together = logprobs(whole, rows)
    alone = torch.cat([logprobs(whole, [row]) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)
    gradients = [
        torch.autograd.grad(values[2], list(model.parameters()), retain_graph=True) for values in (together, alone)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    # And in other company: what stands beside a row changes nothing of it.
    torch.testing.assert_close(logprobs(whole, [rows[5], rows[2]])[1], together[2], rtol=1e-5, atol=1e-5)


def test_pieces_of_any_size_end_in_the_same_model(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file

    monkeypatch.setattr("bakeoff.tuning.student.multiplies_bfloat16", lambda device: False)
    train = [replace(example, question="why? " * n * n) for n, example in enumerate(TRAIN)]
    # AdamW divides by a gradient's size, so what rounding does to those near 0 grows with the learning rate.
    written, curves = [], []
    for budget in (1, 1_000_000):
        monkeypatch.setattr("bakeoff.tuning.training.PIECE_TOKENS", budget)
        out = tmp_path / str(budget)
        tune("lora", base, train, VALID, out=out, **{**OPTIONS, "learning_rate": 0.0005, "epochs": 3})
        written.append(load_file(out / "adapter_model.safetensors"))
        with (out / "history.csv").open() as file:
            curves.append([float(step["loss"]) for step in csv.DictReader(file)])
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)
    for name, tensor in written[0].items():
        torch.testing.assert_close(tensor, written[1][name], rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- lora


def test_training_lowers_the_loss_and_the_tuned_model_answers_what_it_learnt(base: str, trained: Path) -> None:
    with (trained / "history.csv").open() as file:
        steps = list(csv.DictReader(file))
    assert len(steps) == 24
    assert float(steps[-1]["loss"]) < 0.3 * float(steps[0]["loss"])
    facts = json.loads((trained / "checkpoint.json").read_text())
    assert facts["valid_loss_after"] < facts["valid_loss_before"]
    asked = [Message("user", TRAIN[1].question)]
    assert generator(trained).generate(asked, max_tokens=16).text == "Madrid"
    assert generator(base).generate(asked, max_tokens=16).text != "Madrid"


def test_the_best_epoch_is_kept(base: str, tmp_path: Path) -> None:
    # A learning rate this high ruins the model after its first steps.
    options = {**OPTIONS, "learning_rate": 0.5, "epochs": 3}
    facts = json.loads(
        (tune("lora", base, TRAIN, VALID, out=tmp_path / "lora", **options).path / "checkpoint.json").read_text()
    )
    with (tmp_path / "lora" / "history.csv").open() as file:
        losses = {int(step["step"]): float(step["valid_loss"]) for step in csv.DictReader(file) if step["valid_loss"]}
    assert facts["best_step"] == min(losses, key=lambda step: losses[step])
    assert facts["valid_loss_after"] == min(losses.values())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(base: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "epochs": 1}
    one, again, other = (
        tune("lora", base, TRAIN, VALID, out=tmp_path / name, seed=seed, **options).path / "adapter_model.safetensors"
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    assert one.read_bytes() == again.read_bytes()
    assert one.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_the_number_of_cores_changes_no_byte(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropout: float
) -> None:
    train = [replace(example, question="why? " * (60 + n)) for n, example in enumerate(TRAIN)]
    written = []
    for cores in ("1", "2"):
        monkeypatch.setenv("BAKEOFF_THREADS", cores)
        options = {**OPTIONS, "epochs": 1, "dropout": dropout}
        written.append(tune("lora", base, train, out=tmp_path / cores, **options).path / "adapter_model.safetensors")
    assert written[0].read_bytes() == written[1].read_bytes()


def test_progress_reaches_its_total(base: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    tune(
        "lora",
        base,
        TRAIN,
        out=tmp_path / "lora",
        progress=lambda *step: seen.append(step),
        **{**OPTIONS, "epochs": 1},
    )
    assert seen[-1][0] == seen[-1][1] == sum(len(row.ids) for row in rows_of(base, TRAIN)[0])
    assert seen[-1][2].startswith("training: loss ")


def test_a_checkpoint_holds_no_pickle_and_no_path_of_this_machine(trained: Path) -> None:
    assert sorted(path.name for path in trained.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "checkpoint.json",
        "history.csv",
    ]
    adapter = json.loads((trained / "adapter_config.json").read_text())
    assert adapter["base_model_name_or_path"] is None
    assert not any("/" in value for value in adapter.values() if isinstance(value, str))
    header = (trained / "adapter_model.safetensors").read_bytes()[8:9]
    assert header == b"{"


def test_a_gguf_base_gets_an_adapter_that_llama_cpp_serves_with_the_same_answers(base: str, tmp_path: Path) -> None:
    from bakeoff.models.generators.transformers import Generator

    gguf = str(tiny_model.save_gguf(Path(base), tmp_path / "tiny.gguf"))
    path = tune("lora", gguf, TRAIN, VALID, out=tmp_path / "lora", **OPTIONS).path
    served, trained = generator(path), Generator(files.resolve(str(path)))
    for example in TRAIN:
        asked = [Message("user", example.question)]
        assert served.generate(asked, max_tokens=16).text == trained.generate(asked, max_tokens=16).text
        assert served.generate(asked, max_tokens=16).text == example.references[0]


# ---------------------------------------------------------------- generator


def test_a_batch_and_a_stream_give_the_texts_of_single_questions(base: str, trained: Path) -> None:
    tuned = generator(trained)
    questions = [[Message("user", "why? " * n + example.question)] for n, example in enumerate(TRAIN)]
    single = [tuned.generate(question, max_tokens=20) for question in questions]
    together = tuned.generate_many(questions, max_tokens=20)  # type: ignore[attr-defined]
    assert [generation.text for generation in together] == [generation.text for generation in single]
    assert [generation.finish for generation in together] == [generation.finish for generation in single]
    assert [generation.usage.output for generation in together] == [generation.usage.output for generation in single]
    for question, generation in zip(questions, single, strict=True):
        assert "".join(tuned.stream(question, max_tokens=20)) == generation.text


def test_max_tokens_cuts_and_says_so_and_a_prompt_beyond_the_window_is_refused(base: str) -> None:
    model = generator(base)
    cut = model.generate([Message("user", "why?")], max_tokens=3)
    assert (cut.finish, cut.usage.output) == ("length", 3)
    assert model.count([Message("user", "why?")]) == cut.usage.fresh
    with pytest.raises(ModelError, match="exceed the 512"):
        model.generate([Message("user", "why? " * 300)], max_tokens=3)


# ---------------------------------------------------------------- checkpoints


def test_a_checkpoint_is_checked_when_it_is_loaded(trained: Path) -> None:
    checkpoint = load_checkpoint(trained)
    manifest = json.loads((trained / "checkpoint.json").read_text())
    assert (checkpoint.path, checkpoint.method) == (trained, "lora")
    assert checkpoint.base_fingerprint == files.resolve(checkpoint.base).fingerprint
    assert manifest["template_sha256"] == files.template(files.resolve(checkpoint.base)).sha256
    assert manifest["options"]["alpha"] == 32
    assert manifest["versions"]["torch"] == torch.__version__


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: flip(path / "adapter_model.safetensors"), "is not the file that was trained"),
        (lambda path: (path / "history.csv").unlink(), "lacks its file history.csv"),
        (lambda path: (path / "checkpoint.json").unlink(), "is no checkpoint folder"),
        (lambda path: (path / "checkpoint.json").write_text('{"format": 99}'), "has the format 99"),
        (lambda path: edit(path / "checkpoint.json", '"lora"', '"mora"'), "method 'mora', which is not installed"),
    ],
)
def test_a_damaged_checkpoint_is_refused(
    trained: Path, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    import shutil

    copy = Path(shutil.copytree(trained, tmp_path / "copy"))
    load_checkpoint(copy)
    damage(copy)
    with pytest.raises(ModelError, match=message):
        load_checkpoint(copy)


def test_a_wrong_option_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'rnk'.*did you mean 'rank'.*learning_rate=.*max_length=1024"):
        tune("lora", "no-such-model", TRAIN, out=tmp_path / "x", rnk=8)
    with pytest.raises(ConfigError, match="rank is '8', but must be of type int"):
        tune("lora", "no-such-model", TRAIN, out=tmp_path / "x", rank="8")
    with pytest.raises(UnknownNameError, match="did you mean 'lora'"):
        tune("lroa", "no-such-model", TRAIN, out=tmp_path / "x")
    with pytest.raises(DataError, match="no training examples"):
        tune("lora", "no-such-model", [], out=tmp_path / "x")


def test_impossible_options_and_a_tuned_base_are_refused_and_leave_nothing(
    base: str, trained: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="epochs is 0"):
        tune("lora", base, TRAIN, out=tmp_path / "x", epochs=0)
    with pytest.raises(ConfigError, match="is a checkpoint itself"):
        tune("lora", str(trained), TRAIN, out=tmp_path / "x")
    with pytest.raises(ConfigError, match=r"targets: .*q_prj"):
        tune("lora", base, TRAIN, out=tmp_path / "x", targets="q_prj")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_checkpoint_stays_unless_it_is_to_be_replaced(base: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "epochs": 1}
    out = tune("lora", base, TRAIN, out=tmp_path / "lora", **options).path
    with pytest.raises(ConfigError, match="holds a checkpoint"):
        tune("lora", base, TRAIN, out=out, **options)
    with pytest.raises(DataError):
        tune("lora", base, [Example("empty", "why?")], out=out, replace=True, **options)
    load_checkpoint(out)
    tune("lora", base, TRAIN, out=out, seed=5, replace=True, **options)
    assert json.loads((out / "checkpoint.json").read_text())["seed"] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["lora"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="is no checkpoint"):
        tune("lora", base, TRAIN, out=tmp_path / "mine", replace=True, **options)


def test_two_trainings_do_not_write_into_one_folder(base: str, tmp_path: Path) -> None:
    options = {**OPTIONS, "epochs": 1}
    refused: list[str] = []

    def begin_again(*step: Any) -> None:
        with pytest.raises(ConfigError, match="another bakeoff trains in .*wait for it") as caught:
            tune("lora", base, TRAIN, out=tmp_path / "lora", seed=4, **options)
        refused.append(str(caught.value))

    path = tune("lora", base, TRAIN, out=tmp_path / "lora", progress=begin_again, **options).path
    assert refused and json.loads((path / "checkpoint.json").read_text())["seed"] == 0
    load_checkpoint(path)
    tune("lora", base, TRAIN, out=path, replace=True, seed=4, **options)  # the lock is gone


def test_a_checkpoint_is_current_until_data_options_or_seed_change(base: str, trained: Path, tmp_path: Path) -> None:
    assert is_current(trained, "lora", base, TRAIN, OPTIONS, 3)
    assert is_current(trained, "lora", base, TRAIN, {**OPTIONS, "alpha": 32}, 3)  # the default, spelt out
    assert not is_current(trained, "lora", base, TRAIN[1:], OPTIONS, 3)
    assert not is_current(trained, "lora", base, TRAIN, {**OPTIONS, "rank": 4}, 3)
    assert not is_current(trained, "lora", base, TRAIN, OPTIONS, 4)
    assert not is_current(tmp_path / "none", "lora", base, TRAIN, OPTIONS, 3)
    # Made before the option `bits` was there.
    before = shutil.copytree(trained, tmp_path / "before")
    manifest = json.loads((before / "checkpoint.json").read_text())
    del manifest["options"]["bits"]
    (before / "checkpoint.json").write_text(json.dumps(manifest))
    assert is_current(before, "lora", base, TRAIN, OPTIONS, 3)
    assert not is_current(before, "lora", base, TRAIN, {**OPTIONS, "bits": 4}, 3)


def test_a_killed_training_leaves_no_checkpoint_and_does_not_hinder_the_next(base: str, tmp_path: Path) -> None:
    script = (
        "import sys; from bakeoff.tuning import tune; from bakeoff.types import Example\n"
        "rows = [Example(str(n), 'why?', ('because',)) for n in range(4)]\n"
        "say = lambda *step: print(step, flush=True)\n"
        "tune('lora', sys.argv[1], rows, out=sys.argv[2], epochs=100000, progress=say)"
    )
    command = [sys.executable, "-c", script, base, str(tmp_path / "lora")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline()  # it trains
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)
    assert not (tmp_path / "lora").exists()
    with pytest.raises(ModelError):
        load_checkpoint(tmp_path / "lora")
    tune("lora", base, TRAIN, out=tmp_path / "lora", **{**OPTIONS, "epochs": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["lora"]


# ---------------------------------------------------------------- head


TOPICS = {
    "refund": ["refund my lamp", "I want a refund", "refund please", "where is my refund", "money back refund"],
    "delivery": ["late delivery", "when is delivery", "delivery to Spain", "delivery cost", "track my delivery"],
    "repair": ["repair the lamp", "broken, repair it", "repair shop", "a repair form", "does repair cost"],
}
LABELLED = [
    Example(f"{label}{n}", question, label=label)
    for label, questions in TOPICS.items()
    for n, question in enumerate(questions)
]


@pytest.mark.parametrize("labels", [("refund", "delivery"), ("refund", "delivery", "repair")])
@pytest.mark.parametrize("validated", [True, False])
def test_a_head_is_served_by_the_classifier(
    base: str, tmp_path: Path, labels: tuple[str, ...], validated: bool
) -> None:
    pytest.importorskip("sklearn")
    from bakeoff.systems.classifier import Classifier

    train = [example for example in LABELLED if example.label in labels]
    valid = [replace(example, question=f"please: {example.question}") for example in train[::2]] if validated else []
    path = tune("head", base, train, valid, out=tmp_path / "head", features="hashing").path
    load_checkpoint(path)
    classifier = Classifier(path)
    assert [classifier.answer(example.question).text for example in train] == [example.label for example in train]
    assert sorted(file.name for file in path.iterdir()) == ["checkpoint.json", "head.json"]


@pytest.mark.parametrize("kind", ["logistic", "forest", "boosting"])
@pytest.mark.parametrize("count", [10, 15])
def test_a_head_gives_the_probabilities_of_what_was_fitted(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, count: int
) -> None:
    import numpy as np

    pytest.importorskip("sklearn")
    monkeypatch.setattr("bakeoff.tuning.methods.head.TREES", 7)
    if kind == "boosting":
        pytest.importorskip("xgboost")
    from bakeoff.models import embedder, heads
    from bakeoff.tuning.methods.head import _made

    train = LABELLED[:count]
    path = tune("head", base, train, out=tmp_path / "head", features="hashing", kind=kind, seed=5).path
    facts = json.loads((path / "head.json").read_text())
    x = embedder("hashing").embed([example.question for example in train])
    codes = [facts["classes"].index(example.label) for example in train]
    fitted = _made(kind, facts["strength"], 5).fit(x, codes)
    assert np.allclose(heads.load(path).probabilities(x), fitted.predict_proba(x), atol=1e-5)
    assert not [file for file in path.iterdir() if file.suffix not in (".json", ".safetensors")]


def test_a_head_on_the_base_itself_is_served_with_the_base(base: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    from bakeoff.systems.classifier import Classifier

    path = tune("head", base, LABELLED, out=tmp_path / "head", features="base").path
    classifier = Classifier(path)
    answers = [classifier.answer(example.question) for example in LABELLED]
    assert sum(answer.text == example.label for answer, example in zip(answers, LABELLED, strict=True)) >= 12
    assert all(1 / 3 < (answer.confidence or 0) <= 1 for answer in answers)


def test_a_head_refuses_examples_it_cannot_learn_from(base: str, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    with pytest.raises(DataError, match="example q0 has no label"):
        tune("head", base, TRAIN, out=tmp_path / "x", features="hashing")
    with pytest.raises(DataError, match="all training examples have the label 'refund'"):
        tune("head", base, LABELLED[:5], out=tmp_path / "x", features="hashing")
    with pytest.raises(DataError, match="'delivery' has only one training example"):
        tune("head", base, LABELLED[:6], out=tmp_path / "x", features="hashing")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edit(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))
