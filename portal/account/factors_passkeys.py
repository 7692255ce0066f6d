"""Passkeys and security keys (WebAuthn level 2): as second factor, and as the whole sign-in where the key asks for a PIN or a finger.

A challenge is signed instead of stored: it names its purpose, the browser's session it was made for, and when it ends. Once
answered it is kept as spent until then, so no answer counts twice. Nothing is written for those who only look at a page.
"""

import base64
import hashlib
import hmac
import json
import logging
import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from ipaddress import ip_address
from typing import Any, NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlsplit

import sqlalchemy as sa
from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers.cose import COSEAlgorithmIdentifier

from portal.account.models import Passkey, SpentChallenge, User
from portal.config import Settings
from portal.config_addresses import LOOPBACK
from portal.database import db, insert
from portal.errors import Conflict, Invalid
from portal.text import clean_line

log = logging.getLogger(__name__)

ANSWER_WITHIN = timedelta(minutes=10)
LONGEST_ANSWER = 20_000  # characters
MOST_PASSKEYS = 20
# ES256, RS256 and EdDSA: what keys of people make (IANA COSE registry).
ALGORITHMS = (-7, -8, -257)
TRANSPORTS = frozenset({"usb", "nfc", "ble", "smart-card", "hybrid", "internal"})
_NONCE, _UNTIL, _MARK = 16, 8, 32
REGISTER, SECOND, SIGN_IN, CONFIRM = "register", "second", "sign-in", "confirm"
REFUSED = "That did not work. The key may be another one, or the page was open for too long. Try again."

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Ceremony:
    """What an answer must belong to: its purpose, the person it is for (None: whoever owns the key), and the browser's session."""

    purpose: str
    user_id: int | None
    browser: str

    @property
    def stands_alone(self) -> bool:
        """Whether no password was given or will be: the key must ask for a PIN or a finger then."""
        return self.purpose in {SIGN_IN, CONFIRM}

    def mark(self, settings: Settings, head: bytes) -> bytes:
        said = b"|".join((b"webauthn", self.purpose.encode(), str(self.user_id).encode(), self.browser.encode(), head))
        return hmac.new(settings.secret_key.encode(), said, hashlib.sha256).digest()


class Site(NamedTuple):
    """Who we are to an authenticator: the relying party's id, a host name, and the origin that pages come from."""

    id: str
    origin: str


class Proof(NamedTuple):
    """A passkey that was used: whose it is, what they call it, and whether it asked for a PIN or a finger."""

    user_id: int
    label: str
    verified: bool


def site(settings: Settings) -> Site | None:
    """Return the relying party, or None where passkeys cannot work: browsers accept host names alone, over https.

    This machine is the exception. Its number is no name, so there passkeys belong to `localhost`.
    """
    parts = urlsplit(settings.public_url)
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port and parts.port != {"http": 80, "https": 443}[parts.scheme] else ""
    if host in LOOPBACK:
        return Site("localhost", f"{parts.scheme}://localhost{port}")
    try:
        ip_address(host)
    except ValueError:
        return Site(host, f"{parts.scheme}://{host}{port}") if settings.is_https else None
    return None


def make_challenge(ceremony: Ceremony, settings: Settings, *, now: datetime) -> bytes:
    head = secrets.token_bytes(_NONCE) + struct.pack(">Q", int((now + ANSWER_WITHIN).timestamp()))
    return head + ceremony.mark(settings, head)


def options_to_register(person: User, ceremony: Ceremony, settings: Settings, *, now: datetime) -> dict[str, Any]:
    """What `navigator.credentials.create` is called with; bytes are base64url."""
    place = _site(settings)
    return {
        "rp": {"id": place.id, "name": f"{settings.vendor_name} {settings.portal_name}"},
        "user": {"id": _text(handle(person.id, settings)), "name": person.email, "displayName": person.label},
        "challenge": _text(make_challenge(ceremony, settings, now=now)),
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in ALGORITHMS],
        "excludeCredentials": _descriptors(person.id),
        "authenticatorSelection": {"residentKey": "preferred", "userVerification": "preferred"},
        "attestation": "none",
        "timeout": 300_000,
    }


def options_to_ask(ceremony: Ceremony, settings: Settings, *, now: datetime) -> dict[str, Any]:
    """What `navigator.credentials.get` is called with. Without a person, the browser offers the passkeys it keeps for this site."""
    return {
        "rpId": _site(settings).id,
        "challenge": _text(make_challenge(ceremony, settings, now=now)),
        "allowCredentials": [] if ceremony.user_id is None else _descriptors(ceremony.user_id),
        "userVerification": "required" if ceremony.stands_alone else "preferred",
        "timeout": 300_000,
    }


def handle(user_id: int, settings: Settings) -> bytes:
    """What an authenticator keeps to know the account by: the same for all of a person's keys, and no name of theirs."""
    return hmac.new(settings.secret_key.encode(), f"webauthn user {user_id}".encode(), hashlib.sha256).digest()


def passkeys_of(user_id: int) -> list[Passkey]:
    return list(db.session.scalars(sa.select(Passkey).where(Passkey.user_id == user_id).order_by(Passkey.id)))


def _descriptors(user_id: int) -> list[dict[str, Any]]:
    return [{"type": "public-key", "id": key.credential_id, "transports": key.transports.split()} for key in passkeys_of(user_id)]


