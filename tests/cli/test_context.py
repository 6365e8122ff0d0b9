import json
import stat

import pytest

from cli.context import Choice, Profile, find_target, profile_path, save_profile
from cli.errors import CommandFailed, NotSignedIn


@pytest.fixture
def environment(tmp_path):
    return {"XDG_CONFIG_HOME": str(tmp_path / "config")}


@pytest.fixture
def stack(tmp_path):
    folder = tmp_path / "project" / ".hotswap"
    folder.mkdir(parents=True)
    content = {
        "url": "http://127.0.0.1:8080",
        "username": "admin",
        "password_file": "admin-password",
        "temporal_ui_url": "http://127.0.0.1:8233",
        "temporal_address": "127.0.0.1:7233",
    }
    (folder / "client.json").write_text(json.dumps(content))
    return folder


def profile(name="default", url="https://hotswap.example"):
    return Profile(name=name, url=url, username="ana", token="t-1")


def test_without_anything_the_error_says_what_to_do(tmp_path, environment):
    with pytest.raises(NotSignedIn, match=r"hotswap up.*hotswap login"):
        find_target(Choice(), environment=environment, directory=tmp_path)


def test_the_stack_is_found_from_below_and_its_password_file_beside_it(stack, environment):
    below = stack.parent / "a" / "b"
    below.mkdir(parents=True)
    target = find_target(Choice(), environment=environment, directory=below)
    assert (target.url, target.username) == ("http://127.0.0.1:8080", "admin")
    assert target.password_file == stack / "admin-password"
    assert target.temporal_address == "127.0.0.1:7233"


def test_a_saved_profile_comes_before_the_stack(stack, environment):
    save_profile(profile(), environment)
    target = find_target(Choice(), environment=environment, directory=stack.parent)
    assert (target.url, target.token, target.source) == ("https://hotswap.example", "t-1", "profile default")


def test_a_named_profile_is_taken_and_a_missing_one_is_an_error(stack, environment):
    save_profile(profile("work", "https://work.example"), environment)
    target = find_target(Choice(profile="work"), environment=environment, directory=stack.parent)
    assert target.url == "https://work.example"
    with pytest.raises(CommandFailed, match="no profile 'other'"):
        find_target(Choice(profile="other"), environment=environment, directory=stack.parent)


def test_options_come_before_everything(stack, environment):
    save_profile(profile(), environment)
    choice = Choice(url="https://elsewhere.example/", token="t-9")
    target = find_target(choice, environment=environment, directory=stack.parent)
    assert (target.url, target.token) == ("https://elsewhere.example", "t-9")


def test_a_token_alone_goes_with_the_place_that_was_found(stack, environment):
    target = find_target(Choice(token="t-9"), environment=environment, directory=stack.parent)
    assert (target.url, target.token) == ("http://127.0.0.1:8080", "t-9")


def test_a_profile_is_readable_by_its_owner_only(environment):
    path = save_profile(profile(), environment)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 80])
def test_a_profile_name_never_leaves_its_directory(name, environment):
    with pytest.raises(CommandFailed):
        profile_path(name, environment)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"username": "x"}'])
def test_a_broken_description_names_the_file(stack, environment, content):
    (stack / "client.json").write_text(content)
    with pytest.raises(CommandFailed, match=r"client\.json"):
        find_target(Choice(), environment=environment, directory=stack.parent)
