"""Each test statistic against published figures, and its promise in simulation with fixed seeds."""

import math

import numpy as np
import pytest
from scipy.special import betaln

from domain.judges import counts, drift, signals, split
from domain.judges.evidence import begin, log_mean, restart_weight, restarted, restarted_evidence, unspent
from domain.judges.streams import CountStream, LevelStream
from domain.metrics import JudgeLook

ALPHA = 0.05
NEEDED = math.log(1 / ALPHA)


def never_above(reached: int, of: int, promise: float) -> bool:
    """Whether so many false alarms fit the promise, three standard errors allowed."""
    return reached <= of * promise + 3 * math.sqrt(of * promise * (1 - promise))


# The mixture over starting looks.


@pytest.mark.parametrize("planned", [1, 2, 12, 100])
def test_bets_never_exceed_what_there_is(planned):
    spent = 0.0
    for look in range(1, 500):
        spent += restart_weight(look, planned)
        assert spent + unspent(look, planned) <= 1 + 1e-12
    assert spent <= 1


def test_the_recursion_is_the_weighted_sum_of_tests_that_begin_at_each_look():
    rng = np.random.default_rng(1)
    gained = rng.normal(size=(6, 3))
    scores = begin((3,))
    for look in range(1, 7):
        scores = restarted(scores, gained[look - 1], gained[look - 1], look, 12)
    direct = [restart_weight(start, 12) * np.exp(gained[start - 1 :].sum(axis=0)) for start in range(1, 7)]
    assert np.allclose(np.exp(scores), np.sum(direct, axis=0))
    total = np.mean(np.sum(direct, axis=0)) + unspent(6, 12)
    assert math.isclose(float(restarted_evidence(scores, 6, 12)), math.log(total))


# Counts.


def test_the_closed_form_of_the_multinomial_test():
    """Lindon and Malek's example, as savvi computes it: 30 against 55 gives 5.3776."""
    assert math.isclose(math.exp(betaln(56, 31) - betaln(1, 1) - 85 * math.log(0.5)), 5.3776, rel_tol=1e-4)


def test_likelihood_ratios_are_those_of_the_binomial():
    x, n, r = np.array([3.0, 8.0]), np.array([10.0, 12.0]), np.array([0.5, 2.0])
    found = counts.against_limit(counts.log_likelihood(np.array([1.0, 3.0]), x, n, r), 1.0)

    def log_pmf(delta):
        p = delta * r / (1 + delta * r)
        return np.sum(x * np.log(p) + (n - x) * np.log(1 - p))

    assert math.isclose(float(found[0]), log_pmf(3.0) - log_pmf(1.0))


def test_confidence_bounds_are_near_the_closed_form():
    """savvi's confidence sequence for 55 against 30 is .9075 to 3.8999 (two-sided at 5 %)."""
    grid = counts.log_likelihood(counts.ratio_grid(2.0), np.array([55.0]), np.array([85.0]), np.array([1.0]))
    low, high = counts.ratio_bounds(grid, 2.0, 1.0, math.log(2 / ALPHA))
    assert 0.8 < low < 1.1
    assert 3.2 < high < 4.2


@pytest.mark.parametrize(("ratio", "promise"), [(1.0, ALPHA), (0.7, ALPHA)])
def test_counts_alarm_no_more_than_promised_however_often_one_looks(ratio, promise):
    rng = np.random.default_rng(2)
    runs, looks = 1000, 60
    exposure = np.where(np.arange(looks) < 20, 0.1, 1.0)
    base = 3.0 + 2 * np.sin(np.arange(looks) / 9)
    stream, worst = CountStream.empty((runs,)), np.full(runs, -np.inf)
    for look in range(1, looks + 1):
        r = exposure[look - 1]
        update(
            stream,
            rng.poisson(ratio * r * base[look - 1], (runs, 1)),
            rng.poisson(base[look - 1], (runs, 1)),
            r,
            look,
        )
        worst = np.maximum(worst, stream.against(look, looks))
    assert never_above(int(np.sum(worst >= NEEDED)), runs, promise)


def update(stream, canary, baseline, exposure, look):
    canary, baseline = canary.astype(float), baseline.astype(float)
    stream.update(
        canary=canary,
        baseline=baseline,
        canary_exposure=np.full(canary.shape, 1000.0 * exposure),
        baseline_exposure=np.full(canary.shape, 1000.0),
        margin=0.0,
        tolerance=1.0,
        dispersion=np.ones(canary.shape[0]),
        look=look,
        planned=60,
    )


def test_certificates_are_wrong_no_more_often_than_promised_at_the_edge_of_the_tolerance():
    rng = np.random.default_rng(3)
    runs = 1000
    stream, best = CountStream.empty((runs,)), np.full(runs, -np.inf)
    for look in range(1, 61):
        update(stream, rng.poisson(8.0, (runs, 1)), rng.poisson(4.0, (runs, 1)), 1.0, look)
        best = np.maximum(best, stream.certified())
    assert never_above(int(np.sum(best >= NEEDED)), runs, ALPHA)


