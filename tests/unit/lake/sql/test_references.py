from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.lake.sql.references import Reference, references, replace
from millrace.lake.sql.tokens import name_parts, string_value, tokens


def named(text: str) -> list[str]:
    return [".".join(reference.parts) for reference in references(text) if not reference.is_call]


def short(reference: Reference) -> str:
    return "v_" + reference.parts[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM bronze.t", ["bronze.t"]),
        ("select * from `my-cat`.s.`t-1` a, b, c as q where x = 1 group by d, e", ["my-cat.s.t-1", "b", "c"]),
        ("SELECT * FROM a JOIN b ON a.x = b.x, c", ["a", "b", "c"]),
        ("SELECT * FROM (a JOIN (b)) LEFT JOIN (SELECT 1 AS x, y FROM c) d USING (x, y)", ["a", "b", "c"]),
        ("SELECT x FROM a WHERE x IN (SELECT x FROM b) AND EXISTS (SELECT 1 FROM c)", ["a", "b", "c"]),
        ("SELECT (SELECT max(x) FROM a), f(b, c) FROM d", ["a", "d"]),
        ("FROM a SELECT b, c", ["a"]),
        ("TABLE a", ["a"]),
        ("SELECT b FROM a UNION ALL SELECT d FROM c ORDER BY e, f", ["a", "c"]),
        ("SELECT * FROM a LATERAL VIEW explode(m) x AS k, v", ["a"]),
        ("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x)", ["a", "b"]),
        ("SELECT * FROM range(10) r, a", ["a"]),
        ("VALUES (1), (2)", []),
        ("SELECT 1 WHERE 'from a' = \"from b\" -- from c\n /* from /* d */ from e */", []),
        ("SELECT extract(YEAR FROM d), trim(BOTH 'x' FROM y), substring(z FROM 2) FROM a", ["a"]),
        ("SELECT a.x IS DISTINCT FROM b.y, a.x IS NOT DISTINCT FROM c FROM a", ["a"]),
        ("SELECT * FROM a TABLESAMPLE (10 PERCENT) WHERE b", ["a"]),
        ("SELECT * FROM a PIVOT (sum(x) FOR y IN (1, 2))", ["a"]),
        ("EXPLAIN SELECT * FROM a", ["a"]),
    ],
)
def test_a_table_is_what_stands_where_a_table_can(text: str, expected: list[str]) -> None:
    assert named(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WITH a AS (SELECT * FROM t) SELECT * FROM a, A", ["t"]),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ["a"]),
        ("WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM a) SELECT * FROM a", []),
        ("WITH a(x) AS (SELECT 1), b AS (SELECT * FROM a) SELECT * FROM b JOIN s.a", ["s.a"]),
        ("SELECT * FROM (WITH z AS (SELECT 1) SELECT * FROM z) q JOIN z", ["z"]),
    ],
)
def test_a_query_of_its_own_hides_a_table_from_where_it_is_defined(text: str, expected: list[str]) -> None:
    assert named(text) == expected


@pytest.mark.parametrize(
    ("text", "version", "time"),
    [
        ("SELECT * FROM a VERSION AS OF 3", 3, None),
        ("SELECT * FROM a FOR SYSTEM_VERSION AS OF '3' AS b", 3, None),
        ("SELECT * FROM a TIMESTAMP AS OF '2024-01-01' b", None, "2024-01-01"),
        ("SELECT * FROM a FOR TIMESTAMP AS OF TIMESTAMP '2024-01-01 06:00:00'", None, "2024-01-01 06:00:00"),
        ("SELECT * FROM a version", None, None),
    ],
)
def test_a_pin_belongs_to_the_name(text: str, version: int | None, time: str | None) -> None:
    (reference,) = references(text)
    assert (reference.parts, reference.version, reference.time) == (("a",), version, time)
    assert text[reference.start : reference.end].startswith("a")


