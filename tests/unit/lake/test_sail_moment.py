from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from millrace.core.errors import InvalidState
from millrace.lake.adapters.sail_moment import current_date, current_timestamp, localtimestamp, moment


def test_the_moment_is_utc_whatever_zone_it_comes_in() -> None:
    with moment(datetime(2024, 2, 29, 20, tzinfo=timezone(timedelta(hours=-5)))):
        assert current_timestamp() == datetime(2024, 3, 1, 1, tzinfo=UTC)
        assert localtimestamp().isoformat() == "2024-03-01T01:00:00"
        assert current_date() == date(2024, 3, 1)


def test_after_an_error_it_is_over() -> None:
    with pytest.raises(KeyError), moment(datetime(2000, 1, 1, tzinfo=UTC)):
        raise KeyError
    assert current_date().year > 2000


def test_another_thread_reads_the_moment_but_waits_to_set_its_own() -> None:
    seen: list[int] = []

    def set_own() -> None:
        with moment(datetime(2002, 1, 1, tzinfo=UTC)):
            seen.append(current_date().year)

    with moment(datetime(2001, 1, 1, tzinfo=UTC)):
        thread = threading.Thread(target=set_own)
        thread.start()
        thread.join(0.05)
        assert seen == []
        with pytest.raises(InvalidState), moment(datetime(2003, 1, 1, tzinfo=UTC)):
            pass
        assert current_date().year == 2001
    thread.join()
    assert seen == [2002]
