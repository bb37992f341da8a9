"""Templates of the RAG system, and the projects that `bakeoff init --template` makes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import scripted_endpoint
from bakeoff import cli
from bakeoff.errors import ConfigError, UnknownNameError
from bakeoff.evaluation.metrics import Scoring, facts, recall
from bakeoff.examples import load_examples
from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.scaffold import TEMPLATES as PROJECTS
from bakeoff.systems import RAG
from bakeoff.systems.templates import TEMPLATES
from bakeoff.types import Answer, Example, Message
from test_systems import TITAN, Listener, Shelf

EXAMPLES = Path(__file__).parents[1] / "src" / "bakeoff" / "templates"
TEMPLATES_OF_PROJECTS = list(PROJECTS)


def test_a_summary_is_long_cites_and_is_of_nothing_where_nothing_is_found() -> None:
    listener = Listener("word " * 98 + "word. The Titan weighs 90 grams [1].")
    answer = RAG(Generator(listener), Shelf(TITAN), template="summarise").answer("weights {passages}")
    assert listener.seen[-1].content.endswith("Topic: weights {passages}")
    assert answer.text.endswith("[1].") and answer.citations
    assert RAG(Generator(listener), Shelf(), template="summarise").answer("?").outcome == "abstained"


def test_a_text_is_translated_even_where_the_memory_holds_nothing_on_it() -> None:
    listener = Listener("Die Titan wiegt 90 Gramm.")
    answer = RAG(Generator(listener), Shelf(), template="translate").answer("The Titan weighs 90 grams.")
    assert (answer.text, answer.outcome) == ("Die Titan wiegt 90 Gramm.", "answered")
    assert listener.seen[-1].content.endswith("Text: The Titan weighs 90 grams.")


def test_an_instruction_and_a_length_take_the_place_of_the_templates_own() -> None:
    listener = Listener("a b c d")
    rag = RAG(Generator(listener), Shelf(TITAN), template="translate", instruction="Into Welsh.", max_tokens=2)
    assert rag.answer("x").text == "a b"
    assert listener.seen[0].content == "Into Welsh."


def test_an_unknown_template_is_told_when_the_configuration_is_read(project: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'translate'"):
        RAG(Generator(), Shelf(), template="translat")
    toml = project / "bakeoff.toml"
    toml.write_text(toml.read_text() + 'template = "sumarise"\n')
    with pytest.raises(ConfigError, match=r"\[systems.rag\] template: unknown template 'sumarise': did you mean"):
        Project(project)


def run(folder: Path, *arguments: str) -> str:
    """The public command."""
    result = CliRunner().invoke(cli.app, [*arguments, "-C", str(folder)])
    assert result.exit_code == 0, result.output
    return result.stdout


def copied(name: str, folder: Path, base: str) -> Path:
    """The project that the command makes, with doubles in place of its models."""
    CliRunner().invoke(cli.app, ["init", str(folder / name), "--template", name, "--no-weights"])
    toml = folder / name / "bakeoff.toml"
    text = re.sub('^base = "smollm2-135m.*"', f'base = "{base}"', toml.read_text(), flags=re.MULTILINE)
    text = text.replace("[corpus]\n", '[corpus]\nembedder = "hashing"\n')
    toml.write_text(text.replace('method = "head"\n', 'method = "head"\nfeatures = "hashing"\n'))
    return folder / name


@pytest.mark.parametrize("name", TEMPLATES_OF_PROJECTS)
def test_every_template_is_a_sound_project_with_a_verdict(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    folder = copied(name, tmp_path, "scripted")
    config = Project(folder).config
    if config.corpus.sources:
        assert "0 failed" in run(folder, "ingest")
    assert "\nno problems found\n" in run(folder, "check")
    untuned = [system for system, options in config.systems.items() if "tuned" not in options]
    assert len(untuned) >= 2
    shown = run(folder, "compare", *untuned)
    assert re.search(r"^(Ship|Lean to|Undecided)|undecided|recommend", shown, re.MULTILINE), shown
    assert (folder / "runs" / "latest" / "report.html").is_file() and (folder / "README.md").is_file()


@pytest.mark.parametrize("name", [name for name in TEMPLATES_OF_PROJECTS if (EXAMPLES / name / "documents").is_dir()])
def test_the_evidence_of_a_template_stands_in_its_documents_and_holds_the_answer(name: str) -> None:
    rows = [json.loads(line) for line in (EXAMPLES / name / "questions.jsonl").read_text().splitlines()]
    assert len(rows) >= 8
    for row in rows:
        for evidence in row.get("evidence", ()):
            text = " ".join((EXAMPLES / name / evidence["document"]).read_text().split())
            assert " ".join(evidence["quote"].split()) in text, row["question"]
        if row.get("evidence") and row["references"][0] != "no" and not row["references"][0].startswith("that the"):
            quotes = " ".join(evidence["quote"] for evidence in row["evidence"])
            assert any(recall.recall(quotes, reference) >= 0.5 for reference in row["references"]), row["question"]


def test_the_references_of_a_template_state_its_facts_and_obey_its_form() -> None:
    stated = 0
    for name in TEMPLATES_OF_PROJECTS:
        project = Project(EXAMPLES / name)
        form = project.metric("format")
        assert isinstance(form, Scoring)
        limits = project.config.compare
        assert limits.max_p95_seconds or limits.max_prompt_tokens, f"{name} has no limit"
        for example in load_examples(EXAMPLES / name / project.config.examples.path):
            right = example.references[0] if example.references else example.label
            assert facts.score(example, Answer(right)) in (None, 1), example
            assert not example.label or form.score(example, Answer(right)) == 1, example
            stated += len(example.facts)
    assert stated > 30
    term = Example("q", "The warranty covers the dimmer.", facts=("Dimmsteller",))
    assert facts.score(term, Answer("Die Gewährleistung umfasst den Dimmer.")) == 0


def test_the_classifier_of_the_intent_template_beats_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr("bakeoff.evaluation.folder.os.fsync", lambda descriptor: None)
    folder = copied("intent", tmp_path, "smollm2-135m")
    run(folder, "compare", "head")
    (row,) = Project(folder).rescore().table()
    assert row.right and row.right.estimate > 0.3, "six intents: a guess is right in 17%"


def test_templates_are_listed_and_a_wrong_name_is_told(tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli.app, ["init", "--list"]).output
    assert [line.split()[0] for line in shown.splitlines()] == TEMPLATES_OF_PROJECTS
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == TEMPLATES_OF_PROJECTS
    wrong = CliRunner().invoke(cli.app, ["init", str(tmp_path / "p"), "--template", "medcal"])
    assert "unknown template 'medcal': did you mean 'medical'? known are assistant, content" in str(wrong.exception)
    assert not (tmp_path / "p").exists()
    both = CliRunner().invoke(cli.app, ["init", str(tmp_path / "p"), "--template", "medical", "--demo"])
    assert "--demo and --template are two projects" in str(both.exception)


def test_a_template_writes_over_nothing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    result = CliRunner().invoke(cli.app, ["init", str(tmp_path), "--template", "legal", "--no-weights"])
    assert "README.md exists already; choose another folder" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def answered(name: str, tmp_path: Path, asked: str, reply: Callable[[str], str]) -> tuple[dict[str, object], str]:
    """What `bakeoff ask` prints as JSON when the model replies so to its prompt, and the prompt."""
    pytest.importorskip("openai")
    seen: list[str] = []

    def model(messages: Sequence[Message]) -> str:
        seen.append("\n".join(message.content for message in messages))
        return reply(seen[-1])

    with scripted_endpoint.serve(model) as url:
        folder = copied(name, tmp_path, f"{url}#any")
        run(folder, "ingest")
        return json.loads(run(folder, "ask", asked, "--json")), seen[-1]


def test_the_example_of_translation_shows_the_model_the_words_it_must_use(tmp_path: Path) -> None:
    reply = "Die Gewährleistung umfasst den Dimmsteller."
    answer, prompt = answered("translation", tmp_path, "The warranty covers the dimmer.", lambda _: reply)
    assert answer["text"] == reply
    assert "Dimmsteller" in prompt and "Die Gewährleistung dauert zwei Jahre." in prompt and "German" in prompt


def test_the_example_of_a_summary_cites_its_documents(tmp_path: Path) -> None:
    def reply(prompt: str) -> str:
        late, letters = (
            re.findall(rf"\[(\d)\][^\[]*{words}", prompt)[0] for words in ("two days late", "41 customers")
        )
        return f"Parcels left two days late [{late}]. In March 41 customers complained [{letters}] [9]."

    answer, prompt = answered("content", tmp_path, "delays in the northern warehouse", reply)
    assert "Topic: delays in the northern warehouse" in prompt
    assert len(answer["citations"]) == 2 and answer["removed_citations"] == 1  # type: ignore[arg-type]
    assert set(TEMPLATES) == {"answer", "summarise", "translate"}
