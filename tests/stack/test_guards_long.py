"""Guards on ten real nodes under traffic: what turns bad after completion is taken back, by any strategy."""

import pytest

from domain.analysis import Outcome
from domain.guard import GuardRule
from tests.reports.browser import assert_shown, needs_chromium, serving
from tests.stack import guarded
from tests.stack.guarded import SITE, STRATEGIES, TURNING
from tests.stack.judged import assert_judged_again
from tests.stack.running import GOOD, OLD, until

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(300)]

LIMITS = GuardRule(seconds=120, interval=2, window=6, misses=2)
RECORDED = GuardRule(seconds=120, interval=2, window=6, misses=2, against="recorded")
BEFORE = GuardRule(seconds=40, interval=4, misses=2, against="before")


@pytest.fixture(scope="module")
def traffic(stack, tmp_path_factory):
    guarded.push_releases(stack, tmp_path_factory.mktemp("releases"))
    stack.install_greeter(OLD)
    with stack.traffic() as running:
        yield running


@pytest.fixture(autouse=True)
def prior(stack, traffic):
    """The old release on every node."""
    guarded.straighten(stack)
    stack.install_greeter(OLD)


@pytest.fixture
def compared(traffic, prior):
    """It has been there under traffic for long enough to be compared with."""
    served = traffic.tally().requests
    until(lambda: traffic.tally().requests > served + 4000)


def guard_verdict(stack, deployment):
    return stack.deployer.get(f"/analyses/guard-{deployment}")["verdict"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_passes_its_limits_after_completion_is_taken_back(stack, strategy):
    deployment = guarded.complete(stack, TURNING, STRATEGIES[strategy], LIMITS)
    stack.assert_everywhere(stack.releases[TURNING])
    guarded.turn(stack)
    end = guarded.taken_back(stack, deployment)
    assert end["unverified"] == []
    stack.assert_everywhere(stack.releases[OLD])
    verdict = guard_verdict(stack, deployment)
    assert (verdict["outcome"], verdict["judge"]) == (Outcome.FAIL, "health")
    assert "errors" in verdict["reason"]
    print(f"{strategy}, limits: {verdict['reason']}")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_is_worse_than_before_is_taken_back_and_only_that(stack, compared, strategy):
    deployment = guarded.complete(stack, TURNING, STRATEGIES[strategy], RECORDED)
    guarded.bring_site(stack)
    guarded.turn(stack)
    guarded.taken_back(stack, deployment)
    stack.assert_everywhere(stack.releases[OLD])
    stack.assert_everywhere(stack.releases[SITE])
    verdict = guard_verdict(stack, deployment)
    assert (verdict["outcome"], verdict["judge"]) == (Outcome.FAIL, "threshold")
    assert "errors" in verdict["reason"]
    print(f"{strategy}, recorded, another module since: {verdict['reason']}")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_good_release_stays(stack, compared, strategy):
    short = RECORDED.model_copy(update={"seconds": 16.0})
    deployment = guarded.complete(stack, GOOD, STRATEGIES[strategy], short)
    words = guarded.closing(stack, deployment)
    stack.assert_everywhere(stack.releases[GOOD])
    assert guard_verdict(stack, deployment)["outcome"] == Outcome.PASS
    print(f"{strategy}, good: {words}")


@pytest.mark.parametrize("version", [GOOD, TURNING])
def test_the_sequential_judge_watches_against_the_same_nodes_before(stack, traffic, version):
    served = traffic.tally().requests
    until(lambda: traffic.tally().requests > served + 20_000, 120)
    deployment = guarded.complete(stack, version, STRATEGIES["direct"], BEFORE)
    if version == GOOD:
        words = guarded.closing(stack, deployment)
        assert guard_verdict(stack, deployment)["outcome"] != Outcome.FAIL
        stack.assert_everywhere(stack.releases[GOOD])
        print(f"sequential, good: {words}")
        return
    guarded.turn(stack)
    guarded.taken_back(stack, deployment)
    stack.assert_everywhere(stack.releases[OLD])
    verdict = guard_verdict(stack, deployment)
    assert (verdict["outcome"], verdict["judge"]) == (Outcome.FAIL, "sequential")
    print(f"sequential, turned: {verdict['reason']}")


@needs_chromium
def test_a_wave_and_a_guard_are_judged_again_and_a_browser_shows_their_reports(stack, compared, tmp_path):
    short = RECORDED.model_copy(update={"seconds": 10.0})
    deployment = guarded.complete(stack, GOOD, STRATEGIES["canary"], short)
    guarded.closing(stack, deployment)
    analyses = assert_judged_again(stack, deployment, Outcome.PASS)
    assert analyses == (f"guard-{deployment}", f"analysis-{deployment}-1")
    with serving(lambda path: guarded.fetched(stack, path)) as (address, asked):
        for name in analyses:
            work = tmp_path / name
            work.mkdir()
            path = f"/api/v1/analyses/{name}/report"
            assert_shown(address + path, work)
            assert [each for each in asked if each not in {path, "/favicon.ico"}] == []
            asked.clear()
