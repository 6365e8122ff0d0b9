"""A look from samples to verdict: what is new counts once, history calibrates, a restart loses nothing."""

import numpy as np
import pytest

from activities.comparison import compare, is_first, read_from
from activities.recorded import compare_recorded, recall
from domain.analysis import Doubt, Outcome
from domain.guard import Against, GuardRule
from domain.guarding import GuardInput, guard_analysis, look_back
from domain.judges.registry import judge
from domain.judging import LookMemory
from domain.messages import AnalysisInput, Look
from domain.policy import AnalysisRule
from domain.wire import Histogram, Sample, Samples

CANARY, BASELINE = ("c1", "c2", "c3"), ("b1", "b2", "b3")
OLD, NEW = "1.0.0", "2.0.0"
CHANGED = 400.0  # when the canary nodes were changed; their clocks differ, see `skew`
RULE = AnalysisRule(duration=300, interval=30)
BOUNDS = tuple((0.002 * 1.5 ** np.arange(16)).tolist())


def request(**facts):
    usual = {
        "tenant": "acme",
        "environment": "production",
        "deployment": "d1",
        "analysis": "analysis-d1-1",
        "wave": 1,
        "module": "greeter",
        "canary": CANARY,
        "baseline": BASELINE,
        "canary_version": NEW,
        "rule": RULE,
        "subject": "wave 1",
    }
    return AnalysisInput(**{**usual, **facts})


class Fleet:
    """Nodes that sample once a second, twenty requests each, on clocks of their own."""

    def __init__(self, *, failing=0.0, slower=1.0):
        self.skew = {name: 37.0 * index for index, name in enumerate((*CANARY, *BASELINE))}
        rng = np.random.default_rng(3)
        self.samples = {
            name: self._samples(
                name, rng, failing if name in CANARY else 0.0, slower if name in CANARY else 1.0
            )
            for name in self.skew
        }

    def _samples(self, name, rng, failing, slower):
        found, counts = [], {}
        for second in range(800):
            new = name in CANARY and second >= CHANGED
            key = "2:1" if new else "1:1"
            total = counts.setdefault(
                key, {"requests": 0, "errors": 0, "cpu": 0.0, "bins": np.zeros(len(BOUNDS) + 1)}
            )
            total["requests"] += 20
            total["errors"] += rng.binomial(20, failing) if new else 0
            total["cpu"] += 0.3 * np.exp(0.05 * rng.standard_normal())
            waits = 0.01 * (slower if new else 1.0) * np.exp(0.4 * rng.standard_normal(20))
            total["bins"] += np.histogram(waits, [0, *BOUNDS, np.inf])[0]
            upto = np.cumsum(total["bins"])
            found.append(
                Sample(
                    at=second + self.skew[name],
                    version=NEW if new else OLD,
                    instance=key,
                    probe_ok=True,
                    cpu_seconds=total["cpu"],
                    memory_bytes=50e6,
                    requests=total["requests"],
                    errors=total["errors"],
                    latency=Histogram(bounds=BOUNDS, counts=tuple(upto[:-1]), count=upto[-1], total=1.0),
                )
            )
        return found

    def answer(self, at, since, silent=()):
        """What the nodes answer at a moment, each on its own clock, when asked for what is newer."""
        return {
            name: None
            if name in silent
            else Samples(
                node=name,
                module="greeter",
                now=at + self.skew[name],
                samples=tuple(
                    sample for sample in self.samples[name] if since[name] < sample.at <= at + self.skew[name]
                ),
            )
            for name in since
        }


def looks(fleet, *, number=6, rule=RULE, silent=lambda look: (), **known):
    """Judge so many looks that begin ten seconds after the change; memory goes through JSON in between."""
    memory, said = None, []
    asked = request(rule=rule)
    for index in range(1, number + 1):
        look = Look(analysis=asked, number=index, seconds=30.0 * index)
        at = CHANGED + 10 + look.seconds
        since = read_from(look, memory, at - look.seconds - 300.0)
        compared = compare(look, fleet.answer(at, since, silent(index)), memory, at, **known)
        memory = LookMemory.model_validate_json(compared.memory.model_dump_json())
        said.append(compared)
    return said


