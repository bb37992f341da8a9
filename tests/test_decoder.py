"""A Llama in whole numbers through ONNX Runtime; the references are torch in fp32 and PEFT."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

import tiny_model
from bakeoff import models, plugins
from bakeoff.errors import ModelError, StoreError
from bakeoff.models import weights
from bakeoff.models.chat import render
from bakeoff.models.decoder import LEAST_READ, SLOTS, Decoder, Request, _Lane
from bakeoff.models.decoder_graph import EDITION, Turned, suits, to_onnx
from bakeoff.models.generators.onnx import Generator
from bakeoff.models.gguf import load_for_training, reencode, write_lora
from bakeoff.types import Generation, Message, Pieces
from test_gguf import random_lora

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not weights.has_vnni(), reason="products of eight bits are exact with VNNI alone")

ASKED = [Message("user", "What is the capital of France?")]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny model as GGUF in eight bits."""
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAKEOFF_CACHE", str(root / "cache"))
        reencode(tiny_model.save_gguf(tiny_model.save(root / "tiny"), root / "tiny.gguf"), root / "q8.gguf", "Q8_0")
        yield root / "q8.gguf"


@pytest.fixture(scope="module")
def smol() -> Generator:
    return Generator(weights.resolve("smollm2-135m"))


def ended(make: Pieces) -> tuple[list[str], Generation]:
    pieces = []
    while True:
        try:
            pieces.append(next(make))
        except StopIteration as end:
            return pieces, end.value


def request(decoder: Decoder, prompt: list[int], most: int = 6, **options: Any) -> Request:
    made = Request(list(prompt), most, **options)
    decoder.ask(made)
    return made


def told(made: Request) -> tuple[list[int], list[float]]:
    done = made.done.result(timeout=60)
    return done.reply, done.logprobs


def decoder_of(tiny: Path, folder: Path, *, adapted: bool = False) -> Decoder:
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(to_onnx(tiny, adapted=adapted))
    decoder = Decoder(folder / "model.onnx", 512, adapted=adapted)
    decoder.controls = []  # so that random weights end no reply
    return decoder


def test_rotations_are_rotations_and_leave_a_model_what_it_was() -> None:
    sizes = {"layers": 1, "heads": 4, "kv_heads": 2, "stream": 64, "head": 16, "wide": 96}
    rng = np.random.default_rng(0)
    gain = rng.random(64).astype(np.float32)
    turned = Turned(sizes, {"blk.0.attn_norm": gain, "blk.0.ffn_norm": gain, "output_norm": gain})
    assert turned.mixed == 32  # 64 does not divide 96
    for rotation in (turned.stream, turned.mixing):
        assert np.allclose(rotation @ rotation.T, np.eye(len(rotation)), atol=1e-5)
    reads, writes = rng.normal(size=(96, 64)).astype(np.float32), rng.normal(size=(64, 96)).astype(np.float32)
    states, inner = rng.normal(size=(5, 64)).astype(np.float32), rng.normal(size=(5, 96)).astype(np.float32)
    found = (states @ turned.stream) @ turned.columns("blk.0.ffn_up", reads).T
    assert np.allclose(found, (states * gain) @ reads.T, atol=1e-3)
    mixed = (inner.reshape(5, -1, 32) @ turned.mixing).reshape(5, 96)
    found = mixed @ turned.rows("blk.0.ffn_down", turned.columns("blk.0.ffn_down", writes)).T
    assert np.allclose(found @ turned.stream.T, inner @ writes.T, atol=1e-3)


def test_replies_are_near_those_of_torch_in_fp32(smol: Generator) -> None:
    exact = plugins.get("generators", "transformers")(smol.weights)
    gaps, same = [], 0
    for question in ("How many legs has a spider?", "What is the capital of France?", "Why is the sky blue?"):
        asked = [Message("user", question)]
        ours, theirs = smol.generate(asked, max_tokens=6), exact.generate(asked, max_tokens=6)
        gaps.append(abs(ours.logprobs[0] - theirs.logprobs[0]))
        same += ours.text == theirs.text  # where two beginnings are as likely as each other, either may come
    assert np.mean(gaps) < 0.25 and same


def test_a_lora_gives_the_log_probabilities_of_peft(tiny: Path, tmp_path: Path) -> None:
    model, tokenizer = load_for_training(tiny)
    prompt = tokenizer.encode("The capital of France is", add_special_tokens=False).ids
    with torch.no_grad():
        plain = torch.log_softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1], -1)
        adapted = random_lora(model, tmp_path)
        expected = torch.log_softmax(adapted(input_ids=torch.tensor([prompt])).logits[0, -1], -1)
    write_lora(tmp_path, tiny, tmp_path / "adapter.gguf")
    decoder = decoder_of(tiny, tmp_path / "graph", adapted=True)
    for adapter, wanted in ((tmp_path / "adapter.gguf", expected), (None, plain)):
        [token], [logprob] = told(request(decoder, prompt, 1, adapter=adapter))
        assert logprob == pytest.approx(float(wanted[token]), abs=0.25)
    assert float(abs(expected - plain).max()) > 0.5  # else an adapter that is ignored would pass


