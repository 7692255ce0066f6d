"""A passkey made of software, for tests without a browser: it answers as a browser with a FIDO2 key would (WebAuthn level 2, 6)."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.twofactor.totp import TOTP

ORIGIN = "http://localhost:8000"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Key:
    """One key. `verifies` says whether it asks for a PIN or a finger; `count` goes up with each use, 0 stays 0 as with synced keys."""

    origin: str = ORIGIN
    site: str = "localhost"
    verifies: bool = True
    count: int = 0
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""

    def register(self, options: dict[str, Any], **changes: Any) -> str:
        """Answer `navigator.credentials.create`."""
        self.handle = octets(options["user"]["id"])
        numbers = self.private.public_key().public_numbers()
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + public
        statement = {"fmt": "none", "attStmt": {}, "authData": self._data(ATTESTED) + attested}
        return self._answer(
            {
                "clientDataJSON": base64url(self._client("webauthn.create", options, changes)),
                "attestationObject": base64url(cbor2.dumps(statement)),
                "transports": ["internal"],
            }
        )

    def prove(self, options: dict[str, Any], **changes: Any) -> str:
        """Answer `navigator.credentials.get`. `changes` replace what the browser notes: challenge, origin, type."""
        if self.count:
            self.count += 1
        client, data = self._client("webauthn.get", options, changes), self._data(0)
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(
            {
                "clientDataJSON": base64url(client),
                "authenticatorData": base64url(data),
                "signature": base64url(signature),
                "userHandle": base64url(self.handle),
            }
        )

    def _client(self, kind: str, options: dict[str, Any], changes: dict[str, Any]) -> bytes:
        return json.dumps({"type": kind, "challenge": options["challenge"], "origin": self.origin, **changes}).encode()

    def _data(self, flags: int) -> bytes:
        flags |= PRESENT | (VERIFIED if self.verifies else 0)
        return hashlib.sha256(self.site.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _answer(self, response: dict[str, Any]) -> str:
        name = base64url(self.id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}})


def code_at(secret: bytes, instant: datetime) -> str:
    """The code that an authenticator app shows at `instant` (RFC 6238)."""
    return TOTP(secret, 6, SHA1(), 30).generate(instant.timestamp()).decode()
