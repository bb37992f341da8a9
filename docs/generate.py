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
from bakeoff.evaluation.study import CANARY_METHODS
from bakeoff.parts import TOOLS
from bakeoff.systems import RAG, Prompt, ReAct
from bakeoff.tuning import replay

HERE = Path(__file__).parent
SOURCES = """\
### Sources

A source is a file, a folder, a database or a page; paths are relative to the project. `name=` in front says what it is
called, and so how the ids of its documents begin. `${NAME}` comes from the environment: no password need stand here.

```toml
[corpus]
sources = [
    "documents",
    "sqlite:///shop.db",
    "stock=postgresql://reader:${SHOP_PASSWORD}@db.example/shop?table=stock",
    "tickets=mysql://reader:${SHOP_PASSWORD}@db.example/shop?query=tickets.sql&key=id&updated=changed_at",
]
```

Each row of a database is a document `source/table/key`, or `source/tickets/key` for the query `tickets.sql`. Its text
is a line `column: value` for each value; NULL is left out, and of bytes that are no text only their number is shown.

| option of a database | what it says |
|---|---|
| `table=orders` | One table or view, on a server also `sales.orders`; by default all tables, no views. |
| `query=tickets.sql` | A file with one SELECT, whose rows become documents. |
| `key=id`, `key=order,line` | The columns that tell rows apart: a query needs them, a table has its primary key. |
| `updated=changed_at` | A column that changes whenever its row does, such as a time or a version: rows in which it \
is as it was are not read again. |

Rows of a table or view with neither a primary key nor `key=` are called by their content, so a row that changes becomes
another document. Two rows with one key are an error. Where `updated` is NULL, the row is read and compared. What
changes without it - in another table of a join, or twice in a second of a clock of whole seconds - is not seen; without
this option, everything is.

Databases are only read. The database itself enforces it: a SQLite file is opened read-only and allows nothing but
SELECT, servers run one statement at a time in a read-only transaction; a role that may only SELECT is better still. A
statement has 60 seconds to give its next rows (on MySQL and MariaDB: all of them), and a table or query may have
1,000,000. All are read before the first is indexed, so a fault changes nothing. Passwords are neither stored in the
index nor shown.
"""

COSTS = """\
All are in dollars. A model that is asked over an endpoint costs its tokens: fresh, cached and written ones are measured,
their prices come from genai-prices (in the extra `openai`), or from `models`, where you pay something else or it is not
known. A model on your own machine costs the seconds that it is busy, which are measured, at `device_hour / utilisation`: an
idle hour is paid too. Training and indexing keep the machine busy, and are priced without idle time.

```toml
[costs]
device_hour = 0.50          # what an hour of the machine costs you
utilisation = 0.3           # the share of the time in which it has work
questions = 100000          # asked over the life of the system; what was built is spread over them
changes = 500               # of a document in that time, which answers must follow
wrong_answer = 0.05         # what a wrong answer costs you
labour_hour = 40.0          # and what an hour of those who write examples does
labelling_minutes = 2.0     # for one example

[costs.models]
"my-model" = {input = 0.15, cached = 0.075, output = 0.6}    # for a million tokens
```

Once `device_hour` is given or the price of an endpoint is known, dollars say which of two systems is cheaper; until then
prompt-token equivalents do, in which the noise of the clock has no say. What building took is noted in `ledger.jsonl` as it
happens: indexing, drafting, and all trainings of a checkpoint, those that were thrown away included. The evaluation itself
is no part of what a system costs, and is shown apart.

To follow a change, what reads documents indexes one again - its seconds are those of `bakeoff freshness` where that was run,
else the mean of indexing - and what was tuned without documents trains again, as long as it took the last time; the new
questions that it would need for that are not counted. All `changes` are part of the total over the life and of the break-even.
"""

SEARCHED = {"retriever": "hybrid", "rewrite": "earlier", "expand": "none", "hops": 1}
"""Their other values are named when a wrong one is given."""


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
    for section in (config.Corpus, config.Retrieval, config.Examples, config.Compare, config.Costs):
        pages.append(f"## [{section.__name__.lower()}]\n\n{_fields(section)}\n")
        pages += [SOURCES] if section is config.Corpus else [COSTS] if section is config.Costs else []
    for kind, system, extra in (
        ("prompt", Prompt, {"shots": 0, "tuned": ""}),
        ("rag", RAG, {**SEARCHED, "fallback": "", "tuned": ""}),
        ("react", ReAct, {"tools": list(TOOLS), "retriever": "hybrid", "tuned": ""}),
    ):
        pages.append(f'## [systems.NAME] with type = "{kind}"\n\n{_parameters(system.__init__, extra)}\n')
    pages.append('## [systems.NAME] with type = "classifier"\n\nOnly `tuned`, a checkpoint of the method `head`.\n')
    for metric in plugins.names("metrics"):
        if make := getattr(plugins.module("metrics", metric), "make", None):
            pages.append(f"## [metrics.{metric}]\n\n{_parameters(make, {})}\n")
    for method in plugins.names("methods"):
        function = plugins.get("methods", method)
        pages.append(f'## [tune.NAME] with method = "{method}"\n\n{_parameters(function, _around(method))}\n')
    return "\n".join(pages)


def _around(method: str) -> dict[str, object]:
    """Keys of a table that the project reads, before the method's own."""
    found: dict[str, object] = {"paraphrases": 0} if method == "pretrain" else {"lesson": ""}
    found |= {"canaries": True} if method in CANARY_METHODS else {}
    return found | ({"replay": 0.0, "replay_from": ""} if method in replay.METHODS else {})


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
