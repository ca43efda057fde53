from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked

from millrace.automl.ask import Wish, ask
from millrace.automl.folder import SearchFolder, kept_folder, key_of, tidy
from millrace.automl.read import Given
from millrace.automl.types import Impute


def test_a_search_that_was_not_finished_goes_on_and_a_finished_one_does_not(tmp_path: Path) -> None:
    with kept_folder(tmp_path, "k") as folder:
        assert folder.id == "k-1"
    with kept_folder(tmp_path, "k") as folder:
        assert folder.id == "k-1"
        folder.keep_state(done=True)
    with kept_folder(tmp_path, "k") as folder:
        assert folder.id == "k-2"


def test_two_searches_of_the_same_rows_at_once_are_two(tmp_path: Path) -> None:
    with kept_folder(tmp_path, "k") as one, kept_folder(tmp_path, "k") as other:
        assert (one.id, other.id) == ("k-1", "k-2")
        other.keep_state(done=True)
        with kept_folder(tmp_path, "k") as third:
            assert third.id == "k-3"


def test_the_newest_five_keep_their_models_whenever_it_is_tidied(tmp_path: Path) -> None:
    for number in range(12):
        folder = SearchFolder(tmp_path / f"k-{number}")
        model = folder.model(0, 0)
        model.parent.mkdir(parents=True)
        model.touch()
        folder.finish()
        os.utime(folder.path / "state.json", (number, number))
        tidy(tmp_path, folder)
    kept = {path.parts[-4] for path in tmp_path.glob("*/models/0/0.pickle")}
    assert kept == {f"k-{number}" for number in (6, 7, 8, 9, 10, 11)}  # the last one is in use


def test_what_was_killed_a_month_ago_is_removed_unless_somebody_is_at_it(tmp_path: Path) -> None:
    long_ago = time.time() - 31 * 86_400
    with kept_folder(tmp_path, "held") as held:
        killed, recent, finished = (SearchFolder(tmp_path / f"{name}-1") for name in ("killed", "recent", "finished"))
        for folder in (held, killed, recent, finished):
            folder.path.mkdir(exist_ok=True)
            folder.keep_state(used_s=1.0)
        finished.finish()
        for folder in (held, killed, finished):
            os.utime(folder.path, (long_ago, long_ago))
        tidy(tmp_path, SearchFolder(tmp_path / "ends-1"))
        assert {path.name for path in tmp_path.iterdir()} == {"held-1", "recent-1", "finished-1"}


def test_old_finished_searches_keep_no_rows_for_workers(tmp_path: Path) -> None:
    """One that was killed while it was fitted again still has them."""
    for number in range(7):
        folder = SearchFolder(tmp_path / f"k-{number}")
        folder.path.mkdir()
        folder.finish()
        folder.job.touch()
        os.utime(folder.path / "state.json", (number, number))
    tidy(tmp_path, SearchFolder(tmp_path / "k-6"))
    assert {path.parent.name for path in tmp_path.glob("*/job.pickle")} == {f"k-{number}" for number in range(1, 7)}


def test_a_search_that_fills_gaps_in_another_way_is_another_search() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=100), "y": rng.integers(0, 2, 100)})
    frame.loc[::7, "x"] = np.nan

    def key(imputers: dict[str, Impute]) -> str:
        kinds = {"x": "float64", "y": "int64"}
        asked = ask(Given(frame, kinds), Wish("classification", "y", imputers=imputers))
        return key_of(asked.job, asked.preparations)

    assert key({}) == key({"x": "median"}) != key({"x": "zero"})
