"""Write the generated parts of the documentation: `make docs`. A test holds them against the code."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

os.environ.update(COLUMNS="100", TERM="dumb", NO_COLOR="1")

import typer.main
from click import Context
from typer.testing import CliRunner

from bakeoff import config, plugins
from bakeoff.cli import app
from bakeoff.doctor import catalogue
from bakeoff.project import TOOLS
from bakeoff.systems import RAG, Prompt, ReAct

HERE = Path(__file__).parent


def cli() -> str:
    """The help of every command."""
    commands = typer.main.get_command(app).list_commands(Context(typer.main.get_command(app)))  # type: ignore[attr-defined]
    pages = ["# Commands\n\nWritten by `make docs` from `bakeoff --help`.\n"]
    for command in ["", *commands]:
        result = CliRunner().invoke(app, [*command.split(), "--help"], prog_name="bakeoff")
        lines = "\n".join(line.rstrip() for line in result.output.strip().splitlines())
        pages.append(f"## bakeoff {command}\n\n```text\n{lines}\n```\n".replace("bakeoff \n", "bakeoff\n"))
    return "\n".join(pages)


def plugin_tables() -> str:
    """Every plug-in with the first line of its file."""
    pages = ["# Plug-ins\n\nWritten by `make docs`. The file name is the plug-in's name; see CONTRIBUTING.md.\n"]
    for kind, rows in catalogue(Path("/nonexistent")).items():
        if kind in plugins.KINDS:
            table = "\n".join(f"| `{name}` | {about} |" for name, about in rows.items())
            pages.append(f"## {kind}\n\n| name | what it is |\n|---|---|\n{table}\n")
    return "\n".join(pages)


def configuration() -> str:
    """Every key of bakeoff.toml, from the signatures that define them."""
    pages = ["# bakeoff.toml\n\nWritten by `make docs` from the code. An unknown key or a wrong type is an error.\n"]
    pages.append("| key | default |\n|---|---|\n| `base` | `'smollm2-135m'` |\n| `seed` | `7` |\n")
    for section in (config.Corpus, config.Examples, config.Compare):
        pages.append(f"## [{section.__name__.lower()}]\n\n{_fields(section)}\n")
    for kind, system, extra in (
        ("prompt", Prompt, {"shots": 0, "tuned": ""}),
        ("rag", RAG, {"retriever": "hybrid", "fallback": "", "tuned": ""}),
        ("react", ReAct, {"tools": list(TOOLS), "retriever": "hybrid", "tuned": ""}),
    ):
        pages.append(f'## [systems.NAME] with type = "{kind}"\n\n{_parameters(system.__init__, extra)}\n')
    pages.append('## [systems.NAME] with type = "classifier"\n\nOnly `tuned`, a checkpoint of the method `head`.\n')
    for method in plugins.names("methods"):
        function = plugins.get("methods", method)
        pages.append(f'## [tune.NAME] with method = "{method}"\n\n{_parameters(function, {"lesson": ""})}\n')
    return "\n".join(pages)


def _fields(section: type) -> str:
    defaults = section()
    rows = [f"| `{name}` | `{getattr(defaults, name)!r}` |" for name in section.__dataclass_fields__]
    return "\n".join(["| key | default |", "|---|---|", *rows])


def _parameters(function: object, extra: dict[str, object]) -> str:
    known = inspect.signature(function).parameters  # type: ignore[arg-type]
    plain = {
        name: parameter.default
        for name, parameter in known.items()
        if parameter.kind is parameter.KEYWORD_ONLY and isinstance(parameter.default, str | int | float | bool)
    }
    rows = [f"| `{name}` | `{_short(default)}` |" for name, default in {**extra, **plain}.items() if name != "name"]
    return "\n".join(["| key | default |", "|---|---|", *rows])


def _short(default: object) -> str:
    text = repr(default)
    return text if len(text) < 60 else text[:57] + "..."


PAGES = {"cli.md": cli, "plugins.md": plugin_tables, "configuration.md": configuration}

if __name__ == "__main__":
    for name, write in PAGES.items():
        (HERE / name).write_text(write(), encoding="utf-8")
