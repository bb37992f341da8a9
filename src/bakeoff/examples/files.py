"""The rows of JSONL, JSON, CSV, TSV and Parquet files, of folders of them, and of data sets of the hub."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from bakeoff.errors import DataError, MissingPackageError

HUB = "datasets:"
"""Before the name of a data set, as in `datasets:owner/name?name=config&split=train`."""
PARTS = {"train": "train", "valid": "valid", "validation": "valid", "dev": "valid", "test": "test"}
"""What others call a part -> what we call it."""
TABLES = (".csv", ".tsv")
SUFFIXES = (".jsonl", ".ndjson", ".json", *TABLES, ".parquet")
SAMPLE = '{"question": "Who may travel first class?", "references": ["nobody"]}'


@dataclass(frozen=True, slots=True)
class Row:
    """One record, and where it stands."""

    file: str
    place: str
    """As in `line 12` or `row 12`."""
    number: int
    values: Mapping[str, Any]
    part: str = ""
    """`train`, `valid` or `test`, where the file's name says so."""

    @property
    def where(self) -> str:
        """For messages: `questions.jsonl:12`, or `questions.parquet row 12`."""
        return f"{self.file}:{self.number}" if self.place.startswith("line") else f"{self.file} {self.place}"


def read(path: str) -> Iterator[Row]:
    """The records of a file, a folder or a data set; raises `DataError` with file, line and cure."""
    if path.startswith(HUB):
        return _data_set(path)
    if Path(path).is_dir():
        return _folder(Path(path))
    return _file(Path(path))


def _file(path: Path) -> Iterator[Row]:
    if not path.is_file():
        raise DataError(f"there is no question file {path}; make one, a JSON object a line: {SAMPLE}")
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _csv(path)
    if suffix == ".parquet":
        return _parquet(path)
    text = _text(path)
    # Many a .json file of the hub is JSON Lines.
    return _json(path, text) if suffix == ".json" and text.lstrip()[:1] == "[" else _json_lines(path, text)


def _folder(path: Path) -> Iterator[Row]:
    """A data set saved to disk, or files named after their part: train.jsonl, valid.jsonl, test.jsonl."""
    if (path / "dataset_dict.json").is_file() or (path / "dataset_info.json").is_file():
        yield from _saved(path)
        return
    names = [f"{name}{suffix}" for name in PARTS for suffix in SUFFIXES]
    found = {path / name: PARTS[name.partition(".")[0]] for name in names if (path / name).is_file()}
    if not found:
        raise DataError(f"{path} holds no train, valid or test file ({', '.join(SUFFIXES)}); name a file instead")
    for file, part in found.items():
        for row in _file(file):
            yield replace(row, part=part)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error


def _json_lines(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except RecursionError as error:
            raise DataError(f"{path}:{number}: nested too deeply; write it flatter") from error
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON ({error.msg}); write one object a line: {SAMPLE}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}:{number}: not a JSON object; write {SAMPLE}")
        yield Row(str(path), f"line {number}", number, row)


def _json(path: Path, text: str) -> Iterator[Row]:
    try:
        rows = json.loads(text)
    except RecursionError as error:
        raise DataError(f"{path}: nested too deeply; write it flatter") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON ({error.msg}); write a list of objects") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise DataError(f"{path} row {number}: not a JSON object; write {SAMPLE}")
        yield Row(str(path), f"row {number}", number, row)


def _csv(path: Path) -> Iterator[Row]:
    text = _text(path)
    # Spreadsheets of half of Europe write semicolons.
    separator = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(StringIO(text, newline=""), delimiter=separator, restkey="")
    try:
        for row in reader:
            if "" in row:
                raise DataError(
                    f"{path}:{reader.line_num}: more cells than the header has; quote cells that hold the separator"
                )
            values = {key: value for key, value in row.items() if value not in (None, "")}
            yield Row(str(path), f"line {reader.line_num}", reader.line_num, values)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not CSV ({error}); save it as CSV or JSONL again") from error


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"{path}", "pyarrow", "datasets") from error
    try:
        file = parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} is not a readable Parquet file ({reason}); write it again") from error
    number = 0
    for batch in file.iter_batches():
        for values in batch.to_pylist():
            number += 1
            yield Row(str(path), f"row {number}", number, values)


def _saved(path: Path) -> Iterator[Row]:
    return _rows(_package(str(path)).load_from_disk(str(path)), str(path))


def _data_set(name: str) -> Iterator[Row]:
    """Of the hub, or of a local folder of data files; what was fetched once is read without a network."""
    address, _, query = name.removeprefix(HUB).partition("?")
    options = dict(parse_qsl(query))
    unknown = sorted(set(options) - {"name", "split", "revision"})
    if unknown:
        raise DataError(f"{name}: unknown option {unknown[0]!r}; known are name, revision, split")
    package = _package(name)
    try:
        found = package.load_dataset(address, **options)
    except Exception as error:  # files, network and the hub: it raises what they raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{name} cannot be loaded: {reason}; check the name, connect once, or name a local file"
        ) from error
    return _rows(found, name)


def _package(wanted_by: str) -> Any:
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingPackageError(wanted_by, "datasets", "datasets") from error
    datasets.disable_progress_bars()
    return datasets


def _rows(found: Any, name: str) -> Iterator[Row]:
    """Of one table, or of several by split; numbered classes get their names."""
    tables = found if isinstance(found, dict) else {"": found}
    for split, table in tables.items():
        part = PARTS.get(split, "")
        if split and not part:
            raise DataError(f"{name} has a split {split!r}, which is none of {', '.join(PARTS)}; add ?split=train")
        names = {column: kind.names for column, kind in table.features.items() if hasattr(kind, "names")}
        for number, row in enumerate(table, start=1):
            # -1 stands for a class that was held back.
            values = {column: row[column] for column in names if row[column] not in (None, -1)}
            classes = {column: names[column][value] for column, value in values.items()}
            place = f"{split} row {number}".strip()
            yield Row(name, place, number, {**row, **classes}, part)