@pytest.mark.parametrize("text", ["SELECT * FROM a VERSION AS OF n + 1", "SELECT * FROM a TIMESTAMP AS OF now()"])
def test_a_pin_that_has_to_be_computed_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="AS OF takes a plain"):
        references(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT t.x FROM s.t", "SELECT t.x FROM `v_t` AS `t`"),
        ("SELECT s.t.x, s.t.* FROM s.t", "SELECT `t`.x, `t`.* FROM `v_t` AS `t`"),
        ("SELECT u.x FROM s.t u", "SELECT u.x FROM `v_t` u"),
        ("SELECT u.x FROM s.t VERSION AS OF 3 AS u", "SELECT u.x FROM `v_t` AS u"),
        ("SELECT 1 FROM s.t WHERE x", "SELECT 1 FROM `v_t` AS `t` WHERE x"),
        ("TABLE s.t", "TABLE `v_t`"),
        (
            "SELECT t.x FROM s.t TABLESAMPLE (5 ROWS), b",
            "SELECT t.x FROM `v_t` TABLESAMPLE (5 ROWS) AS `t`, `v_b` AS `b`",
        ),
        (
            "SELECT 1 FROM t TABLESAMPLE (5 ROWS) REPEATABLE (1) u",
            "SELECT 1 FROM `v_t` TABLESAMPLE (5 ROWS) REPEATABLE (1) u",
        ),
        ("SELECT '`s`.t' FROM `s`.`t`", "SELECT '`s`.t' FROM `v_t` AS `t`"),
    ],
)
def test_a_replaced_table_goes_on_being_called_by_its_name(text: str, expected: str) -> None:
    assert replace(text, short) == expected


def test_what_is_not_known_stays_as_it_is() -> None:
    text = "SELECT s.t.x FROM s.t, `a b` /* c */"
    assert replace(text, dict[Reference, str]().get) == text


@pytest.mark.parametrize("text", ["SELECT 'a", "SELECT `a", "SELECT /* a"])
def test_what_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="does not end"):
        references(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("'it''s'", "it's"), (r"'it\'s'", "it's"), ('"a\\nb"', "a\nb"), (r"r'a\nb'", r"a\nb"), ("''", "")],
)
def test_a_string_means_what_it_means_to_spark(text: str, expected: str) -> None:
    (token,) = tokens(text)
    assert string_value(token) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", ("a",)),
        ("a.b.c", ("a", "b", "c")),
        ("`my-cat`.`s`.t", ("my-cat", "s", "t")),
        ("a b", None),
        ("a.", None),
        ("", None),
        ("'a'", None),
        ("`a", None),
    ],
)
def test_a_name_is_read_as_parts(text: str, expected: tuple[str, ...] | None) -> None:
    assert name_parts(text) == expected


SAMPLES = (
    "WITH a AS ( SELECT * FROM s.t ) SELECT a.x , s.u.y FROM a JOIN s.u ON a.x = u.x , `o p` WHERE 'from q' <> a.x",
    "SELECT extract ( YEAR FROM d ) , ( SELECT max ( x ) FROM k ) FROM ( m JOIN n USING ( x ) ) VERSION",
    "SELECT * FROM r TIMESTAMP AS OF '2024-01-01' AS z LATERAL VIEW explode ( z.m ) e AS f , g UNION ALL TABLE h",
)
GAPS = st.sampled_from([" ", "\n\t ", " /* FROM x */ ", " -- JOIN y\n", "/* a /* b */ c */ "])


@given(text=st.sampled_from(SAMPLES), gaps=st.lists(GAPS, min_size=1, max_size=9), is_lower=st.booleans())
@settings(max_examples=60, deadline=None)
def test_layout_comments_and_case_of_keywords_change_nothing(text: str, gaps: list[str], *, is_lower: bool) -> None:
    words = [token.text for token in tokens(text)]
    if is_lower:
        words = [word if word[0] in "'`" else word.lower() for word in words]
    # A dot joins the parts of a name, which stay together.
    spread = words[0]
    for place, (before, word) in enumerate(pairwise(words)):
        spread += word if "." in {before, word} else gaps[place % len(gaps)] + word
    assert named(spread) == named(text)
    assert [reference.time for reference in references(spread)] == [reference.time for reference in references(text)]


@given(st.text(alphabet="aF(),.`'\"-/* \n1", max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_is_tokens_in_order_or_refused(text: str) -> None:
    try:
        found = tokens(text)
    except InvalidInput:
        return
    assert [text[token.start : token.end] for token in found] == [token.text for token in found]
    assert all(before.end <= after.start for before, after in pairwise(found))
