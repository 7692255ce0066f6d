"""One client at a time: curl, as fast as it goes; a bare socket, for the first byte; a page."""

import http.client
import socket
import subprocess
import time
from dataclasses import dataclass

from bench.downloads.servers import Contender

PATIENCE = 60


@dataclass(frozen=True)
class Taken:
    """How many bytes of the file came, and in how many seconds, as curl measures it: connecting included, starting it not."""

    seconds: float
    size: int

    @property
    def per_second(self) -> float:
        return self.size / self.seconds


def headers_of(contender: Contender, turn: int) -> dict[str, str]:
    """Each turn is another person's, so that each download is a new one."""
    return contender.headers[turn % len(contender.headers)]


def download(contender: Contender, turn: int, first: int) -> Taken:
    """Take a contender's file from byte `first` on."""
    address = f"http://127.0.0.1:{contender.port}{contender.file}"
    command = ["curl", "--silent", "--noproxy", "*", "--output", "/dev/null", "--write-out", "%{http_code} %{size_download} %{time_total}"]
    for name, value in headers_of(contender, turn).items():
        command += ["--header", f"{name}: {value}"]
    if first:
        command += ["--range", f"{first}-"]
    said = subprocess.run([*command, address], capture_output=True, text=True, check=True, timeout=PATIENCE).stdout.split()
    assert said[0] == ("206" if first else "200"), f"{contender.name}: {said}"
    return Taken(float(said[2]), int(said[1]))


def time_first_byte(contender: Contender, turn: int) -> float:
    """Seconds from asking for one byte, over a fresh connection, until the answer begins."""
    headers = {**headers_of(contender, turn), "Range": f"bytes={turn}-{turn}", "Host": "127.0.0.1", "Connection": "close"}
    lines = [f"GET {contender.file} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", contender.port), PATIENCE) as connection:
        begin = time.perf_counter()
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = connection.recv(4096)
        spent = time.perf_counter() - begin
        assert answer.split()[1] == b"206", f"{contender.name}: {answer[:40]!r}"
        while connection.recv(4096):
            pass
    return spent


def time_page(contender: Contender, patience: float) -> float:
    """Seconds that a page takes over a fresh connection; `patience` where it does not come."""
    begin = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", contender.port, timeout=patience)
    try:
        connection.request("GET", contender.page, headers=contender.page_headers)
        answer = connection.getresponse()
        answer.read()
    except TimeoutError:
        return patience
    finally:
        connection.close()
    assert answer.status == 200, f"{contender.name}: {answer.status}"
    return time.perf_counter() - begin
