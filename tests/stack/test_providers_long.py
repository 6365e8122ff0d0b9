"""Rollouts judged by a real Prometheus that scrapes the module itself, by a web server and by a command."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from domain.analysis import Doubt, Outcome
from domain.deployment import CauseKind, Phase
from domain.names import analysis_id
from domain.policy import AnalysisRule, EnvironmentPolicy
from domain.strategy import Canary
from tests.clients.providers.prometheus_server import Server, needs_prometheus
from tests.stack.running import BAD, GOOD, OLD, PRODUCTION, until

pytestmark = [pytest.mark.stack, pytest.mark.faults_long, pytest.mark.timeout(400), needs_prometheus]
STRATEGY = Canary(shares=(20, 100), bake=1)
CHECK = "import json, os; print(json.dumps({'version': os.environ['HOTSWAP_VERSION']}))"


class Queue(BaseHTTPRequestHandler):
    """Tells how long a queue is."""

    asked = 0

    def do_GET(self) -> None:
        type(self).asked += 1
        body = json.dumps({"queue": {"length": 3}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def broker():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Queue)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def prometheus(stack, tmp_path_factory):
    """Scrapes the greeter's own /metrics on every node, whichever release answers there."""
    stack.install_greeter(OLD)
    targets = {
        name: int(stack.module(name).endpoints["http"].rpartition(":")[2]) for name in sorted(stack.nodes())
    }
    server = Server(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def allowed(stack, prometheus, broker, tmp_path_factory):
    """A worker whose settings allow these addresses and this command."""
    path = tmp_path_factory.mktemp("settings") / "providers.yaml"
    settings = {
        "addresses": [{"address": prometheus.address}, {"address": broker}],
        "commands": {"smoke-test": {"argv": [sys.executable, "-c", CHECK]}},
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(settings))
    own = stack.directory.settings.read_text()
    _restart_worker(stack, own + f"HOTSWAP_PROVIDERS_FILE={path}\n")
    yield
    _restart_worker(stack, own)


def _restart_worker(stack, settings):
    stack.directory.settings.write_text(settings)
    stack.kill("worker")
    until(lambda: stack.back("worker"))


def set_policy(stack, prometheus, broker):
    """Nothing but Prometheus, the web server and the command has a say."""
    query = '{name}{{node=~"{{{{nodes}}}}"}}'
    source = {"address": prometheus.address, "node_label": "node"}
    failed = {
        **source,
        "spec": {"name": "failed", "kind": "ratio", "tolerance": 0.5, "floor": 0.01, "must_have_data": True},
        "query": query.format(name="request_errors_total"),
        "exposure": query.format(name="requests_total"),
    }
    answer = {
        **source,
        "spec": {"name": "answer", "kind": "latency", "unit": "s", "tolerance": 1.0, "floor": 0.05},
        "histogram": query.format(name="request_duration_seconds"),
    }
    served = {
        "metric": {"name": "served", "count": 2, "interval": 2, "success_condition": "result[0] > 1"},
        "provider": {
            "kind": "prometheus",
            "address": prometheus.address,
            "query": 'sum(rate(requests_total{node=~"{{canary}}"}[5s]))',
        },
    }
    queue = {
        "metric": {"name": "queue", "interval": 2, "failure_condition": "result > 1000"},
        "provider": {"kind": "web", "url": f"{broker}/stats", "json_path": "$.queue.length"},
    }
    smoke = {
        "metric": {"name": "smoke", "success_condition": f'result.output.version == "{GOOD}"'},
        "provider": {"kind": "command", "command": "smoke-test"},
    }
    rule = AnalysisRule.model_validate(
        {
            "judge": "threshold",
            "duration": 10,
            "interval": 2,
            "warm_up": 3,
            "extensions": 0,
            "on_inconclusive": "rollback",
            "outage": 120,
            "metrics": [],
            "sources": [failed, answer],
            "conditions": [served, queue, smoke],
        }
    )
    policy = EnvironmentPolicy(strategy=STRATEGY, analysis=rule)
    stack.admin.put(f"/clusters/{PRODUCTION}/policy", policy.model_dump(mode="json"))


def last_look(stack, deployment):
    return stack.deployer.get(f"/analyses/{analysis_id(deployment, 1)}")["looks"][-1]


def test_an_outage_of_prometheus_holds_the_rollout_until_it_is_back(stack, prometheus, broker, allowed):
    stack.install_greeter(OLD)
    set_policy(stack, prometheus, broker)
    with stack.traffic():
        deployment = stack.order(GOOD, STRATEGY)
        stack.wait_phase(deployment, Phase.ANALYZING, wave=1)
        until(lambda: Queue.asked > 0)
        prometheus.kill()
        # Its time of ten seconds is long over by then; without an answer it neither passes nor turns back.
        down = stack.wait(deployment, lambda _seen: _outlasted(stack, deployment))
        assert down["phase"] == Phase.ANALYZING
        assert down["cause"] is None
        prometheus.start()
        end = stack.ended(deployment, Phase.COMPLETED)
    verdict = end["verdict"]
    assert verdict["outcome"] == Outcome.PASS
    assert {each["metric"]: each["outcome"] for each in verdict["metrics"]} == dict.fromkeys(
        ("failed", "answer", "served", "queue", "smoke"), Outcome.PASS
    )
    stack.assert_everywhere(stack.releases[GOOD])


def _outlasted(stack, deployment):
    look = last_look(stack, deployment)
    return look["number"] > 7 and look["verdict"]["doubt"] == Doubt.PROVIDER_DOWN


def test_what_the_module_counts_itself_turns_a_bad_release_back(stack, prometheus, broker, allowed):
    stack.install_greeter(GOOD)
    set_policy(stack, prometheus, broker)
    with stack.traffic():
        deployment = stack.order(BAD, STRATEGY)
        end = stack.ended(deployment, Phase.ROLLED_BACK_VERIFIED)
    assert end["cause"]["kind"] == CauseKind.ANALYSIS
    failing = {each["metric"] for each in end["verdict"]["metrics"] if each["outcome"] == Outcome.FAIL}
    assert failing & {"failed", "answer"}
    stack.assert_everywhere(stack.releases[GOOD])
