"""The return path of each mail: an address that says, signed, which delivery a mail that comes back belongs to (VERP).

`MAIL_RETURN_PATH=bounces@example.org` makes `bounces+<delivery id>.<signature>@example.org`. Its local part has at most 64
octets (RFC 5321, 4.5.3.1.1). Letters are read in either case, since some servers change it on the way: the signature is
base32 (RFC 4648, 6), which has only one. What comes back to an address without our signature is not believed, so nobody can
have other people's addresses suppressed. Empty, mails bear the plain `MAIL_FROM` and nothing can be read back.
"""

import base64
import hashlib
import hmac
import re
from functools import lru_cache

from portal import tokens
from portal.config import Settings

SEPARATOR = "+"
MAC_BYTES = 10  # 80 bits, the least RFC 2104 (5) asks for; each guess costs a mail to us
LARGEST_ID = 2**63 - 1
_PURPOSE = "notices.return_path"
# The signed part alone: the rest is the mail servers' affair, which may prefix it (BATV) or name the domain otherwise.
_SIGNED = re.compile(r"([0-9]{1,19})\.([a-z2-7]{16})", re.ASCII)


def make(settings: Settings, delivery_id: int) -> str:
    """Return the envelope sender (MAIL FROM) of a delivery's mail. Some 3 µs: each mail asks."""
    if not settings.mail_return_path:
        return settings.mail_from
    before, after, key = _parts(settings.mail_return_path, settings.secret_key)
    number = str(delivery_id)
    return f"{before}{number}.{_sign(key, number)}{after}"


def read(settings: Settings, address: str) -> int | None:
    """Return the id of the delivery whose mail came back to `address`, None unless we signed it."""
    if not settings.mail_return_path:
        return None
    local, at, _ = address.strip().strip("<>").rpartition("@")
    signed = _SIGNED.fullmatch(local.rpartition(SEPARATOR)[2].lower())
    if not at or signed is None:
        return None
    number, signature = signed.groups()
    _, _, key = _parts(settings.mail_return_path, settings.secret_key)
    if not hmac.compare_digest(_sign(key, number), signature) or int(number) > LARGEST_ID:
        return None
    return int(number)


@lru_cache(maxsize=16)
def _parts(address: str, secret_key: str) -> tuple[str, str, hmac.HMAC]:
    """What stands before and after the signed part, and the keyed hash to copy: making it costs more than using it."""
    local, _, domain = address.rpartition("@")
    key = tokens.derive_token(secret_key, _PURPOSE, "key")
    return f"{local}{SEPARATOR}", f"@{domain}", hmac.new(key.encode(), digestmod=hashlib.sha256)


def _sign(key: hmac.HMAC, number: str) -> str:
    mac = key.copy()
    mac.update(number.encode())
    return base64.b32encode(mac.digest()[:MAC_BYTES]).decode().lower()
