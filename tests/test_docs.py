"""The documentation is executed, or generated and compared."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["cli.md", "plugins.md", "configuration.md"])
def test_generated_pages_are_up_to_date(generate: ModuleType, page: str) -> None:
    pytest.importorskip("torch")
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == generate.PAGES[page](), "run `make docs`"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def bakeoff(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = shlex.split(command, comments=True)
    code = "from bakeoff.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_commands_of_the_readme_run(tmp_path: Path) -> None:
    (commands,) = [block for block in blocks("bash") if "bakeoff init company" in block]
    folder = tmp_path
    for line in commands.splitlines():
        if line.startswith("cd "):
            folder = folder / line.split()[1]
        elif not line.startswith("bakeoff compare"):  # `make demo` runs it; it trains for minutes
            result = bakeoff(line, folder)
            assert result.returncode == 0, f"{line}: {result.stderr}"
            assert result.stdout.strip(), line
    # After install, the first cited answer comes offline.
    assert re.search(
        r"\[\d\] documents/", bakeoff('bakeoff ask "How long is the warranty on the Titan lamp?"', folder).stdout
    )


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    (code,) = blocks("python")
    demo = ROOT / "src" / "bakeoff" / "demo"
    shutil.copytree(demo / "documents" / "policies", tmp_path / "documents")
    shutil.copyfile(demo / "shop.db", tmp_path / "shop.db")
    shutil.copyfile(demo / "questions.jsonl", tmp_path / "questions.jsonl")
    code = code.replace("data.test[:10]", "data.test[:2]")
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "few-shot" in result.stdout and "rag" in result.stdout


def test_the_question_of_the_readme_is_a_valid_one(tmp_path: Path) -> None:
    from bakeoff.examples import load_examples

    (line,) = blocks("json")
    (tmp_path / "q.jsonl").write_text(line)
    assert load_examples(tmp_path / "q.jsonl")[0].references == ("nobody",)


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_all_that_the_documents_link_to_is_there() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target, _, part in re.findall(r"\]\((?!http)([^)#]*)(#([^)]*))?\)", page.read_text(encoding="utf-8")):
            place = page.parent / target if target else page
            assert place.exists(), f"{page.name} links to {target}"
            assert not part or place.suffix != ".md" or part in anchors(place), f"{page.name} links to {target}#{part}"


def test_every_dependency_is_named_with_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    reasons = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for requirement in listed:
        name = re.split(r"[<>=~!;\[ ]", requirement)[0]
        assert name in reasons, name
        assert "<" in requirement or name == "xllamacpp", f"{requirement} is not bounded"


def test_no_command_writes_outside_its_project_or_needs_a_home(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path / "nohome"), "BAKEOFF_CACHE": str(tmp_path / "cache")}
    code = "from bakeoff.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "list", "metrics"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0
    assert not (tmp_path / "nohome").exists()


def test_every_method_is_in_the_table_of_methods() -> None:
    from bakeoff import plugins

    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in page for name in plugins.names("methods"))


def test_the_doctor_knows_every_extra() -> None:
    import tomllib

    from bakeoff.doctor import EXTRAS

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"])
