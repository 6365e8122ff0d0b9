"""Dependencies: what is not there, what is too old, what would break, what goes in a circle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.dependencies import Candidate, check, fits
from domain.errors import PlanImpossible
from domain.manifest import Manifest

WEB = Candidate(module="web-shop", version="2.0.0", needs={"auth": "^1.2", "cache": ">=3 <5"})
NODES = {
    "n1": {"web-shop": "1.0.0", "auth": "1.2.0", "cache": "3.0.0"},
    "n2": {"auth": "1.9.3", "cache": "4.9.9"},
}


def test_what_runs_on_every_node_is_enough():
    check(WEB, NODES, {})
    check(WEB, {}, {})


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"auth": "1.1.9"}, "dependencies.auth", "web-shop@2.0.0 needs auth ^1.2: n2 has 1.1.9"),
        ({"auth": None}, "dependencies.auth", "n2 has none"),
        ({"cache": "5.0.0"}, "dependencies.cache", "needs cache >=3 <5: n2 has 5.0.0"),
        ({"auth": "2.0.0-rc.1"}, "dependencies.auth", "n2 has 2.0.0-rc.1"),
    ],
)
def test_what_is_missing_is_named_with_its_node(change, field, words):
    modules = {name: version for name, version in {**NODES["n2"], **change}.items() if version}
    with pytest.raises(PlanImpossible) as refused:
        check(WEB, {**NODES, "n2": modules}, {})
    assert refused.value.field == field
    assert words in refused.value.message


def test_what_an_earlier_deployment_brings_counts():
    check(WEB, {"n1": {"cache": "3.1.0"}}, {}, coming=[("auth", "1.4.0")])
    with pytest.raises(PlanImpossible, match="needs auth"):
        check(WEB, {"n1": {"cache": "3.1.0"}}, {}, coming=[("auth", "2.0.0")])


def test_a_release_that_breaks_what_another_module_needs_is_refused():
    known = {("web-shop", "1.0.0"): {"auth": "^1.0"}}
    auth = Candidate(module="auth", version="2.0.0", needs={})
    with pytest.raises(PlanImpossible, match=r"web-shop@1\.0\.0 on n1 needs auth") as refused:
        check(auth, NODES, known)
    assert refused.value.field == "version"
    check(auth.model_copy(update={"version": "1.3.0"}), NODES, known)


def test_a_cycle_is_shown_with_its_way():
    known = {("auth", "1.2.0"): {"cache": "*"}, ("cache", "3.0.0"): {"web-shop": "*"}}
    with pytest.raises(PlanImpossible, match="web-shop needs cache needs web-shop") as refused:
        check(WEB, NODES, known)
    assert refused.value.field == "dependencies.cache"
    longer = WEB.model_copy(update={"needs": {"auth": "^1.2"}})
    with pytest.raises(PlanImpossible, match="web-shop needs auth needs cache needs web-shop"):
        check(longer, NODES, known)


@pytest.mark.parametrize(
    ("needs", "words"),
    [({"auth": "newest"}, "not a version range"), ({"greeter": "*"}, "cannot depend on itself")],
)
def test_a_manifest_with_a_range_that_is_none_is_refused_by_field(needs, words):
    manifest = {"name": "greeter", "version": "1.0.0", "kind": "files", "dependencies": needs}
    with pytest.raises(ValidationError, match=words) as refused:
        Manifest.model_validate(manifest)
    assert refused.value.errors()[0]["loc"] == ("dependencies",)


@given(major=st.integers(0, 50), minor=st.integers(0, 50), patch=st.integers(0, 50))
def test_a_caret_range_holds_what_semver_calls_compatible(major, minor, patch):
    version = f"{major}.{minor}.{patch}"
    assert fits(version, f"^{version}")
    assert not fits(f"{major + 1}.0.0", f"^{version}")
    assert fits(f"{major}.{minor}.{patch + 1}", f"^{version}") == ((major, minor) != (0, 0))
