from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from millrace.alerts.evaluate import evaluate, resolve
from millrace.alerts.suppress import parse_matcher
from millrace.alerts.tell import add_note, tell
from millrace.alerts.types import AlertRule, Episode, EpisodeId, Mute, Note, Observation, Silence
from millrace.core.clock import iso
from millrace.core.errors import NotFound
from millrace.core.principal import Principal
from tests.unit.alerts.desk import DAY, START, Home, days

RULE = AlertRule("churn", labels={"team": "risk"}, channels=("slack",))
ADA = Principal("user", "ada")


class Room(Home):
    """A kept rule; each look evaluates and tells."""

    def __init__(self, rule: AlertRule = RULE) -> None:
        super().__init__()
        self.desk.rules.put(rule, "user:ada", START)
        self.rule = rule

    def see(self, *observations: Sequence[Observation]) -> int:
        heard = [one for group in observations for one in group]
        self.clock.set(max([self.clock.now(), *(one.at for one in heard)]))
        evaluate(self.desk.episodes, self.desk.events, self.clock, self.rule, heard)
        return tell(self.desk)

    def silence(self, days: int, *matchers: str) -> Silence:
        now = self.clock.now()
        made = Silence(0, tuple(map(parse_matcher, matchers)), now, now + days * DAY, "deploy", "user:ada", now)
        return self.desk.rules.add_silence(made)

    def only(self) -> Episode:
        (episode,) = self.desk.episodes.list()
        return episode

    def notes(self) -> list[str]:
        return [note.text for note in self.desk.episodes.notes(self.only().id)]


def test_each_change_is_told_once() -> None:
    room = Room()
    for end in range(1, 6):
        room.see(days("xx...")[:end])
        tell(room.desk)
    assert room.told() == ["opened", "resolved"]
    assert room.only().owed == ""
    assert len({message.key for message in room.desk.episodes.posted()}) == 2


def test_messages_say_what_since_when_and_why() -> None:
    room = Room()
    room.see(days("xx"))
    (message,) = room.desk.episodes.posted()
    assert message.title == "endpoint/churn: drift alert opened"
    assert message.body == "drift x on day 2\nIt began 2025-03-02T00:00:00Z (rule 'churn')."
    assert message.channels == ("slack",)
    assert message.data == {
        "type": "io.millrace.alert.opened",
        "rule": "churn",
        "subject": "endpoint/churn",
        "kinds": ["drift"],
        "labels": {"team": "risk"},
        "reason": "drift x on day 2",
        "began_at": iso(START + DAY),
        "opened_at": iso(START + 2 * DAY),
        "last_at": iso(START + 2 * DAY),
        "closed_at": None,
    }
    resolve(room.desk.episodes, room.desk.events, room.clock, RULE, room.only(), why="v2 has replaced v1")
    tell(room.desk)
    assert "v2 has replaced v1" in room.desk.episodes.posted()[1].body


def test_an_open_episode_is_told_again_after_a_while() -> None:
    room = Room(replace(RULE, repeat_after=2 * DAY))
    for at in range(1, 8):
        room.see(days("xxxxxxx")[:at])
    assert room.told() == ["opened", "repeated", "repeated"]  # opened on day 2, told again on days 4 and 6
    assert len({message.key for message in room.desk.episodes.posted()}) == 3


def test_an_end_is_not_told_where_nobody_wants_to_know() -> None:
    room = Room(replace(RULE, notify_on_ok=False))
    room.see(days("xx..."))
    room.see(days("xx..."))
    assert (room.told(), room.only().status, room.only().owed) == (["opened"], "resolved", "")


def test_what_opened_and_ended_between_two_looks_is_told_in_order() -> None:
    room = Room()
    assert room.see(days("xx...")) == 2
    assert room.told() == ["opened", "resolved"]


def test_what_is_silenced_is_in_the_history_and_told_when_the_silence_ends() -> None:
    room = Room()
    silence = room.silence(5, "team=risk", "kind=~drift|estimate")
    for at in range(1, 5):
        room.see(days("xxxx")[:at])
    why = f"silence {silence.id} until {iso(silence.ends_at)} by user:ada: deploy"
    assert (room.told(), room.notes()) == ([], [f"opened, not told: {why}"])
    assert (room.only().owed, room.only().data["suppressed"]) == ("opened", why)
    room.clock.set(silence.ends_at)
    assert tell(room.desk) == 1
    assert (room.told(), room.only().owed, "suppressed" in room.only().data) == (["opened"], "", False)


