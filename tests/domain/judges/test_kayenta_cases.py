"""What Kayenta's own tests assert of its judge, and where we differ: on purpose, one switch each."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.analysis import Doubt, Outcome
from domain.judges import mann_whitney
from domain.judges.kayenta import series
from domain.judges.kayenta.classify import Label, Terms, classify, common_language, mean_ratio
from domain.judges.kayenta.rank_test import shift, standardised, zeroin
from domain.judges.kayenta.score import Result, score, word
from domain.judging import EffectSize, FailOpen, JudgePolicy, MannWhitney, MetricOptions
from domain.metrics import Direction, JudgeLook, MetricKind, MetricLook, MetricSpec, Side

CASES = json.loads((Path(__file__).parents[2] / "cases" / "kayenta.json").read_text())["cases"]
KAYENTA = FailOpen.kayenta()
# In Kayenta's code base, but no part of its judge.
NOT_OF_THE_JUDGE = {
    "effect_size-006": "Cohen's d",
    "outlier_detection-001": "k-sigma",
    "outlier_detection-002": "k-sigma",
}


def of(*kinds: str) -> list[Any]:
    return [
        pytest.param(case["input"], case["expect"], id=case["id"])
        for case in CASES
        if case["kind"] in kinds and case["id"] not in NOT_OF_THE_JUDGE
    ]


def array(values: list[float | None]) -> np.ndarray:
    return np.array(values, dtype=float)


# Statistics.


@pytest.mark.parametrize(("given", "expect"), of("wilcoxon_diff"))
def test_the_standardised_rank_sum(given, expect):
    found = standardised(given["mu"], array(given["x"]), array(given["y"]), quantile=given["quantile"])
    assert math.isclose(found, expect["value"], abs_tol=expect["tol"])


@pytest.mark.parametrize(("given", "expect"), of("mann_whitney_ci"))
def test_the_confidence_interval(given, expect):
    found = shift(
        array(given["experiment"]), array(given["control"]), confidence=given["confLevel"], absolute=True
    )
    assert math.isclose(found.low, expect["lower"], abs_tol=expect["tol"])
    assert math.isclose(found.high, expect["upper"], abs_tol=expect["tol"])
    assert math.isclose(found.estimate, expect["estimate"], abs_tol=expect["estimateTol"])


@pytest.mark.parametrize(("given", "expect"), of("mann_whitney_intermediate"))
def test_the_search_for_the_interval_step_by_step(given, expect):
    x, y = array(given["x"]), array(given["y"])
    low, high = x.min() - y.max(), x.max() - y.min()
    assert (low, high) == pytest.approx((expect["muMin"], expect["muMax"]))
    for end, z in (("Lower", expect["zLower"]), ("Upper", expect["zUpper"])):
        assert standardised(low, x, y, quantile=z) == pytest.approx(expect[f"fLowerAtZ{end}"], abs=1e-6)
        assert standardised(high, x, y, quantile=z) == pytest.approx(expect[f"fUpperAtZ{end}"], abs=1e-6)
    found = shift(x, y, confidence=given["confLevel"], absolute=True)
    for value, name in ((found.low, "ciLower"), (found.high, "ciUpper"), (found.estimate, "estimate")):
        assert math.isclose(value, expect[name], abs_tol=expect["tol"])


def test_the_zero_of_a_smooth_function_is_found_to_the_tolerance():
    assert math.isclose(zeroin(lambda x: x**3 - 2, 0.0, 2.0, 1e-12), 2 ** (1 / 3), abs_tol=1e-11)


@pytest.mark.parametrize(("given", "expect"), of("normal_quantile"))
def test_the_normal_quantile(given, expect):
    from scipy.special import ndtri

    assert math.isclose(float(ndtri(given["p"])), expect["value"], abs_tol=expect["tol"])


@pytest.mark.parametrize(("given", "expect"), of("percentile_R7"))
def test_percentiles_are_those_of_type_7(given, expect):
    for each in expect["percentiles"]:
        assert math.isclose(
            float(np.percentile(given["values"], each["p"])), each["value"], abs_tol=each["tol"]
        )


@pytest.mark.parametrize(("given", "expect"), of("outlier_detection"))
def test_outliers(given, expect):
    values = array(given["values"])
    low, high = series.fences(values, given["factor"], reduce_sensitivity=given["reduceSensitivity"])
    assert [bool(each) for each in (values < low) | (values > high)] == expect["outliers"]


@pytest.mark.parametrize(("given", "expect"), of("transform"))
def test_transforms(given, expect):
    values = array(given["values"])
    if given["op"] == "removeNaNs":
        found = series.without_gaps(values, MetricOptions())
    else:
        low, high = series.fences(values, given["factor"], reduce_sensitivity=given["reduceSensitivity"])
        found = values[(values >= low) & (values <= high)]
    assert found.tolist() == expect["values"]


@pytest.mark.parametrize(("given", "expect"), of("transform_statistical"))
def test_noise_keeps_the_number_of_points_and_tells_constants_apart(given, expect):
    noisy = series.jittered(np.full(len(given["values"]), 10.0))
    assert noisy.size == expect["length"]
    assert np.unique(noisy).size == noisy.size
    assert abs(noisy.mean() - 10.0) < 1e-4
    assert series.jittered(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("given", "expect"), of("effect_size"))
def test_effect_sizes(given, expect):
    x, y = array(given["experiment"]), array(given["control"])
    found = common_language(x, y) if given["measure"] == "cles" else mean_ratio(x, y)
    assert math.isclose(found, expect["value"], abs_tol=expect["tol"])


# Classification.


def terms(given: dict[str, Any], switches: FailOpen) -> Terms:
    return Terms(
        direction=Direction(given["direction"]),
        tolerance=given["tolerance"],
        confidence=given["confLevel"],
        critical=given["critical"],
        must_have_data=given["mustHaveData"],
        minimum_points=10,
        fail_open=switches,
        options=MetricOptions(
            nan_strategy=given["nanStrategy"],
            effect_size=EffectSize(
                measure=given["effectSizeMeasure"],
                allowed_increase=given["effectSizeThresholds"]["increase"],
                allowed_decrease=given["effectSizeThresholds"]["decrease"],
                critical_increase=given["criticalThresholds"]["increase"],
                critical_decrease=given["criticalThresholds"]["decrease"],
            ),
        ),
    )


@pytest.mark.parametrize(("given", "expect"), of("metric_classification"))
def test_with_all_switches_on_every_metric_is_classified_as_kayenta_does(given, expect):
    found = classify(array(given["experiment"]), array(given["control"]), terms(given, KAYENTA))
    if "classification" in expect:
        assert found.label == expect["classification"]
    if "critical" in expect:
        assert found.critical == expect["critical"]
    if expect.get("reasonNonEmpty"):
        assert found.reason
    deviation = expect.get("deviation")
    if deviation is not None:
        assert found.deviation is None if deviation == "NaN" else found.deviation == pytest.approx(deviation)
    if "ciLower" in expect:
        assert (found.shift.low, found.shift.high, found.shift.estimate) == pytest.approx(
            (expect["ciLower"], expect["ciUpper"], expect["estimate"]), abs=1e-4
        )


@pytest.mark.parametrize(("given", "expect"), of("metric_classification"))
def test_with_all_switches_off_nothing_becomes_a_pass_that_was_none(given, expect):
    found = classify(array(given["experiment"]), array(given["control"]), terms(given, FailOpen()))
    if expect.get("classification") not in ("Pass", None):
        assert found.label is not Label.PASS


# Scores.


def results(given: dict[str, Any]) -> list[Result]:
    return [
        Result(
            name=each["name"],
            label=Label(each["classification"]),
            groups=tuple(each["groups"]),
            critical=each["critical"],
            muted=each.get("muted", False),
        )
        for each in given["results"]
    ]


@pytest.mark.parametrize(("given", "expect"), of("score"))
def test_scores(given, expect):
    found = score(results(given), given["groupWeights"])
    assert found.value == pytest.approx(expect["summaryScore"])
    if "groupScoresSorted" in expect:
        assert sorted(each.score for each in found.groups) == expect["groupScoresSorted"]


@pytest.mark.parametrize(("given", "expect"), of("score_classification"))
def test_words_for_scores(given, expect):
    assert word(given["score"], passes=given["pass"], marginal=given["marginal"]) == expect["classification"]


# The judge as a whole.

POINTS = 60


def spec(name="cpu", **facts) -> MetricSpec:
    return MetricSpec(
        **{"name": name, "kind": MetricKind.GAUGE, "groups": ("system",), "direction": "either", **facts}
    )


def look(*metrics: tuple[MetricSpec, list, list], number=1) -> JudgeLook:
    return JudgeLook(
        number=number,
        start=0,
        end=60,
        step=1,
        metrics=tuple(
            MetricLook(
                spec=each,
                canary=Side(nodes=("all",) if x else (), values=(tuple(x),) if x else ()),
                baseline=Side(nodes=("all",) if y else (), values=(tuple(y),) if y else ()),
            )
            for each, x, y in metrics
        ),
    )


def verdict(
    asked: JudgeLook, switches: FailOpen, options: dict[str, MetricOptions] | None = None, passes=75.0
):
    rules = MannWhitney(pass_score=passes, marginal_score=50.0, fail_open=switches, metrics=options or {})
    policy = JudgePolicy(judge="mann-whitney", mann_whitney=rules)
    return mann_whitney.judge(policy, None, asked)[0]


@pytest.mark.parametrize(("given", "expect"), of("end_to_end"))
def test_a_whole_judgement(given, expect):
    rng = np.random.default_rng(1)
    metrics = [
        (
            spec(each["name"], groups=("g",)),
            rng.uniform(*each["experimentUniform"], given["pointsPerSeries"]).tolist(),
            rng.uniform(*each["controlUniform"], given["pointsPerSeries"]).tolist(),
        )
        for each in given["metrics"]
    ]
    for switches in (KAYENTA, FailOpen()):
        found = verdict(look(*metrics), switches)
        assert found.score == expect["finalScore"]
        assert {each.metric: each.classification for each in found.metrics} == expect["classifications"]
        assert (found.outcome is Outcome.PASS) == expect["didPassThresholds"]


RNG = np.random.default_rng(7)
SAME = RNG.normal(100, 5, POINTS)
HIGH = RNG.normal(200, 5, POINTS)
TINY = 1e-5
SINGLE, DOUBLE = RNG.lognormal(0, 0.5, 60), 2 * RNG.lognormal(0, 0.5, 60)
HALF_BAD = [100.0] * 7 + [1.0] * 3
GOOD = [(spec(f"m{index}", groups=(f"g{index}",)), SAME.tolist(), SAME[::-1].tolist()) for index in range(3)]

# Each fail-open behaviour: switch on is Kayenta's verdict, switch off is ours.
DIFFERENCES = [
    pytest.param(
        "error_passes",
        look((spec(critical=True), [5.0], [6.0])),
        {},
        (Outcome.PASS, None),
        (Outcome.INCONCLUSIVE, Doubt.ERROR),
        id="D1 a metric that cannot be computed is no pass",
    ),
    pytest.param(
        "any_sample_size",
        look((spec(), [5.1, 5.2], [4.9, 5.0])),
        {},
        (Outcome.FAIL, None),
        (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED),
        id="D3 two points say nothing, whatever they are",
    ),
    pytest.param(
        "any_sample_size",
        look((spec(), HALF_BAD, [1.0] * 10)),
        {},
        (Outcome.PASS, None),
        (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED),
        id="D4, D10 not rejected is not proven: seven of ten points at a hundred times",
    ),
    pytest.param(
        "absolute_tolerance",
        look((spec(), (DOUBLE * TINY).tolist(), (SINGLE * TINY).tolist())),
        {},
        (Outcome.PASS, None),
        (Outcome.FAIL, None),
        id="D2 the same series in another unit gets the same verdict",
    ),
    pytest.param(
        "replace_passes",
        look((spec(), [], [])),
        {"cpu": MetricOptions(nan_strategy="replace")},
        (Outcome.PASS, None),
        (Outcome.INCONCLUSIVE, Doubt.NO_DATA),
        id="D6 no data is no pass",
    ),
    pytest.param(
        "dilution",
        look((spec("bad", groups=("g9",)), HIGH.tolist(), SAME.tolist()), *GOOD),
        {},
        (Outcome.PASS, None),
        (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED),
        id="D7 a metric that fails is not outvoted",
    ),
    pytest.param(
        "marginal_fails",
        look((spec("bad"), HIGH.tolist(), SAME.tolist()), (spec("good"), SAME.tolist(), SAME[::-1].tolist())),
        {},
        (Outcome.FAIL, None),
        (Outcome.INCONCLUSIVE, Doubt.UNDERPOWERED),
        id="D8 a score equal to marginal is marginal",
    ),
]


@pytest.mark.parametrize(("switch", "asked", "options", "kayenta", "ours"), DIFFERENCES)
def test_deliberate_differences(switch, asked, options, kayenta, ours):
    others_on = KAYENTA.model_copy(update={switch: False})
    found = verdict(asked, KAYENTA, options)
    assert (found.outcome, found.doubt) == kayenta
    without = verdict(asked, others_on, options)
    assert (without.outcome, without.doubt) == ours


def test_d5_against_a_mean_of_zero_the_floor_decides_what_is_critical():
    small = [0.01, 0.02, 0.015] * 20
    zero = [0.0] * 60
    options = MetricOptions(effect_size=EffectSize(critical_increase=1.2))

    def found(switches, floor=None):
        asked = Terms(
            direction=Direction.EITHER,
            tolerance=0.25,
            confidence=0.98,
            critical=True,
            must_have_data=False,
            options=options,
            fail_open=switches,
            floor=floor,
        )
        return classify(array(small), array(zero), asked)

    assert (found(KAYENTA).label, found(KAYENTA).critical) == (Label.HIGH, True)
    ours = KAYENTA.model_copy(update={"zero_mean_skips_effect": False})
    assert (found(ours, 0.5).label, found(ours, 0.5).critical) == (Label.HIGH, False)
    assert found(ours, 0.005).critical


def test_d9_points_that_hang_together_are_fewer_than_they_seem():
    alarms = {True: 0, False: 0}
    rng = np.random.default_rng(11)
    for _ in range(60):
        x, y = (np.cumsum(rng.normal(0, 1, 60)) * 0.5 + 100 for _ in range(2))
        for ignored in alarms:
            switches = KAYENTA.model_copy(update={"ignore_autocorrelation": ignored})
            asked = look((spec(), x.tolist(), y.tolist()))
            alarms[ignored] += verdict(asked, switches).outcome is Outcome.FAIL
    assert alarms[True] > 20
    assert alarms[False] < alarms[True] / 2


def test_looks_add_up_to_the_growing_window():
    rules = MannWhitney(pass_score=75, marginal_score=50)
    policy = JudgePolicy(judge="mann-whitney", mann_whitney=rules)
    state = None
    for number in range(1, 5):
        part = slice(15 * (number - 1), 15 * number)
        asked = look((spec(), HIGH[part].tolist(), SAME[part].tolist()), number=number)
        found, state = mann_whitney.judge(policy, state, asked)
    whole, _ = mann_whitney.judge(policy, None, look((spec(), HIGH.tolist(), SAME.tolist())))
    assert found.metrics == whole.metrics


def test_series_of_the_same_name_are_judged_one_by_one():
    sides = [
        Side(nodes=("zone=a", "zone=b"), values=(tuple(a), tuple(b)))
        for a, b in ((SAME, HIGH), (SAME[::-1], SAME))
    ]
    metric = MetricLook(spec=spec(), canary=sides[0], baseline=sides[1])
    found = verdict(JudgeLook(number=1, start=0, end=60, step=1, metrics=(metric,)), FailOpen())
    assert {each.metric: each.outcome for each in found.metrics} == {
        "cpu{zone=a}": Outcome.PASS,
        "cpu{zone=b}": Outcome.FAIL,
    }
