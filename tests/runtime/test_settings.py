import re

import pytest

from domain.errors import InvalidInput
from runtime.settings import (
    CLIENT_VARIABLES,
    MIGRATION_VARIABLE,
    ApiSettings,
    Profile,
    WorkerSettings,
    known_names,
    load,
)
from tests.runtime.settings_page import PAGE, page

GOOD_URL = "postgresql+psycopg://hotswap:r7Kq-2mZx9-wLp4tV@db:5432/hotswap"


@pytest.fixture
def environment(tmp_path, monkeypatch, no_hotswap_environment):
    """A complete production environment; the test changes what it is about."""
    given = {"DATABASE_URL": GOOD_URL, "BUNDLE_DIRECTORY": str(tmp_path), "TRUST_DIRECTORY": str(tmp_path)}
    names = ("TLS_CA", "TLS_CERTIFICATE", "TLS_KEY", "JWT_PRIVATE_KEY_FILE", "JWT_PUBLIC_KEY_FILE")
    for name in names:
        path = tmp_path / name.lower()
        path.write_text("pem")
        path.chmod(0o600)
        given[name] = str(path)
    for name, value in given.items():
        monkeypatch.setenv(f"HOTSWAP_{name}", value)
    return monkeypatch


@pytest.mark.parametrize("kind", [ApiSettings, WorkerSettings])
def test_a_complete_environment_is_enough_for_both_processes(environment, kind):
    assert load(kind).database_url == GOOD_URL


@pytest.mark.parametrize(
    ("value", "profile"),
    [
        (None, Profile.PRODUCTION),
        ("production", Profile.PRODUCTION),
        ("developement", Profile.PRODUCTION),
        ("", Profile.PRODUCTION),
        ("development", Profile.DEVELOPMENT),
    ],
)
@pytest.mark.finding("N1")
def test_whatever_is_not_development_is_production(environment, value, profile):
    if value is not None:
        environment.setenv("HOTSWAP_PROFILE", value)
    assert load(WorkerSettings).profile is profile


@pytest.mark.finding("27")
def test_an_unknown_setting_stops_the_start_and_is_named(environment):
    environment.setenv("HOTSWAP_DATABSE_URL", "x")
    with pytest.raises(InvalidInput, match="HOTSWAP_DATABSE_URL") as refused:
        load(WorkerSettings)
    assert refused.value.field == "HOTSWAP_DATABSE_URL"


@pytest.mark.finding("27")
def test_an_unknown_name_in_the_file_stops_the_start_too(environment, tmp_path):
    file = tmp_path / "settings.env"
    file.write_text("HOTSWAP_LOG_LEVEL=debug\nHOTSWAP_LOGLEVEL=debug\n")
    environment.setenv("HOTSWAP_SETTINGS_FILE", str(file))
    with pytest.raises(InvalidInput, match="HOTSWAP_LOGLEVEL"):
        load(ApiSettings)


def test_a_name_without_our_prefix_in_the_file_is_a_mistake_too(environment, tmp_path):
    file = tmp_path / "settings.env"
    file.write_text("LOG_LEVEL=debug\n")
    environment.setenv("HOTSWAP_SETTINGS_FILE", str(file))
    with pytest.raises(InvalidInput, match="LOG_LEVEL"):
        load(ApiSettings)


def test_the_environment_wins_over_the_file(environment, tmp_path):
    file = tmp_path / "settings.env"
    file.write_text("HOTSWAP_LOG_LEVEL=debug\nHOTSWAP_API_PORT=81\nHOTSWAP_WORKER_METRICS_PORT=9464\n")
    environment.setenv("HOTSWAP_SETTINGS_FILE", str(file))
    environment.setenv("HOTSWAP_LOG_LEVEL", "error")
    settings = load(ApiSettings)
    assert (settings.log_level, settings.api_port) == ("error", 81)
    assert load(WorkerSettings).worker_metrics_port == 9464


