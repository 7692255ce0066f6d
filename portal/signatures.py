"""Signatures of files, as the program minisign makes and checks them (https://jedisct1.github.io/minisign/).

A signature is four lines: a comment anybody may change, the signature of the file, a comment that is signed too, and the
signature over the first signature and that comment (the "global signature"). It is made over the BLAKE2b-512 of the file, which
is taken while the bytes pass, so a file of any size is checked without reading it again. The old way, without that digest, needs
the whole file in memory; such signatures are refused, as `minisign -H` does.

Checking is done here, with the Ed25519 of `cryptography`; signing, with its password-protected key files, by py-minisign.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import minisign
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from portal.errors import Conflict, Invalid

ENDING = ".minisig"
# As much as minisign reads: comments of 1,024 and 8,192 bytes, two lines of base64.
LONGEST_BYTES = 10_000
LONGEST_KEY = 2_000
_HASHED, _LEGACY = b"ED", b"Ed"
_UNTRUSTED, _TRUSTED = "untrusted comment: ", "trusted comment: "
_ALGORITHM_BYTES, _KEY_ID_BYTES, _KEY_BYTES, _SIGNATURE_BYTES = 2, 8, 32, 64


class Readable(Protocol):
    """What can be read to its end."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class _Key:
    key_id: bytes
    key: bytes


@dataclass(frozen=True)
class _Signature:
    untrusted_comment: str
    algorithm: bytes
    key_id: bytes
    signature: bytes
    trusted_comment: str
    global_signature: bytes

    def text(self) -> str:
        first = base64.b64encode(self.algorithm + self.key_id + self.signature).decode()
        second = base64.b64encode(self.global_signature).decode()
        return f"{_UNTRUSTED}{self.untrusted_comment}\n{first}\n{_TRUSTED}{self.trusted_comment}\n{second}\n"


def clean_public_key(text: str) -> str:
    """Return a public key as one line of base64, from that line or from the two lines of a key file (`minisign.pub`).

    Raises Invalid for anything else; a secret key is told apart, since it must not be here.
    """
    lines = [line.strip() for line in text[: LONGEST_KEY + 1].splitlines() if line.strip()]
    if lines and lines[0].lower().startswith("untrusted comment:"):
        if "secret key" in lines[0]:
            raise Invalid("This is the secret key. It must never leave your hands; give the public one, from minisign.pub.", "signing_key")
        del lines[0]
    if len(lines) != 1 or len(text) > LONGEST_KEY:
        raise _no_key()
    return base64.b64encode(_decode_key(lines[0])).decode()


def clean_signature(data: bytes) -> str:
    """Return a signature as text of four lines. Raises Invalid, saying why, for what is none or is of the old kind."""
    return _parse(data).text()


def verify(signature: str, public_key: str, blake2b: str, filename: str) -> None:
    """Check a signature of the file `filename` whose BLAKE2b-512 is `blake2b`, in hexadecimal.

    Raises Invalid, saying why: another key, another file, a comment that was changed.
    """
    parsed, raw = _parse(signature.encode()), _decode_key(public_key)
    key = _Key(raw[_ALGORITHM_BYTES : _ALGORITHM_BYTES + _KEY_ID_BYTES], raw[-_KEY_BYTES:])
    if parsed.key_id != key.key_id:
        raise Invalid(
            f"The signature of {filename} was made with another key: {_name(parsed.key_id)}. The product's key is {_name(key.key_id)}. "
            "Sign the file with that one.",
            "signature",
        )
    checker = Ed25519PublicKey.from_public_bytes(key.key)
    try:
        checker.verify(parsed.signature, bytes.fromhex(blake2b))
    except InvalidSignature:
        raise Invalid(
            f"The signature does not belong to these bytes of {filename}: the file was changed after it was signed, or this is "
            "the signature of another file. Sign it again.",
            "signature",
        ) from None
    try:
        checker.verify(parsed.global_signature, parsed.signature + parsed.trusted_comment.encode())
    except InvalidSignature:
        raise Invalid(
            f"The trusted comment in the signature of {filename} was changed after signing. Sign the file again.", "signature"
        ) from None


def sign(source: Readable, filename: str, *, key_file: str, password_file: str, now: datetime) -> str:
    """Sign the bytes of `source`, read to its end, with the secret key in `key_file`, and return the signature.

    `password_file` holds the key's password; empty for a key without one. Both are read for this act alone and kept nowhere.
    Raises Conflict if the key cannot be had.
    """
    if not key_file:
        raise Conflict("There is no key to sign with. Let MINISIGN_SECRET_KEY_FILE name the file of the vendor's secret key.")
    comment = f"timestamp:{int(now.timestamp())}" + (f"\tfile:{filename}" if filename.isascii() else "") + "\thashed"
    with _secret_key(key_file, password_file) as key:
        return bytes(key.sign(source, trusted_comment=comment)).decode() + "\n"


def _secret_key(key_file: str, password_file: str) -> minisign.SecretKey:
    try:
        key = minisign.SecretKey.from_file(key_file)
        if key.is_encrypted():
            if not password_file:
                raise Conflict("The secret key has a password. Let MINISIGN_PASSWORD_FILE name a file that holds it.")
            key.decrypt(Path(password_file).read_text(encoding="utf-8").rstrip("\r\n"))
    except OSError as error:
        raise Conflict(f"{error.filename} cannot be read: {error.strerror}.") from None
    except minisign.ParseError:
        raise Conflict(f"{key_file} is no secret key of minisign.") from None
    except ValueError:
        raise Conflict(f"The password in {password_file} does not open the key in {key_file}.") from None
    return key


def _parse(data: bytes) -> _Signature:
    if len(data) > LONGEST_BYTES:
        raise _no_signature()
    lines = data.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    if len(lines) != 4:
        raise _no_signature()
    untrusted, trusted = _comment(lines[0], _UNTRUSTED), _comment(lines[2], _TRUSTED)
    first = _decode(lines[1], _ALGORITHM_BYTES + _KEY_ID_BYTES + _SIGNATURE_BYTES)
    second = _decode(lines[3], _SIGNATURE_BYTES)
    if first is None or second is None:
        raise _no_signature()
    algorithm = first[:_ALGORITHM_BYTES]
    if algorithm == _LEGACY:
        raise Invalid(
            "The signature is of the old kind, which is not made over a digest of the file. Sign again with minisign 0.10 or later, "
            "without -l; before that, with minisign -SH.",
            "signature",
        )
    if algorithm != _HASHED:
        raise _no_signature()
    key_id = first[_ALGORITHM_BYTES : _ALGORITHM_BYTES + _KEY_ID_BYTES]
    return _Signature(untrusted, algorithm, key_id, first[-_SIGNATURE_BYTES:], trusted, second)


def _comment(line: bytes, prefix: str) -> str:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise _no_signature() from None
    if not text.startswith(prefix) or any(character < " " and character != "\t" for character in text):
        raise _no_signature()
    return text.removeprefix(prefix)


def _decode_key(line: str) -> bytes:
    raw = _decode(line.encode(), _ALGORITHM_BYTES + _KEY_ID_BYTES + _KEY_BYTES)
    if raw is None or raw[:_ALGORITHM_BYTES] != _LEGACY:
        raise _no_key()
    return raw


def _decode(line: bytes, length: int) -> bytes | None:
    """Return the `length` bytes that a line of base64 stands for, None if it does not."""
    try:
        raw = base64.b64decode(line, validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == length else None


def _name(key_id: bytes) -> str:
    """A key's number as minisign shows it."""
    return key_id[::-1].hex().upper()


def _no_key() -> Invalid:
    return Invalid("This is no public key of minisign. Copy the line that starts with RW from minisign.pub.", "signing_key")


def _no_signature() -> Invalid:
    return Invalid("This is no signature of minisign. Choose the file that minisign -S made: it ends in .minisig.", "signature")
