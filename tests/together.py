"""Runs acts at the same moment, each in a thread and app context of its own."""

import threading
from collections.abc import Callable, Sequence

from flask import Flask

Act = Callable[[], object]


def together(app: Flask, acts: Sequence[Act]) -> list[Exception]:
    """Run all acts at once; return what they raised."""
    start, failures = threading.Barrier(len(acts)), []

    def run(act: Act) -> None:
        try:
            with app.app_context():
                start.wait()
                act()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures
