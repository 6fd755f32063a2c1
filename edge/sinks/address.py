"""`HOST:PORT` of an option, and secrets out of files: never on the command line, never in an error."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from edge.errors import InvalidValueError


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def parse_address(name: str, text: str, default_host: str, default_port: int, least_port: int = 1) -> Address:
    """`HOST:PORT`, `HOST`, `:PORT`, `PORT` or `[IPv6]:PORT`.

    Raises:
        InvalidValueError: it is none of these. The text is not repeated where it may hold a password.
    """
    if "@" in text:
        raise InvalidValueError(name, "HOST:PORT without a user name", "***", "secrets belong into files")
    host, port = _split(text, str(default_port))
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    if not least_port <= number <= 65535 or any(c.isspace() or c == "/" for c in host):
        raise InvalidValueError(name, "HOST:PORT", text, f"for example {default_host}:{default_port}")
    if ":" in host and not text.startswith("["):
        rule = "HOST:PORT with an IPv6 address in brackets"
        raise InvalidValueError(name, rule, text, f"for example [::1]:{default_port}")
    if not _can_be_looked_up(host):
        raise InvalidValueError(name, "HOST:PORT with 1 to 63 letters between two dots", text, "mend the host's name")
    return Address(host or default_host, number)


def _split(text: str, default_port: str) -> tuple[str, str]:
    if text.isdigit():
        return "", text
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or default_port
    host, colon, port = text.rpartition(":")
    return (host, port) if colon else (text, default_port)


def _can_be_looked_up(host: str) -> bool:
    """Whether the name has a form that can be asked for; the network's own thread would die of any other."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return True


def read_secret(name: str, path: Path) -> str:
    """The text of a file without the line end.

    Raises:
        InvalidValueError: it cannot be read, or is empty.
    """
    try:
        secret = path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidValueError(
            name, "a file that can be read", str(path), getattr(error, "strerror", "") or ""
        ) from None
    if not secret.strip():
        raise InvalidValueError(name, "a file with the secret in it", str(path))
    return secret
