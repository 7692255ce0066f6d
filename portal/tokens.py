"""Secrets that are handed to a person once and kept only as a hash.

A token has 256 random bits, so a plain SHA-256 of it cannot be guessed back (OWASP ASVS 5.0, 11.5.1);
passwords, which people choose, go through argon2 instead.
"""

import base64
import hashlib
import hmac
import secrets

TOKEN_BYTES = 32


def make_token() -> str:
    """Return a new URL-safe token of 43 characters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def hash_token(token: str) -> str:
    """Return the SHA-256 of `token` in hexadecimal, as it is stored and looked up."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def derive_token(secret_key: str, purpose: str, nonce: str) -> str:
    """Return the token that belongs to `nonce`: the same each time, and nothing without the secret key.

    A mail that is sent twice then carries the same link, and neither the outbox nor the database holds it (HMAC, RFC 2104).
    """
    digest = hmac.new(secret_key.encode(), f"{purpose}:{nonce}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
