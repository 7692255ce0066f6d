"""The benchmark of sending still runs: its arguments, its reading of the sink, its tables, its road and one of its peers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.notices import tables
from bench.notices.__main__ import arguments
from bench.notices.contenders import Figures, Wrong, peer, told_figures
from bench.notices.peer_mail import length_for, peer_mail
from bench.notices.wire import last_count, read_dump, round_trip, slow_road
from tests.smtp import MailServer

DUMP = b"""X-Client-Addr: 127.0.0.1
X-Client-Proto: SMTP
X-Rcpt-Args: <a@example.org>
Received: from here ([127.0.0.1])
\tby smtp-sink (smtp-sink) with SMTP id 7e390e90;
\tTue, 24 Nov 2026 10:16:25 +0000 (UTC)
Subject: One

text

"""


def results(per_second: float) -> tables.Results:
    """Made-up results in which our side sends so many mails a second and the naive one 100."""
    naive, ours = Figures(10, 10 / 100, 0.01, 0.001, 1), Figures(10, 10 / per_second, 0.0002, 0.001, 1)
    runs = {tables.NAIVE: [naive], tables.SOURCE: [naive], "portal, SQLite, k = 16": [ours, ours]}
    return tables.Results(
        sent={10: runs}, delayed=runs, round_trip=0.002, memory={"SQLite": (50_000_000, 60_000_000, 9.0)},
        fan_out={"SQLite": ([1.0], [0.5])}, few=2, many=10, size=8192, load=0, fsync=0.001, promise="on, on",
    )  # fmt: skip


def test_the_plan_is_that_of_the_documentation_unless_asked_otherwise() -> None:
    plan = arguments([])
    assert (plan.counts, plan.size, plan.delay, plan.few, plan.many) == ([2_000, 10_000], 8_192, 0.001, 2_000, 100_000)
    assert arguments(["--counts", "20", "--delay-ms", "2"]).counts == [20]


def test_the_last_counter_of_the_sink_counts() -> None:
    assert last_count(b"sess=1 quit=0 mesg=1\rsess=2 quit=2 mesg=20\r") == 20
    assert last_count(b"") == 0


def test_a_kept_mail_is_measured_as_it_was_on_the_wire(tmp_path: Path) -> None:
    (tmp_path / "dump").write_bytes(DUMP + DUMP.replace(b"a@", b"b@"))
    first, second = read_dump(tmp_path / "dump")
    assert (first.recipients, second.recipients) == (("a@example.org",), ("b@example.org",))
    assert first.size == second.size == len(b"Subject: One\r\n\r\ntext\r\n")


def test_aims_are_told_reached_and_missed(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.report.RESULTS", tmp_path)
    tables.report(results(2_000))
    assert "NO" not in capsys.readouterr().out
    tables.report(results(500))
    assert [row[3] for row in json.loads((tmp_path / "notices.json").read_text())["aims"]].count("NO") == 2


def test_a_sender_that_counts_otherwise_is_refused() -> None:
    line = json.dumps({"seconds": 1, "cpu": 1, "peak_bytes": 1, "sent": 9})
    with pytest.raises(Wrong, match="9 rows"):
        told_figures(line, 10, "ours")


def test_peers_mails_have_the_size_agreed() -> None:
    def bytes_of(length: int) -> int:
        one = peer_mail(1000, length)
        return len(one.text) + len(one.html)

    length = length_for(8_192, lambda one: len(one.text) + len(one.html))
    assert 8_192 - 20 <= bytes_of(length) <= 8_192


def test_a_road_delays_both_directions_and_loses_nothing(mail_server: MailServer) -> None:
    with slow_road(mail_server.port, 0.005) as port:
        assert round_trip(port, tries=5) >= 0.01
        peer(sys.executable, "bench.notices.flask_mail_peer", "connect")(port, 3, 2_000, Path())
    assert len(set(mail_server.recipients())) == 3
    assert all(abs(len(one.content) - 2_000) < 40 for one in mail_server.accepted)


def test_a_row_per_mail_is_committed(mail_server: MailServer, tmp_path: Path) -> None:
    figures = peer(sys.executable, "bench.notices.flask_mail_peer", "commit")(mail_server.port, 20, 2_000, tmp_path)
    assert len(set(mail_server.recipients())) == 20
    assert figures.count == 19  # one went out before the clock started


def test_the_commands_explain_themselves() -> None:
    told = subprocess.run([sys.executable, "-m", "bench.notices", "--help"], check=True, capture_output=True, text=True).stdout
    assert "--counts" in told
