"""The `portal` command. Each feature brings its own group; this module only gathers them.

Exit codes: 0 done, 1 refused (the reason on stderr), 2 wrong usage.
"""

from typing import Any

import click
from flask.cli import AppGroup, ScriptInfo

from portal import audit
from portal.account import cli as account
from portal.account import session_cli, team_cli
from portal.account.privacy_cli import person
from portal.app import create_app
from portal.beta.cli import beta_terms
from portal.config import current_settings
from portal.config_addresses import ConfigurationError
from portal.database import UNUSABLE
from portal.errors import Busy, PortalError
from portal.feedback.cli import feedback
from portal.home.audit_cli import audit as audit_commands
from portal.notices.cli import notices
from portal.products.cli import product
from portal.releases import downloads_cli
from portal.releases.cli import release


class PortalGroup(click.Group):
    """Builds the app only for commands that use it, and turns what the portal refuses into exit code 1, never a traceback."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        extra.setdefault("obj", ScriptInfo(create_app=create_app, set_debug_flag=False, load_dotenv_defaults=False))
        return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        audit.name_process(_command)
        try:
            return super().invoke(ctx)
        except (Busy, *UNUSABLE) as error:
            cause = error.__cause__ if isinstance(error, Busy) else error
            reason = str(getattr(cause, "orig", None) or cause).splitlines()[0]
            raise click.ClickException(
                f"The database cannot be used: {reason}. Try again; if it stays so, is it there, and has `portal db upgrade` been run?"
            ) from error
        except (PortalError, ConfigurationError) as error:
            raise click.ClickException(str(error)) from error


def _command() -> str:
    """The command that runs, as the audit log calls it."""
    running = click.get_current_context(silent=True)
    return f"command {running.command_path}" if running else "program"


@click.group(cls=PortalGroup)
def main() -> None:
    """Run and manage the portal. Settings come from the environment and from .env files."""


database = AppGroup("db", help="The database.")


@database.command("upgrade")
def upgrade_database() -> None:
    """Bring the database's tables up to date. Makes DATA_DIR if it is not there."""
    data_dir = current_settings().data_dir
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PortalError(f"DATA_DIR {data_dir} cannot be made: {error.strerror}.") from error
    from flask_migrate import upgrade

    upgrade()
    click.echo("The database is up to date.")


team_cli.add_to(account.staff)
downloads_cli.add_to(release)
session_cli.add_to(person)
COMMANDS: tuple[click.Command, ...] = (
    database, *account.COMMANDS, person, audit_commands, beta_terms, feedback, notices, product, release,
)  # fmt: skip

for command in COMMANDS:
    main.add_command(command)
