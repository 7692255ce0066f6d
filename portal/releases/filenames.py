"""The name of a build, as people see it and save it. It is refused or kept as it is, never quietly changed."""

import re
import unicodedata

from portal import signatures
from portal.errors import Invalid
from portal.text import compose

LONGEST = 120
# Windows takes these for devices, whatever the ending and the case (Microsoft, "Naming Files, Paths, and Namespaces").
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)", re.IGNORECASE)
_FORBIDDEN = '<>:"|?*'
# What browsers send for a line break or a quote in a file's name (HTML, "Multipart form data").
_ESCAPED = re.compile(r"%0A|%0D|%22", re.IGNORECASE)
# Controls, format characters (among them those that turn the direction of writing), unpaired surrogates, line separators.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def check_filename(name: str | None) -> str:
    """Return `name` in composed form (NFC) if it is safe to store under and to download as on every system.

    Raises Invalid and says why: empty, longer than 120 characters or 200 bytes, a path, hidden characters, a leading dot,
    a space or dot at an end, a character or a name that Windows reserves, the ending of signatures.
    """
    if not name:
        raise Invalid("Choose a file. It needs a name.", "file")
    name = compose(name, "file")
    why = _objection(name)
    if why:
        raise Invalid(f"We do not take a file with this name: {why} Rename the file and upload it again.", "file")
    if name.lower().endswith(signatures.ENDING):
        raise Invalid(f"Names that end in {signatures.ENDING} are for signatures. Give a signature with the file it belongs to.", "file")
    return name


def _objection(name: str) -> str | None:
    if _ESCAPED.search(name) or any(unicodedata.category(character) in _HIDDEN for character in name):
        return "it holds control characters or other characters that cannot be seen."
    if "/" in name or "\\" in name:
        return "it holds a path. Only the name itself is needed."
    if len(name) > LONGEST or len(name.encode()) > 200:
        return f"it has {len(name)} characters; {LONGEST} is the most."
    if name.startswith("."):
        return "it starts with a dot."
    if name != name.strip() or name.endswith("."):
        return "it starts or ends with a space or a dot."
    if any(character in _FORBIDDEN for character in name):
        return f"it holds one of {' '.join(_FORBIDDEN)}, which Windows does not allow."
    if _RESERVED.fullmatch(name.partition(".")[0].strip()):
        return f"Windows reserves {name.partition('.')[0]}."
    return None
