from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pyarrow as pa
import pytest

import millrace as mr
from millrace.alerts.condition import Condition
from millrace.alerts.deliver import Delivered
from millrace.alerts.documents import rule_document, rule_of
from millrace.alerts.evaluate import evaluate
from millrace.alerts.evaluate_all import AlertReport, Declared, change, evaluate_all, keep, remove, tell_all
from millrace.alerts.types import METRIC, AlertRule, Mute
from millrace.core.errors import InvalidInput, NotFound
from millrace.testing.alert_rules import rule as full_rule
from tests.unit.alerts.desk import DAY, START, Home, days, refused

RULE = AlertRule("spend", kinds=(METRIC,), breaches=2, out_of=3, resolve_after=2, condition=Condition(">", 5, sql="q"))
DOWN = InvalidInput("the query can't be run: no such table")


class Free(Home):
    """A rule over SQL whose answers the test gives; each value is a day."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        super().__init__()
        self.desk.rules.put(rule, "user:ada", START)

    def day(self, *values: float | InvalidInput | None) -> AlertReport:
        report = AlertReport([], {}, 0, Delivered())
        for value in values:
            self.clock.advance(DAY)
            answer = value if isinstance(value, InvalidInput) else pa.table({"v": pa.array([value], pa.float64())})
            self.lake.answers["q"] = answer
            report = evaluate_all(self.desk)
        return report

    def told_of(self) -> list[tuple[object, str]]:
        return [(one.data["kinds"], one.key.partition("/")[0]) for one in self.desk.episodes.posted()]


def test_a_rule_over_sql_opens_and_resolves_as_any_other() -> None:
    free = Free()
    assert free.day(6).are_open == []
    report = free.day(4, 7)
    (episode,) = report.are_open
    assert (episode.began_at, episode.subject, episode.kind) == (START + DAY, "spend", METRIC)
    assert (report.states["spend"].state, report.states["spend"].value) == ("bad", 7.0)
    assert episode.reason == "v is 7: the rule is met (> 5)"
    assert free.day(1, None, 1).are_open == []  # nothing to say is neither good nor bad
    assert free.told() == ["opened", "resolved"]


def test_a_query_that_fails_is_a_state_of_its_own_and_told_once() -> None:
    free = Free()
    report = free.day(6, DOWN, DOWN, DOWN)
    assert (report.states["spend"].state, [one.kind for one in report.are_open]) == ("error", ["error"])
    assert free.told_of() == [(["error"], "opened")]
    assert "no such table" in report.are_open[0].reason
    # What was bad before still counts when it works again.
    report = free.day(8)
    assert [one.kind for one in report.are_open] == [METRIC]
    assert sorted(map(str, free.told_of())) == sorted(
        map(str, [(["error"], "opened"), (["error"], "resolved"), ([METRIC], "opened")])
    )


def test_looking_again_at_the_same_moment_counts_once() -> None:
    free = Free()
    free.day(6)
    for _ in range(3):
        assert evaluate_all(free.desk).are_open == []
    state = free.desk.rules.get("spend").state
    assert state is not None
    assert len(state.recent) == 1


def test_a_rule_is_asked_at_most_once_in_a_while_unless_by_hand() -> None:
    free = Free(replace(RULE, every=timedelta(days=2), breaches=1))
    assert free.day(6).states["spend"].value == 6
    assert free.day(1).states["spend"].value == 6
    assert evaluate_all(free.desk, only="spend").states["spend"].value == 1
    assert free.day(7).states["spend"].value == 1
    assert free.day(8).states["spend"].value == 8
    with pytest.raises(NotFound, match="no alert rule 'spent'"):
        evaluate_all(free.desk, only="spent")


def test_of_a_long_history_only_the_last_is_kept() -> None:
    free = Free()
    free.day(*[1.0] * 30)
    state = free.desk.rules.get("spend").state
    assert state is not None
    assert [one.at for one in state.recent] == [START + n * DAY for n in range(11, 31)]


def test_what_another_question_was_answered_with_does_not_count() -> None:
    free = Free()
    free.day(6)
    free.desk.rules.put(replace(RULE, labels={"team": "risk"}), "user:ada", START)
    change(free.desk, replace(RULE, labels={}))
    assert free.desk.rules.get("spend").state is not None  # it asks the same
    change(free.desk, replace(RULE, condition=Condition(">", 0, sql="q")))
    assert free.desk.rules.get("spend").state is None
    assert free.day(6).are_open == []
    assert len(free.day(6).are_open) == 1


def pipeline_alerts(**changes: object) -> Declared:
    spend = mr.MetricAlert("spend", operator=">", threshold=5, sql="q", labels={"team": "shop"})
    given = {"channels": ("json://user:s3cret@hook",), "labels": {"team": "risk"}, "rules": (spend,), **changes}
    return mr.Alert(**given).declared("churn")  # type: ignore[arg-type]


def test_a_pipelines_rules_are_kept_as_its_file_declares_them() -> None:
    home = Home()
    home.lake.answers["q"] = pa.table({"v": [1.0]})
    report = evaluate_all(home.desk, pipeline_alerts(), days("xX", "quality", "churn v1"))
    assert [one.rule for one in report.are_open] == ["churn"]
    assert report.delivered.sent == 1
    assert home.sent.taken[0][0] == "json://user:s3cret@hook"
    rules = {kept.rule.name: kept for kept in home.desk.rules.list()}
    assert sorted(rules) == ["churn", "churn/spend"]
    assert rules["churn"].rule.channels == rules["churn/spend"].rule.channels == ("json-1",)
    assert rules["churn/spend"].rule.labels == {"pipeline": "churn", "team": "shop"}
    assert {kept.pipeline for kept in rules.values()} == {"churn"}
    home.desk.rules.set_mute("churn", Mute(START, "user:ada"))
    evaluate_all(home.desk, pipeline_alerts(rules=()), ())
    (left,) = home.desk.rules.list()
    assert (left.rule.name, left.mute is None, left.updated_at) == ("churn", False, START)


def test_subjects_are_evaluated_each_for_itself() -> None:
    home = Home()
    declared = pipeline_alerts(rules=())
    both = [*days("xx", subject="churn v1"), *days("xx", subject="churn v2")]
    assert [one.subject for one in evaluate_all(home.desk, declared, both).are_open] == ["churn v1", "churn v2"]


def test_a_deleted_rule_ends_its_episodes_and_tells_so() -> None:
    free = Free()
    free.day(6, 6)
    remove(free.desk, "spend", "the rule was deleted")
    assert list(free.desk.rules.list()) == []
    assert free.told() == ["opened", "resolved"]
    assert "the rule was deleted" in free.desk.episodes.posted()[1].body


def test_what_a_crash_kept_from_being_told_is_told_before_it_changes() -> None:
    home = Home()
    home.channel("risk")
    declared = Declared("churn", AlertRule("churn", channels=("risk",)))
    keep(home.desk, declared)
    home.clock.set(START + 2 * DAY)
    evaluate(home.desk.episodes, home.desk.events, home.clock, declared.rule, days("xx"))  # and the process dies
    report = evaluate_all(home.desk, declared, days("xx..."))
    assert (report.are_open, report.posted, home.told()) == ([], 2, ["opened", "resolved"])
    assert [key.partition("/")[0] for _, key in home.sent.taken] == ["opened", "resolved"]


def test_what_failed_goes_out_with_nothing_to_evaluate() -> None:
    home = Home()
    home.channel("risk")
    home.sent.broken["json://risk"] = refused()
    report = evaluate_all(home.desk, Declared("churn", AlertRule("churn", channels=("risk",))), days("xx"))
    assert (report.posted, report.delivered.failed) == (1, 1)
    home.sent.broken.clear()
    home.clock.advance(DAY)
    assert tell_all(home.desk).delivered.sent == 1


def test_an_alert_of_a_pipeline_is_checked_where_it_is_written() -> None:
    for wrong in ({"on": ("drfit",)}, {"quiet": ("night",)}, {"channels": "slack://s3cret"}, {"on": "drift"}):
        with pytest.raises(InvalidInput):
            mr.Alert(**wrong)
    one = mr.MetricAlert("a", operator=">", threshold=1, sql="SELECT 1")
    with pytest.raises(InvalidInput, match="one name"):
        mr.Alert(rules=(one, one))
    with pytest.raises(InvalidInput, match="operator is 'above'"):
        mr.MetricAlert("a", operator="above", threshold=1, sql="SELECT 1")  # type: ignore[arg-type]
    own = mr.MetricAlert("own", ">", 1, sql="select 1", channels=("slack://s3cret",))
    alert = mr.Alert(channels=("slack://s3cret",), rules=(own,))
    for shown in (alert, own, alert.declared("shop")):
        assert "s3cret" not in repr(shown)


def test_rules_read_back_from_their_documents() -> None:
    for rule in (full_rule(), RULE, AlertRule("churn")):
        assert rule_of(rule_document(rule)) == rule
