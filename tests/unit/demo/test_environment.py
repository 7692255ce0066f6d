"""The demo's own settings file."""

from pathlib import Path

from dotenv import set_key

from portal.config import load
from portal.demo.supervisor import Ports, write_environment, written_environment


def test_what_was_set_by_hand_is_kept_at_the_next_start(tmp_path: Path) -> None:
    write_environment(tmp_path, Ports(8001, 2501, 8002))
    secret = written_environment(tmp_path)["SECRET_KEY"]
    for name, value in {"MAIL_RETURN_PATH": "returns@example.org", "VENDOR_NAME": 'The "Best" \\ Ones'}.items():
        set_key(tmp_path / ".env", name, value)
    for _ in range(2):
        write_environment(tmp_path, Ports(8001, 2501, 8002))
    settings = load({**written_environment(tmp_path), "DATA_DIR": str(tmp_path)})
    assert (settings.mail_return_path, settings.vendor_name) == ("returns@example.org", 'The "Best" \\ Ones')
    assert settings.secret_key == secret


def test_it_never_touches_a_real_database_or_mail_server_whatever_its_file_says(tmp_path: Path) -> None:
    write_environment(tmp_path, Ports(8001, 2501, 8002))
    for name, value in {"DATABASE_URL": "sqlite:////srv/real.db", "SMTP_URL": "smtp://real.example.org", "WEB_HOST": "0.0.0.0"}.items():
        set_key(tmp_path / ".env", name, value)
    write_environment(tmp_path, Ports(8003, 2502, 8004))
    written = written_environment(tmp_path)
    assert (written["DATABASE_URL"], written["SMTP_URL"], written["WEB_HOST"]) == ("", "smtp://127.0.0.1:2502", "")
    assert (written["PUBLIC_URL"], written["WEB_PORT"]) == ("http://127.0.0.1:8003", "8003")
