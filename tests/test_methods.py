"""Every method that trains by gradient, held to one contract on a tiny real model."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

import tiny_model
from bakeoff import plugins
from bakeoff.errors import ConfigError, DataError, ModelError
from bakeoff.models import generator
from bakeoff.models import weights as files
from bakeoff.models.chat import completion, render
from bakeoff.tuning import tune
from bakeoff.tuning.export import write
from bakeoff.types import Example, Message

torch = pytest.importorskip("torch")

CAPITALS = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Peru": "Lima", "Cuba": "Havana"}
TRAIN = [
    Example(
        f"q{n}",
        f"capital of {country}?",
        (city,),
        rejected=f"It is not {country}",
        text=f"The capital of {country} is {city}.",
    )
    for n, (country, city) in enumerate(CAPITALS.items())
]
VALID = [replace(example, id=f"v{n}", question=f"the {example.question}") for n, example in enumerate(TRAIN[:3])]
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 8, "learning_rate": 0.02},
    "full": {"learning_rate": 0.005},
    "freeze": {"layers": 1, "learning_rate": 0.01},
    "prefix": {"tokens": 8, "learning_rate": 0.1},
    "soft_prompt": {"tokens": 8, "learning_rate": 0.1},
    "p_tuning": {"tokens": 8, "learning_rate": 0.02},
    "adapter": {"size": 16, "learning_rate": 0.02},
    "pretrain": {"learning_rate": 0.005, "window": 16},
    "dpo": {"learning_rate": 0.01, "batch_size": 3},
    "orpo": {"learning_rate": 0.01, "batch_size": 3},
    "kto": {"learning_rate": 0.01, "batch_size": 3},
    "grpo": {"learning_rate": 0.01, "max_tokens": 4, "tries": 3},
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, options) for name, options in METHODS.items()},
    "lora, rank-stabilised": ("lora", {**METHODS["lora"], "rslora": True}),
    "lora, DoRA": ("lora", {**METHODS["lora"], "dora": True}),
    "lora, 4 bits": ("lora", {**METHODS["lora"], "bits": 4}),
    "lora, dropout": ("lora", {**METHODS["lora"], "dropout": 0.1}),
    "adapter, IA3": ("adapter", {"kind": "ia3", "learning_rate": 0.1}),
    "pretrain, LoRA": ("pretrain", {**METHODS["pretrain"], "weights": "lora", "rank": 8}),
    "dpo, IPO": ("dpo", {**METHODS["dpo"], "loss": "ipo"}),
}
LIKELIHOOD = ("lora", "full", "freeze", "prefix", "soft_prompt", "p_tuning", "adapter")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        yield str(tiny_model.save(root / "tiny"))


@pytest.fixture(scope="module")
def gguf(base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model.save_gguf(Path(base), tmp_path_factory.mktemp("gguf") / "tiny.gguf"))


@pytest.fixture(scope="module")
def unbroken(base: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Variant -> its checkpoint, trained once."""
    root, made = tmp_path_factory.mktemp("unbroken"), dict[str, Path]()

    def train(variant: str) -> Path:
        if variant not in made:
            method, options = VARIANTS[variant]
            out = root / variant.replace(", ", "-")
            made[variant] = tune(method, base, TRAIN, VALID, out=out, seed=3, epochs=4, **options).path
        return made[variant]

    return train


def likelihoods(path: str | Path, examples: list[Example]) -> list[tuple[float, int]]:
    from bakeoff.models.generators.transformers import Generator

    weights = files.resolve(str(path))
    template = files.template(weights)
    return Generator(weights).likelihoods([completion(template, lesson(one)) for one in examples])


def lesson(example: Example) -> tuple[Message, Message]:
    return Message("user", example.question), Message("assistant", example.references[0])


class Merged:
    """In the place of `Switch`: a model that holds one checkpoint for good."""

    def __init__(self, model: Any, prefix: Any) -> None:
        self._model, self._prefix = model, prefix

    def on(self, checkpoint: Path | None) -> Any:
        return nullcontext(self._model)

    def before(self, checkpoint: Path | None) -> Any:
        return self._prefix


