from __future__ import annotations

from millrace.cli.promotions import verdict_line


def test_a_verdict_is_told_in_a_few_words() -> None:
    results = [{"gate": "at_least", "passed": True}, {"gate": "beats_champion", "passed": False}]
    assert verdict_line({"winner": "linear", "results": results}) == "linear: 1 of 2 gates passed"


def test_a_rollback_has_no_verdict() -> None:
    assert verdict_line({}) is None
    assert verdict_line({"results": []}) is None
