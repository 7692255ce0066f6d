"""Security headers on every answer (OWASP ASVS 5.0, chapter 3.4)."""

from flask import Flask, Response, request
from flask_login import current_user

from portal.config import Settings

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
# Files that are the same for everybody, and may be kept; feeds, whose readers are nobody to a session.
SHARED = frozenset({"static", "bootstrap.static", "icons.sprite", "feeds.feed"})
# A previewed mail carries inline styles and nothing else; its frame is sandboxed as well.
MAIL_PREVIEW_POLICY = "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; frame-ancestors 'self'; sandbox"


def init_app(app: Flask, settings: Settings) -> None:
    @app.after_request
    def add_headers(response: Response) -> Response:
        headers = response.headers
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
        headers.setdefault("X-Content-Type-Options", "nosniff")
        headers.setdefault("Referrer-Policy", "same-origin")
        headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
        headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        if settings.is_https:
            headers.setdefault("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
        if request.endpoint in SHARED:
            return response
        given = headers.get("Cache-Control")
        if given is None or "no-store" not in given:
            # What is sent as a file comes with a permission to keep it.
            headers["Cache-Control"] = "no-store" if current_user.is_authenticated else given or "private, no-cache"
        return response
