import socket

import pytest

from domain.errors import Conflict
from runtime.embedded.choices import Choices, NoFreePort, decide, is_free


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "stack.json"


def choose(kept, *, nodes=None, environment=None, running=(), taken=()) -> Choices:
    return decide(
        kept, nodes=nodes, environment=environment, running=running, free=lambda port: port not in taken
    )


def test_the_defaults(kept):
    chosen = choose(kept)
    assert (chosen.environment, chosen.nodes) == ("production", 10)
    assert chosen.ports["api"] == 8080
    assert chosen.ports["temporal"] == 7233
    assert chosen.ports["temporal-ui"] == 8233
    assert [chosen.ports[name] for name in chosen.node_names] == list(range(7701, 7711))


def test_taken_ports_are_passed_over_and_no_port_is_given_twice(kept):
    chosen = choose(kept, taken={7233, 7701, 7702, 8080})
    assert chosen.ports["temporal"] == 7234
    assert chosen.ports["api"] == 8081
    assert len(set(chosen.ports.values())) == len(chosen.ports)
    assert not {7233, 7701, 7702, 8080} & set(chosen.ports.values())


def test_a_second_start_keeps_what_the_first_chose(kept):
    first = choose(kept, nodes=3, environment="staging", taken={8080})
    assert choose(kept) == first


def test_a_port_taken_since_is_replaced_and_the_others_stay(kept):
    first = choose(kept, nodes=3)
    second = choose(kept, taken={7702})
    changed = {name for name in first.ports if first.ports[name] != second.ports[name]}
    assert changed == {"node-02"}
    assert choose(kept).ports == second.ports


def test_parts_that_still_run_keep_the_ports_that_they_hold(kept):
    first = choose(kept, nodes=2)
    taken = set(first.ports.values())
    assert choose(kept, running=("postgres", "temporal", "api", "node-01", "node-02"), taken=taken) == first


def test_nodes_may_be_added_and_not_taken_away(kept):
    first = choose(kept, nodes=2)
    more = choose(kept, nodes=4)
    assert more.node_names == ("node-01", "node-02", "node-03", "node-04")
    assert {name: more.ports[name] for name in first.ports} == first.ports
    with pytest.raises(Conflict) as refused:
        choose(kept, nodes=3)
    assert refused.value.field == "nodes"
    assert choose(kept).nodes == 4


def test_the_environment_stays(kept):
    choose(kept)
    with pytest.raises(Conflict) as refused:
        choose(kept, environment="qa")
    assert refused.value.field == "environment"


def test_no_free_port_is_an_error_and_not_a_loop(kept):
    with pytest.raises(NoFreePort):
        decide(kept, nodes=1, environment=None, running=(), free=lambda _: False)


def test_a_listening_port_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)