def _hostile(act: Callable[Arguments, Answer]) -> Callable[Arguments, Answer]:
    """Let `act` read what a browser sent. Whatever is wrong with it becomes Invalid: such input is made to break parsers."""

    @wraps(act)
    def read(*arguments: Arguments.args, **options: Arguments.kwargs) -> Answer:
        try:
            return act(*arguments, **options)
        except (Invalid, Conflict, sa.exc.SQLAlchemyError):
            raise
        except Exception as error:
            log.info("a passkey's answer was refused: %s: %s", type(error).__name__, error)
            raise Invalid(REFUSED) from error

    return read


@_hostile
def register(person: User, answer: str, label: str, ceremony: Ceremony, settings: Settings, *, now: datetime) -> Passkey:
    """Keep the passkey of an answer to `options_to_register`.

    Raises Invalid for a bad name, and for an answer that does not belong to the ceremony or was used before;
    Conflict for a key that is registered already, and for too many.
    """
    label = clean_line(label, "name", 80)
    given, challenge = _read(answer, ceremony, settings, now)
    verified = verify_registration_response(
        credential=given,
        expected_challenge=challenge,
        expected_rp_id=_site(settings).id,
        expected_origin=_site(settings).origin,
        supported_pub_key_algs=[COSEAlgorithmIdentifier(algorithm) for algorithm in ALGORITHMS],
    )
    _spend(challenge, now)
    if len(passkeys_of(person.id)) >= MOST_PASSKEYS:
        raise Conflict(f"You have {MOST_PASSKEYS} passkeys. Remove one first.")
    named = given["response"].get("transports") or []
    transports = " ".join(sorted(TRANSPORTS.intersection(str(name) for name in named)))
    kept = db.session.scalar(
        insert(Passkey)
        .values(
            user_id=person.id, credential_id=_text(verified.credential_id), public_key=verified.credential_public_key,
            sign_count=verified.sign_count, transports=transports, label=label, created_at=now,
        )
        .on_conflict_do_nothing()
        .returning(Passkey.id)
    )  # fmt: skip
    if kept is None:
        raise Conflict("This passkey is registered already.")
    return db.session.get_one(Passkey, kept)


@_hostile
def prove(answer: str, ceremony: Ceremony, settings: Settings, *, now: datetime) -> Proof:
    """Return whose passkey gave an answer to `options_to_ask`, once for each answer.

    Where nothing else is asked, the key must have asked for a PIN or a finger.
    Raises Invalid for an answer of an unknown key, of somebody else's, of another ceremony, or one that was used before.
    """
    given, challenge = _read(answer, ceremony, settings, now)
    # Under a lock, so that of two answers at once the later one is held against the count of the earlier.
    found = sa.select(Passkey).where(Passkey.credential_id == str(given.get("id"))).with_for_update(key_share=True)
    key = db.session.scalar(found)
    if key is None or ceremony.user_id not in (None, key.user_id):
        raise Invalid(REFUSED)
    named = given["response"].get("userHandle")
    if (named or ceremony.user_id is None) and not hmac.compare_digest(_bytes(str(named)), handle(key.user_id, settings)):
        raise Invalid(REFUSED)
    verified = verify_authentication_response(
        credential=given,
        expected_challenge=challenge,
        expected_rp_id=_site(settings).id,
        expected_origin=_site(settings).origin,
        credential_public_key=key.public_key,
        credential_current_sign_count=key.sign_count,
        require_user_verification=ceremony.stands_alone,
    )
    _spend(challenge, now)
    key.sign_count, key.last_used_at = verified.new_sign_count, now
    db.session.flush()
    return Proof(key.user_id, key.label, verified.user_verified)


def _site(settings: Settings) -> Site:
    place = site(settings)
    if place is None:
        raise Invalid("Passkeys need a portal at https:// and a host name. This one has neither.")
    return place


def _read(answer: str, ceremony: Ceremony, settings: Settings, now: datetime) -> tuple[dict[str, Any], bytes]:
    """Return what the browser sent, and the challenge in it, which is ours, of this ceremony, and not too old."""
    if len(answer) > LONGEST_ANSWER:
        raise Invalid(REFUSED)
    given = json.loads(answer)
    challenge = _bytes(json.loads(_bytes(given["response"]["clientDataJSON"]))["challenge"])
    head, mark = challenge[: _NONCE + _UNTIL], challenge[_NONCE + _UNTIL :]
    if len(challenge) != _NONCE + _UNTIL + _MARK or not hmac.compare_digest(mark, ceremony.mark(settings, head)):
        raise Invalid(REFUSED)
    if _ends(challenge) <= now:
        raise Invalid(REFUSED)
    return given, challenge


def _ends(challenge: bytes) -> datetime:
    (until,) = struct.unpack(">Q", challenge[_NONCE : _NONCE + _UNTIL])
    return datetime.fromtimestamp(until, UTC)


def _spend(challenge: bytes, now: datetime) -> None:
    """Mark a challenge as answered; the primary key decides between two that come at once. Raises Invalid for the second."""
    db.session.execute(sa.delete(SpentChallenge).where(SpentChallenge.expires_at <= now))
    digest = hashlib.sha256(challenge).hexdigest()
    spent = db.session.execute(
        insert(SpentChallenge).values(digest=digest, expires_at=_ends(challenge)).on_conflict_do_nothing().returning(SpentChallenge.digest)
    )
    if spent.first() is None:
        raise Invalid(REFUSED)


def _text(octets: bytes) -> str:
    """base64url without padding, as WebAuthn writes bytes in JSON."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