def test_a_settings_file_that_is_not_there_stops_the_start(environment, tmp_path):
    environment.setenv("HOTSWAP_SETTINGS_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="nowhere"):
        load(ApiSettings)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("DATABASE_URL", "sqlite:///x", "database_url"),
        ("TLS_KEY", "/nowhere/key", "tls_key"),
        ("API_PORT", "70000", "api_port"),
        ("TEMPORAL_ADDRESS", "temporal", "temporal_address"),
        ("TEMPORAL_UI_URL", "ftp://x", "temporal_ui_url"),
        ("MAX_BUNDLE_BYTES", "0", "max_bundle_bytes"),
        ("LOG_LEVEL", "loud", "log_level"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(environment, name, value, field):
    environment.setenv(f"HOTSWAP_{name}", value)
    with pytest.raises(InvalidInput, match=f"HOTSWAP_{name}") as refused:
        load(ApiSettings)
    assert refused.value.field == field


@pytest.mark.finding("18")
def test_a_missing_value_is_refused_with_its_name(environment):
    environment.delenv("HOTSWAP_JWT_PRIVATE_KEY_FILE")
    load(WorkerSettings)
    with pytest.raises(InvalidInput, match="HOTSWAP_JWT_PRIVATE_KEY_FILE"):
        load(ApiSettings)


@pytest.mark.parametrize("password", ["", ":short", ":15-characters-x"])
def test_production_wants_a_long_database_password(environment, password):
    environment.setenv("HOTSWAP_DATABASE_URL", f"postgresql+psycopg://hotswap{password}@db/hotswap")
    with pytest.raises(InvalidInput, match="password of 16 characters"):
        load(WorkerSettings)
    environment.setenv("HOTSWAP_PROFILE", "development")
    assert load(WorkerSettings).profile is Profile.DEVELOPMENT


@pytest.mark.parametrize("name", ["tls_key", "jwt_private_key_file"])
def test_production_refuses_keys_that_everyone_may_read(environment, tmp_path, name):
    (tmp_path / name).chmod(0o644)
    with pytest.raises(InvalidInput, match=name):
        load(ApiSettings)


@pytest.mark.parametrize("name", ["jwt_public_key_file", "tls_ca", "trust_directory"])
def test_production_refuses_what_everyone_may_write_and_we_believe(environment, tmp_path, name):
    path = tmp_path if name == "trust_directory" else tmp_path / name
    path.chmod(path.stat().st_mode | 0o002)
    with pytest.raises(InvalidInput, match=f"{name}: everyone may write"):
        load(ApiSettings)


def test_neither_errors_nor_logs_show_the_password(environment):
    assert "r7Kq-2mZx9-wLp4tV" not in repr(load(ApiSettings))
    environment.setenv("HOTSWAP_DATABASE_URL", "mysql://hotswap:r7Kq-2mZx9-wLp4tV@db/hotswap")
    with pytest.raises(InvalidInput) as refused:
        load(ApiSettings)
    assert "r7Kq-2mZx9-wLp4tV" not in refused.value.message


def test_every_setting_says_what_it_means():
    undescribed = [
        name
        for kind in (ApiSettings, WorkerSettings)
        for name, field in kind.model_fields.items()
        if not field.description
    ]
    assert undescribed == []
    assert "HOTSWAP_DATABASE_URL" in known_names()


def test_secrets_may_stand_one_per_file_in_a_directory(environment, tmp_path):
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "hotswap_database_url").write_text(f"{GOOD_URL}\n")
    (mounted / "jwt_private_key_file").write_text("pem")
    (mounted / "jwt_private_key_file").chmod(0o600)
    (mounted / ".hidden").write_text("ignored")
    environment.setenv("HOTSWAP_SECRETS_DIRECTORY", str(mounted))
    for name in ("DATABASE_URL", "JWT_PRIVATE_KEY_FILE"):
        environment.delenv(f"HOTSWAP_{name}")
    settings = load(ApiSettings)
    assert settings.database_url == GOOD_URL
    assert settings.jwt_private_key_file == mounted / "jwt_private_key_file"
    (mounted / "databse_url").write_text("x")
    with pytest.raises(InvalidInput, match="databse_url"):
        load(ApiSettings)
    environment.setenv("HOTSWAP_SECRETS_DIRECTORY", str(tmp_path / "nowhere"))
    with pytest.raises(InvalidInput, match="nowhere"):
        load(ApiSettings)


@pytest.mark.finding("18")
@pytest.mark.parametrize(
    "weak",
    ["passwordpassword", "aaaaaaaaaaaaaaaaaaaa", "1234567890123456", "qwertyuiopasdfgh", "hotswap-hotswap-1"],
)
def test_production_refuses_a_database_password_that_is_easy_to_guess(environment, weak):
    environment.setenv("HOTSWAP_DATABASE_URL", f"postgresql+psycopg://hotswap:{weak}@db/hotswap")
    with pytest.raises(InvalidInput, match="easy to guess") as refused:
        load(WorkerSettings)
    assert weak not in refused.value.message


@pytest.mark.finding("27")
def test_the_page_of_settings_says_what_the_code_reads():
    assert PAGE.read_text() == page(), "make it again: python -m tests.runtime.settings_page"
    named = set(re.findall(r"`(HOTSWAP_[A-Z_]+)` \|", PAGE.read_text()))
    others = {"HOTSWAP_SETTINGS_FILE", "HOTSWAP_SECRETS_DIRECTORY"}
    assert known_names() - named - set(CLIENT_VARIABLES) - {MIGRATION_VARIABLE} == others
