"""The load, in a process of its own: `python -m bench.downloads.load crowd|upload`, told in a line of JSON what to do.

It prints "running" when it has begun, and its figures as JSON when it is done.
"""

import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.downloads.site import csrf_token

TICK_SECONDS = 0.02
RECEIVE_BYTES = 65_536


class SlowClient:
    """Takes so many bytes a second and no more. One that resumes leaves every few seconds and goes on where it was."""

    def __init__(self, given: dict[str, Any], number: int) -> None:
        self.given = given
        self.headers: dict[str, str] = given["headers"][number % len(given["headers"])]
        self.leaves_every = given["resume_seconds"] if number % 4 == 0 else None
        self.taken = 0
        self.answers: list[int] = []
        self.connect()

    def connect(self) -> None:
        self.connected_at = time.monotonic()
        self.taken_before = self.taken
        self.head: bytes | None = b""
        self.connection = socket.socket()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        self.connection.connect(("127.0.0.1", self.given["port"]))
        wanted = {**self.headers, **({"Range": f"bytes={self.taken}-"} if self.taken else {})}
        lines = [f"GET {self.given['file']} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *(f"{k}: {v}" for k, v in wanted.items())]
        self.connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.connection.setblocking(False)

    def tick(self, now: float) -> None:
        """Take what is due by now. The end of a connection is met with another."""
        if self.leaves_every and now - self.connected_at > self.leaves_every and self.taken > self.taken_before:
            self.connection.close()
            self.connect()
            return
        due = int((now - self.connected_at) * self.given["rate"]) - (self.taken - self.taken_before)
        while due > 0:
            try:
                data = self.connection.recv(min(due, RECEIVE_BYTES) if self.head is None else 2048)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.connection.close()
                self.connect()
                return
            body = self._body(data)
            self.taken += len(body)
            due -= len(body)

    def _body(self, data: bytes) -> bytes:
        if self.head is None:
            return data
        self.head += data
        head, end, body = self.head.partition(b"\r\n\r\n")
        if not end:
            return b""
        self.answers.append(int(head.split()[1]))
        self.head = None
        return body if self.answers[-1] in {200, 206} else b""


def crowd(given: dict[str, Any]) -> dict[str, Any]:
    """Let many slow clients download for some seconds. Says how many bytes each got, and which answers there were."""
    clients = [SlowClient(given, number) for number in range(given["clients"])]
    print("running", flush=True)
    begin = time.monotonic()
    while (now := time.monotonic()) < begin + given["seconds"]:
        for client in clients:
            client.tick(now)
        time.sleep(max(0, TICK_SECONDS - (time.monotonic() - now)))
    answers = [answer for client in clients for answer in client.answers]
    return {
        "taken": sorted(client.taken for client in clients),
        "answers": {str(answer): answers.count(answer) for answer in sorted(set(answers))},
        "connections": sum(1 for _ in answers),
    }


def upload(given: dict[str, Any]) -> dict[str, Any]:
    """Upload a file of so many bytes by the staff's form, as fast as it is taken."""
    headers = {"Cookie": given["cookie"]}
    connection = http.client.HTTPConnection("127.0.0.1", given["port"], timeout=600)
    connection.request("GET", given["draft"], headers=headers)
    page = connection.getresponse()
    token = csrf_token(page.read().decode())
    for value in page.headers.get_all("Set-Cookie") or []:
        headers["Cookie"] = value.partition(";")[0]
    boundary = "a-line-between-the-parts"
    fields = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (("csrf_token", token), ("kind", "installer"), ("platform", "Windows"), ("architecture", "x64"))
    )
    file = 'Content-Disposition: form-data; name="file"; filename="large.bin"\r\nContent-Type: application/octet-stream\r\n\r\n'
    before, after = f"{fields}--{boundary}\r\n{file}".encode(), f"\r\n--{boundary}--\r\n".encode()
    block = os.urandom(1 << 20)

    def body() -> Iterator[bytes]:
        yield before
        for begin in range(0, given["size"], len(block)):
            yield block[: given["size"] - begin]
        yield after

    print("running", flush=True)
    begin = time.monotonic()
    headers |= {
        "Content-Type": f"multipart/form-data; boundary={boundary}", "Accept": "application/json",
        "Content-Length": str(len(before) + given["size"] + len(after)),
    }  # fmt: skip
    connection.request("POST", f"{given['draft']}builds", body(), headers)
    answer = connection.getresponse()
    said = answer.read().decode()
    assert answer.status == 201, f"{answer.status}: {said}"
    return {"seconds": time.monotonic() - begin}


def main() -> None:
    act = {"crowd": crowd, "upload": upload}[sys.argv[1]]
    print(json.dumps(act(json.loads(sys.stdin.readline()))), flush=True)


if __name__ == "__main__":
    main()
