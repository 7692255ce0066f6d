"""Lines to copy into a terminal: check a file, resume its download. File names are quoted for the shell they are meant for."""

import shlex


def powershell_check(filename: str, sha256: str) -> str:
    """Prints True when the file is the one we built."""
    return f"(Get-FileHash -LiteralPath {_powershell_quote(filename)} -Algorithm SHA256).Hash -eq\n  '{sha256}'"


def sha256sum_check(filename: str, sha256: str) -> str:
    """Prints the file's name and OK when it is the one we built."""
    return f"echo {shlex.quote(f'{sha256}  {filename}')} | sha256sum --check"


def curl_resume(filename: str, url: str) -> str:
    """Starts or continues a download with a personal token, and keeps an error page out of the file (--fail)."""
    return f'curl --fail -C - -o {shlex.quote(filename)} \\\n  -H "Authorization: Bearer YOUR-TOKEN" \\\n  {shlex.quote(url)}'


def _powershell_quote(text: str) -> str:
    """Single quotes keep everything as it is; PowerShell takes typographic ones for quotes as well, so all are doubled."""
    return "'" + "".join(c * 2 if c in "'\u2018\u2019\u201a\u201b" else c for c in text) + "'"
