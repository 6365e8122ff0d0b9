"""Strategies × failure points on real agents, the short form: three of them. The rest: test_matrix_long."""

import pytest

from tests.stack.fleet import Fleet
from tests.stack.matrix import POINTS, STRATEGIES, Scene, push_releases

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]

NODES = 8
SHORT = (("rolling", "module dies in bake"), ("blue-green", "gate rejected"), ("canary", "agents lie"))


@pytest.fixture(scope="module")
def scene(stack, tmp_path_factory):
    with Fleet(stack, "qa", NODES, tmp_path_factory.mktemp("matrix")) as fleet:
        yield Scene(stack, fleet, push_releases(stack, fleet, tmp_path_factory.mktemp("releases")))


@pytest.mark.parametrize(("strategy", "point"), SHORT)
@pytest.mark.finding("X4")
def test_the_prior_release_is_back_on_every_node_or_the_nodes_are_named(scene, strategy, point):
    POINTS[point][1](scene, STRATEGIES[strategy])
