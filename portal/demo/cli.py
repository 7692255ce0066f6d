"""`portal demo`: the portal with everything it needs, on this machine alone."""

import json
import os
import signal
from pathlib import Path

import click

from portal.config import Settings, load
from portal.demo import mailbox, sample
from portal.demo.supervisor import Group, choose_ports, only_demo, write_environment, written_environment
from portal.errors import PortalError


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="Port of the portal; 0 takes a free one.")
@click.option(
    "--data", "data_dir", type=click.Path(file_okay=False, path_type=Path), help="Directory of the demo's data. Default: DATA_DIR."
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON once the portal answers.")
def demo(port: int, data_dir: Path | None, as_json: bool) -> None:
    """Start the portal with sample data, a worker and a mail catcher; Ctrl-C ends all of it."""
    data_dir = (data_dir or Path(os.environ.get("DATA_DIR") or Settings.data_dir)).absolute()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PortalError(f"{data_dir} cannot be made: {error.strerror}.") from error
    with only_demo(data_dir):
        _run(data_dir, port, as_json)


def _run(data_dir: Path, port: int, as_json: bool) -> None:
    state_file = data_dir / "demo.json"
    ports = choose_ports(state_file, port)
    write_environment(data_dir, ports)
    group = Group(data_dir, ports)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: group.stopping.set())
    settings = load({**written_environment(data_dir), "DATA_DIR": str(data_dir)})
    state = sample.prepare(settings, state_file, {"web": ports.web, "smtp": ports.smtp, "mailbox": ports.mailbox})
    try:
        group.start()
        if not group.stopping.is_set():
            _announce(group, state["accounts"], as_json)
        group.watch()
    finally:
        group.stop()


def _announce(group: Group, accounts: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        line = {"url": group.ports.url, "mailbox_url": group.ports.mailbox_url, "smtp_port": group.ports.smtp, "accounts": accounts}
        click.echo(json.dumps(line))
        return
    click.echo(f"\nThe portal answers at  {group.ports.url}\nCaught mails are at    {group.ports.mailbox_url}\n\nSign in as:")
    for account in accounts:
        click.echo(f"  {account['role']:<11} {account['email']:<42} {account['password']}")
    click.echo("\nCtrl-C ends it. The data stays; the next start goes on with it.")


@click.command("demo-mailbox", hidden=True)
@click.option("--smtp-port", type=int, required=True)
@click.option("--http-port", type=int, required=True)
def demo_mailbox(smtp_port: int, http_port: int) -> None:
    """Catch mails for the demo."""
    mailbox.run(Path(os.environ["DATA_DIR"]) / "mail", smtp_port, http_port)
