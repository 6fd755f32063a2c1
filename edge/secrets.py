"""Credentials come in by the environment or a file, and never go out: not in records, errors, logs, or tracebacks.

Standard library only, since it also cleans the message that a heavy package is missing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from edge.errors import InvalidValueError, UnusableInputError

HIDDEN = "***"
PIPELINE = "gst:"

# Names of fields whose values are secrets. Matched as a part of the name, so `api_key` and `X-Amz-Signature` are
# caught; streamid, because SRT carries user names in it.
_SECRET_NAME = r"(?:user|usr|login|pass|pwd|token|key|secret|auth|sig|cred|session|jwt|streamid)"
_SECRET_FIELD = re.compile(rf"((?:^|[?&;/#])[^?&;/#=]*{_SECRET_NAME}[^?&;/#=]*=)[^&;/#]*", re.IGNORECASE)
# `user-pw=secret` or `user-pw="two words"` in a GStreamer pipeline, with backslashes doubled where a message quotes it.
_SECRET_PROPERTY = re.compile(
    rf"([\w-]*(?:{_SECRET_NAME}|-pw\b)[\w-]*\s*=\s*)(?:\"(?:\\+.|[^\"\\])*\"?|(?:\\+.|[^\s\\])+)", re.IGNORECASE
)
_OPEN_FIELD = re.compile(rf"[?&;/#][^?&;/#=]*{_SECRET_NAME}[^?&;/#=]*=[^&;/#]*\Z", re.IGNORECASE)
# One slash where a URL was taken for a path of the file system.
_SCHEME = re.compile(r"\w[\w+.-]*://|\b(?:rtsps?|rtmps?|https?|srt|udp|tcp|mqtts?):/")
_VARIABLE = re.compile(r"\$\{([A-Za-z_]\w*)\}")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """What `--source-file` holds: sources, and values for the variables in them."""

    sources: tuple[str, ...] = ()
    variables: tuple["Variable", ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """`value` is the plain secret, not percent-encoded; it is left out of the text form."""

    name: str
    value: str

    def __repr__(self) -> str:
        return f"Variable({self.name!r}, {HIDDEN})"


def redact(uri: str) -> str:
    """`uri` without user name, password and secret fields; a path without a scheme is returned as it is.

    Everything between `://` and the last `@` counts as credentials, since a password may hold `@ : / ? %` unescaped.
    A URL whose path has an `@` of its own so loses its host's name in messages: rather that than a password shown.
    """
    if uri.startswith(PIPELINE):
        return redact_text(uri)
    scheme, separator, rest = uri.partition("://")
    return scheme + separator + _hide_fields(_hide_user(rest)) if separator else uri


def redact_text(text: str) -> str:
    """A message or a traceback without the credentials of the URLs and pipelines in it.

    Generous: from the first `://` to the last `@` of the text nothing stays, since a password may hold anything.
    """
    if PIPELINE in text:
        text = _SECRET_PROPERTY.sub(rf"\g<1>{HIDDEN}", text)
    scheme = _SCHEME.search(text)
    if scheme is None:
        return text
    start, rest = text[: scheme.end()], _hide_user(text[scheme.end() :])
    words = re.split(r"(\s+)", rest)  # no field of a URL holds white space
    return start + "".join(
        _hide_fields(word) if index == 0 or "://" in word else word for index, word in enumerate(words)
    )


def _hide_user(rest: str) -> str:
    """What follows `://`, without what is before the last `@`; a secret field that holds this `@` goes with it."""
    before, at, place = rest.rpartition("@")
    if not at:
        return rest
    if _OPEN_FIELD.search(before):
        place = re.sub(r"^[^&;/#\s]*", HIDDEN, place)
    return f"{HIDDEN}@{place}"


def _hide_fields(place: str) -> str:
    return _SECRET_FIELD.sub(rf"\g<1>{HIDDEN}", place)


def holds_credentials(source: str) -> bool:
    """Whether credentials stand in `source` itself; a variable in their place is none."""
    bare = _VARIABLE.sub(HIDDEN, source).replace(f"://{HIDDEN}:{HIDDEN}@", f"://{HIDDEN}@")
    return redact(bare) != bare


def fill(source: str, variables: Mapping[str, str]) -> str:
    """`source` with each `${NAME}` replaced by its value; a path of the file system is left as it is.

    Values are plain text: where a URL holds its credentials or its query, they are percent-encoded on the way in, so
    that a password with `@ : / %` arrives whole; in a pipeline, what would end a property is escaped.

    Raises:
        InvalidValueError: a variable has no value. The text names it, and no value of another.
    """
    if "://" not in source and not source.startswith(PIPELINE):
        return source

    def value(variable: re.Match[str]) -> str:
        name = variable[1]
        if name not in variables:
            raise InvalidValueError(
                "source", "a URL whose variables have values", variable[0], f"set {name}, or add it to --source-file"
            )
        if _is_encoded_place(source[: variable.start()], source[variable.end() :]):
            return quote(variables[name], safe="")
        if source.startswith(PIPELINE):
            return re.sub(r"([^\w.:/-])", r"\\\1", variables[name])
        return variables[name]

    return _VARIABLE.sub(value, source)


def _is_encoded_place(before: str, after: str) -> bool:
    """Whether a URL percent-encodes what stands between the two: its user and password, or its query."""
    url = before.rpartition("://")
    return bool(url[1]) and ("@" in after or "?" in url[2])


def read_source_file(file: Path) -> SourceFile:
    """Lines `NAME=value` give variables, with everything after `=` as it stands; other lines are sources.

    Empty lines and lines that start with `#` are skipped.

    Raises:
        InvalidValueError: the file cannot be read as text.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidValueError("source-file", "a text file that can be read", str(file), reason) from None
    sources, variables = [], []
    for line in lines:
        assignment = _ASSIGNMENT.fullmatch(line)
        if assignment:
            variables.append(Variable(assignment[1], assignment[2]))
        elif line.strip() and not line.startswith("#"):
            sources.append(line.strip())
    return SourceFile(tuple(sources), tuple(variables))


def name_sources(given: Sequence[str], file: Path | None, environment: Mapping[str, str]) -> list[str]:
    """The sources to open: those given, else those of the file; the file's variables win over the environment's.

    Raises:
        UnusableInputError: there is no source, the file cannot be read, or a variable has no value.
    """
    held = SourceFile() if file is None else read_source_file(file)
    variables = {**environment, **{variable.name: variable.value for variable in held.variables}}
    sources = list(given) or list(held.sources)
    if not sources:
        raise UnusableInputError("SOURCE must be given on the command line, in --config, or on a line of --source-file")
    return [fill(source, variables) for source in sources]
