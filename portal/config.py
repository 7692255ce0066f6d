"""Every setting of the portal: its name, type, default and meaning.

Settings come from the environment, then from `.env` in `DATA_DIR`, then from `.env` in the working directory. They are read once, and unsafe ones are refused before anything starts.
`docs/configuration.md` and `.env.example` list them; a test holds the lists equal.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from flask import current_app
from limits import parse_many

from portal import config_addresses as addresses
from portal.config_addresses import LOOPBACK, Bucket, ConfigurationError

MINIMUM_SECRET_LENGTH = 32
LONGEST_LINK_SECONDS = 60
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
LONGEST_REGION = 60
# What files of feedback can be told to be, by their bytes (portal/feedback/attachments.py).
ATTACHMENT_TYPES = frozenset({"7z", "gif", "gz", "jpg", "mp4", "pdf", "png", "text", "webm", "webp", "zip"})
ANY_TYPE = "any"
REQUIRED, OPTIONAL = "required", "optional"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def _setting(default: Any, meaning: str, *, at_least: int | None = None) -> Any:
    return field(default=default, metadata={"meaning": meaning, "at_least": at_least})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, typed. The environment variable is the attribute's name in capitals."""

    data_dir: Path = _setting(Path("instance"), "Directory in which the embedded defaults of the database, the queue and the builds lie.")
    database_url: str = _setting(
        "", "SQLAlchemy address of the database. Empty: SQLite at DATA_DIR/portal.db. Production: postgresql+psycopg://…"
    )
    database_pool_size: int = _setting(0, "Database connections a process may hold. 0: 32 on SQLite, 20 on PostgreSQL.", at_least=0)
    queue_url: str = _setting(
        "", "Where workers are woken. Empty: SQLite at DATA_DIR/queue.db, or the database itself when that is PostgreSQL."
    )
    storage_url: str = _setting(
        "",
        "Where the bytes of builds lie. Empty: DATA_DIR/builds. Otherwise file:///path, or an S3-compatible store: s3://bucket/prefix?endpoint=https://host&region=name (without endpoint: AWS). Its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment of the processes.",
    )
    storage_presigned: int = _setting(
        0,
        "Seconds, at most 60, for which a link straight into the S3 store lives; browsers are redirected to it. 0: the portal passes the bytes through.",
        at_least=0,
    )
    smtp_url: str = _setting(
        "smtp://localhost:25", "Mail relay: smtp://, smtp+starttls:// or smtps://, with user:password@ where it asks for a log-in."
    )
    smtp_timeout: int = _setting(30, "Seconds to wait for any answer of the mail relay.", at_least=1)
    smtp_connections: int = _setting(
        4, "Connections to the mail relay that a worker sends over side by side, and mails it sends per commit.", at_least=1
    )
    public_url: str = _setting(
        "http://127.0.0.1:8000", "Address people reach the portal at. Links in mails are built on it, whatever the Host header says."
    )
    secret_key: str = _setting(
        "",
        "At least 32 random characters. Signs cookies and the links in mails, and encrypts the secrets of authenticator apps; keep it when you move the portal.",
    )
    vendor_name: str = _setting("Your company", "Name of the vendor, as shown on pages and in mails.")
    portal_name: str = _setting("Portal", "Name of the portal, as shown beside the vendor's.")
    vendor_address: str = _setting("", "Postal address at the foot of each mail; many countries ask for one.")
    support_email: str = _setting("support@example.org", "Address that pages and mails send people to when they need a human.")
    mail_from: str = _setting("releases@example.org", "Sender's address of every mail.")
    mail_return_path: str = _setting(
        "",
        "Address that undeliverable mail comes back to, such as bounces@example.org: each mail gets its own, bounces+…@example.org. Empty: MAIL_FROM, and bounces are not read.",
    )
    mail_reply_to: str = _setting("", "Where replies to mails go. Empty: SUPPORT_EMAIL.")
    default_time_zone: str = _setting("Europe/Berlin", "IANA zone for people who have chosen none, and for new contracts.")
    support_regions: str = _setting("Europe, Americas, Asia Pacific", "Regions that contracts are supported from, with commas between.")
    contract_price: int = _setting(495, "What twelve months of a new contract cost unless another price is given.", at_least=0)
    contract_currency: str = _setting("USD", "Currency of that price, as three letters (ISO 4217).")
    max_build_bytes: int = _setting(
        4_000_000_000, "Largest build that can be uploaded, in bytes. A larger one is refused before it is read.", at_least=1
    )
    feedback_attachments: int = _setting(5, "Files that go with one piece of feedback, or one comment. 0: none.", at_least=0)
    feedback_attachment_bytes: int = _setting(10_000_000, "Largest such file, in bytes.", at_least=1)
    feedback_attachment_types: str = _setting(
        "7z gif gz jpg mp4 pdf png text webm webp zip",
        "Types of such files, told by their first bytes, of: 7z, gif, gz, jpg, mp4, pdf, png, text, webm, webp, zip. any: whatever people send.",
    )
    feedback_digest_hour: int = _setting(
        8, "Hour of Monday, in DEFAULT_TIME_ZONE, from which the product team is mailed the week's feedback.", at_least=0
    )
    minisign_secret_key_file: str = _setting(
        "",
        "File of the vendor's minisign secret key, where the commands that sign builds run. It is read for each signature and stored nowhere.",
    )
    minisign_password_file: str = _setting("", "File that holds the password of that key. Empty: the key has none.")
    web_host: str = _setting("127.0.0.1", "Address `portal serve` listens on.")
    web_port: int = _setting(8000, "Port `portal serve` listens on.")
    web_processes: int = _setting(1, "Web processes of `portal serve`.", at_least=1)
    web_threads: int = _setting(256, "Threads per web process; each download or page takes one while it runs.", at_least=1)
    max_downloads: int = _setting(
        0, "Downloads a web process sends at a time; it must be below WEB_THREADS. 0: four fifths of WEB_THREADS.", at_least=0
    )
    max_downloads_per_person: int = _setting(
        20, "Of those, the most for one person, and for one address of people without an account. Parallel ranges count each.", at_least=1
    )
    worker_threads: int = _setting(2, "Tasks one worker process runs side by side.", at_least=1)
    rate_limit_url: str = _setting(
        "database://",
        "Where tries are counted. database://: beside everything else, for any number of processes and machines. redis://…: the same, off the database. memory://: one process alone.",
    )
    sign_in_limit: str = _setting(
        "20 per minute",
        "Failed tries to sign in, to take the second step, to confirm or change a password, to reset one, to use an invitation or to change an address, counted together, from one address (IPv6: one /64), whoever they are for.",
    )
    sign_in_limit_overall: str = _setting(
        "600 per minute",
        "The same from all addresses together. When it is reached, people can still sign in on devices they have signed in with before.",
    )
    sign_in_failures: int = _setting(
        6,
        "Failed sign-ins in a row after which an account's sign-in is locked for SIGN_IN_LOCK_MINUTES. Wrong codes of a second factor are counted apart: each so many lock codes, for twice as long each time, up to a day.",
        at_least=1,
    )
    sign_in_lock_minutes: int = _setting(15, "Minutes for which sign-in stays locked.", at_least=1)
    token_limit: str = _setting(
        "60 per minute", "Wrong tokens (downloads, private feeds, staff's programs) from one address, after which it has to wait."
    )
    subscribe_limit: str = _setting("20 per hour", "Addresses that may be entered for release notices from one client address.")
    fresh_sign_in_minutes: int = _setting(
        30, "Minutes after signing in for which risky acts ask for no password; after that the password is asked for once more.", at_least=1
    )
    session_idle_hours: int = _setting(12, "Hours without a request after which a session ends.", at_least=1)
    session_days: int = _setting(14, "Days after which a session ends in any case.", at_least=1)
    staff_second_factor: str = _setting(
        "",
        "Whether staff can do nothing before they have set up a second factor: required or optional. Empty: required where PUBLIC_URL is https://, optional on this machine alone.",
    )
    renewal_url: str = _setting(
        "",
        "Address of the shop where contracts are renewed; {contract} in it stands for the contract's number. "
        "Empty: contacts ask the account managers on the contract's page.",
    )
    invitation_days: int = _setting(7, "Days for which an invitation can be accepted.", at_least=1)
    download_address_days: int = _setting(
        30, "Days for which the network address of a download is kept. 0: it is not noted at all.", at_least=0
    )
    audit_address_days: int = _setting(
        180, "Days for which the network addresses in the audit log are kept. 0: they are not noted at all.", at_least=0
    )
    audit_days: int = _setting(0, "Days after which events of the audit log are deleted. 0: they are kept for good.", at_least=0)
    mail_body_days: int = _setting(
        180, "Days after a notice was made for which the text that was mailed is kept. 0: it is kept for good.", at_least=0
    )
    delivery_address_days: int = _setting(
        365, "Days for which a settled delivery keeps the name and address it went to. 0: they are kept for good.", at_least=0
    )
    trusted_hosts: str = _setting(
        "",
        "Host names the portal answers to besides that of PUBLIC_URL and of this machine (localhost), with spaces between. Others are refused, but for health checks.",
    )
    proxy_hops: int = _setting(0, "Reverse proxies in front of the portal whose X-Forwarded-* headers are believed.", at_least=0)
    accel_prefix: str = _setting(
        "", "nginx location (such as /_builds/) that serves the builds directory by X-Accel-Redirect. Empty: the portal sends them itself."
    )
    log_level: str = _setting("INFO", "DEBUG, INFO, WARNING or ERROR.")

    @property
    def database(self) -> str:
        """The database address with the embedded default filled in."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'portal.db'}"

    @property
    def uses_sqlite(self) -> bool:
        return self.database.startswith("sqlite")

    @property
    def queue(self) -> str:
        """The queue address with the default filled in: beside the database."""
        if self.queue_url:
            return self.queue_url
        if self.uses_sqlite:
            return f"sqlite:///{self.data_dir.absolute() / 'queue.db'}"
        return self.database

    @property
    def builds_dir(self) -> Path:
        """The directory of the builds' bytes.

        Raises ConfigurationError for a storage address of another scheme than `file`.
        """
        return addresses.directory_of(self.storage_url) if self.storage_url else self.data_dir.absolute() / "builds"

    @property
    def bucket(self) -> Bucket | None:
        """The place of the builds' bytes in an S3-compatible store; None: they lie in a directory. Raises ConfigurationError."""
        return addresses.bucket_of(self.storage_url)

    @property
    def reply_to(self) -> str:
        return self.mail_reply_to or self.support_email

    @property
    def is_https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def session_cookie_name(self) -> str:
        """Name of the session's cookie; on https one that no other host, and no page without https, can have set."""
        return "__Host-portal" if self.is_https else "portal"

    @property
    def staff_needs_second_factor(self) -> bool:
        return self.is_https if not self.staff_second_factor else self.staff_second_factor == REQUIRED

    @property
    def base_url(self) -> str:
        """PUBLIC_URL without a slash at its end, ready for a path."""
        return self.public_url.rstrip("/")

    def renewal_url_of(self, number: str) -> str:
        """Where the shop renews the contract of this number; empty where there is no shop."""
        return self.renewal_url.replace("{contract}", quote(number, safe=""))

    @property
    def public_host(self) -> str:
        """Host name of PUBLIC_URL, for Message-ID and List-Id."""
        return urlsplit(self.public_url).hostname or "localhost"

    @property
    def regions(self) -> tuple[str, ...]:
        """The names in `support_regions`."""
        return tuple(name.strip() for name in self.support_regions.split(",") if name.strip())

    @property
    def pool_size(self) -> int:
        if self.database_pool_size:
            return self.database_pool_size
        # Requests hold one for milliseconds, downloads none while they run; on SQLite each takes a quarter of a megabyte.
        return 32 if self.uses_sqlite else 20

    @property
    def download_slots(self) -> int:
        """Downloads that a web process sends at a time. The other threads are left to pages."""
        return self.max_downloads or max(1, self.web_threads * 4 // 5)

    @property
    def hosts(self) -> frozenset[str]:
        """Host names the portal answers to, in lower case and without port."""
        return frozenset({self.public_host.lower(), *LOOPBACK, *self.trusted_hosts.lower().split()})

    def check(self) -> "Settings":
        """Return the settings, or raise ConfigurationError at the first unsafe one."""
        if len(self.secret_key) < MINIMUM_SECRET_LENGTH:
            raise ConfigurationError(
                "SECRET_KEY must have at least 32 characters. Make one with: python3 -c 'import secrets; print(secrets.token_urlsafe(48))'"
            )
        if self.web_processes > 1 and self.rate_limit_url.startswith("memory"):
            raise ConfigurationError(
                "WEB_PROCESSES is above 1, so RATE_LIMIT_URL must be database:// or name a Redis; in memory each process would count alone."
            )
        for setting in fields(self):
            at_least = setting.metadata["at_least"]
            if at_least is not None and getattr(self, setting.name) < at_least:
                raise ConfigurationError(f"{setting.name.upper()} must be {at_least} or more.")
        if self.max_downloads >= self.web_threads:
            raise ConfigurationError("MAX_DOWNLOADS must be below WEB_THREADS, or downloads could leave no thread to answer pages.")
        self._check_addresses()
        self._check_words()
        return self

    def _check_addresses(self) -> None:
        addresses.check_public_url(self.public_url)
        addresses.check_relay(self.smtp_url)
        addresses.check_hosts(self.trusted_hosts)
        if self.renewal_url:
            addresses.check_renewal_url(self.renewal_url, self.renewal_url_of("NW-1"))
        if self.mail_return_path:
            addresses.check_return_path(self.mail_return_path)
        self._check_storage()
        addresses.check_database("DATABASE_URL", self.database)
        addresses.check_database("QUEUE_URL", self.queue)
        addresses.check_counts(self.rate_limit_url)

    def _check_storage(self) -> None:
        bucket = self.bucket
        if bucket is None:
            self.builds_dir  # noqa: B018 - reading it checks STORAGE_URL
            if self.storage_presigned:
                raise ConfigurationError("STORAGE_PRESIGNED needs an S3-compatible store; STORAGE_URL names a directory.")
            return
        addresses.check_bucket_packages()
        if self.accel_prefix:
            raise ConfigurationError("ACCEL_PREFIX lets nginx send files of this machine, but STORAGE_URL names an S3 store. Empty one.")
        if self.storage_presigned > LONGEST_LINK_SECONDS:
            raise ConfigurationError(f"STORAGE_PRESIGNED must be {LONGEST_LINK_SECONDS} or less: whoever sees such a link can use it.")
        if self.storage_presigned and self.is_https and (bucket.endpoint or "").startswith("http:"):
            raise ConfigurationError("STORAGE_PRESIGNED sends browsers to the endpoint in STORAGE_URL, so that must start with https://.")

    def _check_words(self) -> None:
        if self.log_level not in LOG_LEVELS:
            raise ConfigurationError(f"LOG_LEVEL is {self.log_level!r}; it must be one of {', '.join(LOG_LEVELS)}.")
        for name in ("sign_in_limit", "sign_in_limit_overall", "token_limit", "subscribe_limit"):
            try:
                parse_many(getattr(self, name))
            except ValueError:
                raise ConfigurationError(f"{name.upper()} is {getattr(self, name)!r}; write it like 20 per minute.") from None
        if not CURRENCY.fullmatch(self.contract_currency):
            raise ConfigurationError(f"CONTRACT_CURRENCY is {self.contract_currency!r}; it must be three capital letters, such as USD.")
        if any(len(name) > LONGEST_REGION for name in self.regions):
            raise ConfigurationError(f"SUPPORT_REGIONS holds a name of more than {LONGEST_REGION} characters.")
        types = self.feedback_attachment_types.split()
        if not types or (types != [ANY_TYPE] and not ATTACHMENT_TYPES.issuperset(types)):
            raise ConfigurationError(
                f"FEEDBACK_ATTACHMENT_TYPES is {self.feedback_attachment_types!r}; name some of {', '.join(sorted(ATTACHMENT_TYPES))}, or any alone."
            )
        if self.staff_second_factor not in {"", REQUIRED, OPTIONAL}:
            raise ConfigurationError(f"STAFF_SECOND_FACTOR is {self.staff_second_factor!r}; it must be {REQUIRED}, {OPTIONAL} or empty.")
        try:
            ZoneInfo(self.default_time_zone)
        except (KeyError, ValueError, OSError):
            raise ConfigurationError(f"DEFAULT_TIME_ZONE is {self.default_time_zone!r}, which is no IANA time zone.") from None


def current_settings() -> Settings:
    """Return the settings of the current app."""
    settings: Settings = current_app.extensions["portal.settings"]
    return settings


def _parse(name: str, kind: Any, text: str) -> Any:
    if kind is int:
        try:
            return int(text.replace("_", ""))
        except ValueError:
            raise ConfigurationError(f"{name} is {text!r}; it must be a whole number.") from None
    return Path(text) if kind is Path else text


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `environment` (default: the process's, then `.env` files) and check them.

    Raises ConfigurationError naming the setting at fault.
    """
    return read(environment).check()


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings without checking whether a server could safely start on them."""
    given: dict[str, str] = {}
    if environment is None:
        environment = os.environ
        given = _env_file(Path(".env"))
        data_dir = environment.get("DATA_DIR") or given.get("DATA_DIR") or str(Settings.data_dir)
        given = {**given, **_env_file(Path(data_dir) / ".env")}
    given = {**given, **environment}
    values = {
        setting.name: _parse(setting.name.upper(), setting.type, given[setting.name.upper()])
        for setting in fields(Settings)
        if given.get(setting.name.upper())
    }
    return Settings(**values)


def _env_file(path: Path) -> dict[str, str]:
    return {name: value for name, value in dotenv_values(path).items() if value is not None} if path.is_file() else {}
