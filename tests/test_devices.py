"""Training and serving somewhere else than on the CPU: everything is made where the model is.

There is no GPU in these tests. torch's lazy device takes its place: another device by its type, which refuses tensors
of the CPU as a GPU does, and computes on the CPU in the end. It compiles each shape anew, so all but a few are slow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import test_methods
import tiny_model
from bakeoff.errors import ConfigError
from bakeoff.models import embedder, generator
from bakeoff.tuning import tune
from bakeoff.types import Message

torch = pytest.importorskip("torch")
UNKNOWN = ("prefix", "soft_prompt", "p_tuning", "lora, dropout")
"""The lazy device fails inside on an empty cache of keys, which prefixes need, and draws other random numbers."""
VARIANTS = [name for name in test_methods.VARIANTS if name not in UNKNOWN]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        yield str(tiny_model.save(root / "tiny"))


@pytest.fixture(scope="module")
def lazy() -> None:
    from torch._lazy import ts_backend

    backend: Any = ts_backend
    backend.init()  # once in a process


@pytest.fixture
def elsewhere(lazy: None, monkeypatch: pytest.MonkeyPatch) -> str:
    with pytest.raises(RuntimeError, match="not a lazy tensor"):  # as a GPU would
        torch.ones(2, device="lazy") + torch.ones(2)
    monkeypatch.setenv("BAKEOFF_DEVICE", "lazy")
    return "lazy"


def trained(base: str, out: Path, variant: str) -> tuple[Path, dict[str, Any]]:
    method, options = test_methods.VARIANTS[variant]
    train = test_methods.TRAIN[:3]  # of one length, in one step
    path = tune(method, base, train, train, out=out, seed=3, epochs=1, **{**options, "batch_size": 3}).path
    return path, json.loads((path / "checkpoint.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_method_trains_and_serves_where_the_device_says(
    base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: str, variant: str
) -> None:
    path, facts = trained(base, tmp_path / "there", variant)
    question = [Message("user", test_methods.TRAIN[0].question)]
    there: Any = generator(path)
    said, likely = there.generate(question, max_tokens=4).text, there.likelihoods([("", "Paris or Rome")])
    assert there._model.device.type == elsewhere
    monkeypatch.setenv("BAKEOFF_DEVICE", "cpu")
    monkeypatch.setattr("bakeoff.tuning.student.multiplies_bfloat16", lambda device: False)
    here = trained(base, tmp_path / "here", variant)[1]
    assert facts["valid_loss_after"] == pytest.approx(here["valid_loss_after"], rel=1e-3)
    # The files are those of any device.
    served: Any = generator(path)
    assert served.generate(question, max_tokens=4).text == said
    assert served.likelihoods([("", "Paris or Rome")])[0] == pytest.approx(likely[0], rel=1e-4)


@pytest.mark.slow
def test_a_state_written_on_one_device_is_taken_up_on_it(base: str, tmp_path: Path, elsewhere: str) -> None:
    from bakeoff.tuning import states, student
    from bakeoff.tuning.training import _Learner, token_loss

    pupil = student.load(base)
    rows = pupil.rows(test_methods.TRAIN[:2], 400)
    pupil.model.model.norm.requires_grad_(True)
    model = student.Whole(pupil.model, bf16=False)
    learners = [_Learner(model, token_loss, 1, 0.0) for _ in range(2)]
    learners[0].keep()
    learners[0].step(rows, 0.01)
    states.save(tmp_path / "state", 1, learners[0].dump(), {})
    found = states.newest(tmp_path / "state")
    assert found and {tensor.device.type for tensor in found[0].values()} == {"cpu"}
    learners[1].load(found[0])
    [(parameter, moments)] = learners[1]._optimizer.state.items()
    assert {tensor.device.type for tensor in (parameter, moments["exp_avg"], moments["exp_avg_sq"])} == {elsewhere}
    expected = learners[0]._optimizer.state[parameter]["exp_avg"].cpu()
    torch.testing.assert_close(moments["exp_avg"].cpu(), expected)
    assert expected.abs().max() > 0
    learners[1].step(rows, 0.01)


def test_features_of_the_base_are_computed_there_and_are_the_same(
    base: str, monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    there = embedder(f"pooled:{base}").embed(["the lamp", "a lamp of Paris"])
    monkeypatch.setenv("BAKEOFF_DEVICE", "cpu")
    assert there == pytest.approx(embedder(f"pooled:{base}").embed(["the lamp", "a lamp of Paris"]), abs=1e-5)


def test_the_device_is_chosen_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.models import devices

    monkeypatch.delenv("BAKEOFF_DEVICE", raising=False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.device() == torch.device("cpu")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.device() == torch.device("mps")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert devices.device() == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert devices.device() == torch.device("cuda", 3)
    monkeypatch.setenv("BAKEOFF_DEVICE", "cpu")
    assert devices.device() == torch.device("cpu")
    for wrong in ("gpu", "cuda:0" if not torch.version.cuda else "hip"):
        monkeypatch.setenv("BAKEOFF_DEVICE", wrong)
        with pytest.raises(ConfigError, match="torch has no such device here; use auto or cpu"):
            devices.device()
    monkeypatch.setenv("BAKEOFF_THREADS", "2")
    assert [devices.workers(torch.device(kind)) for kind in ("cpu", "cuda")] == [2, 1]


def test_bfloat16_is_used_where_the_device_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.models.devices import multiplies_bfloat16

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    assert [multiplies_bfloat16(torch.device(kind)) for kind in ("cpu", "cuda", "mps")] == [True, True, False]
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    assert [multiplies_bfloat16(torch.device(kind)) for kind in ("cpu", "cuda")] == [False, False]
