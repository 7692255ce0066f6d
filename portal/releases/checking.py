"""Lines to copy into a terminal: check a file, resume its download.

File names are quoted for the shell they are meant for: whatever a name says, it is a name and no command.
"""

import shlex
from dataclasses import dataclass
from urllib.parse import quote

from portal.products.models import Product, StableAccess
from portal.releases.builds import is_signed
from portal.releases.models import Build, Channel, Release

# PowerShell takes typographic ones for quotes as well.
_QUOTES = "'\u2018\u2019\u201a\u201b"


@dataclass(frozen=True)
class Line:
    """A line for a terminal: what it is called, what it does, and the line."""

    title: str
    does: str
    text: str


def lines_by_build(release: Release, base_url: str) -> list[tuple[Build, list[Line]]]:
    """Return the builds that are handed out, in their order on the page, each with its lines. `base_url` has no slash at its end."""
    return [(build, lines_for(build, release, base_url)) for build in release.handed_out]


def lines_for(build: Build, release: Release, base_url: str) -> list[Line]:
    name, product = build.filename, release.product
    lines = [
        Line("PowerShell", "Prints True when the file is the one we built.", powershell_check(name, build.sha256)),
        Line("sha256sum", "Prints the file’s name and OK when it is the one we built.", sha256sum_check(name, build.sha256)),
    ]
    if product.signing_key and is_signed(build, product):
        does = f"Says that signature and comment are verified if we signed the file. Save its signature beside it as {name}.minisig."
        lines += [Line(title, does, text) for title, text in minisign_checks(name, product.signing_key)]
    lines.append(
        Line(
            "curl",
            "Downloads the file. If it breaks off, run it again: it goes on where it stopped, and error 416 means that the file is whole.",
            curl_resume(name, f"{base_url}{release.path}download/{quote(name)}", with_token=needs_token(release, product)),
        )
    )
    return lines


def needs_token(release: Release, product: Product) -> bool:
    """Whether a program must say whose it is to get the builds of a release."""
    return release.channel is Channel.BETA or product.stable_access is not StableAccess.PUBLIC


def powershell_check(filename: str, sha256: str) -> str:
    """Prints True when the file is the one we built."""
    return f"(Get-FileHash -LiteralPath {_powershell_quote(filename)} -Algorithm SHA256).Hash -eq '{sha256}'"


def sha256sum_check(filename: str, sha256: str) -> str:
    """Prints the file's name and OK when it is the one we built."""
    return f"echo {_sh_quote(f'{sha256}  {filename}')} | sha256sum -c"


def minisign_checks(filename: str, public_key: str) -> list[tuple[str, str]]:
    """Return titles and lines that check a file with the signature beside it: one line for all shells, where there is one."""
    sh, powershell = (f"minisign -Vm {quoted(filename)} -P {public_key}" for quoted in (_sh_quote, _powershell_quote))
    return [("minisign", sh)] if sh == powershell else [("minisign in PowerShell", powershell), ("minisign in sh", sh)]


def curl_resume(filename: str, url: str, *, with_token: bool) -> str:
    """Starts or continues a download, and keeps an error page out of the file (--fail)."""
    token = ' -H "Authorization: Bearer YOUR-TOKEN"' if with_token else ""
    return f"curl --fail -C - -o {_sh_quote(filename)}{token} {_sh_quote(url)}"


def _sh_quote(text: str) -> str:
    """Quotes always, also what sh would take as it is: the other shell may not."""
    return f"'{text}'" if "'" not in text else shlex.quote(text)


def _powershell_quote(text: str) -> str:
    """Single quotes keep everything as it is, but for quotes, which are doubled."""
    return "'" + "".join(c * 2 if c in _QUOTES else c for c in text) + "'"
