"""Credentials never leave the source: not in records, not in errors, not on the terminal."""

import re

HIDDEN = "***"

# Names of query fields whose values are secrets. Matched as a part of the name, so `api_key` and `X-Amz-Signature`
# are caught; streamid, because SRT carries user names in it.
_SECRET_FIELD = re.compile(
    r"((?:^|[?&;/#])[^?&;/#=]*(?:user|usr|login|pass|pwd|token|key|secret|auth|sig|cred|session|jwt|streamid)"
    r"[^?&;/#=]*=)[^&;/#]*",
    re.IGNORECASE,
)


def redact(uri: str) -> str:
    """`uri` without user name, password and secret fields; a path without a scheme is returned as it is.

    Everything between `://` and the last `@` counts as credentials, since a password may hold `@ : / ? %` unescaped.
    A URL whose path has an `@` of its own so loses its host's name in messages: rather that than a password shown.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    _, at, place = rest.rpartition("@")
    shown_place = _SECRET_FIELD.sub(rf"\g<1>{HIDDEN}", place)
    return f"{scheme}://{HIDDEN}@{shown_place}" if at else f"{scheme}://{shown_place}"
