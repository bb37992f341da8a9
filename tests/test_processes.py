"""One training in two processes: the same curve and the same weights as in one, and one writer."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import tiny_model
from bakeoff.errors import ConfigError
from bakeoff.tuning.processes import Team, refuse_several, team

torch = pytest.importorskip("torch")

SCRIPT = """\
import json, os, sys
from bakeoff.tuning import tune
from bakeoff.tuning import student, training
from bakeoff.types import Example
student.multiplies_bfloat16 = lambda device: bool(os.environ.get("BF16"))
training.SAVE_SECONDS, training.SAVE_SHARE = 0.0, 1e9
capitals = {"France": "Paris", "Spain": "Madrid", "Italy": "Rome", "Norway": "Oslo", "Peru": "Lima"}
train = [
    Example(f"q{n}", "why? " * n * n + f"capital of {country}?", (city,), rejected="no", text=f"{city} {country}")
    for n, (country, city) in enumerate(capitals.items())
]
stop = int(sys.argv[4])
def say(done, total, text):
    print(os.environ.get("RANK", "0"), done, flush=True)
    if stop and done >= stop:
        os._exit(9)
tune(sys.argv[1], sys.argv[2], train, train[:3], out=sys.argv[3], seed=3, progress=say, **json.loads(sys.argv[5]))
"""
OPTIONS: dict[str, Any] = {"lora": {"rank": 8, "learning_rate": 0.001}, "full": {"learning_rate": 0.0002}}
SHARED: dict[str, Any] = {"epochs": 3, "batch_size": 2}
THREADS = "1"


def environments(size: int, *, fsdp: bool = False) -> list[dict[str, str]]:
    """What a launcher sets."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {
        **os.environ,
        "BAKEOFF_THREADS": THREADS,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_FSDP": str(fsdp).lower(),
    }
    if size == 1:
        return [common]
    shared = {"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [{**common, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


def trained(
    base: str, out: Path, method: str, processes: int, *, stop: int = 0, fsdp: bool = False, **options: Any
) -> str:
    """What the processes print."""
    told = json.dumps({**OPTIONS.get(method, {}), **SHARED, **options})
    command = [sys.executable, "-c", SCRIPT, method, base, str(out), str(stop), told]
    running = [
        subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for env in environments(processes, fsdp=fsdp)
    ]
    if stop:
        assert running[0].wait(timeout=60) == 9
        for one in running[1:]:
            one.kill()
    said = [one.communicate(timeout=120) for one in running]
    if not stop:
        assert [one.returncode for one in running] == [0] * processes, said
    return "".join(printed for printed, _ in said)


def curve(path: Path) -> list[float]:
    with (path / "history.csv").open() as file:
        return [float(step[key]) for step in csv.DictReader(file) for key in ("loss", "valid_loss") if step[key]]


def weights(path: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    (file,) = path.glob("*.safetensors")
    return load_file(file)


def same(one: Path, other: Path) -> None:
    assert curve(one) == pytest.approx(curve(other), rel=1e-5)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(tensor, weights(other)[name], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model.save(tmp_path_factory.mktemp("base") / "tiny"))


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_only_one_writes(base: str, tmp_path: Path) -> None:
    said = [trained(base, tmp_path / str(size), "lora", size) for size in (1, 2)]
    same(tmp_path / "1", tmp_path / "2")
    facts = [json.loads((tmp_path / str(size) / "checkpoint.json").read_text()) for size in (1, 2)]
    assert sorted(facts[0]["files"]) == sorted(facts[1]["files"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "2"]
    assert {line.split()[0] for line in said[1].splitlines()} == {"0"}
    assert len(said[1].splitlines()) == len(said[0].splitlines()) == 9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("full", {}),
        ("freeze", {"layers": 1, "learning_rate": 0.0002}),
        ("prefix", {"tokens": 8, "learning_rate": 0.001}),
        ("adapter", {"size": 16, "learning_rate": 0.0005}),
        ("pretrain", {"learning_rate": 0.0002, "window": 16}),
        ("dpo", {"learning_rate": 0.0005}),
        ("kto", {"learning_rate": 0.0005}),
        ("grpo", {"learning_rate": 0.0005, "max_tokens": 4, "tries": 3}),
    ],
)
def test_every_kind_of_method_is_shared(base: str, tmp_path: Path, method: str, options: dict[str, Any]) -> None:
    for size in (1, 2):
        trained(base, tmp_path / str(size), method, size, **options)
    same(tmp_path / "1", tmp_path / "2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lora", {}),
        ("full", {}),
        ("prefix", {"tokens": 8, "learning_rate": 0.001}),
        ("soft_prompt", {"tokens": 8, "learning_rate": 0.001}),
        ("adapter", {"size": 16, "learning_rate": 0.0005}),
        ("adapter", {"kind": "ia3", "learning_rate": 0.0005}),
        ("pretrain", {"learning_rate": 0.0002, "window": 16}),
        ("dpo", {"learning_rate": 0.0005}),
    ],
)
def test_a_model_cut_in_two_by_fsdp_learns_what_a_whole_one_does(
    base: str, tmp_path: Path, method: str, options: dict[str, Any]
) -> None:
    for size in (1, 2):
        trained(base, tmp_path / str(size), method, size, fsdp=True, **options)
    same(tmp_path / "1", tmp_path / "2")
    facts = [json.loads((tmp_path / str(size) / "checkpoint.json").read_text()) for size in (1, 2)]
    assert facts[0]["trained_parameters"] == facts[1]["trained_parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["full", "lora", "prefix", "soft_prompt"])
def test_a_cut_model_is_trained_in_bfloat16_by_several_cores(
    base: str, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BF16", "1")
    monkeypatch.setattr("test_processes.THREADS", "4")
    for size in (1, 2):
        trained(base, tmp_path / str(size), method, size, fsdp=True, learning_rate=0.0002)
    assert curve(tmp_path / "1") == pytest.approx(curve(tmp_path / "2"), rel=2e-2)
    assert {one.dtype for one in weights(tmp_path / "2").values()} == {
        one.dtype for one in weights(tmp_path / "1").values()
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_cut_training_goes_on_whole_and_a_whole_one_cut(base: str, tmp_path: Path, method: str) -> None:
    trained(base, tmp_path / "1", method, 1)
    for name, before, after in (("joined", 3, 1), ("cut", 1, 2)):
        trained(base, tmp_path / name, method, before, stop=100, fsdp=before > 1)
        said = trained(base, tmp_path / name, method, after, fsdp=after > 1)
        assert len(said.splitlines()) < 9
        same(tmp_path / "1", tmp_path / name)


@pytest.mark.slow
def test_a_cut_gguf_model_is_written_whole(tmp_path: Path) -> None:
    import gguf

    from bakeoff.models.gguf import floats

    base = tiny_model.save_gguf(tiny_model.save(tmp_path / "tiny"), tmp_path / "tiny.gguf")
    for size in (1, 2):
        trained(str(base), tmp_path / str(size), "full", size, fsdp=True)
    files = [gguf.GGUFReader(tmp_path / str(size) / "model.gguf") for size in (1, 2)]
    for one, other in zip(files[0].tensors, files[1].tensors, strict=True):
        assert one.name == other.name and floats(one) == pytest.approx(floats(other), abs=1e-3)  # in F16


HALVES = """\
import sys, torch
from bakeoff.tuning import sharding, student
pupil = student.load(sys.argv[1])
pupil.model.requires_grad_(True)
before = sum(one.numel() for one in pupil.model.base_model.layers.parameters())
student.Whole(pupil.model, bf16=False)
print(before, sum(sharding.part(one).numel() for one in pupil.model.base_model.layers.parameters()))
"""


@pytest.mark.slow
def test_each_process_holds_its_part_of_the_layers(base: str) -> None:
    running = [
        subprocess.Popen([sys.executable, "-c", HALVES, base], env=env, stdout=subprocess.PIPE, text=True)
        for env in environments(2, fsdp=True)
    ]
    held = [tuple(map(int, one.communicate(timeout=60)[0].split())) for one in running]
    assert held[0][0] == held[1][0] == held[0][1] + held[1][1]
    assert held[0][1] == pytest.approx(held[0][0] / 2, rel=0.01)


def test_what_cannot_be_cut_is_refused_in_one_line(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.tuning import tune
    from bakeoff.types import Example

    monkeypatch.setattr("bakeoff.tuning.run.team", lambda: Team(0, 2, shards=True))
    for method in ("freeze", "grpo", "kto", "head"):
        with pytest.raises(ConfigError, match=f"FSDP: {method} needs the whole model .*; start without --use_fsdp"):
            tune(method, base, [Example("a", "why?", ("so",))], out=tmp_path / "out")
    monkeypatch.setattr("bakeoff.tuning.adapting.team", lambda: Team(0, 2, shards=True))
    monkeypatch.setattr("bakeoff.tuning.run.team", Team)
    with pytest.raises(ConfigError, match="FSDP: lora: a base in 4 bits is not cut; leave bits out"):
        tune("lora", base, [Example("a", "why?", ("so",))], out=tmp_path / "out", bits=4)


@pytest.mark.slow
def test_more_processes_than_rows_in_a_batch_and_a_stop_change_nothing(base: str, tmp_path: Path) -> None:
    trained(base, tmp_path / "1", "lora", 1)
    trained(base, tmp_path / "3", "lora", 3, stop=100)
    assert not (tmp_path / "3").exists()
    # Goes on with another number of processes, from what the first wrote.
    said = trained(base, tmp_path / "3", "lora", 2)
    assert len(said.splitlines()) < 9
    same(tmp_path / "1", tmp_path / "3")


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["torch.distributed.run", "--nproc-per-node", "2"],
        # On CPUs accelerate knows MPI only; with --multi_gpu it starts the processes as it does for GPUs.
        [
            "accelerate.commands.launch",
            "--multi_gpu",
            "--num_processes",
            "2",
            "--mixed_precision",
            "no",
            "--dynamo_backend=no",
        ],
        ["accelerate.commands.launch", "--use_fsdp", "--num_processes", "2", "--mixed_precision", "no"],
        ["accelerate.commands.launch", "--config_file", "CONFIG"],
    ],
    ids=["torchrun", "accelerate", "fsdp", "the file in the docs"],
)
def test_the_command_runs_under_both_launchers(base: str, tmp_path: Path, launcher: list[str]) -> None:
    pytest.importorskip(launcher[0].split(".")[0])
    project = tmp_path / "project"
    project.mkdir()
    (project / "bakeoff.toml").write_text(f'base = "{base}"\n[tune.reader]\nmethod = "lora"\nepochs = 1\n')
    lines = [{"question": f"what of {n}?", "answer": f"{n} EUR"} for n in range(12)]
    (project / "questions.jsonl").write_text("\n".join(map(json.dumps, lines)))
    script = tmp_path / "run.py"
    script.write_text("from bakeoff.cli import main\nmain()\n")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    flag = "--master-port" if "torch" in launcher[0] else "--main_process_port"
    said = (Path(__file__).parents[1] / "docs" / "methods.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    said = said.replace("num_machines: 2", "num_machines: 1").replace("num_processes: 8", "num_processes: 2")
    (tmp_path / "accelerate.yaml").write_text(said.replace("main_process_ip: first-machine\n", ""))
    launcher = [str(tmp_path / "accelerate.yaml") if word == "CONFIG" else word for word in launcher]
    command = [sys.executable, "-m", *launcher, flag, port, str(script), "tune", "-C", str(project)]
    done = subprocess.run(command, env=environments(1)[0], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reader: ") == 1
    cut = "--use_fsdp" in launcher or "--config_file" in launcher
    assert cut == ("not studied: run `bakeoff tune reader` once without the launcher" in done.stdout)
    assert (project / "checkpoints" / "reader" / "study.json").is_file() != cut


def test_what_only_one_process_may_do_is_refused_in_one_line(base: str, tmp_path: Path) -> None:
    (tmp_path / "bakeoff.toml").write_text(f'base = "{base}"\n')
    code = "from bakeoff.cli import main; main()"
    command = [sys.executable, "-c", code, "ingest", "-C", str(tmp_path)]
    for env in environments(2):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr == (
            "error: `bakeoff ingest` writes files, and a launcher has started it 2 times; run it once, without the "
            "launcher: only the training of `bakeoff tune` is shared among processes\n"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["bakeoff.toml"]


def test_a_launcher_that_says_only_half_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert team() == Team(0, 1)
    refuse_several("a search")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="a search writes files, and a launcher has started it 2 times"):
        refuse_several("a search")
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="MASTER_ADDR, MASTER_PORT, RANK is not set; start with torchrun"):
        team().wait()


def test_the_rows_of_a_batch_are_divided_evenly_and_each_goes_to_one() -> None:
    from bakeoff.tuning.rows import Row

    rows = [Row(tuple(range(length)), 1) for length in (9, 2, 7, 4, 8)]
    parts = [Team(rank, 2).share(rows) for rank in (0, 1)]
    assert [[row.size for row in part] for part in parts] == [[9, 7, 2], [8, 4]]
    assert Team().share(rows) is rows


def test_the_parts_of_the_processes_add_up_to_the_gradient_of_one(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bakeoff.tuning import student
    from bakeoff.tuning.training import _Learner, token_loss
    from bakeoff.types import Example

    summed: list[list[Any]] = []
    monkeypatch.setattr(Team, "add", lambda self, tensors: summed.append([tensor.clone() for tensor in tensors]))
    pupil = student.load(base)
    rows = pupil.rows([Example(f"q{n}", "why? " * n * n, (f"so {n}",)) for n in range(5)], 400)
    pupil.model.requires_grad_(True)
    learner = _Learner(student.Whole(pupil.model, bf16=False), token_loss, 1, 0.0)
    for part in (Team(), Team(0, 2), Team(1, 2)):
        learner._team = part
        learner.step(rows, 0.0)  # the weights stay as they are
    (whole, loss), first, second = (summed[:2], summed[2:4], summed[4:])
    for one, a, b in zip([*whole, *loss], [*first[0], *first[1]], [*second[0], *second[1]], strict=True):
        torch.testing.assert_close(a + b, one, rtol=1e-5, atol=1e-5)
        assert not torch.equal(a, one)
