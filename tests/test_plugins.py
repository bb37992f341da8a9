"""Adding a store, metric or method is one file."""

from __future__ import annotations

from pathlib import Path

import pytest

import bakeoff.corpus.stores
import bakeoff.evaluation.metrics
import bakeoff.tuning.methods
from bakeoff import plugins
from bakeoff.corpus import Corpus
from bakeoff.errors import MissingPackageError, UnknownNameError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.types import Answer, Example


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files count as plug-ins of every kind."""
    for package in (bakeoff.corpus.stores, bakeoff.evaluation.metrics, bakeoff.tuning.methods):
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    return tmp_path


def test_a_metric_is_one_file(drop: Path) -> None:
    (drop / "politeness.py").write_text(
        "VERSION = 1\ndef score(example, answer):\n    return float('please' in answer.text)\n"
    )
    assert "politeness" in plugins.names("metrics")
    score = plugins.get("metrics", "politeness")
    assert score(Example("1", "?"), Answer("Yes, please")) == 1.0


def test_a_store_is_one_file(drop: Path, tmp_path: Path) -> None:
    (drop / "loud.py").write_text(
        "from bakeoff.corpus.stores.sqlite import Store as Quiet\n"
        "class Store(Quiet):\n    def ids(self):\n        return [id.upper() for id in super().ids()]\n"
    )
    (tmp_path / "a.txt").write_text("hello there")
    corpus = Corpus(tmp_path / "index", Embedder(), store="loud")
    corpus.sync(tmp_path / "a.txt")
    assert corpus.store.ids() == ["A.TXT"]


def test_a_method_is_one_file_and_its_signature_is_its_options(drop: Path, tmp_path: Path) -> None:
    (drop / "copycat.py").write_text(
        "from bakeoff.types import Checkpoint\n"
        "def tune(base, train, valid, out, *, seed: int = 0, strength: float = 1.0):\n"
        "    (out / 'training.json').write_text('{}')\n"
        "    (out / 'copy.txt').write_text(f'{train[0].question} {strength}')\n"
        "    return Checkpoint(out, base, '', 'copycat')\n"
    )
    from bakeoff.tuning import tune

    checkpoint = tune("copycat", "minilm", [Example("1", "Why?")], out=tmp_path / "out", strength=2.0)
    assert (checkpoint.path / "copy.txt").read_text() == "Why? 2.0"
    with pytest.raises(Exception, match="strenght.*did you mean 'strength'"):
        tune("copycat", "minilm", [Example("1", "Why?")], out=tmp_path / "other", strenght=2.0)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'recal': did you mean 'recall'"):
        plugins.get("metrics", "recal")


def test_a_missing_package_is_told_with_the_command(drop: Path) -> None:
    (drop / "needy.py").write_text("import sklearn_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError):
        plugins.get("methods", "needy")
    (drop / "needy2.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n")
    with pytest.raises(MissingPackageError, match=r"needs the package 'torch': pip install 'bakeoff\[tune\]'"):
        plugins.get("methods", "needy2")


@pytest.mark.parametrize("kind", sorted(plugins.KINDS))
def test_every_plug_in_exposes_its_object_and_says_what_it_is(kind: str) -> None:
    for name in plugins.names(kind):
        try:
            module = plugins.module(kind, name)
        except MissingPackageError:
            continue
        assert hasattr(module, plugins.KINDS[kind].exposes), name
        assert module.__doc__, name
