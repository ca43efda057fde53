from __future__ import annotations

from pathlib import Path

from millrace.automl.folder import kept_folder


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