def test_the_contract_covers_every_method() -> None:
    assert {*METHODS, "head"} == set(plugins.names("methods"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_loaded_again_is_what_was_trained(base: str, unbroken: Callable[[str], Path], variant: str) -> None:
    path = unbroken(variant)
    facts = json.loads((path / "checkpoint.json").read_text())
    if variant == "grpo":
        return  # a random model is never right, so nothing becomes likelier; see test_rewards_rise
    assert facts["valid_loss_after"] < facts["valid_loss_before"]
    after, before = likelihoods(path, VALID), likelihoods(base, VALID)
    if VARIANTS[variant][0] in LIKELIHOOD:
        # The loss that training reported, measured again on the files by another path through the model.
        mean = -sum(value for value, _ in after) / sum(count for _, count in after)
        # Training multiplies bfloat16 where it can; that alone moves the loss of the untrained base by 0.03.
        tolerance = 0.04 if torch.cpu.get_capabilities().get("avx512_bf16") else 1e-4
        if "bits" in VARIANTS[variant][1]:
            tolerance = 0.15  # trained on four bits a weight, and served on all of them
        assert mean == pytest.approx(facts["valid_loss_after"], abs=tolerance)
    assert after != before


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_batch_and_a_stream_of_a_tuned_model_give_the_texts_of_single_questions(
    unbroken: Callable[[str], Path], variant: str
) -> None:
    tuned: Any = generator(unbroken(variant))
    questions = [[Message("user", "why? " * n + example.question)] for n, example in enumerate(TRAIN[:3])]
    single = [tuned.generate(question, max_tokens=6).text for question in questions]
    assert [one.text for one in tuned.generate_many(questions, max_tokens=6)] == single
    assert ["".join(tuned.stream(question, max_tokens=6)) for question in questions] == single


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_training_that_was_interrupted_ends_as_if_it_had_not_been(
    base: str, unbroken: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    method, options = VARIANTS[variant]
    monkeypatch.setattr("bakeoff.tuning.training.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("bakeoff.tuning.training.SAVE_SHARE", 1e9)
    arguments: Any = {"out": tmp_path / "out", "seed": 3, "epochs": 4, **options}
    for steps in (2, 1):  # the second time it has already gone on once
        seen: list[int] = []

        def interrupt(done: int, total: int, text: str, seen: list[int] = seen, last: int = steps) -> None:
            seen.append(done)
            if len(seen) > last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            tune(method, base, TRAIN, VALID, progress=interrupt, **arguments)
        assert not (tmp_path / "out").exists()
    firsts: list[int] = []
    tune(method, base, TRAIN, VALID, progress=lambda done, *rest: firsts.append(done), **arguments)
    whole = unbroken(variant)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for name in ("adapter_model", "model", "prefix", "bottleneck"):
        file = f"{name}.safetensors"
        assert (whole / file).is_file() == (tmp_path / "out" / file).is_file()
        if (whole / file).is_file():
            assert (tmp_path / "out" / file).read_bytes() == (whole / file).read_bytes()
    with (whole / "history.csv").open() as one, (tmp_path / "out" / "history.csv").open() as other:
        # All but the speed is the same.
        lines = [[line.rsplit(",", 1)[0] for line in file] for file in (one, other)]
    assert lines[0] == lines[1]
    assert len(firsts) == len(lines[0]) - 1 - 3  # it did not begin again


def test_one_torch_base_answers_as_every_checkpoint_on_it_in_turn_and_at_once(
    base: str, unbroken: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bakeoff.models.additions import add
    from bakeoff.models.generators import transformers
    from bakeoff.models.gguf import load_for_training

    folders = [unbroken(variant) for variant in VARIANTS if variant not in ("full", "freeze", "pretrain")]
    folders = [folder for folder in folders if files.resolve(str(folder)).adapter]
    assert len(folders) > 8
    # Each alone, its low-rank matrices merged into a base of its own.
    pairs = [completion(files.template(files.resolve(base)), lesson(example)) for example in VALID]
    alone, loads = {}, []
    for folder in folders:
        monkeypatch.setattr(transformers, "Switch", lambda model, at=folder: Merged(*add(model, at)))
        alone[folder] = likelihoods(folder, VALID)
    monkeypatch.undo()

    def load(path: Path) -> Any:
        loads.append(path)
        return load_for_training(path)

    monkeypatch.setattr(transformers, "load_for_training", load)
    plain: Any = transformers.Generator(files.resolve(base))
    before = plain.likelihoods(pairs)
    twins = [plain.using(weights) for folder in folders if plain.carries(weights := files.resolve(str(folder)))]
    assert len(twins) == len(folders)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            found = list(pool.map(lambda one: one.likelihoods(pairs), [*twins, plain]))
            for (name, wanted), values in zip([*alone.items(), (base, before)], found, strict=True):
                for (value, count), (other, others) in zip(values, wanted, strict=True):
                    assert (value, count) == (pytest.approx(other, abs=1e-3), others), name
    assert found[-1] == before
    assert len(loads) == 1
    texts = [one.generate([Message("user", TRAIN[0].question)], max_tokens=6).text for one in twins]
    assert texts == [
        generator(folder).generate([Message("user", TRAIN[0].question)], max_tokens=6).text for folder in folders
    ]


def test_systems_on_checkpoints_of_one_torch_base_share_it(
    base: str, unbroken: Callable[[str], Path], tmp_path: Path
) -> None:
    from bakeoff.project import Project

    names = {"lora": "lora", "soft": "soft_prompt", "narrow": "adapter", "whole": "full"}
    lines = [f'base = "{base}"', "[systems.plain]", 'type = "prompt"']
    for name, method in names.items():
        shutil.copytree(unbroken(method), tmp_path / "checkpoints" / name)
        lines += [f"[tune.{name}]", f'method = "{method}"']
        lines += [f"[systems.{name}]", 'type = "prompt"', f'tuned = "{name}"']
    (tmp_path / "bakeoff.toml").write_text("\n".join(lines))
    (tmp_path / "questions.jsonl").write_text('{"question": "capital of Peru?", "references": ["Lima"]}\n' * 9)
    project = Project(tmp_path)
    models: dict[str, Any] = {name: project._generator(name) for name in ("", *names)}
    shared = {name: model._shared for name, model in models.items()}
    assert all((shared[name] is shared[""]) == (name != "whole") for name in models)
    assert len({model.fingerprint for model in models.values()}) == len(models)


BARE = "### Instruction:\nBe brief.\n\n### Response:\nYes.<|im_end|>\n\n### Instruction:\nWhy?\n\n### Response:\n"


@pytest.mark.parametrize("form", ["gguf", "safetensors"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_base_without_a_chat_template_is_trained_and_served_with_the_one_that_is_named(
    base: str, gguf: str, tmp_path: Path, form: str, method: str
) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(base, folder)
    facts = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**facts, "chat_template": ""}))
    if form == "safetensors":
        with pytest.raises(ModelError, match=r"it is a base model; .* as in .*bare#alpaca"):
            tune(method, str(folder), TRAIN, VALID, out=tmp_path / "out", **METHODS[method])
    named = f"{gguf if form == 'gguf' else folder}#alpaca"
    template = files.template(files.resolve(named))
    turns = (Message("user", "Be brief."), Message("assistant", "Yes."), Message("user", "Why?"))
    assert render(template, turns) == BARE
    path = tune(method, named, TRAIN, VALID, out=tmp_path / "out", epochs=8, **METHODS[method]).path
    assert files.template(files.resolve(str(path))) == template
    assert json.loads((path / "checkpoint.json").read_text())["template_sha256"] == template.sha256
    before, after = (-sum(value for value, _ in likelihoods(one, TRAIN)) for one in (named, path))
    assert after < before / 2
    said = generator(path).generate([Message("user", TRAIN[0].question)], max_tokens=8)
    assert (said.text.strip(), said.finish) == ("Paris", "stop")
    whole = tmp_path / ("whole.gguf" if form == "gguf" else "whole")
    write(path, "gguf" if form == "gguf" else "safetensors", "f32", whole)
    assert files.template(files.resolve(str(whole))) == template


def test_a_named_template_is_part_of_what_weights_are(base: str, tmp_path: Path) -> None:
    file = tmp_path / "chat.jinja"
    file.write_text("{% for message in messages %}[{{ message['content'] }}]{% endfor %}")
    named = files.resolve(f"{base}#{file}")
    assert render(files.template(named), [Message("user", "Why?")]) == "[Why?]"
    assert len({files.resolve(name).fingerprint for name in (base, f"{base}#alpaca", f"{base}#{file}")}) == 3
    with pytest.raises(ModelError, match=r"'chatmi' cannot be read \(No such file or directory\); .*or alpaca"):
        files.resolve(f"{base}#chatmi")


@pytest.mark.parametrize("method", ["full", "freeze", "lora"])
def test_a_gguf_base_is_served_by_llama_cpp_with_the_same_answers(gguf: str, tmp_path: Path, method: str) -> None:
    from bakeoff.models.generators.llamacpp import Generator as Llama
    from bakeoff.models.generators.transformers import Generator

    options = METHODS[method] | ({"rslora": True} if method == "lora" else {})
    path = tune(method, gguf, TRAIN, VALID, out=tmp_path / method, epochs=8, **options).path
    served, trained = generator(path), Generator(files.resolve(str(path)))
    assert isinstance(served, Llama)
    asked = [[Message("user", example.question)] for example in TRAIN]
    texts = [trained.generate(question, max_tokens=8).text for question in asked]
    assert [served.generate(question, max_tokens=8).text for question in asked] == texts
    assert texts != [Generator(files.resolve(gguf)).generate(question, max_tokens=8).text for question in asked]


@pytest.mark.parametrize("method", ["prefix", "soft_prompt", "p_tuning", "adapter"])
def test_torch_serves_on_a_gguf_base_what_llama_cpp_does_not_know(gguf: str, tmp_path: Path, method: str) -> None:
    from bakeoff.models.generators.transformers import Generator

    path = tune(method, gguf, TRAIN, VALID, out=tmp_path / method, epochs=2, **METHODS[method]).path
    assert isinstance(generator(path), Generator)
    assert likelihoods(path, VALID) != likelihoods(gguf, VALID)


def test_a_whole_model_can_be_loaded_by_any_tool(base: str, unbroken: Callable[[str], Path]) -> None:
    from transformers import AutoModelForCausalLM

    untouched: Any = AutoModelForCausalLM.from_pretrained(base).state_dict()
    found: Any = AutoModelForCausalLM.from_pretrained(unbroken("freeze")).state_dict()
    changed = {name for name in found if not torch.equal(found[name], untouched[name])}
    assert changed
    assert all(name.startswith(("model.layers.1.", "model.norm.")) for name in changed)


def test_frozen_layers_are_computed_once(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.tuning.student import Whole
    from bakeoff.tuning.tail import Tail

    through: dict[str, int] = {"whole": 0, "tail": 0}
    for kind, name in ((Whole, "whole"), (Tail, "tail")):
        plain = kind.states

        def counted(self: Any, rows: Any, plain: Any = plain, name: str = name) -> Any:
            through[name] += len(rows)
            return plain(self, rows)

        monkeypatch.setattr(kind, "states", counted)
    tune("freeze", base, TRAIN, VALID, out=tmp_path / "x", epochs=4, **METHODS["freeze"])
    # Each row once, and the first again to compare the cut model with the uncut one.
    assert through["whole"] == len(TRAIN) + len(VALID) + 1
    assert through["tail"] == 4 * len(TRAIN) + 5 * len(VALID) + 1


def test_preferences_move_towards_the_chosen_replies(base: str, unbroken: Callable[[str], Path]) -> None:
    def leads(path: str | Path, examples: list[Example]) -> list[float]:
        """By how much the chosen reply is the likelier."""
        worse = [replace(example, references=(example.rejected,)) for example in examples]
        both = zip(likelihoods(path, examples), likelihoods(path, worse), strict=True)
        return [good[0] - bad[0] for good, bad in both]

    for method in ("dpo", "orpo", "kto"):
        facts = json.loads((unbroken(method) / "checkpoint.json").read_text())
        assert facts["preferred_after"] >= facts["preferred_before"]
        gained = [now > then for then, now in zip(leads(base, VALID), leads(unbroken(method), VALID), strict=True)]
        assert facts["rewarded_after"] == sum(gained) / len(VALID)
    assert all(now > then for then, now in zip(leads(base, TRAIN), leads(unbroken("dpo"), TRAIN), strict=True))


def test_the_losses_of_preferences_are_the_published_ones() -> None:
    from math import exp, log

    from bakeoff.tuning.methods import dpo, orpo

    replies, reference, lengths = torch.tensor([[-2.0, -6.0]]), torch.tensor([[-3.0, -5.0]]), torch.tensor([[2.0, 4.0]])
    sigmoid = 1 / (1 + exp(-0.1 * ((-2 + 3) - (-6 + 5))))
    assert float(dpo.losses(replies, reference, lengths, 0.1, "sigmoid")[0]) == pytest.approx(-log(sigmoid))
    assert float(dpo.losses(replies, reference, lengths, 0.1, "ipo")[0]) == pytest.approx((0.5 + 0.25 - 5) ** 2)
    odds = [log(exp(mean) / (1 - exp(mean))) for mean in (-1.0, -1.5)]
    expected = 1.0 - 0.1 * log(1 / (1 + exp(-(odds[0] - odds[1]))))
    assert float(orpo.losses(replies / lengths, 0.1)[0]) == pytest.approx(expected)


def test_log_probabilities_of_pairs_are_those_of_the_served_model(base: str) -> None:
    from bakeoff.tuning import adapting, preferences, student

    pupil = student.load(base)
    model = adapting.whole(adapting.lora(pupil, method="dpo"))
    found = preferences.referenced(model, preferences.pairs(pupil, TRAIN, 200), 2)
    worse = [replace(example, references=(example.rejected,)) for example in TRAIN]
    for pair, good, bad in zip(found, likelihoods(base, TRAIN), likelihoods(base, worse), strict=True):
        assert pair.reference == pytest.approx((good[0], bad[0]), rel=0.02)  # training multiplies bfloat16


def test_names_of_layers_may_stand_behind_spaces_and_a_seed_may_be_a_date(base: str, tmp_path: Path) -> None:
    path = tune("lora", base, TRAIN, out=tmp_path / "x", targets="q_proj, v_proj", epochs=1, rank=2).path
    assert json.loads((path / "adapter_config.json").read_text())["target_modules"] == ["q_proj", "v_proj"]
    tune("grpo", base, TRAIN[:2], out=tmp_path / "y", seed=20240115, **METHODS["grpo"])


def test_rewards_rise(base: str, tmp_path: Path) -> None:
    sft = tune("lora", base, TRAIN, VALID, out=tmp_path / "sft", epochs=5, **METHODS["lora"]).path
    same = [replace(example, id=f"v{n}") for n, example in enumerate(TRAIN)]

    def rewarded(valid: list[Example], **options: Any) -> dict[str, Any]:
        out = tmp_path / f"grpo-{len(valid)}-{options}"
        asked = {**METHODS["grpo"], "learning_rate": 0.003, "tries": 8, "epochs": 12, **options}
        path = tune("grpo", base, TRAIN, valid, out=out, start=str(sft), **asked).path
        facts: dict[str, Any] = json.loads((path / "checkpoint.json").read_text())
        return facts

    facts = rewarded(same)
    assert facts["reward_last"] > facts["reward_first"]
    still = rewarded(same, learning_rate=1e-12, epochs=1)
    assert facts["reward_valid"] > still["reward_valid"] > 0
    assert rewarded([], epochs=1)["reward_valid"] is None


def test_an_adapter_is_trained_further(base: str, unbroken: Callable[[str], Path], tmp_path: Path) -> None:
    path = tune("dpo", base, TRAIN, VALID, out=tmp_path / "chat", start=str(unbroken("lora")), epochs=1).path
    began = json.loads((unbroken("lora") / "checkpoint.json").read_text())
    facts = json.loads((path / "checkpoint.json").read_text())
    assert facts["options"]["start"] == began["files"]
    assert json.loads((path / "adapter_config.json").read_text())["r"] == 8  # that of the start, not the default
    close = zip(likelihoods(path, TRAIN), likelihoods(unbroken("lora"), TRAIN), likelihoods(base, TRAIN), strict=True)
    assert all(abs(one[0] - start[0]) < abs(one[0] - far[0]) for one, start, far in close)


def test_a_start_that_cannot_be_gone_on_from_is_refused(
    base: str, gguf: str, unbroken: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="holds no LoRA"):
        tune("dpo", base, TRAIN, out=tmp_path / "x", start=str(unbroken("full")))
    with pytest.raises(ModelError, match="trained on another base"):
        tune("dpo", gguf, TRAIN, out=tmp_path / "x", start=str(unbroken("lora")))
    with pytest.raises(ModelError, match="is no checkpoint folder"):
        tune("dpo", base, TRAIN, out=tmp_path / "x", start=str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("method", "options", "examples", "error", "message"),
    [
        ("freeze", {"layers": 2}, TRAIN, ConfigError, "layers is 2, and .* has 2; use full"),
        ("prefix", {"text": ""}, TRAIN, ConfigError, "text is empty"),
        ("soft_prompt", {"tokens": 0}, TRAIN, ConfigError, "tokens is 0, but must be above 0"),
        ("dpo", {}, [Example("a", "why?", ("so",))], DataError, "example a has no rejected reply"),
        ("orpo", {}, [Example("a", "why?", ("so",), rejected="so")], DataError, "the rejected reply is the chosen one"),
        ("kto", {}, [Example("a", "why?", ("so",)), Example("b", "who?", ("he",))], DataError, "the same verdict"),
        ("kto", {}, [Example("a", "why?", ("so",))], DataError, "fewer than two replies"),
        ("grpo", {"reward": "recal"}, TRAIN, Exception, "did you mean 'recall'"),
        ("pretrain", {}, [Example("a", "why?", ("so",))], DataError, "example a has no text"),
        ("pretrain", {}, [Example("a", "a", text="a")], DataError, "there is nothing to learn"),
        ("adapter", {"kind": "ia4"}, TRAIN, ConfigError, "ia4"),
        (
            "lora",
            {"targets": "q_proj, v_prj"},
            TRAIN,
            ConfigError,
            "no linear layer is named 'v_prj'; known are .*q_proj",
        ),
        ("lora", {"learning_rate": math.nan}, TRAIN, ConfigError, "learning_rate is nan, but must be above 0"),
        ("full", {"patience": -1}, TRAIN, ConfigError, "patience is -1"),
    ],
)
def test_what_a_method_cannot_do_is_said_in_one_line(
    base: str, tmp_path: Path, method: str, options: dict[str, Any], examples: list[Example], error: type, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        tune(method, base, examples, out=tmp_path / "x", **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- in a project


PROJECT = """\
base = "{base}"
[corpus]
sources = ["documents"]
embedder = "hashing"
[examples]
test = 0.3
valid = 0.2
[systems.zero-shot]
type = "prompt"
[systems.chat]
type = "prompt"
tuned = "chat"
[systems.well-read]
type = "prompt"
tuned = "well-read"
[tune.chat]
method = "dpo"
lesson = "zero-shot"
start = "sft"
[tune.sft]
method = "lora"
lesson = "zero-shot"
rank = 4
epochs = 1
[tune.well-read]
method = "pretrain"
epochs = 1
[tune.endless]
method = "dpo"
start = "round"
[tune.round]
method = "dpo"
start = "endless"
"""


def test_a_project_climbs_the_ladder_and_reads_its_documents(gguf: str, tmp_path: Path) -> None:
    from bakeoff.project import Project
    from bakeoff.tuning.run import hash_of

    (tmp_path / "bakeoff.toml").write_text(PROJECT.format(base=gguf))
    (tmp_path / "documents").mkdir()
    for country, city in CAPITALS.items():
        (tmp_path / "documents" / f"{country}.md").write_text(f"# {country}\n\nThe capital of {country} is {city}.\n")
    lines = [{"question": e.question, "answer": e.references[0], "rejected": e.rejected} for e in TRAIN]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    project = Project(tmp_path)
    with pytest.raises(ConfigError, match="the index is empty"):
        project.tune("well-read")
    comparison = project.compare()
    assert set(comparison.systems) == {"zero-shot", "chat", "well-read"}
    made = {path.name: json.loads((path / "checkpoint.json").read_text()) for path in tmp_path.glob("checkpoints/*")}
    assert sorted(made) == ["chat", "sft", "well-read"]
    assert made["chat"]["options"]["start"] == made["sft"]["files"]
    assert (tmp_path / "checkpoints" / "well-read" / "model.gguf").is_file()
    seen: list[int] = []
    project.tune("chat", progress=lambda *step: seen.append(0))
    assert not seen  # it is up to date, and so is what it starts from
    damaged = tmp_path / "checkpoints" / "sft" / "adapter_model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-9] + b"damaged!!")
    project.tune("sft", study=False, progress=lambda *step: seen.append(0))
    assert seen  # trained again, to the same bytes
    assert hash_of(damaged) == made["sft"]["files"][damaged.name]
    with pytest.raises(ConfigError, match="endless from round from endless never begins"):
        project.tune("endless")


def test_a_checkpoint_on_another_base_is_not_served_and_the_base_alone_is(
    gguf: str, base: str, unbroken: Callable[[str], Path], tmp_path: Path
) -> None:
    from bakeoff.project import Project

    shutil.copytree(unbroken("lora"), tmp_path / "checkpoints" / "sft")
    lines = ["[systems.plain]", 'type = "prompt"', "[systems.tuned]", 'type = "prompt"', 'tuned = "sft"']
    (tmp_path / "questions.jsonl").write_text('{"question": "capital of Peru?", "references": ["Lima"]}\n' * 9)
    for name, fits in ((base, True), (gguf, False)):
        (tmp_path / "bakeoff.toml").write_text("\n".join([f'base = "{name}"', *lines, "[tune.sft]", 'method = "lora"']))
        project = Project(tmp_path)
        project._generator("")
        assert any(problem.kind == "other-base" for problem in project.check().problems) != fits
        if fits:
            project._generator("sft")
        else:
            with pytest.raises(ConfigError, match="'sft' stands on .* run `bakeoff tune sft`, or name that base again"):
                project._generator("sft")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ('method = "lora"\nlearnin_rate = 0.1', "did you mean 'learning_rate'"),
        ("epochs = 2", "has no method; name one"),
        ('method = "lora"\nepochs = "2"', "epochs"),
    ],
)
def test_a_check_refuses_an_entry_that_a_training_would(tmp_path: Path, entry: str, says: str) -> None:
    from bakeoff.project import Project

    (tmp_path / "bakeoff.toml").write_text(f'base = "scripted"\n[tune.x]\n{entry}\n')
    (tmp_path / "questions.jsonl").write_text('{"question": "capital of Peru?", "references": ["Lima"]}\n')
    with pytest.raises(ConfigError, match=says):
        Project(tmp_path).check()


def test_a_check_counts_what_a_training_would_stop_at(gguf: str, tmp_path: Path) -> None:
    from bakeoff.project import Project

    rows: list[dict[str, Any]] = [
        {"question": e.question, "answer": e.references[0], "rejected": e.rejected} for e in TRAIN
    ]
    rows[0].pop("rejected")
    rows[1] = {**rows[1], "answer": "", "answerable": False}
    (tmp_path / "questions.jsonl").write_text("\n".join(json.dumps({**row, "split": "train"}) for row in rows))

    def kinds(method: str) -> set[str]:
        (tmp_path / "bakeoff.toml").write_text(f'base = "{gguf}"\n[tune.x]\nmethod = "{method}"\n')
        return {problem.kind for problem in Project(tmp_path).check().problems if problem.severity == "error"}

    assert "unlearnable" in kinds("lora") and {"unlearnable", "some"} <= kinds("dpo")
    assert not {"unlearnable", "some"} & kinds("kto")


def test_personal_data_stops_a_training_until_it_is_allowed(gguf: str, tmp_path: Path) -> None:
    from bakeoff.project import Project

    (tmp_path / "bakeoff.toml").write_text(PROJECT.format(base=gguf))
    lines = [{"question": f"who is {n}?", "answer": "ada.lovelace@analytical.org"} for n in range(8)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=r"e-mail addresses, as in a\*\*\*@analytical.org .*--allow-personal"):
        Project(tmp_path).tune("sft")
    assert not (tmp_path / "checkpoints").exists()
    Project(tmp_path).tune("sft", study=False, allow_personal=True)


# ---------------------------------------------------------------- states


def stopped(base: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave the states after the steps 4 and 5 of 8; returns what goes on."""
    monkeypatch.setattr("bakeoff.tuning.training.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("bakeoff.tuning.training.SAVE_SHARE", 1e9)
    steps: list[int] = []

    def go(progress: Any = None) -> Path:
        return tune("lora", base, TRAIN, VALID, out=out, seed=3, epochs=4, **METHODS["lora"], progress=progress).path

    def interrupt(*step: Any) -> None:
        steps.append(0)
        if len(steps) > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(interrupt)
    assert sorted(path.name for path in (out.parent / f".{out.name}.partial" / "state").iterdir()) == [
        "00000004",
        "00000005",
    ]
    return go


def spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (lambda state: spoil(state / "tensors.safetensors", lambda data: data[:-100]), 4),
        (lambda state: spoil(state / "tensors.safetensors", lambda data: data[:-9] + b"x" + data[-8:]), 4),
        (lambda state: (state / "tensors.safetensors").write_bytes(b""), 4),
        (lambda state: (state / "tensors.safetensors").unlink(), 4),
        (lambda state: (state / "state.json").write_text('{"step": 5, "run"'), 4),
        (lambda state: (state / "state.json").unlink(), 4),
        (lambda state: shutil.rmtree(state.parent), 8),
        (lambda state: None, 3),
    ],
    ids=["cut", "flipped", "empty", "lost", "torn facts", "no facts", "no state", "sound"],
)
def test_a_damaged_state_is_passed_over_for_the_one_before_it(
    base: str,
    unbroken: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], None],
    left: int,
) -> None:
    go = stopped(base, tmp_path / "out", monkeypatch)
    damage(tmp_path / ".out.partial" / "state" / "00000005")
    steps: list[int] = []
    path = go(lambda *step: steps.append(0))
    assert len(steps) == left
    name = "adapter_model.safetensors"
    assert (path / name).read_bytes() == (unbroken("lora") / name).read_bytes()


def test_a_kill_inside_a_save_costs_what_came_after_the_state_before_it(
    base: str, unbroken: Callable[[str], Path], tmp_path: Path
) -> None:
    script = (
        "import json, os, signal, sys\n"
        "from bakeoff.tuning import states, training, tune; from bakeoff.types import Example\n"
        "training.SAVE_SECONDS, training.SAVE_SHARE = 0.0, 1e9\n"
        "write, saved = states.write_json, []\n"
        "def torn(path, facts):\n"
        "    saved.append(0)\n"
        "    len(saved) < 5 or os.kill(os.getpid(), signal.SIGKILL)\n"
        "    write(path, facts)\n"
        "states.write_json = torn\n"
        "train, valid = ([Example(**e) for e in part] for part in json.loads(sys.argv[3]))\n"
        "tune('lora', sys.argv[1], train, valid, out=sys.argv[2], seed=3, epochs=4, **json.loads(sys.argv[4]))"
    )
    given = json.dumps([[asdict(example) for example in part] for part in (TRAIN, VALID)])
    command = [sys.executable, "-c", script, base, str(tmp_path / "out"), given, json.dumps(METHODS["lora"])]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = tmp_path / ".out.partial" / "state"
    assert sorted(path.name for path in left.iterdir()) == [".partial", "00000003", "00000004"]
    steps: list[int] = []
    given_options: dict[str, Any] = {**METHODS["lora"], "progress": lambda *step: steps.append(0)}
    path = tune("lora", base, TRAIN, VALID, out=tmp_path / "out", seed=3, epochs=4, **given_options).path
    assert len(steps) == 4
    name = "adapter_model.safetensors"
    assert (path / name).read_bytes() == (unbroken("lora") / name).read_bytes()


def test_what_a_training_took_and_was_rewarded_counts_what_came_before_a_stop(
    base: str, unbroken: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.tuning.training.SAVE_SECONDS", 0.0)
    monkeypatch.setattr("bakeoff.tuning.training.SAVE_SHARE", 1e9)
    steps: list[int] = []

    def interrupt(*step: Any) -> None:
        steps.append(0)
        if len(steps) > 5:
            time.sleep(0.5)  # lost, with the step
            raise KeyboardInterrupt

    def go(**more: Any) -> dict[str, Any]:
        made = tune("grpo", base, TRAIN, VALID, out=tmp_path / "out", seed=3, epochs=4, **METHODS["grpo"], **more)
        facts: dict[str, Any] = json.loads((made.path / "checkpoint.json").read_text())
        return facts

    with pytest.raises(KeyboardInterrupt):
        go(progress=interrupt)
    facts, whole = go(), json.loads((unbroken("grpo") / "checkpoint.json").read_text())
    assert (facts["reward_first"], facts["reward_last"]) == (whole["reward_first"], whole["reward_last"])
    assert facts["seconds"] >= round(facts["train_seconds"], 1) > 0


def test_a_training_ends_when_it_has_waited_long_enough_for_a_better_epoch(base: str, tmp_path: Path) -> None:
    def went(patience: int) -> tuple[int, int]:
        out = tmp_path / str(patience)
        tune("lora", base, TRAIN, VALID, out=out, seed=3, epochs=8, patience=patience, rank=8, learning_rate=0.3)
        with (out / "history.csv").open() as file:
            rows = list(csv.DictReader(file))
        best = min((float(row["valid_loss"]), int(row["epoch"])) for row in rows if row["valid_loss"])[1]
        return best, int(rows[-1]["epoch"])

    best, last = went(1)
    assert last == best + 1 < 8
    assert went(0)[1] == 8


def test_a_bad_reply_to_a_conversation_is_learnt_behind_its_last_turn(base: str, tmp_path: Path) -> None:
    from bakeoff.examples import load_examples
    from bakeoff.tuning import student
    from bakeoff.tuning.methods.kto import _judged

    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "who?"}]
    replies = [[{"role": "assistant", "content": text}] for text in ("he", "she")]
    rows = [{"prompt": turns, "completion": reply, "label": reply is replies[0]} for reply in replies]
    (tmp_path / "kto.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pupil = student.load(base)
    found = _judged(pupil, load_examples(tmp_path / "kto.jsonl"), 200)
    assert [item.good for item in found] == [True, False]
    prompts = [pupil.tokenizer.decode(list(item.row.ids[: item.row.prompt])) for item in found]
    assert prompts[0] == prompts[1] and "who?" in prompts[0]
    assert "she" in pupil.tokenizer.decode(list(found[1].row.ids[found[1].row.prompt :]))


def test_how_far_kto_has_moved_is_measured_on_replies_to_other_prompts(base: str) -> None:
    from bakeoff.tuning import student
    from bakeoff.tuning.methods.kto import _judged

    def others(examples: list[Example]) -> list[str]:
        found = _judged(student.load(base), examples, 200)
        return [pupil.tokenizer.decode(list(item.other.ids[item.other.prompt :])).strip() for item in found]

    pupil = student.load(base)
    pairs = [replace(TRAIN[0], references=("Rome",)), replace(TRAIN[1], references=("Oslo",))]
    first, second, third, fourth = others(pairs)
    assert "Oslo" in first and "Oslo" in second and "Rome" in third and "Rome" in fourth
    # Where all ask the same, there is nothing but another reply, and of one reply itself.
    alike = others([replace(pairs[0], rejected=""), replace(pairs[0], id="b", references=("Oslo",), rejected="")])
    assert "Oslo" in alike[0] or "Rome" in alike[0]
    assert len(others([replace(pairs[0], rejected="")])) == 1


def test_a_state_of_other_arguments_is_not_gone_on_from(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(base, tmp_path / "out", monkeypatch)
    steps: list[int] = []
    options = {**METHODS["lora"], "progress": lambda *step: steps.append(0)}
    tune("lora", base, TRAIN, VALID, out=tmp_path / "out", seed=4, epochs=4, **options)
    assert len(steps) == 8


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10])
def test_a_training_killed_at_random_moments_ends_as_if_it_had_not_been(
    base: str, unbroken: Callable[[str], Path], tmp_path: Path, kills: int
) -> None:
    import random

    script = (
        "import json, sys\n"
        "from bakeoff.tuning import training, tune; from bakeoff.types import Example\n"
        "training.SAVE_SECONDS, training.SAVE_SHARE = 0.0, 1e9\n"
        "train, valid = ([Example(**e) for e in part] for part in json.loads(sys.argv[3]))\n"
        "say = lambda *step: print(step, flush=True)\n"
        "tune('lora', sys.argv[1], train, valid, out=sys.argv[2], seed=3, progress=say, **json.loads(sys.argv[4]))"
    )
    given = [
        [
            {
                "id": e.id,
                "question": e.question,
                "references": tuple(e.references),
                "rejected": e.rejected,
                "text": e.text,
            }
            for e in part
        ]
        for part in (TRAIN, VALID)
    ]
    epochs = 60
    options = json.dumps({**METHODS["lora"], "epochs": epochs})
    command = [sys.executable, "-c", script, base, str(tmp_path / "out"), json.dumps(given), options]
    dice, killed = random.Random(5), 0
    while killed < kills:
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as process:
            assert process.stdout is not None
            assert process.stdout.readline()  # it trains
            time.sleep(dice.random() * 0.3)  # steps and saves take turns, so some kills meet a save
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=20)
        killed += 1
        assert not (tmp_path / "out").exists()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    whole = tune("lora", base, TRAIN, VALID, out=tmp_path / "whole", seed=3, epochs=epochs, **METHODS["lora"]).path
    name = "adapter_model.safetensors"
    assert (tmp_path / "out" / name).read_bytes() == (whole / name).read_bytes()


def test_the_last_layer_at_the_learnt_places_alone_learns_what_the_whole_one_does(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.integrations import sdpa_attention

    from bakeoff.tuning import student, tail, training
    from bakeoff.tuning.methods import freeze

    examples = [replace(example, question="why? " * (3 * n)) for n, example in enumerate(TRAIN)]
    found, asked = [], []
    plain = sdpa_attention.sdpa_attention_forward

    def attention(module: Any, query: Any, key: Any, *rest: Any, **more: Any) -> Any:
        asked.append((query.shape[2], key.shape[2]))
        return plain(module, query, key, *rest, **more)

    monkeypatch.setattr(sdpa_attention, "sdpa_attention_forward", attention)
    for cut in (False, True):
        pupil = student.load(base)
        rows, decoder = pupil.rows(examples, 200), pupil.model.base_model
        model = student.Whole(pupil.model, bf16=False)
        if cut:
            frontier = freeze._frontier(model, decoder.layers[1], rows, 1, tmp_path / "frontier.bin")
            decoder.layers = decoder.layers[1:]
            decoder.config.num_hidden_layers = 1
            model = tail.Tail(pupil.model, frontier, bf16=False)
        decoder.layers[-1].requires_grad_(True)
        loss = training.token_loss(model, rows)
        found.append((loss, *torch.autograd.grad(loss, list(decoder.layers[-1].parameters()))))
    assert asked[-1] == (max(row.trained for row in rows), max(len(row.ids) for row in rows))
    assert len(found[1]) == 10
    for whole, part in zip(*found, strict=True):
        torch.testing.assert_close(part, whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["full", "freeze"])
def test_weights_cast_once_a_step_become_what_casting_them_for_each_piece_makes_of_them(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from bakeoff.tuning.student import Student

    monkeypatch.setattr("bakeoff.tuning.student.multiplies_bfloat16", lambda device: True)
    monkeypatch.setattr("bakeoff.tuning.training.PIECE_TOKENS", 30)
    plain, counts, written = Student.multiplied, [], []
    for once in (True, False):

        def multiplied(self: Student, once: bool = once) -> list[Any]:
            counts.append(len(plain(self)))
            return plain(self) if once else []

        monkeypatch.setattr(Student, "multiplied", multiplied)
        out = tmp_path / str(once)
        tune(method, base, TRAIN, VALID, out=out, seed=3, epochs=2, batch_size=3, **METHODS[method])
        written.append((out / "model.safetensors").read_bytes())
    assert counts == [{"full": 14, "freeze": 7}[method]] * 2
    assert written[0] == written[1]


# ---------------------------------------------------------------- search


def test_a_search_finds_better_options_and_goes_on_where_it_stopped(base: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from bakeoff.tuning.search import search

    def go(trials: int, **more: Any) -> Any:
        return search("lora", base, TRAIN, VALID, out=tmp_path / "lora", trials=trials, seed=3, batch_size=3, **more)

    def stop(done: int, total: int, text: str) -> None:
        if text.startswith("trial 3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go(5, progress=stop)
    seen: list[str] = []
    found = go(5, progress=lambda done, total, text: seen.append(text))
    assert seen[0].startswith("trial 3 of 5: learning_rate ")
    assert found.trials == 5
    assert found.options["batch_size"] == 3
    facts = json.loads((tmp_path / "lora" / "checkpoint.json").read_text())
    assert facts["valid_loss_after"] == found.value
    assert all(facts["options"][name] == value for name, value in found.options.items())
    first = tune("lora", base, TRAIN, VALID, out=tmp_path / "plain", seed=3, batch_size=3, learning_rate=1e-4).path
    assert found.value < json.loads((first / "checkpoint.json").read_text())["valid_loss_after"]
    assert go(5).trials == 5  # it has had its trials
    likelihoods(tmp_path / "lora", VALID)
    # Of all trials the best one's checkpoint alone is left, and nothing half made.
    assert len(list((tmp_path / ".lora.search").glob("*trial-*"))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lora.search", "lora", "plain"]


def test_a_search_that_ends_between_a_training_and_its_record_keeps_no_wrong_checkpoint(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    from bakeoff.tuning import search as module

    def go(trials: int) -> Any:
        return module.search("lora", base, TRAIN, VALID, out=tmp_path / "x", trials=trials, seed=3, epochs=1)

    def end(*_: Any) -> float:
        raise KeyboardInterrupt

    go(1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_value", end)
        go(3)
    found = go(3)
    facts = json.loads((tmp_path / "x" / "checkpoint.json").read_text())
    assert facts["valid_loss_after"] == found.value
    assert all(facts["options"][name] == value for name, value in found.options.items())


def test_a_search_tries_the_defaults_first_and_others_for_scales_than_for_layers(base: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from bakeoff.tuning.search import IA3, SPACES, search

    def go(name: str, **more: Any) -> list[str]:
        seen: dict[str, None] = {}

        def say(done: int, total: int, text: str) -> None:
            seen[text.partition(": training")[0]] = None

        search("adapter", base, TRAIN, VALID, out=tmp_path / name, trials=2, batch_size=3, progress=say, **more)
        return list(seen)

    layers = go("layers", kind="bottleneck")
    assert layers[0] == "trial 1 of 2: learning_rate 0.001, size 32, epochs 2"
    assert layers[1].startswith("trial 2 of 2: ") and layers[1][len("trial 2 of 2: ") :] not in layers[0]
    first, _ = go("scales", kind="ia3", epochs=1)
    assert first == "trial 1 of 2: learning_rate 0.0141"
    for method in SPACES:
        defaults = signature(plugins.get("methods", method)).parameters
        for name, values in SPACES[method].items():
            if isinstance(values, list):
                assert defaults[name].default in values, f"{method} {name}"
            else:
                assert values[0] <= defaults[name].default <= values[1], f"{method} {name}"
    assert set(IA3) < set(signature(plugins.get("methods", "adapter")).parameters)


def test_a_hopeless_trial_ends_early(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    from bakeoff.tuning import search as module

    monkeypatch.setitem(module.SPACES, "lora", {"learning_rate": (1e-6, 3e-2)})
    found = module.search("lora", base, TRAIN, VALID, out=tmp_path / "x", trials=9, epochs=4, rank=4, batch_size=3)
    assert 0 < found.pruned < 9


def test_a_search_that_goes_on_from_a_lora_has_its_rank_and_begins_anew_with_another(base: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from bakeoff.tuning.run import alone
    from bakeoff.tuning.search import search

    def searched() -> Any:
        first = tmp_path / "first"
        return search("lora", base, TRAIN, VALID, out=tmp_path / "x", trials=1, start=str(first), epochs=1)

    for rank in (2, 3):
        tune("lora", base, TRAIN, VALID, out=tmp_path / "first", rank=rank, epochs=1, replace=True)
        found = searched()
        assert "rank" not in found.options
        manifest = json.loads((tmp_path / "first" / "checkpoint.json").read_text())
        assert json.loads((found.path / "checkpoint.json").read_text())["options"]["start"] == manifest["files"]
    with alone(tmp_path / ".x.search"), pytest.raises(ConfigError, match="another bakeoff trains in"):
        searched()


def test_a_search_without_anything_to_search_or_to_judge_by_is_refused(base: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    from bakeoff.tuning.search import SPACES, search

    assert set(SPACES) == set(plugins.names("methods"))
    with pytest.raises(ConfigError, match="a search of 0 trials tries nothing"):
        search("lora", base, TRAIN, VALID, out=tmp_path / "x", trials=0)
    with pytest.raises(DataError, match="a search needs validation examples"):
        search("lora", base, TRAIN, [], out=tmp_path / "x", trials=2)
    for method in ("dpo", "orpo", "kto"):
        one = [replace(example, rejected="") for example in VALID]
        with pytest.raises(DataError, match=f"a search for {method} counts .* no validation example has both"):
            search(method, base, TRAIN, one, out=tmp_path / "x", trials=2)
    with pytest.raises(ConfigError, match="nothing to search"):
        search("full", base, TRAIN, VALID, out=tmp_path / "x", trials=2, learning_rate=1e-4, epochs=1)
