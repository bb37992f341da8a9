"""A base in four bits: what it takes, what it needs, and what it must not fetch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tiny_model
from bakeoff.errors import ConfigError, MissingPackageError

torch = pytest.importorskip("torch")

from bakeoff.tuning import adapting, student  # noqa: E402


@pytest.fixture
def pupil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> student.Student:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path / "cache"))
    return student.load(str(tiny_model.save(tmp_path / "tiny")))


def test_matrices_take_four_bits_a_weight_and_the_output_stays(pupil: student.Student) -> None:
    model = pupil.model
    output = model.get_output_embeddings()
    whole = {name: layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
    weights = {name: layer.weight.numel() for name, layer in whole.items() if layer is not output}
    assert weights
    before = {name: layer.weight.clone() for name, layer in whole.items()}
    tuned = adapting.lora(pupil, method="lora", bits=4)
    layers = dict(tuned.get_base_model().named_modules())
    for name, count in weights.items():
        packed = layers[name].base_layer.weight
        assert packed.dtype == torch.uint8 and packed.nelement() == count / 2
    assert tuned.get_base_model().get_output_embeddings() is output
    # What is trained on is near to what was there.
    name = next(iter(weights))
    ids = torch.eye(before[name].shape[1])
    error = (layers[name].base_layer(ids).T.float() - before[name].float()).abs().mean() / before[name].abs().mean()
    assert 0.001 < error < 0.2


def test_other_numbers_of_bits_are_refused(pupil: student.Student) -> None:
    with pytest.raises(ConfigError, match="lora: bits is 8, but must be 16, the weights as they are, or 4"):
        adapting.lora(pupil, method="lora", bits=8)


def test_without_the_package_the_error_says_what_to_install(
    pupil: student.Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'bakeoff\[qlora\]'"):
        adapting.lora(pupil, method="lora", bits=4)


def test_peft_is_imported_without_bitsandbytes_and_that_without_code_from_a_hub(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("open('fetched', 'w')\ndef get_kernel(*_, **__): open('fetched', 'w')\n")
    code = (
        "import sys; from bakeoff.models import lowrank; print('bitsandbytes' in sys.modules)\n"
        "lowrank.four_bit(); print('bitsandbytes' in sys.modules, 'kernels' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == ("False\nTrue False\n", "")
    assert not (tmp_path / "fetched").exists()