def test_planning_figures_of_the_conditional_binomial():
    """Events until a fail at α = 1.25 %: about 16 at ten times the rate, 112 at twice."""
    for ratio, events in ((10.0, 16), (2.0, 112)):
        p, half = ratio / (1 + ratio), 0.5
        divergence = p * math.log(p / half) + (1 - p) * math.log((1 - p) / half)
        assert math.isclose((math.log(80) + math.log(7)) / divergence, events, rel_tol=0.03)


def test_dispersion_finds_bursts_and_leaves_independent_counts_alone():
    rng = np.random.default_rng(4)
    shape = (200, 120)
    calm = rng.poisson(6.0, (2, *shape)).astype(float)
    bursts = rng.poisson(6.0 * rng.gamma(2.0, 0.5, (2, *shape))).astype(float)
    psi = [counts.dispersion(x, x + y, np.ones(shape)) for x, y in (calm, bursts)]
    assert np.median(psi[0]) < 1.05
    assert np.median(psi[1]) > 2.0
    assert np.all(counts.dispersion(np.zeros(shape), np.zeros(shape), np.ones(shape)) == 1.0)


def test_a_ceiling_holds_at_every_look():
    rng = np.random.default_rng(5)
    runs, happened, wrong = 400, np.zeros(400), np.zeros(400, dtype=bool)
    for look in range(1, 41):
        happened = happened + rng.binomial(100, 0.01, runs)
        gained = counts.below_floor(0.01, happened, np.full(runs, 100.0 * look), share=True)
        wrong |= log_mean(gained) >= NEEDED
    assert never_above(int(wrong.sum()), runs, ALPHA)
    assert counts.rate_ceiling(0.0, 2000.0, NEEDED, share=True) < 0.005
    assert counts.rate_ceiling(0.0, 0.0, NEEDED, share=True) is None


# Levels.


def autoregressive(rng, runs, number, phi, deviation=0.1):
    series = np.empty((runs, number))
    series[:, 0] = rng.standard_normal(runs)
    for at in range(1, number):
        series[:, at] = phi * series[:, at - 1] + math.sqrt(1 - phi**2) * rng.standard_normal(runs)
    return deviation * series


def worst_evidence(series, history=120, per_look=5):
    sampling = np.zeros(series.shape)
    noise = drift.learn(series[:, :history], sampling[:, :history])
    stream, worst = LevelStream.empty((len(series),)), np.full(len(series), -np.inf)
    looks = (series.shape[1] - history) // per_look
    for look in range(1, looks + 1):
        now = slice(history + (look - 1) * per_look, history + look * per_look)
        stream.update(
            difference=series[:, now],
            above_margin=series[:, now],
            below_tolerance=0.2 - series[:, now],
            sampling=sampling[:, now],
            noise=noise,
            look=look,
            planned=looks,
        )
        worst = np.maximum(worst, stream.against(look, looks))
    return worst, stream


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8])
def test_levels_alarm_no_more_than_promised_at_the_edge_though_they_are_correlated(phi):
    series = autoregressive(np.random.default_rng(6), 1000, 180, phi)
    worst, _ = worst_evidence(series)
    assert never_above(int(np.sum(worst >= NEEDED)), 1000, ALPHA)


def test_an_uncorrected_test_would_alarm_on_the_same_series():
    """What the calibration is for: the same bets with φ = 0 and the plain spread are fooled."""
    series = autoregressive(np.random.default_rng(6), 400, 180, 0.8)[:, 120:]
    terms = np.minimum(series / series.std(axis=1, keepdims=True), 4.0)
    path = drift.BETS[:, None, None] * np.cumsum(terms, axis=1) - drift.BETS[
        :, None, None
    ] ** 2 / 2 * np.arange(1, 61)
    alarms = np.exp(path).mean(axis=0).max(axis=1) >= 1 / ALPHA
    assert alarms.mean() > 0.2


def test_a_shift_is_found_from_the_start_and_from_the_middle():
    rng = np.random.default_rng(7)
    for starts in (120, 150):
        series = autoregressive(rng, 300, 180, 0.5)
        series[:, starts:] += 0.4
        worst, _ = worst_evidence(series)
        assert np.mean(worst >= NEEDED) > 0.97


def test_the_band_covers_the_truth_at_the_end():
    series = autoregressive(np.random.default_rng(8), 1000, 180, 0.5) + 0.0
    series[:, 120:] += 0.1
    _, stream = worst_evidence(series)
    unit = stream.information / stream.number
    width = np.array([drift.band(p, u, ALPHA) / p for p, u in zip(stream.information, unit, strict=True)])
    assert np.mean(stream.estimate + width < 0.1) <= ALPHA
    assert np.mean(stream.estimate - width > 0.1) <= ALPHA


