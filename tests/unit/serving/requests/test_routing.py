from __future__ import annotations

import itertools
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.serving.requests.routing import Router


@settings(max_examples=50, deadline=None)
@given(share=st.integers(0, 100))
def test_any_hundred_requests_in_a_row_are_split_exactly(share: int) -> None:
    router = Router({"old": 100 - share, "new": share}, ["old", "new"])
    chosen = Counter(router.choose(None) for _ in range(300))
    assert (chosen["old"], chosen["new"]) == (3 * (100 - share), 3 * share)


def test_a_small_share_does_not_come_in_one_burst() -> None:
    router = Router({"old": 90, "new": 10}, ["old", "new"])
    turns = [number for number in range(100) if router.choose(None) == "new"]
    assert max(later - earlier for earlier, later in itertools.pairwise(turns)) <= 25


def test_a_key_is_always_sent_to_the_same_entity_and_keys_split_by_share() -> None:
    router = Router({"old": 80, "new": 20}, ["old", "new"])
    first = {key: router.choose(b"customer-%d" % key) for key in range(5000)}
    assert all(router.choose(b"customer-%d" % key) == entity for key, entity in first.items())
    # Binomial with n 5000, p 0.2: standard deviation 28; five of them.
    assert abs(Counter(first.values())["new"] - 1000) < 142


def test_more_traffic_for_the_new_one_takes_no_key_away_from_it() -> None:
    small = Router({"old": 90, "new": 10}, ["old", "new"])
    large = Router({"old": 50, "new": 50}, ["old", "new"])
    keys = [b"%d" % number for number in range(2000)]
    assert all(large.choose(key) == "new" for key in keys if small.choose(key) == "new")
