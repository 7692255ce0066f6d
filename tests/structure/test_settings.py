"""Every setting is documented, and nothing documented is made up."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from portal import config_addresses
from portal.config import Settings, load, read
from portal.config_addresses import Bucket, ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
NAMES = {setting.name.upper() for setting in fields(Settings)}
SAFE = {"SECRET_KEY": "x" * 40}


def test_the_documentation_lists_exactly_the_settings() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(NAMES)


def test_the_documentation_gives_each_meaning_and_default() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    for setting in fields(Settings):
        assert setting.metadata["meaning"] in text, setting.name
        default = f"`{setting.default}`" if str(setting.default) else "(empty)"
        assert f"| `{setting.name.upper()}` | {default} |" in text, setting.name


def test_the_example_file_lists_exactly_the_settings() -> None:
    listed = re.findall(r"^#?\s?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(NAMES)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"SECRET_KEY": ""}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"PUBLIC_URL": "http://portal.example.org"}, "PUBLIC_URL"),
        ({"PUBLIC_URL": "portal.example.org"}, "PUBLIC_URL"),
        ({"SMTP_URL": "mail.example.org"}, "SMTP_URL"),
        ({"WEB_PROCESSES": "2", "RATE_LIMIT_URL": "memory://"}, "RATE_LIMIT_URL"),
        ({"TRUSTED_HOSTS": "portal.example.org:443"}, "TRUSTED_HOSTS"),
        ({"TRUSTED_HOSTS": "*.example.org"}, "TRUSTED_HOSTS"),
        ({"SIGN_IN_LIMIT_OVERALL": "a few"}, "SIGN_IN_LIMIT_OVERALL"),
        ({"FRESH_SIGN_IN_MINUTES": "0"}, "FRESH_SIGN_IN_MINUTES"),
        ({"WEB_THREADS": "many"}, "WEB_THREADS"),
        ({"WEB_THREADS": "0"}, "WEB_THREADS"),
        ({"WEB_THREADS": "64", "MAX_DOWNLOADS": "64"}, "MAX_DOWNLOADS"),
        ({"MAX_DOWNLOADS_PER_PERSON": "0"}, "MAX_DOWNLOADS_PER_PERSON"),
        ({"FEEDBACK_ATTACHMENTS": "-1"}, "FEEDBACK_ATTACHMENTS"),
        ({"FEEDBACK_ATTACHMENT_BYTES": "0"}, "FEEDBACK_ATTACHMENT_BYTES"),
        ({"FEEDBACK_ATTACHMENT_TYPES": "png exe"}, "FEEDBACK_ATTACHMENT_TYPES"),
        ({"FEEDBACK_ATTACHMENT_TYPES": "any png"}, "FEEDBACK_ATTACHMENT_TYPES"),
        ({"SMTP_TIMEOUT": "0"}, "SMTP_TIMEOUT"),
        ({"SMTP_URL": "smtp://mail.example.org:smtp"}, "SMTP_URL"),
        ({"SMTP_URL": "smtp://user:password@mail.example.org"}, "SMTP_URL"),
        ({"PROXY_HOPS": "-1"}, "PROXY_HOPS"),
        ({"SIGN_IN_LIMIT": "a few"}, "SIGN_IN_LIMIT"),
        ({"TOKEN_LIMIT": "a few"}, "TOKEN_LIMIT"),
        ({"LOG_LEVEL": "loud"}, "LOG_LEVEL"),
        ({"DATABASE_URL": "portal.db"}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://user@db.example.org/portal"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql+psycopg://user@db.example.org:port/portal"}, "DATABASE_URL"),
        ({"QUEUE_URL": "amqp://queue.example.org"}, "QUEUE_URL"),
        ({"RATE_LIMIT_URL": "memcached://127.0.0.1"}, "RATE_LIMIT_URL"),
        ({"DEFAULT_TIME_ZONE": "Mars/Olympus"}, "DEFAULT_TIME_ZONE"),
        ({"STORAGE_URL": "ftp://builds.example.org"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://["}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://UPPER"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds/a/../b"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds?endpiont=https://s3.example.org"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds?endpoint=s3.example.org"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds?endpoint=https://s3.example.org/builds"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds?endpoint=https://a.example.org&endpoint=https://b.example.org"}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds?region="}, "STORAGE_URL"),
        ({"STORAGE_URL": "s3://builds", "ACCEL_PREFIX": "/_builds/"}, "ACCEL_PREFIX"),
        ({"STORAGE_URL": "s3://builds", "STORAGE_PRESIGNED": "61"}, "STORAGE_PRESIGNED"),
        ({"STORAGE_URL": "s3://builds", "STORAGE_PRESIGNED": "-1"}, "STORAGE_PRESIGNED"),
        ({"STORAGE_PRESIGNED": "60"}, "STORAGE_PRESIGNED"),
        (
            {
                "PUBLIC_URL": "https://portal.example.org",
                "STORAGE_URL": "s3://builds?endpoint=http://s3.example.org",
                "STORAGE_PRESIGNED": "60",
            },
            "STORAGE_PRESIGNED",
        ),
    ],
)
def test_an_unsafe_setting_is_refused_by_name(given: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        load({**SAFE, **given})


def test_counting_in_redis_asks_for_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_addresses, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"RATE_LIMIT_URL.*pip install 'redis<8'"):
        load({**SAFE, "RATE_LIMIT_URL": "redis://127.0.0.1"})


def test_a_refused_database_address_is_not_told() -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({**SAFE, "DATABASE_URL": "postgres://user:a-password@db.example.org/portal"})
    assert "a-password" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIAEXAMPLE:a-secret@builds",
        "s3://builds?endpoint=https://AKIAEXAMPLE:a-secret@s3.example.org",
        "s3://builds?secret_access_key=a-secret",
        "https://AKIAEXAMPLE:a-secret@s3.example.org/builds",
    ],
)
def test_a_storage_address_with_keys_is_refused_and_not_told(address: str) -> None:
    with pytest.raises(ConfigurationError, match="Keys never stand in it") as refused:
        load({**SAFE, "STORAGE_URL": address})
    assert "a-secret" not in str(refused.value)
    assert "AKIAEXAMPLE" not in str(refused.value)


def test_a_bucket_without_the_packages_for_it_is_refused_with_the_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.config_addresses.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"STORAGE_URL.*pip install --require-hashes -r requirements-s3\.txt"):
        load({**SAFE, "STORAGE_URL": "s3://builds"})


@pytest.mark.parametrize(
    ("address", "bucket"),
    [
        ("", None),
        ("file:///srv/builds", None),
        ("s3://builds", Bucket("builds", "", None, None)),
        ("s3://builds/portal/a_b/?region=eu-central-1", Bucket("builds", "portal/a_b/", None, "eu-central-1")),
        (
            "s3://my.builds?endpoint=https://s3.example.org:9000&region=garage",
            Bucket("my.builds", "", "https://s3.example.org:9000", "garage"),
        ),
        ("s3://builds?endpoint=http://[::1]:8333", Bucket("builds", "", "http://[::1]:8333", None)),
    ],
)
def test_a_storage_address_names_a_directory_or_a_bucket(address: str, bucket: Bucket | None) -> None:
    assert load({**SAFE, "STORAGE_URL": address}).bucket == bucket


def test_the_environment_wins_over_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(
        "VENDOR_NAME=from the working directory\nPORTAL_NAME=from the working directory\nMAIL_FROM=a@example.org\n"
    )
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / ".env").write_text("VENDOR_NAME=from the data directory\nPORTAL_NAME=from the data directory\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(data_dir))
    monkeypatch.setenv("VENDOR_NAME", "from the environment")
    settings = read()
    assert (settings.vendor_name, settings.portal_name, settings.mail_from) == (
        "from the environment",
        "from the data directory",
        "a@example.org",
    )
