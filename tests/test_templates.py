"""Templates of the RAG system, and the examples that show them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

import scripted_endpoint
from bakeoff import cli
from bakeoff.errors import ConfigError, UnknownNameError
from bakeoff.models.generators.scripted import Generator
from bakeoff.project import Project
from bakeoff.systems import RAG
from bakeoff.systems.templates import TEMPLATES
from bakeoff.types import Message
from test_systems import TITAN, Listener, Shelf

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_summary_is_long_cites_and_is_of_nothing_where_nothing_is_found() -> None:
    listener = Listener("word " * 99 + "The Titan weighs 90 grams [1].")
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
    """An example's folder, with doubles in place of its models."""
    shutil.copytree(EXAMPLES / name, folder / name)
    toml = folder / name / "bakeoff.toml"
    text = toml.read_text().replace('base = "smollm2-135m"', f'base = "{base}"')
    toml.write_text(text.replace("[corpus]\n", '[corpus]\nembedder = "hashing"\n'))
    return folder / name


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_every_example_is_sound_and_can_be_compared(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path, "scripted")
    assert "0 failed" in run(folder, "ingest")
    assert "\nno problems found\n" in run(folder, "check")
    assert "report:" in run(folder, "compare")


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
    answer, prompt = answered("translate", tmp_path, "The warranty covers the dimmer.", lambda _: reply)
    assert answer["text"] == reply
    assert "Dimmsteller" in prompt and "Die Gewährleistung dauert zwei Jahre." in prompt and "German" in prompt


def test_the_example_of_a_summary_cites_its_documents(tmp_path: Path) -> None:
    def reply(prompt: str) -> str:
        late, letters = (
            re.findall(rf"\[(\d)\][^\[]*{words}", prompt)[0] for words in ("two days late", "41 customers")
        )
        return f"Parcels left two days late [{late}]. In March 41 customers complained [{letters}] [9]."

    answer, prompt = answered("summarise", tmp_path, "delays in the northern warehouse", reply)
    assert "Topic: delays in the northern warehouse" in prompt
    assert len(answer["citations"]) == 2 and answer["removed_citations"] == 1  # type: ignore[arg-type]
    assert set(TEMPLATES) == {"answer", "summarise", "translate"}
