"""What every `RuleStore` and `ChannelBook` must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.alerts.condition import Condition
from millrace.alerts.port import ChannelBook, RuleStore
from millrace.alerts.types import (
    METRIC,
    AlertRule,
    Channel,
    Inhibition,
    KeptRule,
    Matcher,
    Mute,
    Observation,
    RuleState,
    Silence,
)
from millrace.core.errors import AlreadyExists, NotFound
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_DAY = timedelta(days=1)


def rule(name: str = "spend") -> AlertRule:
    """A rule that uses every field."""
    condition = Condition(
        ">=",
        0.1,
        table="ml.monitoring.spend",
        column="score",
        aggregation="max",
        window=7 * _DAY,
        time="date",
        where="status <> 'ok'",
        empty="bad",
    )
    return AlertRule(
        name,
        kinds=(METRIC,),
        breaches=2,
        out_of=4,
        resolve_after=3,
        repeat_after=_DAY,
        channels=("slack-risk", "env:MAIL_URL"),
        notify_on_ok=False,
        critical_at_once=False,
        labels={"team": "risk"},
        inhibitions=(Inhibition(("quality",), ("drift", "estimate")),),
        quiet=("22:00-06:00",),
        condition=condition,
        every=timedelta(hours=1),
    )


class RuleStoreSuite:
    """Tests of a `RuleStore`; give the fixture `opened`."""

    def test_a_rule_reads_back_as_it_was_written(self, opened: Callable[[], RuleStore]) -> None:
        kept = opened().put(rule(), "user:ada", _T)
        assert kept == KeptRule(rule(), "user:ada", _T, _T)
        other = opened().put(AlertRule("churn"), "user:bob", _T, pipeline="churn")
        assert opened().get("spend") == kept
        assert list(opened().list()) == [other, kept]
        assert opened().find("absent") is None

    def test_a_rule_that_is_written_again_keeps_its_mute_and_state(self, opened: Callable[[], RuleStore]) -> None:
        store = opened()
        store.put(rule(), "user:ada", _T)
        mute = Mute(_T, "user:ada", _T + _DAY, "deploy")
        seen = (Observation("spend", METRIC, _T, True, "0.31", {"value": 0.31}),)
        state = RuleState("bad", 0.31, "max of score is 0.31", _T, seen)
        store.set_mute("spend", mute)
        store.set_state("spend", state)
        changed = replace(rule(), breaches=1)
        assert opened().put(changed, "user:bob", _T + _DAY) == KeptRule(
            changed, "user:bob", _T, _T + _DAY, mute=mute, state=state
        )
        store.set_mute("spend", None)
        store.set_state("spend", None)
        assert (opened().get("spend").mute, opened().get("spend").state) == (None, None)

    def test_an_unknown_rule_is_not_found_and_the_nearest_is_named(self, opened: Callable[[], RuleStore]) -> None:
        store = opened()
        store.put(rule(), "user:ada", _T)
        for use in (store.get, store.remove, lambda name: store.set_mute(name, None)):
            with pytest.raises(NotFound) as caught:
                use("spent")
            assert "did you mean 'spend'?" in caught.value.hint
        store.remove("spend")
        assert list(opened().list()) == []

    def test_silences_end_and_stay_in_the_list(self, opened: Callable[[], RuleStore]) -> None:
        store = opened()
        matchers = (Matcher("team", "=", "risk"), Matcher("kind", "!~", "drift|estimate"))
        first = store.add_silence(Silence(0, matchers, _T, _T + _DAY, "deploy", "user:ada", _T))
        second = store.add_silence(Silence(0, matchers[:1], _T + _DAY, _T + 3 * _DAY, "", "user:bob", _T))
        assert first.id != second.id
        assert list(opened().silences()) == [first, second]
        assert list(opened().silences(ending_after=_T + _DAY)) == [second]
        assert opened().end_silence(second.id, _T + 2 * _DAY) == replace(second, ends_at=_T + 2 * _DAY)
        assert opened().end_silence(second.id, _T + 9 * _DAY).ends_at == _T + 2 * _DAY
        with pytest.raises(NotFound):
            store.end_silence(77, _T)


class ChannelBookSuite:
    """Tests of a `ChannelBook`; give the fixture `opened`."""

    def test_channels_are_kept_by_name(self, opened: Callable[[], ChannelBook]) -> None:
        risk = Channel("risk", "slack://a/b/c", "user:ada", _T)
        mail = Channel("mail", "env:MAIL_URL", "user:ada", _T)
        for each in (risk, mail):
            opened().add(each)
        assert opened().get("risk") == risk
        assert list(opened().list()) == [mail, risk]
        opened().remove("mail")
        with pytest.raises(NotFound, match="no channel 'mail'"):
            opened().get("mail")
        with pytest.raises(NotFound):
            opened().remove("mail")

    def test_a_name_is_taken_once(self, opened: Callable[[], ChannelBook]) -> None:
        opened()

        def add(number: int) -> bool:
            try:
                opened().add(Channel("risk", f"json://host-{number}", "user:ada", _T))
            except AlreadyExists:
                return False
            return True

        assert sum(race(3, add)) == 1

    def test_a_channel_does_not_show_its_url(self) -> None:
        assert "s3cret" not in repr(Channel("risk", "slack://s3cret", "user:ada", _T))
