from __future__ import annotations

from autoselection.search import Observation, SearchConfig, SearchController


def test_findings_name_their_numbers_and_trials(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=10, proposals=12, min_rows=10))
    controller.run(
        lambda c: Observation(
            c.id,
            small.score(c.rows),
            {"first": -0.1 * c.number, "second": small.score(c.rows)},
        )
    )
    findings = {finding.kind: finding for finding in controller.findings}
    best = controller.best
    leader = findings["leader"]
    assert leader.trials[0] == best.id
    assert leader.text.startswith(f"{best.id} leads with {best.score:.4f}, {leader.value:.4f} above {leader.trials[1]}")
    others = [t.score for t in controller.history if t.id != best.id]
    assert leader.value == best.score - max(others)
    if best.id != "t001":
        assert findings["task"].text.startswith(f"On first the leader {best.id} scores")
        assert findings["task"].trials == (best.id, "t001")
    for finding in controller.findings:
        if finding.kind == "operator":
            assert 2 <= len(finding.trials) <= 8


def test_nothing_is_found_before_three_scores(small):
    controller = SearchController(small.signals, SearchConfig(proposals=12, min_rows=10))
    for score in (0.1, None, 0.2):
        controller.tell(Observation(controller.ask()[0].id, score))
    assert [finding.kind for finding in controller.findings] == ["failures"]


def test_scores_that_differ_by_rounding_follow_nothing(small):
    controller = SearchController(small.signals, SearchConfig(evaluations=10, proposals=12, min_rows=10))
    controller.run(lambda c: Observation(c.id, 0.3 if c.number > 5 else 0.1 + 0.2))
    assert len({trial.score for trial in controller.history}) == 2
    assert "state" not in {finding.kind for finding in controller.findings}
    assert all(each.leave_one_out is None for each in controller.rounds)
