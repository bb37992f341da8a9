"""The whole road on the demo company, with doubles in place of models."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from threading import Event, Timer

import pytest
from typer.testing import CliRunner

from bakeoff import cli
from bakeoff.corpus.access import require_fit
from bakeoff.corpus.addresses import parse
from bakeoff.errors import BakeoffError, ConfigError, DataError
from bakeoff.project import Project
from bakeoff.retrieval.features import NAMES
from bakeoff.retrieval.fitting import Fit


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The real command, in a process of its own."""
    command = [sys.executable, "-c", "from bakeoff.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def table(folder: Path) -> str:
    from bakeoff.evaluation.compare import load

    return load(folder / "runs" / "latest").table_text(timings=False)


def test_the_demo_documents_are_all_read_and_hold_all_evidence(project: Path) -> None:
    this = Project(project)
    changes = this.ingest()
    assert not changes.failed
    assert len(changes.added) == 29 + 32  # files, and rows of two tables
    problems = this.check().problems
    assert not [problem for problem in problems if problem.kind == "quote-missing" or problem.severity == "error"]


def test_compare_does_everything_and_a_second_call_asks_nothing_again(project: Path) -> None:
    first = run(project, "compare")
    assert first.returncode == 0, first.stderr
    assert "report: runs/latest/report.html" in first.stdout
    trials = (project / "runs/latest/trials.jsonl").read_text()
    again = run(project, "compare")
    assert again.stdout == first.stdout
    assert (project / "runs/latest/trials.jsonl").read_text() == trials
    html = (project / "runs/latest/report.html").read_text()
    assert "zero-shot" in html and "rag" in html and "http://" not in html


def test_the_same_seed_gives_the_same_table_byte_for_byte(project: Path) -> None:
    Project(project).compare()
    first = table(project)
    Project(project).compare(fresh=True)
    assert table(project) == first


def test_kill_in_the_middle_of_compare_loses_and_repeats_nothing(project: Path, tmp_path: Path) -> None:
    Project(project).compare(run="whole")
    asked = tmp_path / "asked.txt"
    code = (
        "import sys, time\n"
        "from bakeoff.project import Project\n"
        "from bakeoff.systems import prompt\n"
        "plain = prompt.Prompt.answer\n"
        "def slow(self, question):\n"
        "    time.sleep(0.02)\n"
        f"    open({str(asked)!r}, 'a').write(str(question) + chr(10))\n"
        "    return plain(self, question)\n"
        "prompt.Prompt.answer = slow\n"
        f"Project({str(project)!r}).compare()\n"
    )
    trials = project / "runs/latest/trials.jsonl"
    for kept in (5, 20):
        process = subprocess.Popen([sys.executable, "-c", code])
        deadline = time.monotonic() + 60
        while not trials.is_file() or trials.read_text().count("\n") < kept:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([sys.executable, "-c", code], check=True)
    rows = [json.loads(line) for line in trials.read_text().splitlines()]
    pairs = [(row["system"], row["example_id"]) for row in rows]
    assert len(pairs) == len(set(pairs)) == 2 * len(Project(project).split.test)
    # Only the question in hand at each of the two kills may have been put twice: its answer was never recorded.
    questions = asked.read_text().splitlines()
    assert len(questions) - len(set(questions)) <= 2
    from bakeoff.evaluation.compare import load

    assert table(project) == load(project / "runs" / "whole").table_text(timings=False)


def test_a_run_of_other_documents_is_refused_before_anything_is_trained(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Project(project).compare(["rag"])
    settings = project / "bakeoff.toml"
    written = (
        settings.read_text() + '\n[tune.lora]\nmethod = "lora"\n[systems.tuned]\ntype = "prompt"\ntuned = "lora"\n'
    )
    settings.write_text(written)
    (project / "documents" / "new.md").write_text("# New\n\nThe canteen opens at seven.\n")

    def train(*_: object, **__: object) -> None:
        raise AssertionError("trained before the run was looked at")

    monkeypatch.setattr(Project, "tune", train)
    with pytest.raises(ConfigError, match=r"answers of 'rag' with other settings.*--fresh"):
        Project(project).compare(["rag", "tuned"])
    with pytest.raises(AssertionError):
        Project(project).compare(["rag", "tuned"], fresh=True)


def test_a_comparison_says_which_documents_it_could_not_read(project: Path) -> None:
    (project / "documents" / "scan.pdf").write_bytes(b"%PDF-1.7 cut off")
    result = run(project, "compare", "rag", "--limit", "3")
    assert "1 document could not be read: documents/scan.pdf: " in result.stdout
    for name in ("report.html", "report.md"):
        assert "1 document could not be read" in (project / "runs/latest" / name).read_text()
    (project / "documents" / "scan.pdf").unlink()
    assert "could not be read" not in run(project, "compare", "rag", "--limit", "3", "--fresh").stdout


def test_a_full_disk_while_indexing_is_one_line_and_loses_nothing(project: Path) -> None:
    this = Project(project)
    this.ingest("documents/policies")
    held = this.corpus.store.ids()
    code = (
        "import resource, signal\n"
        "from bakeoff.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "main()\n"
    )
    assert resource.RLIM_INFINITY  # the limit is set in the child only
    result = subprocess.run(
        [sys.executable, "-c", code, "ingest"], cwd=project, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: the index") and "free some space" in result.stderr
    assert result.stderr.count("\n") == 1
    fresh = Project(project)
    assert set(held) <= set(fresh.corpus.store.ids())
    assert not fresh.corpus.store.check()
    assert not fresh.ingest().failed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ask", "Who?"], "the index is empty; run `bakeoff ingest` first"),
        (["ask", " "], "the question is empty; ask something, in quotes if it has spaces"),
        (["search", ""], "the question is empty; ask something, in quotes if it has spaces"),
        (["search", "x", "--retriever", "bm26"], "the index is empty"),
        (["ingest", "nowhere"], "there is no source ./nowhere" if os.sep == "/" else ""),
        (["compare", "rug"], "unknown system 'rug': did you mean 'rag'?"),
        (["tune", "x"], "unknown checkpoint 'x'"),
        (["report"], "there is no run 'latest'"),
        (["report", "--run", "../elsewhere"], "'../elsewhere' is not a name for a run"),
        (["list", "metric"], "unknown kind 'metric': did you mean 'metrics'?"),
        (["init", "."], "bakeoff.toml exists already"),
        (["check", "-C", "elsewhere"], "there is no bakeoff.toml"),
    ],
)
def test_a_mistake_is_one_line_with_the_cure(project: Path, arguments: list[str], says: str) -> None:
    result = run(project, *arguments)
    assert result.returncode == 1
    assert says.replace("./", "") in result.stderr.replace("./", "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""


def test_an_unknown_metric_a_bad_question_file_and_a_corrupt_pdf_are_told(project: Path) -> None:
    toml = project / "bakeoff.toml"
    toml.write_text(toml.read_text() + '[compare]\nmetrics = ["recal"]\n')
    result = run(project, "compare")
    assert "unknown metric 'recal': did you mean 'recall'?" in result.stderr
    (project / "documents" / "torn.pdf").write_bytes(b"%PDF-1.4 torn")
    result = run(project, "ingest")
    assert result.returncode == 0
    assert "1 failed" in result.stdout and "failed: documents/torn.pdf: not a readable PDF" in result.stderr
    (project / "questions.jsonl").write_text('{"qestion": "?"}\n')
    assert "unknown column 'qestion'" in run(project, "check").stderr
    assert len(Project(project).corpus.store.ids()) == 61


def test_commands_print_json(project: Path) -> None:
    assert len(json.loads(run(project, "ingest", "--json").stdout)["added"]) == 61
    assert json.loads(run(project, "search", "gift wrapping", "-k", "2", "--json").stdout)[1]["chunk"]["document_id"]
    assert json.loads(run(project, "ask", "Who?", "--json").stdout)["outcome"] == "abstained"
    assert json.loads(run(project, "check", "--json").stdout) is not None
    assert "recall" in json.loads(run(project, "list", "metrics", "--json").stdout)["metrics"]
    assert all(finding["ok"] for finding in json.loads(run(project, "doctor", "--json").stdout))


def test_doctor_finds_a_damaged_index(project: Path) -> None:
    this = Project(project)
    this.ingest()
    this.corpus.store.close()  # brings the write-ahead log home
    path = project / "index" / "corpus.db"
    data = bytearray(path.read_bytes())
    for page in range(8, len(data) // 4096, 7):
        data[4096 * page : 4096 * page + 2000] = b"\xff" * 2000
    path.write_bytes(data)
    result = run(project, "doctor")
    assert result.returncode == 1
    assert "BAD" in result.stdout and "run `bakeoff ingest`" in result.stdout


def test_a_changed_document_makes_an_earlier_run_refuse_to_resume(project: Path) -> None:
    Project(project).compare()
    (project / "documents" / "policies" / "travel.md").write_text("# Travel\nNobody travels.\n")
    with pytest.raises(ConfigError, match="fresh"):
        Project(project).compare()
    Project(project).compare(fresh=True)


def test_init_makes_a_project_that_is_complete(tmp_path: Path) -> None:
    runner = CliRunner()
    result = runner.invoke(cli.app, ["init", str(tmp_path / "new"), "--demo", "--no-weights"])
    assert result.exit_code == 0, result.output
    this = Project(tmp_path / "new")
    assert list(this.config.systems) == ["zero-shot", "few-shot", "rag", "lora", "lora-rag"]
    with pytest.raises(BakeoffError, match="exists already"):
        from bakeoff.scaffold import create

        create(tmp_path / "new", demo=True, weights=False, progress=lambda done, total, text: None)


def test_watching_follows_what_changes_until_it_is_stopped(project: Path) -> None:
    stop = Event()
    seen = Project(project).watch("documents", stop=stop)
    assert next(seen).added
    Timer(0.5, (project / "documents" / "new.md").write_text, ["# New\n\nA quokka lamp."]).start()
    assert next(seen).added == ("documents/new.md",)
    stop.set()
    assert list(seen) == []


def test_watching_outlives_a_source_that_is_away_for_a_moment(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, plain = Event(), Project.ingest
    seen = Project(project).watch("documents", stop=stop)
    assert next(seen).added

    def away(self: Project, *sources: str) -> None:
        monkeypatch.setattr(Project, "ingest", plain)
        raise DataError("there is no source documents; name a folder")

    monkeypatch.setattr(Project, "ingest", away)
    Timer(0.3, (project / "documents" / "new.md").write_text, ["# New"]).start()
    assert next(seen).failed == {"ingest": "there is no source documents; name a folder"}
    Timer(0.3, (project / "documents" / "newer.md").write_text, ["# Newer"]).start()
    assert next(seen).added == ("documents/new.md", "documents/newer.md")
    stop.set()
    assert list(seen) == []


def test_watching_follows_a_single_file_and_a_database_whose_changes_lie_in_its_log(project: Path) -> None:
    def save(text: str) -> None:
        """As editors do it."""
        (project / "new").write_text(text)
        (project / "new").replace(note)

    def commit() -> None:
        with sqlite3.connect(project / "log.db") as other:
            other.execute("INSERT INTO lamps VALUES (2, 'Luna')")
        other.close()

    note, stop = project / "note.md", Event()
    note.write_text("One.")
    with closing(sqlite3.connect(project / "log.db")) as connection:  # while it is open, its log stays
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE lamps (id INTEGER PRIMARY KEY, name TEXT)")
        connection.execute("INSERT INTO lamps VALUES (1, 'Titan')")
        connection.commit()
        late = Timer(30, stop.set)
        late.start()
        seen = Project(project).watch("note.md", "sqlite:///log.db", stop=stop)
        assert next(seen).added == ("note.md", "log.db/lamps/1")
        for number in ("Two.", "Three."):
            Timer(0.2, save, [number]).start()
            assert next(seen).updated == ("note.md",)
        Timer(0.2, commit).start()
        assert next(seen).added == ("log.db/lamps/2",)
        Timer(1.5, stop.set).start()
        assert list(seen) == []  # its own reading is no change
        late.cancel()


def test_only_files_can_be_watched(project: Path) -> None:
    with pytest.raises(ConfigError, match="no files among the sources to watch"):
        next(Project(project).watch("https://docs.example/"))


def test_a_forgotten_source_leaves_the_index(project: Path) -> None:
    this = Project(project)
    this.ingest()
    held = this.corpus.store.sources()
    assert this.forget("shop.db") == held["shop.db"]
    assert this.corpus.store.sources() == {"documents": held["documents"]}


def test_a_forgotten_document_is_said_to_stand_in_the_runs_that_quote_it(project: Path) -> None:
    this = Project(project)
    this.compare(["rag"], limit=8, run="quoting")
    this.compare(["zero-shot"], limit=1, run="closed")
    evidence = {one.document_id for one in this.split.test[0].evidence}
    hits = [hit for trial in this.rescore("quoting").trials for hit in trial.answer.hits]
    document = next(hit.chunk.document_id for hit in hits if hit.chunk.document_id not in evidence)
    assert this.quoting(min(evidence)) == [Path("runs/closed"), Path("runs/quoting")]  # as what should be found
    assert this.quoting(document[:-1]) == []
    told = run(project, "forget", document)
    assert "forgotten: 1 document;" in told.stdout
    assert told.stdout.splitlines()[-1] == "still quoted, delete next: runs/quoting"
    assert json.loads(run(project, "forget", "documents", "--json").stdout)["quoting"] == [
        "runs/closed",
        "runs/quoting",
    ]
    shutil.rmtree(project / "runs")
    assert this.quoting("documents") == []


def test_groups_of_the_configuration_are_kept_in_search(project: Path) -> None:
    with (project / "bakeoff.toml").open("a") as file:
        file.write('[corpus.access]\n"documents/policies/*" = ["staff"]\n')
    this = Project(project)
    this.ingest()
    found = [
        {hit.chunk.document_id for hit in this.search("policy", 500, groups=groups)} for groups in (None, [], ["staff"])
    ]
    assert any("/policies/" in id for id in found[0]) and not any("/policies/" in id for id in found[1])
    assert found[2] == found[0]


def test_access_that_is_no_list_of_groups_is_refused(project: Path) -> None:
    with (project / "bakeoff.toml").open("a") as file:
        file.write('[corpus.access]\n"hr/*" = "staff"\n')
    with pytest.raises(ConfigError, match=r"\[corpus\] \[access\] 'hr/\*' is 'staff', but must be of type list"):
        Project(project)


def test_a_rule_that_names_nobody_or_counts_nowhere_is_refused(project: Path) -> None:
    plain = (project / "bakeoff.toml").read_text()
    (project / "bakeoff.toml").write_text(f'{plain}[corpus.access]\n"documents/policies/*" = []\n')
    with pytest.raises(ConfigError, match="names no group that may read it, and would leave it open to all"):
        Project(project)
    rules = '"documents/*" = ["all"]\n"documents/policies/*" = ["hr"]\n'
    (project / "bakeoff.toml").write_text(f"{plain}[corpus.access]\n{rules}")
    with pytest.raises(ConfigError, match='"documents/policies/.*" counts nowhere, for "documents/.*" comes before it'):
        Project(project).ingest()
    (project / "bakeoff.toml").write_text(f'{plain}[corpus.access]\n"documents/policies/*" = ["hr"]\n')
    with pytest.raises(ConfigError, match="lies in the source 'documents'"):
        Project(project).ingest("documents/policies")
    Project(project).ingest("documents", dry_run=True)


@pytest.mark.parametrize(("pattern", "cure"), [
    ("policies/*", 'ids begin with a source: write "documents/policies/*"'),
    ("orders/*", 'ids begin with a source: write "shop.db/orders/*"'),
    ("documents/Policies/*", 'the nearest id is "documents/policies/'),
    ("shop.db/order/*", 'the nearest id is "shop.db/orders/"'),
])  # fmt: skip
def test_access_that_fits_nothing_is_refused_before_anything_can_be_searched(
    pattern: str, cure: str, project: Path
) -> None:
    rules = f'[corpus.access]\n"documents/*.md" = ["all"]\n"{pattern}" = ["staff"]\n'
    with (project / "bakeoff.toml").open("a") as file:
        file.write(rules)
    this = Project(project)
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match=re.escape(f'[corpus.access] "{pattern}" fits no document')) as caught:
            this.ingest(dry_run=dry_run)
        assert cure in str(caught.value) and "\n" not in str(caught.value)
    assert this.corpus.store.ids() == []


def test_access_that_speaks_of_what_is_or_may_come_is_taken(project: Path) -> None:
    patterns = [
        "documents/hr/*",  # its folder is still empty
        "shop.db/orders/7",
        "*.md",
        "wiki.example/*",
        "docs.example/*",
        "note.md",
    ]
    (project / "documents" / "hr").mkdir()
    (project / "note.md").write_text("Noted.")
    (project / "wiki").mkdir()
    (project / "wiki" / "a.md").write_text("Alpha.")
    sources = [*Project(project)._sources(()), parse("https://docs.example/sitemap.xml")]
    sources += [parse(source, project) for source in ("note.md", "wiki.example=wiki")]
    for pattern in patterns:
        require_fit([pattern], sources)
    with pytest.raises(ConfigError, match='"wiki/\\*" fits no document'):
        require_fit([*patterns, "wiki/*"], sources)


def test_calibration_is_kept_for_what_it_was_fitted_to_and_used_by_the_system(project: Path) -> None:
    this = Project(project)
    this.ingest()
    with pytest.raises(ConfigError, match="retrieves nothing to judge"):
        this.calibrate("zero-shot")
    found = this.calibrate("rag")
    assert found.decider.n >= 40 and found.curve[-1][0] == 1.0
    assert vars(this.system("rag"))["_decider"] == found.decider
    (project / "documents" / "new.md").write_text("Another lamp.")
    this = Project(project)
    this.ingest()
    assert vars(this.system("rag"))["_decider"] is None  # fitted to another corpus


def test_what_a_system_depends_on_is_in_its_settings(project: Path) -> None:
    toml = project / "bakeoff.toml"
    written = (
        toml.read_text().replace('type = "rag"', 'type = "rag"\nretriever = "reranked"\nfallback = "few-shot"')
        + '[systems.few-shot]\ntype = "prompt"\nshots = 2\n[retrieval]\ndepth = 50\n'
    )
    toml.write_text(written)
    Project(project).ingest()

    def settings(system: str) -> object:
        return Project(project)._settings(system)

    seen = [settings("rag")]
    (project / "reranker.json").write_text("{}")
    seen.append(settings("rag"))
    toml.write_text(written.replace("depth = 50", "depth = 5"))
    seen.append(settings("rag"))
    toml.write_text(written.replace("shots = 2", 'shots = 2\ninstruction = "Say it in French."'))
    seen.append(settings("rag"))
    toml.write_text(written)
    before = settings("few-shot"), settings("zero-shot")
    shown = Project(project).split.train[0]
    questions = project / "questions.jsonl"
    rows = [json.loads(line) for line in questions.read_text().splitlines()]
    corrected = [{**row, "references": ["corrected"]} if row["question"] == shown.question else row for row in rows]
    questions.write_text("".join(json.dumps(row) + "\n" for row in corrected))
    assert Project(project).split.train[0].references == ("corrected",)
    assert settings("few-shot") != before[0] and settings("zero-shot") == before[1]
    seen.append(settings("rag"))
    assert all(one != other for one, other in combinations(seen, 2))


def test_a_decider_over_reranked_passages_is_used_as_soon_as_it_is_fitted(project: Path) -> None:
    toml = project / "bakeoff.toml"
    changed = 'type = "rag"\nmode = "documents"\nretriever = "reranked"'
    toml.write_text(toml.read_text().replace('type = "rag"', changed))
    (project / "reranker.json").write_text(json.dumps(asdict(Fit((0.0,) * len(NAMES), 20, 0.0, -1.0, 1.0))))
    this = Project(project)
    this.ingest()
    found = this.calibrate("rag")
    assert vars(this.system("rag"))["_decider"] == found.decider


@pytest.mark.parametrize(
    ("fallback", "message"),
    [
        ("again", r"\[systems\.rag\] fallback: rag -> again -> rag comes back to itself"),
        ("zero-shoot", r"\[systems\.rag\] fallback: unknown system 'zero-shoot': did you mean 'zero-shot'"),
    ],
)
def test_a_fallback_that_is_not_there_or_asks_itself_is_one_line(project: Path, fallback: str, message: str) -> None:
    toml = project / "bakeoff.toml"
    changed = toml.read_text().replace('type = "rag"', f'type = "rag"\nfallback = "{fallback}"')
    toml.write_text(changed + '[systems.again]\ntype = "rag"\nfallback = "rag"\n')
    with pytest.raises(ConfigError, match=message):
        Project(project)


def test_a_fallback_whose_checkpoint_is_not_there_is_one_line(project: Path) -> None:
    toml = project / "bakeoff.toml"
    changed = toml.read_text().replace('type = "rag"', 'type = "rag"\nmode = "prefer"\nfallback = "tuned"')
    toml.write_text(changed + '[systems.tuned]\ntype = "prompt"\ntuned = "lora"\n[tune.lora]\nmethod = "lora"\n')
    with pytest.raises(ConfigError, match="run `bakeoff tune lora`"):
        Project(project).compare(["rag"])


def test_a_system_that_may_refuse_is_calibrated_by_compare_and_resumed_with_its_decider(project: Path) -> None:
    settings = project / "bakeoff.toml"
    settings.write_text(settings.read_text().replace("[systems.rag]", '[systems.rag]\nmode = "documents"'))
    first = run(project, "compare", "rag")
    assert first.returncode == 0, first.stderr
    held = (project / "deciders" / "rag.json").read_text()
    again = run(project, "compare", "rag")
    assert again.stdout == first.stdout
    assert (project / "deciders" / "rag.json").read_text() == held


def test_commands_that_calibrate_and_attack_say_what_was_found(project: Path) -> None:
    assert run(project, "compare").returncode == 0
    calibrated = run(project, "calibrate", "rag")
    assert calibrated.returncode == 0, calibrated.stderr
    assert "refuses" in calibrated.stdout and "100% answered:" in calibrated.stdout
    attacked = run(project, "attack", "rag", "--limit", "20")
    assert attacked.returncode == 0, attacked.stderr
    assert "of 20 injections" in attacked.stdout and "no promise" in attacked.stdout
    assert "obeyed injections" in run(project, "report").stdout + (project / "runs/latest/report.md").read_text()


def test_an_answer_can_be_explained_and_printed_as_markdown(project: Path) -> None:
    Project(project).ingest()
    explained = run(project, "ask", "How heavy is the Titan lamp?", "--explain")
    assert explained.returncode == 0, explained.stderr
    assert all(f"\n{step}" in explained.stdout for step in ("bm25", "dense", "hybrid", "pack", "prompt", "generate"))
    assert "*(abstained)*" in run(project, "ask", "How heavy is the Titan lamp?", "--markdown").stdout


def test_a_schema_that_cannot_be_read_or_a_mode_that_is_none_is_one_line(project: Path) -> None:
    Project(project).ingest()
    settings = project / "bakeoff.toml"
    plain = settings.read_text()
    settings.write_text(plain.replace("[systems.rag]", '[systems.rag]\nschema = "form.json"'))
    assert "[systems.rag] schema: form.json cannot be read" in run(project, "ask", "?").stderr
    (project / "form.json").write_text('{"type": "object"}')
    before = Project(project)._settings("rag")["form"]
    (project / "form.json").write_text('{"type": "string"}')
    assert Project(project)._settings("rag")["form"] != before  # so that answers of another form are not gone on from
    settings.write_text(plain.replace("[systems.rag]", '[systems.rag]\nmode = "document"'))
    assert "did you mean 'documents'?" in run(project, "ask", "?").stderr


def test_a_source_that_is_configured_no_more_leaves_the_index(tmp_path: Path) -> None:
    for name, price in (("old", 10), ("new", 20)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.md").write_text(f"The lamp costs {price} crowns.")
    (tmp_path / "bakeoff.toml").write_text('[corpus]\nsources = ["old"]\nembedder = "hashing"\n')
    Project(tmp_path).ingest()
    (tmp_path / "bakeoff.toml").write_text('[corpus]\nsources = ["new"]\nembedder = "hashing"\n')
    project = Project(tmp_path)
    assert project.ingest(dry_run=True).removed == ("old/a.md",)
    changes = project.ingest()
    assert (list(changes.added), list(changes.removed)) == (["new/a.md"], ["old/a.md"])
    assert project.corpus.store.ids() == ["new/a.md"]


def test_what_a_document_says_cannot_command_the_terminal(project: Path) -> None:
    (project / "documents" / "hostile.md").write_text("gift \x1b[31mALERT\x1b[0m \x1b]0;pwned\x07 gift gift")
    run(project, "ingest")
    shown = run(project, "search", "gift alert", "--retriever", "bm25").stdout
    assert "ALERT" in shown and "\x1b" not in shown and "\x07" not in shown
