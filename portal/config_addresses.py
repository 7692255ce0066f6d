"""The settings that are addresses: the portal's own, and those of the mail relay, the databases, the store of builds and the shop.

Pure functions over one value each, for `portal.config`. A refusal names the setting; it tells the value only
where no password can stand in it.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]+", re.ASCII)
# An address that needs no quoting anywhere (dot-atom, RFC 5322, 3.2.3, at a host name).
ADDRESS = re.compile(r"[A-Za-z0-9_=-]+([.+][A-Za-z0-9_=-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
# Names of a bucket and of folders in it that mean the same to every store; an endpoint without keys, path or query.
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*", re.ASCII)
ENDPOINT = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/?", re.ASCII)
REGION = re.compile(r"[A-Za-z0-9-]+", re.ASCII)
STORAGE_URL_IS = (
    "STORAGE_URL must be empty, file:///path or s3://bucket/prefix?endpoint=https://host&region=name. Keys never stand in it: they "
    "come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment."
)


class ConfigurationError(Exception):
    """A setting is missing, unreadable or unsafe. The message says which, and what to do."""


@dataclass(frozen=True)
class Bucket:
    """A place in an S3-compatible store. `prefix` is empty or ends in a slash; None: as the environment or AWS has it."""

    name: str
    prefix: str
    endpoint: str | None
    region: str | None


def check_public_url(url: str) -> None:
    """Raise ConfigurationError unless `url` names a host, by https where that is not this machine."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"PUBLIC_URL is {url!r}; it must start with https:// and name a host.")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ConfigurationError("PUBLIC_URL must start with https:// (http:// is accepted for this machine alone).")


def check_relay(url: str) -> None:
    """Raise ConfigurationError unless `url` names a mail relay that a password, if there is one, reaches encrypted."""
    relay = urlsplit(url)
    if relay.scheme not in {"smtp", "smtp+starttls", "smtps"}:
        raise ConfigurationError("SMTP_URL must start with smtp://, smtp+starttls:// or smtps://.")
    try:
        relay.port  # noqa: B018 - reading it checks it
    except ValueError:
        raise ConfigurationError("SMTP_URL names a port that is no number up to 65535.") from None
    if relay.scheme == "smtp" and relay.username and relay.hostname not in LOOPBACK:
        raise ConfigurationError("SMTP_URL would send its password unencrypted. Use smtp+starttls:// or smtps:// with a log-in.")


def check_hosts(hosts: str) -> None:
    """Raise ConfigurationError unless `hosts` are host names with spaces between."""
    if not all(HOST.fullmatch(host) for host in hosts.split()):
        raise ConfigurationError("TRUSTED_HOSTS must be host names with spaces between, such as portal.example.org; without port or *.")


def check_renewal_url(given: str, filled: str) -> None:
    """Raise ConfigurationError unless `filled`, which is `given` with the number of a contract put in, is an address of the web."""
    try:
        shop = urlsplit(filled)
        usable = shop.scheme in {"http", "https"} and bool(shop.hostname) and not re.search(r"[\s{}]", filled)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"RENEWAL_URL is {given!r}; write it like https://shop.example.org/renew?contract={{contract}}.")


def check_return_path(address: str) -> None:
    """Raise ConfigurationError unless an address per mail can be made of `address`.

    Its local part of 64 octets needs room for what is added: +, an id of up to 19 digits, a point, 16 characters.
    """
    local, _, domain = address.rpartition("@")
    if not (ADDRESS.fullmatch(address) and len(local) <= 27 and len(domain) <= 189):
        raise ConfigurationError(
            f"MAIL_RETURN_PATH is {address!r}; it must be an address such as bounces@example.org, "
            "in ASCII, with at most 27 characters before the @."
        )


def check_database(name: str, address: str) -> None:
    """Raise ConfigurationError unless `address` is one of SQLite or PostgreSQL."""
    try:
        driver = make_url(address).drivername
    except (ArgumentError, ValueError):
        driver = None
    if driver not in {"sqlite", "postgresql", "postgresql+psycopg"}:
        raise ConfigurationError(f"{name} must be sqlite:////path/to/file or postgresql+psycopg://user:password@host/database.")


def check_counts(url: str) -> None:
    """Raise ConfigurationError unless tries can be counted at `url`."""
    scheme = urlsplit(url).scheme
    if scheme not in {"database", "memory", "redis", "rediss"}:
        raise ConfigurationError("RATE_LIMIT_URL must be database:// or memory://, or start with redis:// or rediss://.")
    if scheme.startswith("redis") and find_spec("redis") is None:
        raise ConfigurationError("RATE_LIMIT_URL names a Redis, which needs one more package: .venv/bin/pip install 'redis<8'")


def directory_of(storage_url: str) -> Path:
    """Return the directory that a storage address names. Raises ConfigurationError if it names none."""
    parts = _storage_address(storage_url)
    if parts.scheme != "file" or not parts.path:
        raise ConfigurationError(STORAGE_URL_IS)
    return Path(parts.path)


def bucket_of(storage_url: str) -> Bucket | None:
    """Return the place in an S3-compatible store that a storage address names; None if it names another.

    Raises ConfigurationError, without telling the address: somebody may have written a key into it.
    """
    parts = _storage_address(storage_url)
    if parts.scheme != "s3":
        return None
    asked = parse_qs(parts.query, keep_blank_values=True)
    endpoint, region = (asked.pop(name, [None]) for name in ("endpoint", "region"))
    path = parts.path.strip("/")
    well_formed = BUCKET.fullmatch(parts.netloc) and (not path or PREFIX.fullmatch(path)) and not parts.fragment
    if not well_formed or asked or len(endpoint) > 1 or len(region) > 1:
        raise ConfigurationError(STORAGE_URL_IS)
    if not all(given is None or form.fullmatch(given) for given, form in ((endpoint[0], ENDPOINT), (region[0], REGION))):
        raise ConfigurationError(STORAGE_URL_IS)
    return Bucket(parts.netloc, f"{path}/" if path else "", endpoint[0], region[0])


def check_bucket_packages() -> None:
    """Raise ConfigurationError unless what a bucket needs is installed."""
    if find_spec("boto3") is None:
        raise ConfigurationError(
            "STORAGE_URL names an S3-compatible store, which needs more packages: "
            ".venv/bin/pip install --require-hashes -r requirements-s3.txt"
        )


def _storage_address(storage_url: str) -> SplitResult:
    try:
        return urlsplit(storage_url)
    except ValueError:
        raise ConfigurationError(STORAGE_URL_IS) from None