def counted(compared):
    return [
        sum(
            value
            for row in next(m for m in each.judged.look.metrics if m.spec.name == "errors").canary.exposure
            for value in row
            if value is not None
        )
        for each in compared
    ]


def test_every_request_is_counted_once_whatever_the_clocks():
    assert counted(looks(Fleet())) == [3 * 20 * 30.0] * 6


def test_the_first_look_learns_from_what_was_before_the_change():
    said = looks(Fleet(), number=2)
    first = next(m for m in said[0].judged.look.metrics if m.spec.name == "cpu")
    second = next(m for m in said[1].judged.look.metrics if m.spec.name == "cpu")
    assert first.history_canary.intervals == first.history_baseline.intervals == 240
    measured = [value for row in first.history_canary.values for value in row if value is not None]
    assert len(measured) > 3 * 120
    assert np.isclose(np.mean(measured), 0.3, rtol=0.02)
    assert second.history_canary.intervals == 0
    assert is_first(None)
    assert not is_first(said[0].memory)


def test_a_harmless_release_passes_and_a_bad_one_fails():
    assert looks(Fleet())[-1].verdict.outcome is Outcome.PASS
    slow = looks(Fleet(slower=1.5))[0].verdict
    assert slow.outcome is Outcome.FAIL
    assert "latency" in slow.reason
    assert looks(Fleet(failing=0.02))[0].verdict.outcome is Outcome.FAIL


def test_a_node_that_is_silent_for_one_look_is_read_up_afterwards():
    said = looks(Fleet(), silent=lambda look: ("c1",) if look == 3 else ())
    assert counted(said) == [1800.0, 1800.0, 1200.0, 2400.0, 1800.0, 1800.0]


def test_a_canary_that_does_not_answer_is_an_outage():
    said = looks(Fleet(), number=2, silent=lambda look: CANARY)
    assert (said[-1].verdict.outcome, said[-1].verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN)
    late = looks(Fleet(), silent=lambda look: CANARY if look == 1 else ())
    assert late[-1].verdict.outcome is Outcome.PASS


def test_a_baseline_that_runs_the_release_is_none():
    fleet = Fleet()
    fleet.samples["b1"] = [each.model_copy(update={"version": NEW}) for each in fleet.samples["b1"]]
    verdict = looks(fleet, number=1)[0].verdict
    assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.BASELINE_BAD)
    assert "b1" in verdict.reason


@pytest.mark.parametrize(
    ("judge", "of_one_bad_metric"),
    [("threshold", Outcome.FAIL), ("mann-whitney", Outcome.INCONCLUSIVE)],  # a score of 80 is marginal
)
def test_the_other_judges_read_the_same_looks(judge, of_one_bad_metric):
    rule = RULE.model_copy(update={"judge": judge})
    assert looks(Fleet(), rule=rule)[-1].verdict.outcome is Outcome.PASS
    assert looks(Fleet(slower=6.0), rule=rule)[-1].verdict.outcome is of_one_bad_metric


def test_traffic_that_should_be_even_and_is_not_is_no_comparison():
    fleet = Fleet()
    for name in BASELINE:
        fleet.samples[name] = [
            each.model_copy(update={"requests": each.requests * 3}) for each in fleet.samples[name]
        ]
    even = RULE.model_copy(update={"traffic": "even"})
    assert looks(fleet, rule=even)[-1].verdict.doubt is Doubt.SAMPLE_RATIO
    assert looks(fleet, rule=RULE)[-1].verdict.doubt is None


FRESH = RULE.model_copy(update={"against": "fresh"})
RENEWED = 15.0  # seconds after the change


def restarted(fleet, *names, at=CHANGED + RENEWED):
    """Processes say how old they are; those of `names` began anew, the others long before."""
    for name, samples in fleet.samples.items():
        skew = fleet.skew[name]
        began = at + skew if name in names else skew - 86400.0
        changed = CHANGED + skew
        fleet.samples[name] = [
            each.model_copy(
                update={
                    "age": each.at - (began if each.at >= began else skew - 86400.0)
                    if each.version == OLD
                    else each.at - changed,
                    "instance": "1:2" if name in names and each.at >= began else each.instance,
                }
            )
            for each in samples
        ]
    return fleet


