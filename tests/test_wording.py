"""Words that messages share."""

from __future__ import annotations

import time

from autoselection.wording import suggestion


def test_a_wrong_name_among_few_gets_the_closest_or_all_of_them() -> None:
    assert suggestion("levl", ["level", "row"]) == "; did you mean 'level'?"
    assert suggestion("xyz", ["b", "a"]) == "; known: a, b."


def test_a_wrong_name_among_very_many_gets_a_short_answer_soon() -> None:
    names = [f"https://example.org/{number}/page{'x' * 300 * (number % 2)}" for number in range(200_000)]
    began = time.process_time()
    listed = suggestion("web", names)
    meant = suggestion("https://example.org/12344/pagx", names)
    assert time.process_time() - began < 10, "comparing with each of them takes some minutes"
    assert listed.endswith(" and 199,960 more.") and len(listed) < 5000
    assert meant == "; did you mean 'https://example.org/12344/page'?"