def test_an_adapter_that_cannot_be_served_is_one_line(tiny: Path, tmp_path: Path) -> None:
    write_lora_for(tiny, tmp_path)
    reader = gguf.GGUFReader(tmp_path / "adapter.gguf")
    writer = gguf.GGUFWriter(tmp_path / "more.gguf", "llama")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data)
    writer.add_tensor("output.weight.lora_a", np.zeros((4, 64), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    decoder = decoder_of(tiny, tmp_path / "graph", adapted=True)
    with pytest.raises(ModelError, match=r"more.gguf adds to output.weight.lora_a, which nothing here serves"):
        told(request(decoder, [5, 6, 7], adapter=tmp_path / "more.gguf"))
    plain = decoder_of(tiny, tmp_path / "plain")
    with pytest.raises(ModelError, match="loaded without adapters"):
        told(request(plain, [5, 6, 7], adapter=tmp_path / "adapter.gguf"))


def test_the_graph_for_adapters_gives_the_base_the_same_bits(tiny: Path, tmp_path: Path) -> None:
    prompt = list(range(5, 60))
    plain, adapted = (decoder_of(tiny, tmp_path / str(kind), adapted=kind) for kind in (False, True))
    assert told(request(plain, prompt)) == told(request(adapted, prompt))


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_asked_beside_it_changes_no_bit_of_a_reply(
    tiny: Path, tmp_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEOFF_THREADS", str(threads))
    write_lora_for(tiny, tmp_path)
    decoder = decoder_of(tiny, tmp_path, adapted=True)
    prompts = [list(range(3 + n, 30 + 7 * n)) for n in range(3 * SLOTS)]
    adapters = [tmp_path / "adapter.gguf" if n % 3 == 0 else None for n in range(len(prompts))]
    lengths = [1 + n % 5 * 3 for n in range(len(prompts))]
    everything = list(zip(prompts, lengths, adapters, strict=True))
    alone = [told(request(decoder, *one[:2], adapter=one[2])) for one in everything]
    made = [request(decoder, *one[:2], adapter=one[2]) for one in everything]
    assert [told(one) for one in made] == alone
    assert [len(reply) for reply, _ in alone] == lengths
    assert len({tuple(reply) for reply, _ in alone}) > 3


def write_lora_for(tiny: Path, folder: Path) -> None:
    random_lora(load_for_training(tiny)[0], folder)
    write_lora(folder, tiny, folder / "adapter.gguf")


def test_a_long_prompt_read_in_pieces_gives_the_bits_of_one_pass(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, prompt = decoder_of(tiny, tmp_path), [n % 300 for n in range(200)]
    whole = told(request(decoder, prompt))
    for most in (7, 64, 199):
        monkeypatch.setattr("bakeoff.models.decoder.MOST_READ", most)
        assert told(request(decoder, prompt)) == whole


def test_states_that_are_kept_change_no_bit_and_are_never_those_of_another_adapter(tiny: Path, tmp_path: Path) -> None:
    write_lora_for(tiny, tmp_path)
    decoder = decoder_of(tiny, tmp_path, adapted=True)
    head, adapter = [n % 300 for n in range(40)], tmp_path / "adapter.gguf"
    fresh = told(request(decoder, [*head, 7, 8, 9]))
    assert request(decoder, [*head, 5, 6], keep=len(head)).done.result().cached == 0
    again = request(decoder, [*head, 7, 8, 9])
    assert told(again) == fresh and again.cached == len(head)
    other = request(decoder, [*head, 7, 8, 9], adapter=adapter)
    assert told(other) != fresh and other.cached == 0
    # What a prompt ends with is read again: there must be something to answer.
    exactly = request(decoder, head)
    assert told(exactly)[0] and exactly.cached == len(head) - LEAST_READ
    for number in range(40):
        request(decoder, [number, *head], keep=len(head)).done.result()
    assert sum(len(tokens) for _, tokens in decoder._kept) <= decoder.window


def test_a_conversation_is_read_on_from_where_it_stood(smol: Generator) -> None:
    talk = [Message("user", "How many legs has a spider?")]
    going = Generator(smol.weights, reuse=True)
    first = going.generate(talk, max_tokens=12)
    talk += [Message("assistant", first.text), Message("user", "And an ant?")]
    second = going.generate(talk, max_tokens=12)
    assert second.usage.cached >= first.usage.fresh
    fresh = smol.generate(talk, max_tokens=12)
    assert second.text == fresh.text and second.logprobs == pytest.approx(fresh.logprobs, abs=0.25)


def test_instructions_and_shots_are_read_once(smol: Generator) -> None:
    shots = [Message("system", "Answer in a few words, and say that you do not know where you do not.")]
    shots += [Message("user", "How many legs has a spider?"), Message("assistant", "8")]
    model = Generator(smol.weights)
    found = [model.generate([*shots, *ASKED], max_tokens=6) for _ in range(2)]
    head = len(model._shared.tokens(render(model.template, shots, generate=False)))
    assert [made.usage.cached for made in found] == [0, head]
    assert found[0].logprobs == found[1].logprobs == smol.generate([*shots, *ASKED], max_tokens=6).logprobs


def test_a_stream_brings_the_reply_in_pieces(smol: Generator) -> None:
    whole = smol.generate(ASKED, max_tokens=12)
    pieces, made = ended(smol.stream(ASKED, max_tokens=12))
    assert "".join(pieces) == made.text == whole.text and len(pieces) > 3
    assert (made.logprobs, made.finish) == (whole.logprobs, whole.finish)


def test_a_stream_of_letters_that_take_several_tokens_is_the_reply(
    smol: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "日本 😀 é"
    reply = smol._shared.tokens(text)
    for end in range(1, len(reply) + 1):
        forced = iter(reply[:end])

        def take(lane: Any, slot: int, logits: Any, forced: Iterator[int] = forced, end: int = end) -> None:
            asked = lane._asked[slot]
            token = next(forced)
            asked.reply.append(token)
            if asked.stream:
                asked.stream.put(token)
            if len(asked.reply) == end:
                lane.leave(asked)
                asked.end()

        monkeypatch.setattr("bakeoff.models.decoder._Lane._take", take)
        pieces, made = ended(smol.stream(ASKED, max_tokens=end))
        assert "".join(pieces) == made.text
    assert made.text == text


def test_whoever_leaves_a_stream_ends_the_work(smol: Generator) -> None:
    stream = smol.stream([Message("user", "Tell a long story about a lamp.")], max_tokens=2000)
    next(stream)
    stream.close()
    deadline = time.monotonic() + 20
    while any(thread.name == "decoder" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_fault_reaches_those_it_concerns_and_nobody_else(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, prompt = decoder_of(tiny, tmp_path), list(range(5, 30))
    whole = told(request(decoder, prompt))

    def broken(*_: Any) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("bakeoff.models.decoder._Lane._pass", broken)
        with pytest.raises(MemoryError):
            told(request(decoder, prompt))
    passes = iter([True, False])
    real = _Lane._pass

    def once(lane: Any, *given: Any) -> Any:
        return real(lane, *given) if next(passes, False) else broken()

    with monkeypatch.context() as patch:
        patch.setattr("bakeoff.models.decoder._Lane._pass", once)
        with pytest.raises(MemoryError):
            told(request(decoder, prompt))
    assert told(request(decoder, prompt)) == whole


def test_a_prompt_longer_than_the_window_is_one_line(smol: Generator) -> None:
    with pytest.raises(
        ModelError, match=r"the prompt has \d+ tokens and the model reads 4096, reply included; ask a shorter"
    ):
        smol.generate([Message("user", "lamp " * 5000)])


def test_an_empty_prompt_is_one_line(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="template made an empty prompt"):
        request(decoder_of(tiny, tmp_path), [])


def test_a_lane_outlives_a_daemon_that_asked(tiny: Path, tmp_path: Path) -> None:
    decoder = decoder_of(tiny, tmp_path)
    seen: list[bool] = []

    def ask() -> None:
        made = request(decoder, list(range(5, 30)), 40)
        seen.extend(thread.daemon for thread in threading.enumerate() if thread.name == "decoder")
        made.done.result()

    asker = threading.Thread(target=ask, daemon=True)
    asker.start()
    asker.join()
    assert seen and not any(seen)


def test_a_thread_that_cannot_start_loses_no_later_request(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, prompt = decoder_of(tiny, tmp_path), list(range(5, 30))

    def full(thread: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", full)
        with pytest.raises(RuntimeError):
            request(decoder, prompt)
    assert told(request(decoder, prompt))[0]


def test_a_reply_ends_at_the_window(tiny: Path, tmp_path: Path) -> None:
    decoder = decoder_of(tiny, tmp_path)
    reply, _ = told(request(decoder, [n % 300 for n in range(505)], 100))
    assert len(reply) == 512 - 505


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"\x08\x08torn", lambda whole: whole[: len(whole) // 2]])
def test_a_damaged_graph_in_the_cache_is_made_anew(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path))
    first = Generator(weights.resolve(str(tiny))).generate(ASKED, max_tokens=4)
    [graph] = (tmp_path / "decoders").iterdir()
    whole = graph.read_bytes()
    graph.write_bytes(damage(whole))
    again = Generator(weights.resolve(str(tiny))).generate(ASKED, max_tokens=4)
    assert (again.text, again.logprobs) == (first.text, first.logprobs)
    assert graph.read_bytes() == whole


def test_a_new_edition_of_a_graph_takes_the_place_of_the_earlier_ones(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path))
    fingerprint, folder = weights.resolve(str(tiny)).fingerprint, tmp_path / "decoders"
    folder.mkdir(parents=True)
    for name in (f"{fingerprint}-1.onnx", f"{fingerprint}-1-adapted.onnx", "other-1.onnx"):
        (folder / name).write_bytes(b"old")
    Generator(weights.resolve(str(tiny))).generate(ASKED, max_tokens=1)
    left = {f"{fingerprint}-{EDITION}.onnx", f"{fingerprint}-1-adapted.onnx", "other-1.onnx"}
    assert {path.name for path in folder.iterdir()} == left


def test_a_graph_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08torn")
    with pytest.raises(ModelError, match=r"cannot load .*model.onnx: .*is there enough memory"):
        Decoder(tmp_path / "model.onnx", 512, adapted=False)


def test_a_disk_that_is_full_while_the_graph_is_written_is_one_line(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAKEOFF_CACHE", str(tmp_path))
    made = Generator(weights.resolve(str(tiny)))
    assert made.fingerprint

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bakeoff.files.os.fsync", full)
        with pytest.raises(StoreError, match=r"cannot write .*onnx: No space left on device; free some space"):
            made.generate(ASKED, max_tokens=1)
    assert not list((tmp_path / "decoders").iterdir())
    assert made.generate(ASKED, max_tokens=1).usage.output == 1


def test_json_of_a_given_form_is_written_by_llama_cpp(smol: Generator) -> None:
    form = {"type": "object", "properties": {"legs": {"type": "integer"}}, "required": ["legs"]}
    made = smol.generate([Message("user", "How many legs has a spider?")], max_tokens=24, schema=form)
    assert '"legs"' in made.text


def test_which_models_it_takes(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = weights.gguf_facts(weights.resolve(str(tiny)))
    assert suits(facts)
    others: list[dict[str, Any]] = [
        {"architecture": "qwen3"},
        {"scaled": True},
        {"pre": "llama-bpe"},
        {"begins": True},
        {"tensors": [*facts["tensors"], "attn_q.bias"]},
        {"matrices": [*facts["matrices"], "F16"]},
        {"weights": 1 << 30},
        {"heads": 3},
        {"heads": None},
        {"keys": 128},
        {"additions": ["<tool>"]},
        {"eos": "</s>"},
    ]
    for other in others:
        assert not suits({**facts, **other}), other
    monkeypatch.setattr("bakeoff.models.weights.has_vnni", lambda: True)
    assert isinstance(models.generator(tiny), Generator)
    monkeypatch.setattr("bakeoff.models.weights.has_vnni", lambda: False)
    assert not isinstance(models.generator(tiny), Generator)
    monkeypatch.setattr("bakeoff.models.weights.has_vnni", lambda: True)
    exact = tmp_path / "exact.gguf"
    reencode(tiny, exact, "F16")
    assert not isinstance(models.generator(exact), Generator)


def test_two_questions_at_once_load_the_model_once(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = Decoder.__init__

    def counted(self: Decoder, *given: Any, **options: Any) -> None:
        made.append(1)
        time.sleep(0.05)
        real(self, *given, **options)

    monkeypatch.setattr("bakeoff.models.decoder.Decoder.__init__", counted)
    model = Generator(weights.resolve(str(tiny)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: model.generate(ASKED, max_tokens=2), range(4)))
    assert len(made) == 1


def test_weights_of_eight_bits_lose_next_to_nothing(tiny: Path, tmp_path: Path) -> None:
    model, _ = load_for_training(tiny)
    prompt = [n % 300 for n in range(100)]
    with torch.no_grad():
        exact = torch.log_softmax(model(input_ids=torch.tensor([prompt])).logits[0, -1], -1).numpy()
    [token], [logprob] = told(request(decoder_of(tiny, tmp_path), prompt, 1))
    assert token == int(exact.argmax()) and logprob == pytest.approx(float(exact[token]), abs=0.25)
    assert gguf.GGUFReader(tiny).tensors[0].tensor_type.name == "Q8_0"


@pytest.mark.slow
def test_a_graph_does_not_know_how_many_threads_made_it() -> None:
    path = weights.resolve("smollm2-135m").path
    command = "import hashlib, sys; from pathlib import Path; from bakeoff.models.decoder_graph import to_onnx; "
    command += "print(hashlib.sha256(to_onnx(Path(sys.argv[1]), adapted=False)).hexdigest())"
    made = {
        subprocess.run(
            [sys.executable, "-c", command, str(path)],
            env={**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(made) == 1
