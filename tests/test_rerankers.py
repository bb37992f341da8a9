"""The learned reranker, its gate, and the others that read a passage once more."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bakeoff import plugins
from bakeoff.cli import app
from bakeoff.errors import DataError, ModelError
from bakeoff.models.embedders.hashing import Embedder
from bakeoff.retrieval.features import NAMES, features
from bakeoff.retrieval.fitting import Fit, Judged, fit, judge, ndcg
from bakeoff.types import Chunk, Evidence, Example, Filter, Hit, Vectors


def hit(id: str, text: str, score: float = 0.0, document: str = "", section: str = "") -> Hit:
    return Hit(Chunk(id, document or id, text, 0, len(text), section=section), score)


def column(name: str, query: str, *hits: Hit) -> list[float]:
    """A feature of every hit."""
    return [float(value) for value in features(query, hits)[:, NAMES.index(name)]]


# ---------------------------------------------------------------- features


def test_every_feature_is_standard_over_the_hits_or_nought() -> None:
    hits = [hit("a", "Oil lamps burn brightly.", 3.0), hit("b", "Lamps are heavy.", 2.0, "a"), hit("c", "Wolves.", 1.0)]
    table = features("Do oil lamps burn?", hits)
    assert table.shape == (3, len(NAMES))
    assert np.abs(table.mean(axis=0)).max() < 1e-5
    assert all(spread == 0 or abs(spread - 1) < 1e-4 for spread in table.std(axis=0))
    assert np.isfinite(features("?", [hit("a", "")])).all()


def test_forms_of_a_word_count_as_the_word() -> None:
    held, not_held = column("coverage", "burning lamps", hit("a", "A lamp burned."), hit("b", "A wolf howled."))
    assert held > not_held


def test_rare_words_count_more_than_words_of_every_passage() -> None:
    hits = [hit("a", "lamp oil"), hit("b", "lamp wolf"), hit("c", "lamp oil again")]
    assert np.argmax(column("rare_coverage", "lamp wolf", *hits)) == 1


def test_phrases_and_proximity_see_order_and_distance() -> None:
    far = "oil is sold here, and much further on, after many other words of no use at all, stands a lamp"
    hits = [hit("a", "the oil lamp"), hit("b", "a lamp with oil"), hit("c", far)]
    phrases, near = column("phrases", "oil lamp", *hits), column("proximity", "oil lamp", *hits)
    assert phrases[0] > phrases[1] == phrases[2]
    assert near[0] == near[1] > near[2]


def test_a_passage_is_supported_by_hits_like_it_and_by_its_own_document() -> None:
    hits = [
        hit("a", "the oil lamp burns", 3.0, "x"),
        hit("b", "an oil lamp burns long", 2.0, "y"),
        hit("c", "wolves howl", 1.0, "z"),
        hit("d", "bears growl", 0.5, "x"),
    ]
    assert np.argmin(column("support", "?", *hits)) in (2, 3)
    assert np.argmax(column("siblings", "?", *hits)) == 3


# ---------------------------------------------------------------- fitting


def judged(n: int, telling: bool) -> list[Judged]:
    """Questions of ten hits, one of them right; one column tells which, or none does."""
    random = np.random.default_rng(0)
    found = []
    for number in range(n):
        table = random.normal(size=(10, len(NAMES))).astype(np.float32)
        gains = np.zeros(10, np.float32)
        gains[random.integers(10)] = 1
        if telling:
            table[:, 4] += 2 * gains
        found.append(Judged(table, gains, str(number)))
    return found


def test_a_column_that_tells_is_found_and_the_fit_helps() -> None:
    found = fit(judged(60, telling=True))
    assert found.helps
    assert np.argmax(found.weights) == 4
    assert "is used: nDCG@10 +" in str(found)


def test_noise_is_fitted_but_does_not_pass_the_gate() -> None:
    found = fit(judged(60, telling=False))
    assert max(map(abs, found.weights)) > 0.01
    assert not found.helps
    assert "stands aside" in str(found)


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(DataError, match="12 questions with evidence that is found, but a reranker needs 20"):
        fit(judged(12, telling=True))


def test_ndcg_agrees_with_ir_measures() -> None:
    import ir_measures

    generator = random.Random(1)
    for _ in range(20):
        gains = np.array([generator.choice([0, 0, 0, 1, 3, 7]) for _ in range(30)], dtype=np.float32)
        gains[generator.randrange(30)] = 1
        grades = [ir_measures.Qrel("q", str(n), int(gain)) for n, gain in enumerate(gains)]
        run = [ir_measures.ScoredDoc("q", str(n), -float(n)) for n in range(30)]
        expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], grades, run)[ir_measures.nDCG @ 10]
        assert ndcg(gains) == pytest.approx(expected)


def test_only_questions_whose_evidence_was_found_teach() -> None:
    class Two:
        def retrieve(self, query: str, k: int, *, filter: Filter | None = None) -> list[Hit]:
            return [hit("a", "Lamps burn oil."), hit("b", "Wolves howl.")]

    examples = [
        Example("1", "Who howls?", evidence=(Evidence("b", -1, -1, "Wolves howl."),), group="g"),
        Example("2", "Who growls?", evidence=(Evidence("c", -1, -1, "Bears growl."),)),
        Example("3", "Who knows?"),
    ]
    (one,) = judge(Two(), examples)
    assert (one.gains.tolist(), one.group) == ([0.0, 1.0], "g")


# ---------------------------------------------------------------- plug-ins


class Nothing:
    """An index that only names its embedder."""

    embedder = Embedder()


def saved(path: Path, low: float) -> str:
    weights = tuple(float(name == "coverage") for name in NAMES)
    Fit(weights, 50, low + 0.1, low, low + 0.2).save(path)
    return str(path)


HITS = [hit("a", "Wolves howl.", 2.0), hit("b", "Oil lamps burn.", 1.0)]


def test_the_learned_reranker_orders_by_its_weights_if_they_helped(tmp_path: Path) -> None:
    make = plugins.get("rerankers", "learned")
    helpful = make(Nothing(), model=saved(tmp_path / "good.json", 0.01))
    assert [h.chunk.id for h in helpful.rerank("Do oil lamps burn?", HITS)] == ["b", "a"]
    assert helpful.rerank("Do oil lamps burn?", []) == []
    useless = make(Nothing(), model=saved(tmp_path / "bad.json", -0.01))
    assert useless.rerank("Do oil lamps burn?", HITS) == HITS


def test_a_file_that_is_no_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="run `bakeoff fit`"):
        plugins.get("rerankers", "learned")(Nothing(), model=str(tmp_path / "x.json"))


def test_late_interaction_prefers_the_passage_that_holds_each_word() -> None:
    class Letters(Embedder):
        """A token a letter, so that likeness is countable."""

        def embed_tokens(self, texts: list[str]) -> list[Vectors]:
            return [np.eye(26, dtype=np.float32)[[ord(x) - 97 for x in text.lower() if x.isalpha()]] for text in texts]

    class Index(Nothing):
        embedder = Letters()

    late = plugins.get("rerankers", "late")(Index())
    assert late.rerank("abc", [hit("e", "", 1.0), hit("y", "cab", 1.0)])[0].chunk.id == "y"
    found = late.rerank("abc", [hit("x", "xyz", 1.0), hit("y", "cab", 1.0), hit("z", "axy", 1.0)])
    assert [h.chunk.id for h in found] == ["y", "z", "x"]
    with pytest.raises(ModelError, match="does not show the vectors of words"):
        plugins.get("rerankers", "late")(Nothing())


@pytest.fixture(scope="module")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real BERT of random weights with one output."""
    torch = pytest.importorskip("torch")
    transformers: Any = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "oil", "lamps", "wolves", "burn", "howl", "."]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.BertConfig(vocab_size=len(words), num_labels=1, initializer_range=1.0, **size)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return str(folder)


