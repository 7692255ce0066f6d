"""Can the time of an answer tell an account from an unknown address? Sign-in and reset, for accounts in every state.

The portal runs under gunicorn as `portal serve` configures it, on SQLite. One client sends wrong passwords over a kept connection, the
states in a new random order in each round, so that whatever else the machine does meets all of them alike.

"told apart" is how often a guesser is right who sees the times of one unknown address and one account, and says that the slower one is the
account (the area under the ROC curve; Mann and Whitney's U over the number of pairs): 50 % is a coin. "by chance" is how far a coin
strays from that, in 95 of 100 runs.
"""

import argparse
import random
import re
import statistics
import sys
import tempfile
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from bench.home import Client, server
from bench.report import write
from portal import clock
from portal.account.models import User
from portal.app import create_app
from portal.config import load
from portal.database import transaction
from portal.demo import sample
from portal.demo.supervisor import choose_ports, write_environment, written_environment

ROUNDS, WARM_UP = 300, 20
UNKNOWN = "unknown address"
PATHS = ("/sign-in", "/account/password/reset")


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        ports = choose_ports(data_dir / "demo.json", 0)
        write_environment(data_dir, ports)
        many = {"SIGN_IN_LIMIT": "1000000 per minute", "SIGN_IN_LIMIT_OVERALL": "1000000 per minute"}
        environment = {**written_environment(data_dir), "DATA_DIR": folder, **many}
        settings = load(environment)
        emails = {account["role"]: account["email"] for account in sample.prepare(settings, data_dir / "demo.json", {})["accounts"]}
        app = create_app(settings)
        with app.app_context():
            states = put_into_states(emails)
        with server([sys.executable, "-m", "portal", "serve"], ports.web, environment):
            report(rounds, {path: measure(ports.web, path, states, rounds) for path in PATHS})


def put_into_states(emails: dict[str, str]) -> dict[str, str]:
    """Close, lock and change accounts of the sample; return an address for each state."""
    far = clock.now() + timedelta(days=1)
    changes: dict[str, dict[str, object]] = {
        "colleague": {"active": False},
        "lapsed": {"sign_in_locked_until": far},
        "customer": {"password": None},
    }
    with transaction() as session:
        for role, values in changes.items():
            session.execute(sa.update(User).where(User.email == emails[role]).values(**values))
    return {
        UNKNOWN: "nobody@example.org",
        "account": emails["subscriber"],
        "closed account": emails["colleague"],
        "locked account": emails["lapsed"],
        "account without password": emails["customer"],
        "member of staff": emails["publisher"],
    }


def measure(port: int, path: str, states: dict[str, str], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each answer, by state."""
    client = Client(port)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.request("GET", path)[1])
    assert token is not None
    times: dict[str, list[float]] = {state: [] for state in states}
    order = list(states)
    for turn in range(WARM_UP + rounds):
        random.shuffle(order)
        for state in order:
            form = {"csrf_token": token[1], "email": states[state], "password": "not the right one at all"}
            begin = time.perf_counter()
            status, _ = client.request("POST", path, form)
            spent = time.perf_counter() - begin
            assert status == 200, status
            if turn >= WARM_UP:
                times[state].append(spent)
    return times


def told_apart(unknown: Sequence[float], known: Sequence[float]) -> float:
    """Return the share of pairs in which the known one took longer; ties count half."""
    ordered = sorted(unknown)
    return sum(bisect_left(ordered, one) + bisect_right(ordered, one) for one in known) / 2 / len(unknown) / len(known)


def report(rounds: int, measured: dict[str, dict[str, list[float]]]) -> None:
    by_chance = 1.96 * ((2 * rounds + 1) / (12 * rounds * rounds)) ** 0.5
    rows, figures = [], {}
    for path, times in measured.items():
        base = statistics.median(times[UNKNOWN]) * 1000
        for state, values in times.items():
            median = statistics.median(values) * 1000
            p95 = statistics.quantiles(values, n=20)[18] * 1000
            share = told_apart(times[UNKNOWN], values)
            shown = "" if state == UNKNOWN else f"{share:.1%}"
            rows.append([path, state, f"{median:.2f}", f"{median - base:+.2f}", f"{p95:.2f}", shown])
            figures[f"{path} {state}"] = {"median_ms": median, "p95_ms": p95, "told_apart": None if state == UNKNOWN else share}
    headers = ["form", "for", "median ms", "difference", "p95 ms", "told apart"]
    write("sign_in", headers, rows, {"rounds": rounds, "by_chance": by_chance, "times": figures})
    print(f"by chance: 50 % ± {by_chance:.1%}, {rounds} rounds")


if __name__ == "__main__":
    main()
