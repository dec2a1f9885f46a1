"""Certificate authorities of tests, and certificates that they sign, made with the openssl command."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


def make_authority(folder: Path, name: str) -> Certificate:
    """A new authority. No machine trusts it."""
    return _make(folder, name, "-addext", "keyUsage=critical,keyCertSign,cRLSign")


def issue(authority: Certificate, folder: Path, *, alternative_name: str) -> Certificate:
    """A server certificate for this name, for example ``IP:127.0.0.1``."""
    signed_by = ("-CA", str(authority.certificate), "-CAkey", str(authority.key))
    names = ("-addext", f"subjectAltName={alternative_name}", "-addext", "basicConstraints=critical,CA:FALSE")
    return _make(folder, "server", *signed_by, *names)


def _make(folder: Path, name: str, *arguments: str) -> Certificate:
    program = shutil.which("openssl")
    assert program, "tests of TLS need openssl: apt-get install openssl"
    made = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    command = [program, "req", "-x509", *_NEW_KEY, "-subj", f"/CN={name}", *arguments]
    done = subprocess.run(
        [*command, "-keyout", made.key, "-out", made.certificate], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return made
