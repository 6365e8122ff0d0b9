"""Makes docs/security/owasp.md: OWASP's Top 10, our control for each risk, and the tests of the control.

`python -m tests.owasp`; a test compares the page with this table, and sees that each test exists.
"""

import sys
from typing import Final, NamedTuple

from tests.findings import ROOT

PAGE: Final = ROOT / "docs" / "security" / "owasp.md"
HEAD: Final = """# OWASP Top 10: controls and their tests

The Top 10 of 2021, whose tenth risk is requests forged by the server, and the place of each in the Top
10 of 2025, which adds the mishandling of exceptional conditions. The page is made by `python -m
tests.owasp`; a test compares the two, and another sees that every test named here exists. What is left
to those who run Hotswap is in the [threat model](threat-model.md).
"""
LEFT: Final = """
## What was not done

No penetration test by somebody else, no scan by an active scanner besides schemathesis, no scan of
container images (there is no container engine where Hotswap is developed), no soak of 72 hours.
Advisories are looked up by `make lint` where the package index publishes them.
"""


class Control(NamedTuple):
    """What stands in the way, and the tests that show it, as `room/file::test`."""

    words: str
    tests: tuple[str, ...]


CONTROLS: Final[dict[str, tuple[Control, ...]]] = {
    "A01:2021 Broken access control (A01:2025)": (
        Control(
            "Every route declares one permission; the matrix of roles and routes is reviewed as a diff.",
            (
                "api/test_access.py::test_a_route_without_a_policy_stops_the_start",
                "api/test_access.py::test_each_who_asks_gets_what_the_matrix_says",
            ),
        ),
        Control(
            "The tenant comes from the token; the database shows and takes only its rows.",
            (
                "api/test_two_tenants.py::test_every_route_with_the_other_tenants_ids",
                "store/test_row_security.py::test_every_table_has_it_forced",
                "store/test_row_security.py::test_the_application_cannot_help_itself",
            ),
        ),
        Control(
            "Nobody approves his own request; a vote is signed for one gate and one plan.",
            (
                "api/test_approvals.py::test_the_requester_cannot_approve_but_may_reject",
                "stack/test_people.py::test_only_a_token_of_the_api_opens_a_gate",
            ),
        ),
        Control(
            "An API key acts for its owner, within its scopes, and never has more than he.",
            (
                "api/test_identity.py::test_an_api_key_acts_for_its_owner_within_its_scopes",
                "api/test_identity.py::test_a_key_cannot_have_more_than_its_owner_nor_what_no_key_has",
            ),
        ),
        Control(
            "No cookie is a credential, and no other origin is let in unless it is listed.",
            (
                "api/test_headers.py::test_cookies_have_no_effect_on_any_route",
                "api/test_headers.py::test_no_origin_is_allowed_by_default_and_only_a_listed_one_later",
            ),
        ),
    ),
    "A02:2021 Cryptographic failures (A04:2025)": (
        Control(
            "Tokens are Ed25519 with the algorithm pinned; published keys are refused; keys rotate.",
            (
                "api/test_token_attacks.py::test_an_attack_with_a_token_is_refused",
                "runtime/test_keyring.py::test_published_keys_are_refused",
                "runtime/test_keyring.py::test_a_rotation_needs_no_restart_and_the_old_key_ends",
            ),
        ),
        Control(
            "Passwords are kept as Argon2id, API keys as hashes; neither is in a log or the audit trail.",
            (
                "store/test_inventory.py::test_the_bootstrap_runs_once",
                "api/test_identity.py::test_a_key_is_kept_as_a_hash_expires_and_falls_with_its_owner",
                "stack/test_logs.py::test_a_rollout_leaves_no_secret_in_any_log_and_one_id_finds_it_everywhere",
            ),
        ),
        Control(
            "Agents speak TLS 1.2 and newer, both sides with a certificate of the installation's CA.",
            (
                "agent/test_access.py::test_old_tls_is_refused",
                "agent/test_access.py::test_a_client_without_a_certificate_is_refused",
                "agent/test_access.py::test_the_agent_has_to_prove_itself_too",
            ),
        ),
        Control(
            "Files with secrets are their owner's alone.",
            (
                "runtime/test_settings.py::test_production_refuses_keys_that_everyone_may_read",
                "runtime/test_bootstrap.py::test_nothing_is_readable_by_others",
            ),
        ),
    ),
    "A03:2021 Injection (A05:2025)": (
        Control(
            "Names have a form; every field of every body is refused beyond its limits.",
            (
                "api/test_every_field.py::"
                "test_every_field_of_a_body_is_refused_beyond_its_limits_and_no_other_is_taken",
                "api/test_versioning.py::test_the_name_of_a_thing_has_a_form",
            ),
        ),
        Control(
            "Statements have bound parameters, programs a fixed list of arguments and no shell.",
            (
                "test_conventions.py::test_the_linter_looks_for_statements_and_shells_made_of_text",
                "clients/test_hooks.py::"
                "test_a_program_gets_the_payload_on_its_input_and_no_argument_of_a_policy",
                "api/test_fuzz.py::test_whatever_is_sent_the_answer_is_one_that_the_document_describes",
            ),
        ),
        Control(
            "The two pages that show what people wrote show it as text and run no script.",
            (
                "api/test_delegations.py::test_what_people_write_is_text_on_the_page_of_a_link",
                "reports/test_report.py::test_a_look_without_its_inputs_still_has_a_report",
            ),
        ),
        Control(
            "An export of the audit trail holds no formula that a spreadsheet would run.",
            ("api/test_audit.py::test_export_has_everything_and_no_formulas",),
        ),
    ),
    "A04:2021 Insecure design (A06:2025)": (
        Control(
            "A rollout ends in what the nodes prove, or names those that do not and freezes the lane.",
            (
                "stack/test_matrix.py::test_the_prior_release_is_back_on_every_node_or_the_nodes_are_named",
                "workflows/test_rollback.py::test_without_a_word_from_anybody_it_ends_as_not_verified",
            ),
        ),
        Control(
            "Races have one winner: votes, quotas, deployments, guesses.",
            (
                "api/test_gate_races.py::test_two_hundred_races_of_approve_reject_and_expiry",
                "store/test_quotas.py::test_two_hundred_races_at_the_limit",
                "api/test_races.py::test_of_two_deployments_at_once_one_gets_in",
            ),
        ),
        Control(
            "Limits per person, route and tenant hold over replicas; bodies and bundles have a largest size.",
            (
                "api/test_limits.py::test_a_limit_holds_over_three_replicas_asked_at_once",
                "api/test_bad_input.py::test_a_body_that_is_too_large_is_not_read_on",
                "bundles/test_archive.py::test_a_size_that_is_only_claimed_costs_nothing",
            ),
        ),
    ),
    "A05:2021 Security misconfiguration (A02:2025)": (
        Control(
            "Whatever profile is not `development` is production; unknown names and weak secrets stop "
            "the start.",
            (
                "runtime/test_settings.py::test_whatever_is_not_development_is_production",
                "runtime/test_settings.py::test_an_unknown_setting_stops_the_start_and_is_named",
                "api/test_server.py::test_the_api_does_not_start_with_settings_that_protect_nothing",
            ),
        ),
        Control(
            "Every answer, an error of ours too, carries the headers that keep browsers from framing or "
            "running it.",
            (
                "api/test_headers.py::test_every_answer_carries_the_headers",
                "api/test_headers.py::test_an_error_of_ours_carries_them_too",
            ),
        ),
        Control(
            "The page to try the API on is for development only.",
            ("api/test_headers.py::test_the_page_to_try_things_is_for_development_only",),
        ),
    ),
    "A06:2021 Vulnerable and outdated components (A03:2025, software supply chain)": (
        Control(
            "Every package is pinned with its hash; advisories, secrets and unsafe calls are looked for "
            "by `make lint`.",
            (
                "test_conventions.py::test_every_package_is_pinned_with_its_hash",
                "test_conventions.py::test_lint_looks_for_advisories_secrets_and_unsafe_calls",
            ),
        ),
    ),
    "A07:2021 Identification and authentication failures (A07:2025)": (
        Control(
            "Five wrong guesses lock a name, however many are made at once; names are not told apart.",
            (
                "api/test_identity.py::"
                "test_of_a_hundred_parallel_guesses_five_are_checked_and_the_name_is_locked",
                "api/test_access.py::test_whoever_fails_to_sign_in_gets_the_same_answer_after_the_same_work",
            ),
        ),
        Control(
            "Nobody exists before a one-time bootstrap, whose password must be changed; easy ones are "
            "refused.",
            (
                "store/test_schema.py::test_the_command_line_bootstraps_once",
                "api/test_identity.py::test_who_must_change_the_password_may_do_nothing_else",
                "api/test_identity.py::test_passwords_that_are_easy_to_guess_are_refused",
            ),
        ),
        Control(
            "A sign-in can be ended at once; a refresh token is good once, and its copy ends the session.",
            (
                "api/test_identity.py::test_a_refresh_token_is_good_once_and_a_copy_ends_the_session",
                "api/test_identity.py::test_signing_out_counts_at_once_and_on_other_replicas_within_seconds",
                "api/test_feed.py::test_a_stream_ends_with_the_token_it_was_opened_with",
            ),
        ),
        Control(
            "Tokens of an external issuer count for us only, with its present keys and mapped roles.",
            ("api/test_token_attacks.py::test_an_external_token_that_is_not_for_us_is_refused",),
        ),
    ),
    "A08:2021 Software and data integrity failures (A08:2025)": (
        Control(
            "A bundle is signed; its signature is checked at the push and again on the node, against "
            "the node's roots.",
            (
                "api/test_bad_input.py::test_a_tampered_bundle",
                "bundles/test_signature.py::test_a_signer_with_a_flaw_is_refused",
                "agent/test_tenancy.py::test_only_the_file_on_the_node_says_who_is_trusted",
            ),
        ),
        Control(
            "What is unpacked stays in its tree; archives that would leave it are refused whole.",
            ("bundles/test_archive.py::test_a_hostile_archive_is_refused_and_leaves_nothing",),
        ),
        Control(
            "A version has the same bytes for ever; a vote counts for the plan that was shown.",
            (
                "api/test_bad_input.py::test_a_version_cannot_be_pushed_twice_with_other_bytes",
                "api/test_delegations.py::test_a_link_is_good_for_its_plan_only_and_for_nothing_else",
            ),
        ),
    ),
    "A09:2021 Security logging and monitoring failures (A09:2025)": (
        Control(
            "A change and its audit entry are written both or not at all; entries are chained and stay.",
            (
                "store/test_audit.py::test_both_or_neither_when_the_entry_cannot_be_written",
                "store/test_audit.py::test_what_is_written_stays",
                "store/test_audit.py::test_tampering_shows",
            ),
        ),
        Control(
            "Refusals and failed sign-ins are kept as well.",
            (
                "api/test_audit.py::test_refusals_are_kept",
                "api/test_audit.py::test_sign_ins_that_fail_are_kept_where_there_is_a_tenant",
            ),
        ),
        Control(
            "Alerts fire and clear in a test, and each says what to do.",
            (
                "deploy/test_monitoring.py::test_every_alert_fires_and_clears",
                "deploy/test_monitoring.py::test_every_alert_says_what_to_do",
            ),
        ),
    ),
    "A10:2021 Server-side request forgery (A01:2025)": (
        Control(
            "A tenant's admin says where agents are. None may be at a link-local, metadata or multicast "
            "address, nor, in production, on this machine; `HOTSWAP_AGENT_NETWORKS` narrows it. The "
            "address that is connected to is what counts.",
            (
                "domain/test_networks.py::test_where_agents_may_be",
                "clients/test_agent_client.py::test_where_no_agent_may_be_nothing_connects_to",
                "api/test_bad_input.py::test_a_bad_node",
            ),
        ),
        Control(
            "Agents show a certificate of our CA before anything is sent, and their redirects are not "
            "followed.",
            (
                "agent/test_access.py::test_the_agent_has_to_prove_itself_too",
                "clients/test_agent_client.py::test_a_taken_node_cannot_send_the_control_plane_elsewhere",
            ),
        ),
        Control(
            "A policy says where hooks go: to public addresses over TLS, or into networks that the "
            "worker's file names. A name is resolved once, and the call goes to the address that was "
            "checked.",
            (
                "clients/test_hooks.py::test_addresses_that_nobody_allowed_are_not_called",
                "clients/test_hooks.py::"
                "test_a_call_goes_to_the_address_that_was_checked_whatever_the_name_says_next",
                "clients/test_hooks.py::test_what_may_pass_is_tried_again_within_the_budget",
            ),
        ),
        Control(
            "A policy says where measurements come from, among the addresses that the worker's file names.",
            (
                "clients/providers/test_web_and_command.py::test_an_address_that_is_not_allowed_is_not_asked",
                "clients/providers/test_web_and_command.py::test_any_other_answer_is_refused",
            ),
        ),
    ),
    "A10:2025 Mishandling of exceptional conditions": (
        Control(
            "No error is swallowed; none says anything of the inside; without its database the API says so.",
            (
                "test_conventions.py::test_the_linter_looks_for_blocking_calls_and_swallowed_errors",
                "api/test_versioning.py::test_only_what_is_our_fault_is_logged_as_an_error",
                "api/test_under_load.py::test_without_its_database_it_says_so_and_goes_on_by_itself",
            ),
        ),
        Control(
            "Doubt promotes nothing, and a part that is killed leaves the old release or the new one.",
            (
                "workflows/test_deployment.py::"
                "test_an_inconclusive_analysis_extends_then_holds_and_a_person_promotes",
                "stack/test_faults.py::test_killed_in_the_middle_of_a_wave",
            ),
        ),
    ),
}


def page() -> str:
    """The page as it must be."""
    parts = [HEAD]
    for risk, controls in CONTROLS.items():
        rows = "".join(
            f"| {control.words} | {'<br>'.join(f'`{test}`' for test in control.tests)} |\n"
            for control in controls
        )
        parts.append(f"\n## {risk}\n\n| control | tests |\n|---|---|\n{rows}")
    return "".join([*parts, LEFT])


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
