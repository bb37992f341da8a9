"""GGUF files as torch models, and LoRA adapters beside them; the references are transformers and llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import tiny_model
from bakeoff.errors import ModelError
from bakeoff.models.gguf import load_for_training, reencode, write_lora

torch = pytest.importorskip("torch")

TEXTS = [
    "Costs 1,299.50 EUR in 2024",
    "  two leading",
    "a  b\n\nc\n \n d",
    "naïve café 😀 日本語",
    "<|im_start|>user\nhi<|im_end|>\n",
    "def f(x):\n    return x**2  # ok\n\tif x==10000: pass",
    "it's don't I'LL ٣٤٥ ½",
]
"""Digits, spaces, code, letters beyond ASCII, special tokens: where GGUF tokenizers go wrong."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The same tiny model as a folder and as GGUF."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        folder = tiny_model.save(root / "tiny")
        yield folder, tiny_model.save_gguf(folder, root / "tiny.gguf")


def logits(model: Any, ids: list[int]) -> Any:
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def test_a_gguf_file_loads_as_the_model_it_was_written_from(files: tuple[Path, Path]) -> None:
    ours, tokenizer = load_for_training(files[1])
    original, _ = load_for_training(files[0])
    ids = tokenizer.encode("The capital of Spain is", add_special_tokens=False).ids
    assert torch.allclose(logits(ours, ids), logits(original, ids), atol=1e-5)


def test_the_tokenizer_of_a_gguf_file_gives_the_ids_of_the_original_and_its_text_back(files: tuple[Path, Path]) -> None:
    ours, original = load_for_training(files[1])[1], load_for_training(files[0])[1]
    for text in TEXTS:
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ids == original.encode(text, add_special_tokens=False).ids, text
        assert ours.decode(ids, skip_special_tokens=False) == text


def test_the_tokenizer_of_a_gguf_file_gives_the_ids_of_llama_cpp(files: tuple[Path, Path]) -> None:
    from bakeoff.models.llama import Engine

    ours, engine = load_for_training(files[1])[1], Engine(files[1], window=128)
    for text in TEXTS:
        assert ours.encode(text, add_special_tokens=False).ids == engine.tokens(text, special=True), text


def test_a_lora_in_llama_cpp_gives_the_log_probabilities_of_peft(files: tuple[Path, Path], tmp_path: Path) -> None:
    from bakeoff.models.llama import Engine

    model, tokenizer = load_for_training(files[1])
    adapted = random_lora(model, tmp_path)
    write_lora(tmp_path, files[1], tmp_path / "adapter.gguf")
    engine = Engine(files[1], window=128, adapters=[tmp_path / "adapter.gguf"])
    prompt = "The capital of France is"
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    plain, tuned = (
        engine.complete(
            {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 5, "lora": [{"id": 0, "scale": scale}]}
        )
        for scale in (0.0, 1.0)
    )
    expected = torch.log_softmax(logits(adapted, ids)[-1], -1)
    for entry in top(tuned):
        assert entry["logprob"] == pytest.approx(float(expected[entry["id"]]), abs=0.01)
    # An adapter that llama.cpp ignored would pass above if it changed nothing.
    assert max(abs(entry["logprob"] - float(expected[entry["id"]])) for entry in top(plain)) > 0.2


def test_two_adapters_beside_one_base_are_switched_by_the_request(files: tuple[Path, Path], tmp_path: Path) -> None:
    from bakeoff.models.llama import Engine

    prompt, paths, expected = "The capital of France is", [], []
    for seed in (1, 2):
        model, tokenizer = load_for_training(files[1])
        folder = tmp_path / str(seed)
        adapted = random_lora(model, folder, seed)
        write_lora(folder, files[1], folder / "adapter.gguf")
        paths.append(folder / "adapter.gguf")
        ids = tokenizer.encode(prompt, add_special_tokens=False).ids
        expected.append(torch.log_softmax(logits(adapted, ids)[-1], -1))
    engine = Engine(files[1], window=128, adapters=paths)
    for wanted in (0, 1, 0):
        scales = [{"id": number, "scale": float(number == wanted)} for number in (0, 1)]
        request = {"prompt": prompt, "max_tokens": 1, "temperature": 0, "logprobs": 5, "lora": scales}
        for entry in top(engine.complete(request)):
            assert entry["logprob"] == pytest.approx(float(expected[wanted][entry["id"]]), abs=0.01)


def test_what_is_written_does_not_depend_on_how_many_cores_were_idle(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bakeoff.models.llama import Engine

    found = []
    for threads in (1, 2, 3):
        monkeypatch.setenv("BAKEOFF_THREADS", str(threads))
        engine = Engine(files[1], window=1024)
        request = {"prompt": "The capital of France is " * 60, "max_tokens": 4, "temperature": 0, "logprobs": 5}
        choice = engine.complete(request)["choices"][0]
        found.append([entry["top_logprobs"] for entry in choice["logprobs"]["content"]])
    assert found[0] == found[1] == found[2]


def test_reencoding_keeps_the_weights_within_eight_bits_and_the_metadata(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    reencode(files[1], tmp_path / "q8.gguf", "Q8_0")
    before, after = gguf.GGUFReader(files[1]), gguf.GGUFReader(tmp_path / "q8.gguf")
    for one, other in zip(before.tensors, after.tensors, strict=True):
        weights = gguf.quants.dequantize(other.data, other.tensor_type)
        assert np.abs(weights - one.data).max() <= np.abs(one.data).max() / 127, one.name
    kinds = {tensor.name: tensor.tensor_type.name for tensor in after.tensors}
    assert kinds["blk.0.attn_q.weight"] == "Q8_0"
    assert kinds["blk.0.attn_norm.weight"] == "F32"
    assert after.fields["tokenizer.chat_template"].contents() == tiny_model.TEMPLATE
    assert after.fields["tokenizer.ggml.tokens"].contents() == before.fields["tokenizer.ggml.tokens"].contents()


def test_a_torn_file_is_refused_in_one_line_and_leaves_nothing(files: tuple[Path, Path], tmp_path: Path) -> None:
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(files[1].read_bytes()[:5000])
    with pytest.raises(ModelError, match="not a readable GGUF file"):
        load_for_training(torn)
    with pytest.raises(ModelError, match="not a readable GGUF file"):
        reencode(torn, tmp_path / "q8.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["torn.gguf"]


def random_lora(model: Any, folder: Path, seed: int = 1) -> Any:
    """A PEFT adapter on all linear layers whose both factors are random, saved in `folder`."""
    import warnings

    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        adapted = get_peft_model(model, config)
        adapted.save_pretrained(folder)  # type: ignore[arg-type]
    return adapted.eval()


def top(response: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = response["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    return found
