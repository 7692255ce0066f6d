"""`portal`, also as `python -m portal`: the commands of the features, and those that keep running."""

import logging

import click

from portal import worker
from portal.app import create_app
from portal.cli import main
from portal.config import load
from portal.demo.cli import demo, demo_mailbox
from portal.serving import serve


@click.command("serve")
def serve_command() -> None:
    """Serve the pages until SIGTERM; run `portal worker` beside it."""
    _log_to_stderr()
    serve(load())


@click.command("worker")
def worker_command() -> None:
    """Deliver mail until SIGTERM. Any number of workers may run, on any machine."""
    _log_to_stderr()
    worker.run(create_app(load()))


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")


for command in (serve_command, worker_command, demo, demo_mailbox):
    main.add_command(command)

if __name__ == "__main__":
    main()
