"""Mail over SMTP, on Flask-Mail's settings."""

from urllib.parse import unquote, urlsplit

from portal.config import Settings


def flask_mail_config(settings: Settings) -> dict[str, object]:
    """Translate SMTP_URL into Flask-Mail's settings."""
    parts = urlsplit(settings.smtp_url)
    return {
        "MAIL_SERVER": parts.hostname or "localhost",
        "MAIL_PORT": parts.port or {"smtp": 25, "smtp+starttls": 587, "smtps": 465}[parts.scheme],
        "MAIL_USE_TLS": parts.scheme == "smtp+starttls",
        "MAIL_USE_SSL": parts.scheme == "smtps",
        "MAIL_USERNAME": unquote(parts.username) if parts.username else None,
        "MAIL_PASSWORD": unquote(parts.password) if parts.password else None,
        "MAIL_DEFAULT_SENDER": (settings.vendor_name, settings.mail_from),
    }