def test_a_cross_encoder_scores_each_pair_as_the_model_does(cross_encoder: str) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    found = plugins.get("rerankers", "cross_encoder")(Nothing(), model=cross_encoder).rerank("oil lamps burn", HITS)
    tokenizer = AutoTokenizer.from_pretrained(cross_encoder)
    model = AutoModelForSequenceClassification.from_pretrained(cross_encoder).eval()
    with torch.inference_mode():
        for h in found:
            expected = model(**tokenizer("oil lamps burn", h.chunk.text, return_tensors="pt")).logits.item()
            assert h.score == pytest.approx(expected, abs=1e-4)
    assert found[0].score > found[1].score


def test_a_cross_encoder_without_time_stands_aside_and_says_so(cross_encoder: str) -> None:
    slow = plugins.get("rerankers", "cross_encoder")(Nothing(), model=cross_encoder, seconds=0.0)
    many = [hit(str(n), "oil lamps burn", float(-n)) for n in range(20)]
    with pytest.warns(RuntimeWarning, match="stands aside: 8 of 20 passages read in 0 s"):
        assert slow.rerank("oil", many) == many


def test_weights_that_are_not_there_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no cross-encoder on this machine .*; name its folder"):
        plugins.get("rerankers", "cross_encoder")(Nothing(), model=str(tmp_path))


# ---------------------------------------------------------------- project


def test_fit_and_then_search_with_the_reranker(project: Path) -> None:
    from typer.testing import CliRunner

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, [*words, "-C", str(project)])
        return result.output if result.exit_code == 0 else f"{type(result.exception).__name__}: {result.exception}"

    run("ingest")
    assert "run `bakeoff fit`" in run("search", "How heavy is it?", "--retriever", "reranked")
    assert "on" in run("fit") and (project / "reranker.json").is_file()
    assert run("search", "How heavy is it?", "--retriever", "reranked").startswith("1. ")
