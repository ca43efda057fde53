from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import Conflict
from millrace.pipeline.backtest.store import Kept


def test_a_value_comes_back_and_the_same_value_is_the_same_bytes(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    assert kept.read_json("a/b.json") is None
    kept.write_json("a/b.json", {"x": 1, "a": [1.5, None]})
    first = (tmp_path / "a" / "b.json").read_bytes()
    kept.write_json("a/b.json", {"a": [1.5, None], "x": 1})
    assert (tmp_path / "a" / "b.json").read_bytes() == first
    assert kept.read_json("a/b.json") == {"a": [1.5, None], "x": 1}


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    kept = Kept(tmp_path)

    def killed(folder: Path) -> None:
        (folder / "first").write_text("1")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.folder("model", killed)
    assert not (tmp_path / "model").exists()

    made = kept.folder("model", lambda folder: (folder / "second").touch())
    assert [path.name for path in made.iterdir()] == ["second"]
    assert kept.folder("model", killed) == made


def test_only_one_is_at_it_and_whoever_ends_lets_go(tmp_path: Path) -> None:
    one, other = Kept(tmp_path / "x"), Kept(tmp_path / "x")
    with one.alone(), pytest.raises(Conflict, match="another process is running this backtest"), other.alone():
        pytest.fail("both are at it")
    with other.alone():
        pass