def fresh_looks(fleet, rule=FRESH, **facts):
    """Three looks that begin thirty seconds after the change, against a baseline that was restarted."""
    memory, said = None, []
    asked = request(rule=rule, renewed=5.0, **facts)
    for index in range(1, 4):
        look = Look(analysis=asked, number=index, seconds=30.0 * index)
        at = CHANGED + RENEWED + 5.0 + rule.warm_up + look.seconds
        since = read_from(look, memory, at - look.seconds - 300.0)
        compared = compare(look, fleet.answer(at, since), memory, at)
        memory = compared.memory
        said.append(compared.verdict)
    return said


def test_a_fresh_baseline_is_judged_like_any_other():
    assert fresh_looks(restarted(Fleet(), *BASELINE))[-1].outcome is Outcome.PASS
    assert fresh_looks(restarted(Fleet(slower=1.5), *BASELINE))[-1].outcome is Outcome.FAIL


@pytest.mark.parametrize(
    ("judge", "fleet", "baseline", "words"),
    [
        ("sequential", lambda: restarted(Fleet(), "b1", "b3"), BASELINE, "older processes run on b2"),
        ("threshold", lambda: restarted(Fleet(), "b1", "b3"), BASELINE, "older processes run on b2"),
        ("mann-whitney", lambda: restarted(Fleet(), "b1", "b3"), BASELINE, "older processes run on b2"),
        ("sequential", lambda: restarted(Fleet(), *BASELINE, at=CHANGED - 60), BASELINE, "on b1, b2, b3"),
        ("sequential", Fleet, BASELINE, "no age of the process on b1, b2, b3"),
        ("sequential", lambda: restarted(Fleet(), *BASELINE), (), "no unchanged node could be restarted"),
    ],
)
def test_a_baseline_that_is_not_fresh_is_never_a_pass(judge, fleet, baseline, words):
    rule = FRESH.model_copy(update={"judge": judge})
    for verdict in fresh_looks(fleet(), rule, baseline=baseline):
        assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.BASELINE_BAD)
        assert words in verdict.reason


BEFORE = AnalysisRule(duration=90, interval=30, warm_up=0, extensions=0, against="before")


def test_the_same_nodes_before_the_change_are_a_baseline_too():
    said = looks(Fleet(), number=3, rule=BEFORE)
    metrics = {each.spec.name: each for each in said[0].judged.look.metrics}
    assert metrics["cpu"].baseline.nodes == metrics["cpu"].canary.nodes == CANARY
    assert counted(said) == [1800.0] * 3
    past = [sum(value or 0.0 for value in row) for row in metrics["errors"].baseline.exposure]
    assert past == [600.0] * 3
    assert said[-1].verdict.outcome is Outcome.PASS
    assert looks(Fleet(slower=1.5), number=3, rule=BEFORE)[-1].verdict.outcome is Outcome.FAIL
    assert looks(Fleet(failing=0.05), number=3, rule=BEFORE)[-1].verdict.outcome is Outcome.FAIL


def test_what_agents_do_not_remember_is_no_baseline():
    with pytest.raises(ValueError, match="agents remember 840 s"):
        AnalysisRule(duration=600, interval=30, against="before")


def tried_between(start, end, version):
    """A fleet whose canary nodes ran another, hungrier release for a while."""
    fleet = Fleet()
    for name in CANARY:
        fleet.samples[name] = [
            each.model_copy(
                update={"version": version, "cpu_seconds": each.cpu_seconds * 9, "instance": "9:9"}
            )
            if start <= each.at - fleet.skew[name] < end
            else each
            for each in fleet.samples[name]
        ]
    return fleet


@pytest.mark.parametrize(
    ("fleet", "known"),
    [
        (tried_between(300, 350, NEW), {}),
        (tried_between(300, 350, "1.5.0"), {}),
        # Taken back just before the change: nothing was sampled of what was back for a moment.
        (tried_between(CHANGED - 60, CHANGED, "1.5.0"), {"ran": dict.fromkeys((*CANARY, *BASELINE), OLD)}),
    ],
)
def test_a_release_that_was_tried_and_taken_back_is_no_history(fleet, known):
    first = looks(fleet, number=1, **known)[0]
    cpu = next(m for m in first.judged.look.metrics if m.spec.name == "cpu")
    measured = [value for row in cpu.history_canary.values for value in row if value is not None]
    assert max(measured) < 0.4


