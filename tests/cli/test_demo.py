"""The demo's own parts; the whole of it is `make demo`, which measures itself."""

import json

from bundles.archive import pack
from cli.demo.build import trees
from cli.demo.rollout import detection
from cli.sse import ServerEvent
from runtime.embedded.directory import StackDirectory


def event(second, kind="deployment.phase", **content):
    content["at"] = f"2026-03-01T12:00:{second:02}+00:00"
    return ServerEvent(event=kind, data=json.dumps(content))


def verdict(second, outcome):
    return event(second, "analysis.verdict", details={"outcome": outcome})


def test_detection_counts_from_the_first_activation_to_the_failing_verdict():
    events = [event(1, phase="staging"), event(3, phase="activating"), verdict(9, "inconclusive")]
    assert detection([*events, event(10, phase="activating"), verdict(14, "fail"), verdict(20, "fail")]) == 11


def test_without_a_failing_verdict_nothing_was_detected():
    assert detection([event(3, phase="activating"), verdict(9, "pass")]) == 0


def test_every_version_of_the_example_builds_and_packs_each_time(tmp_path):
    versions = ("1.0.0", "2.0.0", "3.0.0")
    stack = StackDirectory(root=tmp_path)
    digests = []
    for _ in range(2):
        built = trees(stack, versions)
        packed = {version: pack(tree, tmp_path / "bundle.tar.gz") for version, tree in built.items()}
        assert [release.version for release in packed.values()] == list(versions)
        digests.append([release.digest for release in packed.values()])
    assert digests[0] == digests[1]
