"""A real S3-compatible store for tests: SeaweedFS from its wheel, on loopback, with a directory of its own."""

import contextlib
import json
import secrets
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

BUCKET = "builds"
START_SECONDS = 60
# Of the portal, which may do no more in the bucket than it has to; and of the bucket's owner.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "a-key-for-tests", "AWS_SECRET_ACCESS_KEY": "a-secret-for-tests-alone"}
OWNER = ("the-owners-key", "the-owners-secret")


@dataclass(frozen=True)
class SeaweedFS:
    """A running store with one bucket."""

    port: int

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def storage_url(self, prefix: str = "", port: int | None = None) -> str:
        """Return a STORAGE_URL for this store, by default with a prefix that nobody has used; `port` is that of a proxy."""
        return f"s3://{BUCKET}/{prefix or secrets.token_hex(8)}?endpoint=http://127.0.0.1:{port or self.port}&region=us-east-1"

    def client(self) -> Any:
        """Return a client of the bucket's owner."""
        session = boto3.session.Session(*OWNER)
        config = Config(connect_timeout=2, read_timeout=10, retries={"total_max_attempts": 1}, signature_version="s3v4")
        return session.client("s3", region_name="us-east-1", endpoint_url=self.endpoint, config=config)


def free_ports(count: int) -> list[int]:
    """Return different ports of loopback that nobody listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def running(directory: Path) -> Iterator[SeaweedFS]:
    """Run a store in `directory`, and end it by its process: what it holds is thrown away."""
    names = (
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
    )
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    rights = {"portal": [f"{right}:{BUCKET}" for right in ("Read", "Write", "List")], "owner": ["Admin"]}
    keys = {"portal": tuple(CREDENTIALS.values()), "owner": OWNER}
    identities = [
        {"name": name, "credentials": [{"accessKey": keys[name][0], "secretKey": keys[name][1]}], "actions": rights[name]} for name in keys
    ]
    (directory / "s3.json").write_text(json.dumps({"identities": identities}))
    command = [
        str(Path(sysconfig.get_path("scripts")) / "weed"), "-logtostderr", "server", f"-dir={directory}",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false", "-master.volumeSizeLimitMB=1024", "-volume.max=0",
        "-filer", f"-filer.localSocket={directory}/filer.sock", "-s3", f"-s3.localSocket={directory}/s3.sock",
        "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={directory}/s3.json",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT)
    try:
        store = SeaweedFS(ports["s3.port"])
        _wait_for_bucket(store, process)
        yield store
    finally:
        process.kill()
        process.wait(timeout=20)


def _wait_for_bucket(store: SeaweedFS, process: subprocess.Popen[bytes]) -> None:
    """Make the bucket and put something into it, as soon as all parts of the store work together."""
    client = store.client()
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.create_bucket(Bucket=BUCKET)
        except client.exceptions.BucketAlreadyExists:
            pass
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
            continue
        with contextlib.suppress(BotoCoreError, ClientError):
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
            return
        time.sleep(0.1)
    raise AssertionError("SeaweedFS did not start")