def guard_looks(fleet, rule, *, number=3, silent=lambda look: ()):
    """A guard that opened ten seconds after the change; memory goes through JSON, as the store has it."""
    opened = CHANGED + 10
    guarded = GuardInput(
        tenant="acme",
        environment="production",
        deployment="d1",
        module="greeter",
        version=NEW,
        nodes=CANARY,
        wave=1,
        rule=rule,
        began=CHANGED,
    )
    asked = guard_analysis(guarded, opened)
    memory, recorded, made = None, None, []
    for index in range(1, number + 1):
        since = rule.interval * index
        look = Look(analysis=asked, number=index, seconds=look_back(rule, since))
        at = opened + since
        if rule.against is Against.BEFORE:
            starts = read_from(look, memory, at - look.seconds - 300.0)
            compared = compare(look, fleet.answer(at, starts, silent(index)), memory, at)
        else:
            found = fleet.answer(at, dict.fromkeys(CANARY, 0.0), silent(index))
            recorded = recall(look, found) if recorded is None else recorded
            compared = compare_recorded(look, found, recorded, at)
        memory = LookMemory.model_validate_json(compared.memory.model_dump_json())
        recorded = memory.recorded or recorded
        made.append(compared)
    return made


GUARDS = (
    GuardRule(seconds=300, interval=60, window=60, against="recorded"),
    GuardRule(seconds=300, interval=60, window=60, against="recorded", judge="mann-whitney"),
    GuardRule(seconds=300, interval=60, against="before"),
    GuardRule(seconds=300, interval=60, against="before", judge="threshold"),
)


@pytest.mark.parametrize("rule", GUARDS, ids=lambda rule: f"{rule.against}-{rule.judged_by}")
def test_a_guard_compares_the_whole_fleet_with_the_time_before_the_rollout(rule):
    verdict = guard_looks(Fleet(), rule, number=5)[-1].verdict
    assert verdict.outcome is Outcome.PASS, verdict.reason
    failing = guard_looks(Fleet(failing=0.05), rule)[-1].verdict
    assert failing.outcome is not Outcome.PASS
    if rule.judged_by != "mann-whitney":  # one metric of three is a score of 67, and marginal at best
        assert failing.outcome is Outcome.FAIL
    errors = next(each for each in failing.metrics if each.metric.startswith("errors"))
    assert "errors" in failing.reason
    assert errors.outcome is Outcome.FAIL


@pytest.mark.parametrize("rule", GUARDS[:1])
def test_recorded_figures_are_the_last_window_of_the_release_before_and_stay(rule):
    made = guard_looks(Fleet(), rule)
    sides = [next(m for m in each.judged.look.metrics if m.spec.name == "errors") for each in made]
    assert [sum(map(sum, each.canary.exposure)) for each in sides] == [3 * 60 * 20.0] * 3
    assert {each.baseline for each in sides} == {sides[0].baseline}
    assert sum(map(sum, sides[0].baseline.exposure)) == 3 * 60 * 20.0
    assert [bool(each.memory.recorded) for each in made] == [True, False, False]
    ends = [(each.judged.look.start, each.judged.look.end) for each in made]
    assert ends == [(410, 470), (470, 530), (530, 590)]


def test_a_guard_that_nobody_answers_has_no_verdict():
    for rule in GUARDS:
        verdict = guard_looks(Fleet(), rule, silent=lambda look: CANARY)[-1].verdict
        assert (verdict.outcome, verdict.doubt) == (Outcome.INCONCLUSIVE, Doubt.PROVIDER_DOWN), rule


@pytest.mark.parametrize("rule", GUARDS, ids=lambda rule: f"{rule.against}-{rule.judged_by}")
def test_a_look_of_a_guard_is_judged_again_bit_for_bit(rule):
    made = guard_looks(Fleet(failing=0.01), rule)
    for before, each in zip([None, *made], made, strict=False):
        state = before.memory.state if before is not None else None
        again, _ = judge(each.judged.policy, state, each.judged.look)
        assert again.model_dump_json() == each.verdict.model_dump_json()