def test_what_ended_while_it_was_silenced_is_never_told() -> None:
    room = Room()
    silence = room.silence(9, "rule=churn")
    room.see(days("xx"))
    room.see(days("xx..."))
    room.clock.set(silence.ends_at)
    assert (tell(room.desk), room.told(), room.only().owed) == (0, [], "")


def test_an_end_that_is_silenced_is_told_when_the_silence_ends() -> None:
    room = Room()
    room.see(days("xx"))
    silence = room.silence(9, "subject=~endpoint/.*")
    room.see(days("xx..."))
    assert (room.told(), room.only().owed) == (["opened"], "resolved")
    room.desk.rules.end_silence(silence.id, room.clock.now())
    assert (tell(room.desk), room.told()) == (1, ["opened", "resolved"])


def test_other_labels_are_told_all_the_same() -> None:
    room = Room()
    room.silence(9, "team=ops")
    room.see(days("xx"))
    assert room.told() == ["opened"]


def test_a_muted_rule_is_evaluated_and_speaks_when_it_may_again() -> None:
    room = Room(replace(RULE, repeat_after=DAY))
    room.desk.rules.set_mute("churn", Mute(START, "user:ada"))
    for at in range(1, 5):
        room.see(days("xxxx")[:at])
    assert (room.told(), room.only().status) == ([], "open")
    room.desk.rules.set_mute("churn", None)
    tell(room.desk)
    assert room.told() == ["opened"]


def test_a_broken_schema_silences_its_drift_also_where_both_are_seen_at_once() -> None:
    room = Room()
    room.see(days("xx"), days(".X", "quality"))
    kinds = {episode.kind: episode for episode in room.desk.episodes.list()}
    assert [message.data["kinds"] for message in room.desk.episodes.posted()] == [["quality"]]
    assert kinds["drift"].owed == "opened"
    (note,) = room.desk.episodes.notes(kinds["drift"].id)
    assert f"quality episode {kinds['quality'].id}" in note.text
    # The schema is whole again and drift is still there: now it is told.
    room.see(days("xxxxx"), days(".X...", "quality"))
    assert [(message.data["kinds"], message.key.partition("/")[0]) for message in room.desk.episodes.posted()] == [
        (["quality"], "opened"),
        (["drift"], "opened"),
        (["quality"], "resolved"),
    ]


def test_drift_that_ends_with_the_broken_schema_is_never_told() -> None:
    room = Room()
    room.see(days("xx"), days("xX", "quality"))
    room.see(days("xx..."), days("xX...", "quality"))
    assert [message.data["kinds"] for message in room.desk.episodes.posted()] == [["quality"], ["quality"]]
    assert {episode.status for episode in room.desk.episodes.list()} == {"resolved"}
    drift = next(episode for episode in room.desk.episodes.list() if episode.kind == "drift")
    assert (drift.owed, "quality episode" in str(drift.data["suppressed"])) == ("", True)


def test_what_opened_and_ended_between_two_looks_in_a_silence_is_not_told() -> None:
    room = Room()
    room.silence(9, "team=risk")
    room.see(days("xx..."))
    assert (room.told(), room.only().owed) == ([], "")
    assert room.notes()[0].startswith("it ended untold: silence")


def test_an_episode_of_a_rule_that_is_not_kept_waits() -> None:
    home = Home()
    home.clock.set(START + 2 * DAY)
    evaluate(home.desk.episodes, home.desk.events, home.clock, RULE, days("xx"))
    assert tell(home.desk) == 0
    home.desk.rules.put(RULE, "user:ada", START)
    assert tell(home.desk) == 1


def test_notes_are_written_once_for_each_key() -> None:
    room = Room()
    room.see(days("xx"))
    number = room.only().id
    assert add_note(room.desk, ADA, number, "retrained as v7", key="attempt 1")
    assert not add_note(room.desk, ADA, number, "retrained as v8", key="attempt 1")
    assert add_note(room.desk, ADA, number, "challenger refused: AUC 0.71 is below 0.75")
    assert [(note.by, note.text) for note in room.desk.episodes.notes(number)] == [
        ("user:ada", "retrained as v7"),
        ("user:ada", "challenger refused: AUC 0.71 is below 0.75"),
    ]
    with pytest.raises(NotFound):
        add_note(room.desk, ADA, EpisodeId(99), "nothing")
    assert isinstance(room.desk.episodes.notes(number)[0], Note)
