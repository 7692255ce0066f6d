"""What a file begins with, compared with what its name says it is.

This finds the wrong file and the error page saved as an installer. It says nothing about whether a file is harmless.
"""

import hashlib
from collections.abc import Callable

from portal.errors import Invalid

# A program's header is found through its byte 60; it stands early, behind the little program for DOS.
HEAD_BYTES = 1 << 16
_PE_OFFSET_AT = 0x3C
_ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")  # a file, an empty archive, the first of several (APPNOTE.TXT, 4.3)
_OLE = bytes.fromhex("D0CF11E0A1B11AE1")  # a compound file (MS-CFB, 2.2)


class Inspection:
    """Looks at the bytes of a build as they pass: what they begin with, and the digest that signatures are made over."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._head = bytearray()
        self._digest = hashlib.blake2b()

    def see(self, data: bytes) -> None:
        """Take in the next bytes. Raises Invalid as soon as they show that the file is not what its name says."""
        self._digest.update(data)
        missing = HEAD_BYTES - len(self._head)
        if missing > 0:
            self._head += data[:missing]
            if len(self._head) == HEAD_BYTES:
                check_type(self._filename, bytes(self._head))

    def finish(self) -> str:
        """Return the BLAKE2b-512 of all bytes, in hexadecimal. Raises Invalid as `see` does, for a short file; not for an empty one."""
        if 0 < len(self._head) < HEAD_BYTES:
            check_type(self._filename, bytes(self._head))
        return self._digest.hexdigest()


def check_type(filename: str, head: bytes) -> None:
    """Raise Invalid unless a file that starts with `head` can be what the ending of its name says; other endings may hold anything."""
    _, dot, ending = filename.lower().rpartition(".")
    check = _CHECKS.get(ending)
    if dot and check is not None and not check(head):
        raise Invalid(f"{filename} is no {ending} file: it does not begin like one. Check that you chose the file you meant.", "file")


def _is_program(head: bytes) -> bool:
    """The DOS header, and what it points to: the header of a portable executable (Microsoft, "PE Format")."""
    at = int.from_bytes(head[_PE_OFFSET_AT : _PE_OFFSET_AT + 4], "little")
    return head.startswith(b"MZ") and len(head) >= _PE_OFFSET_AT + 4 and head[at : at + 4] == b"PE\0\0"


_CHECKS: dict[str, Callable[[bytes], bool]] = {
    "exe": _is_program,
    "msi": lambda head: head.startswith(_OLE),
    "zip": lambda head: head.startswith(_ZIP),
    "pdf": lambda head: b"%PDF-" in head[:1024],
}
