"""Every strategy × every failure point on twenty real agents. `make test-faults`; the result is printed."""

import pytest

from tests.stack.fleet import Fleet
from tests.stack.matrix import POINTS, STRATEGIES, Scene, push_releases

pytestmark = [pytest.mark.faults_long, pytest.mark.timeout(600)]

NODES = 20
CASES = [
    (strategy, point) for point, (those, _) in POINTS.items() for strategy in STRATEGIES if strategy in those
]


@pytest.fixture(scope="module")
def scene(stack, tmp_path_factory):
    with Fleet(stack, "staging", NODES, tmp_path_factory.mktemp("matrix")) as fleet:
        yield Scene(stack, fleet, push_releases(stack, fleet, tmp_path_factory.mktemp("releases")))


@pytest.mark.parametrize(("strategy", "point"), CASES)
@pytest.mark.finding("X4")
def test_the_prior_release_is_back_on_every_node_or_the_nodes_are_named(scene, strategy, point):
    POINTS[point][1](scene, STRATEGIES[strategy])
    print(f"{strategy}, {point}: as it must be")
