"""The program minisign: keys, signatures, and what it says of them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Signer:
    """A pair of keys. `password` is empty for a secret key without one."""

    secret: Path
    public: Path
    password: str = ""

    @property
    def key(self) -> str:
        """The public key as one line."""
        return self.public.read_text().splitlines()[1]

    def sign(self, file: Path, *options: str) -> Path:
        """Sign `file`, and return the file with the signature beside it."""
        run("-S", "-m", str(file), "-s", str(self.secret), *options, password=self.password)
        return file.with_name(f"{file.name}.minisig")

    def accepts(self, file: Path, *options: str) -> bool:
        """Say whether minisign finds the signature beside `file` right."""
        return subprocess.run(["minisign", "-V", "-m", str(file), "-P", self.key, *options], capture_output=True).returncode == 0


def new_signer(directory: Path, name: str = "vendor", password: str = "") -> Signer:
    signer = Signer(directory / f"{name}.key", directory / f"{name}.pub", password)
    without = () if password else ("-W",)
    run("-G", "-s", str(signer.secret), "-p", str(signer.public), *without, password=password)
    return signer


def run(*arguments: str, password: str = "") -> None:
    """Run minisign, which reads a password twice when it makes a key."""
    subprocess.run(["minisign", *arguments], check=True, capture_output=True, input=f"{password}\n{password}\n", text=True)
