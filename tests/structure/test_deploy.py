"""The configuration that we ship for nginx knows the portal's addresses, the units for systemd its commands."""

import re
from pathlib import Path

import click
import pytest
from flask import Flask
from werkzeug.routing import Rule

from tests.conftest import make_settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
NGINX = (DEPLOY / "nginx.conf").read_text()
LOCATION = re.compile(r"location ~ (\S+) \{([^}]*)\}")

# A variable in an address; of one that is one of a few words, the first.
VARIABLE = re.compile(r"<(?:any\((\w+))?[^>]*>")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> list[Rule]:
    """The portal's addresses; no database stands behind them."""
    from portal.app import create_app

    app: Flask = create_app(make_settings(tmp_path_factory.mktemp("plain")))
    return list(app.url_map.iter_rules())


def endpoints_where(directive: str, rules: list[Rule]) -> set[str]:
    """Return the endpoints whose addresses, with something in place of each variable, fall into a location that has this directive."""
    patterns = [pattern for pattern, body in LOCATION.findall(NGINX) if directive in body]
    assert patterns
    filled = [(VARIABLE.sub(lambda match: match[1] or "1", rule.rule), rule.endpoint) for rule in rules]
    return {endpoint for address, endpoint in filled if any(re.search(pattern, address) for pattern in patterns)}


def test_builds_of_browsers_and_programs_pass_at_any_size(rules: list[Rule]) -> None:
    assert endpoints_where("client_max_body_size 0;", rules) == {"releases_staff.upload_build", "releases_api.upload_build"}


def test_forms_with_attachments_pass(rules: list[Rule]) -> None:
    assert endpoints_where("client_max_body_size 151m;", rules) == {
        "feedback_writing.new",
        "feedback_writing.send",
        "feedback_writing.comment",
    }


def test_addresses_that_hold_a_secret_are_kept_out_of_the_log(rules: list[Rule]) -> None:
    with_token = {rule.endpoint for rule in rules if "<token>" in rule.rule}
    assert endpoints_where("access_log off;", rules) == {"feeds.feed", *with_token}


@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.glob("*.service")))
def test_what_systemd_starts_is_a_command(unit: str) -> None:
    import portal.__main__  # noqa: F401 - the commands that keep running come with it
    from portal.cli import main

    started = re.findall(r"^ExecStart=/srv/portal/\.venv/bin/portal (.+)$", (DEPLOY / unit).read_text(), re.MULTILINE)
    assert len(started) == 1
    command: click.Command | None = main
    for word in started[0].split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
        assert command is not None, word


@pytest.mark.parametrize("timer", sorted(path.name for path in DEPLOY.glob("*.timer")))
def test_a_timer_has_its_service(timer: str) -> None:
    assert (DEPLOY / timer).with_suffix(".service").exists()