def test_the_band_is_near_the_two_sided_normal_mixture():
    """confseq's normal mixture at v = v_opt = 100 and 5 % is 30.352; one side at 2.5 % is barely wider."""
    rho = 100 / (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05)))
    assert math.isclose(
        math.sqrt((100 + rho) * math.log((100 + rho) / (rho * 0.05**2))), 30.352, abs_tol=0.002
    )
    assert 30.352 <= drift.band(100.0, rho / 2.5, 0.025) < 30.352 * 1.005


def test_calibration_sees_correlation_long_memory_and_lasting_differences():
    rng = np.random.default_rng(9)
    white, red = (drift.learn(autoregressive(rng, 500, 120, phi), np.zeros((500, 120))) for phi in (0.0, 0.8))
    assert np.median(white.phi) < 0.1
    assert abs(np.median(red.phi) - 0.8) < 0.05
    slow = autoregressive(rng, 500, 120, 0.5, 0.07) + autoregressive(rng, 500, 120, 0.985, 0.07)
    remembered = drift.learn(slow, np.zeros((500, 120)))
    one_lag = np.std(slow[:, 1:] - 0.62 * slow[:, :-1])
    assert np.median(remembered.spread) > one_lag
    lasting = drift.learn(autoregressive(rng, 500, 120, 0.0, 0.02) + 0.1, np.zeros((500, 120)))
    assert np.all(lasting.offset_low > 0.09)
    assert np.mean(white.offset_high != 0) < 0.05


def test_without_history_the_spread_is_wide():
    noise = drift.learn(np.full((3, 1), np.nan), np.full((3, 1), np.nan))
    assert np.all(noise.phi == drift.UNKNOWN_PHI)
    assert np.all(noise.spread == drift.UNKNOWN_SPREAD)


# Signals.


def test_quantile_and_share_above_fit_each_other():
    bounds = np.array([0.1, 0.2, 0.4])
    buckets = np.array([10.0, 60.0, 20.0, 10.0])
    threshold = signals.quantile(buckets, bounds, 0.9)
    assert math.isclose(float(threshold), 0.4)
    assert math.isclose(float(signals.share_above(buckets, bounds, threshold)), 10.0)
    assert math.isclose(float(signals.share_above(buckets, bounds, 0.05)), 100.0)


def test_every_node_is_left_out_once():
    canary, baseline = np.array([[1.0], [2.0], [4.0]]), np.array([[10.0], [20.0]])
    ours, theirs = signals.variants(canary, baseline)
    assert ours[:, 0].tolist() == [7, 6, 5, 3, 7, 7]
    assert theirs[:, 0].tolist() == [30, 30, 30, 30, 20, 10]
    alone = signals.variants(canary[:1], baseline[:1])
    assert [side.tolist() for side in alone] == [[[1.0]], [[10.0]]]


def test_one_bad_node_is_no_regression_in_the_smallest_of_all_tests():
    rng = np.random.default_rng(10)
    runs, nodes = 300, 5
    canary, baseline = rng.normal(0, 0.05, (2, runs, nodes, 180))
    canary[:, 0, 120:] += 1.5
    levels = signals.gauge(canary, baseline, margin=0.05, tolerance=0.25)
    noise = drift.learn(levels.difference[..., :120], levels.sampling[..., :120])
    stream = LevelStream.empty(levels.difference.shape[:-1])
    worst = np.full(runs, -np.inf)
    for look in range(1, 13):
        now = slice(120 + 5 * (look - 1), 120 + 5 * look)
        stream.update(
            difference=levels.difference[..., now],
            above_margin=levels.above_margin[..., now],
            below_tolerance=levels.below_tolerance[..., now],
            sampling=levels.sampling[..., now],
            noise=noise,
            look=look,
            planned=12,
        )
        each = stream.against(look, 12)
        worst = np.maximum(worst, each.min(axis=1))
    assert np.all(each[:, 0] > 100)
    assert never_above(int(np.sum(worst >= NEEDED)), runs, ALPHA)


# The sample-ratio test.


def split_alarms(share, intended, runs=60):
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(runs):
        stored: dict = {}
        reason = ""
        for number in range(1, 13):
            total = rng.poisson(3000)
            mine = rng.binomial(total, share)
            asked = JudgeLook(
                number=number,
                start=0,
                end=1,
                step=1,
                expected_share=intended,
                canary_requests=mine,
                baseline_requests=total - mine,
            )
            reason, stored = split.follow(asked, stored, 12)
        alarms += bool(reason)
    return alarms


def test_the_split_is_questioned_when_it_is_wrong_and_not_when_it_is_right():
    assert split_alarms(0.3, 0.3) == 0
    assert split_alarms(0.31, 0.3) == 0  # within the margin: requests come in bursts
    assert split_alarms(0.4, 0.3) == 60
    assert split_alarms(0.2, 0.3) == 60


def test_without_an_intended_split_nothing_is_questioned():
    asked = JudgeLook(number=1, start=0, end=1, step=1, canary_requests=1.0, baseline_requests=1e6)
    assert split.follow(asked, {}, 12) == ("", {})
