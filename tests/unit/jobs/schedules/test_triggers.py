from __future__ import annotations

import pytest

from millrace.core.errors import InvalidInput
from millrace.core.events import Event
from millrace.core.principal import Principal
from millrace.jobs.job import AlertTrigger, ModelTrigger, TableUpdateTrigger
from millrace.jobs.schedules.pause import pause_job, resume_job
from tests.unit.jobs.schedules.home import BEGIN, Home

_A = TableUpdateTrigger(("ml.a",))


def _opened(home: Home, rule: str, *kinds: str) -> None:
    data = {"rule": rule, "kinds": list(kinds)}
    home.events.append(Event("episode.opened", "endpoint/churn", BEGIN, Principal("system", "alerts"), data))


def test_a_new_version_of_a_table_is_one_run() -> None:
    home = Home()
    home.tables.versions["ml.a"] = 4
    home.put(trigger=_A)
    assert home.quiet() == []  # what is there is no change
    home.tables.versions["ml.a"] = 5
    (run,) = home.quiet()
    assert (run.trigger, run.due) == ("TABLE", None)
    assert home.quiet() == []


def test_a_table_that_is_made_is_a_change() -> None:
    home = Home()
    home.put(trigger=_A)
    home.quiet()
    home.tables.versions["ml.a"] = 0
    assert len(home.quiet()) == 1
    del home.tables.versions["ml.a"]
    assert home.quiet() == []


def test_changes_shortly_after_each_other_are_one_run() -> None:
    home = Home()
    home.put(trigger=_A)
    home.look()
    for version in range(20):
        home.tables.versions["ml.a"] = version
        assert home.look() == []
        home.seconds += 1
    home.seconds += 2
    assert len(home.look()) == 1


def test_a_table_that_never_rests_is_not_waited_for_without_end() -> None:
    home = Home()
    home.put(trigger=_A)
    home.look()
    made = 0
    for version in range(100):
        home.tables.versions["ml.a"] = version
        made += len(home.look())
        home.begin_all()
        home.seconds += 1
    assert made in (2, 3)


def test_while_a_run_waits_no_other_is_made_and_nothing_is_lost() -> None:
    home = Home()
    home.put(trigger=_A)
    home.look()
    for version in (1, 2, 3):
        home.tables.versions["ml.a"] = version
        home.quiet()
    assert len(home.all()) == 1
    home.begin_all()
    assert len(home.quiet()) == 1
    assert home.quiet() == []


def test_all_tables_or_any() -> None:
    home = Home()
    home.put(name="any", trigger=TableUpdateTrigger(("ml.a", "ml.b")))
    home.put(name="all", trigger=TableUpdateTrigger(("ml.a", "ml.b"), "ALL_UPDATED"))
    home.look()
    home.tables.versions["ml.a"] = 1
    assert [run.job for run in home.quiet()] == ["any"]
    home.begin_all()
    home.tables.versions["ml.b"] = 1
    assert sorted(run.job for run in home.quiet()) == ["all", "any"]


def test_versions_and_aliases_of_a_model() -> None:
    home = Home()
    home.models.versions, home.models.named = [1], {"production": 1}
    home.put(name="version", trigger=ModelTrigger("ml.m"))
    home.put(name="alias", trigger=ModelTrigger("ml.m", "MODEL_ALIAS_SET", ("production",)))
    home.look()
    home.models.versions.append(2)
    assert [run.job for run in home.quiet()] == ["version"]
    home.models.named["staging"] = 2
    assert home.quiet() == []
    for version in (2, 1, 2):  # to a version and back is a change each time
        home.begin_all()
        home.models.named["production"] = version
        assert [(run.job, run.trigger) for run in home.quiet()] == [("alias", "MODEL")]
    del home.models.named["production"]
    assert home.quiet() == []


def test_an_episode_that_opens() -> None:
    home = Home()
    _opened(home, "drift")
    home.put(trigger=AlertTrigger(("drift",), ("drift",)))
    assert home.quiet() == []
    _opened(home, "another", "drift")
    _opened(home, "drift", "performance")
    assert home.quiet() == []
    _opened(home, "drift", "performance", "drift")
    (run,) = home.quiet()
    assert run.trigger == "ALERT"
    assert home.quiet() == []


@pytest.mark.parametrize("when", ["claimed", "submitted"])
def test_killed_half_way_the_change_is_one_run(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    home.put(trigger=_A)
    home.look()
    home.tables.versions["ml.a"] = 1
    home.look()
    home.seconds += 3
    replace, writes = home.desk.marks.replace, list[object]()

    def killed(mark: object) -> object:
        writes.append(mark)
        if when == "submitted" and len(writes) == 1:
            return replace(mark)  # type: ignore[arg-type]
        if when == "claimed":
            replace(mark)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(home.desk.marks, "replace", killed)
        home.look()
    home.new_scheduler()  # which does not wait, as one that goes on after a failure would
    home.tables.versions["ml.a"] = 2  # the next change
    home.quiet()
    home.begin_all()
    home.quiet()
    assert len(home.all()) == 2


def test_two_that_watch_make_one_run() -> None:
    home = Home()
    home.put(trigger=_A)
    one, two = home.scheduler, home.new_scheduler()
    made = 0
    for version in (1, 2, 3, 4):
        home.tables.versions["ml.a"] = version
        for _ in range(3):
            made += len({*one.look(), *two.look()})
            home.seconds += 2
        home.begin_all()
    one.triggers.seconds = lambda: home.seconds
    assert len(home.all()) in (3, 4)
    assert made >= 3


def test_what_happens_while_paused_is_not_made_up_for() -> None:
    home = Home()
    home.put(trigger=_A)
    home.tables.versions["ml.a"] = 1
    home.quiet()
    home.tables.versions["ml.a"] = 2
    assert len(home.quiet()) == 1
    home.begin_all()
    pause_job(home.desk, "daily")
    home.tables.versions["ml.a"] = 3
    assert home.quiet() == []
    resume_job(home.desk, "daily")
    assert home.quiet() == []
    home.tables.versions["ml.a"] = 4
    assert len(home.quiet()) == 1
    assert len(home.all()) == 2


def test_a_trigger_that_fails_waits_before_it_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home()
    home.put(trigger=_A)
    asked = list[str]()

    def failing(table: str) -> int:
        asked.append(table)
        raise OSError(table)

    monkeypatch.setattr(home.tables, "newest", failing)
    for _ in range(5):
        assert home.look() == []
    assert asked == ["ml.a"]


def test_a_trigger_on_what_can_be_no_table_is_refused() -> None:
    with pytest.raises(InvalidInput, match="not a table name"):
        Home().put(trigger=TableUpdateTrigger(("a.b.c.d",)))
