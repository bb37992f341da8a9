from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.config import read
from bakeoff.errors import ConfigError
from bakeoff.project import Project


def write(folder: Path, text: str) -> Path:
    (folder / "bakeoff.toml").write_text(text)
    return folder


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    config = read(write(tmp_path, ""))
    assert (config.base, config.corpus.embedder, config.compare.metrics[0]) == ("smollm2-135m", "minilm-int8", "recall")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("bse = 'x'", "unknown key in bakeoff.toml: 'bse': did you mean 'base'?"),
        ("[corpus]\nsorces = []", "unknown key in bakeoff.toml [corpus]: 'sorces'"),
        ("seed = 'x'", "bakeoff.toml seed is 'x', but must be of type int"),
        ("[corpus]\nsources = 'docs'", "[corpus] sources is 'docs', but must be of type list"),
        ("corpus = 3", "bakeoff.toml corpus is 3"),
        ("[oops", "is not TOML"),
        ("[systems.a]\ntype = 'rug'", "unknown system type 'rug': did you mean 'rag'?"),
        ("[systems.a]", "unknown system type ''"),
        ("[systems.a]\ntype = 'rag'\nkk = 3", "unknown option in bakeoff.toml [systems.a]: 'kk'"),
        ("[systems.a]\ntype = 'rag'\nk = '3'", "[systems.a].k is '3', but must be of type int"),
        ("[systems.a]\ntype = 'prompt'\ntuned = 'x'", "unknown checkpoint 'x'"),
        (
            "[systems.a]\ntype = 'rag'\nexpand = 'hide'",
            "[systems.a].expand: unknown value 'hide': did you mean 'hyde'?",
        ),
        ("[systems.a]\ntype = 'rag'\nrewrite = 'yes'", "known are earlier, model, none"),
    ],
)
def test_a_wrong_key_is_one_line_with_its_path(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Project(write(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_folder_without_a_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="run `bakeoff init`"):
        Project(tmp_path)
