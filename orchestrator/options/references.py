"""Where a secret is to be found, never the secret: `env:NAME` and `file:/path`.

Kinds use `Secret` for an option that holds a password or key, and `Location` for a URL. Nothing
here reads the environment or a file; `Surroundings.secret` does, on workers.
"""

import re
from typing import Annotated, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from orchestrator.options.spellings import Misspelt, Spelling

REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/[^\x00-\x1f\x7f]+")
"""What a reference looks like."""

SECRET_WORD = (
    r"(?:password|passwd|passphrase|pwd|secret|token|credentials?|signature"  # noqa: S105  names only
    r"|(?:api|access|private|secret|account|shared|encryption)[_-]?key)"
)
"""How the name of an option ends that holds a secret; letters of either case."""

_SECRET_NAME = re.compile(rf"(?:{SECRET_WORD}|(?:^|[_.-])(?:pass|sig))$", re.IGNORECASE)
_LOCATION = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20\x7f]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_CREDENTIALS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,63}://[^\s/?#@:]*:[^\s/?#]*@")
_SETTING = re.compile(r"(?:^|[\s;?&])([A-Za-z][A-Za-z0-9_.-]*)\s*=\s*[^\s;&]")
_HOW = "name it: env:NAME, or file:/path of a file that holds it"


def is_reference(text: str) -> bool:
    """Whether it says where a value is to be found, instead of holding it."""
    return REFERENCE.fullmatch(text) is not None


def names_a_secret(key: str) -> bool:
    """Whether a key of this name holds a secret, whatever mapping it is in."""
    return _SECRET_NAME.search(key) is not None


def holds_a_secret(text: str) -> bool:
    """Whether a literal text holds credentials: user and password of a URL, a key, a DSN."""
    if is_reference(text):
        return False
    if _CREDENTIALS.search(text) or "-----BEGIN " in text:
        return True
    if any(names_a_secret(match.group(1)) for match in _SETTING.finditer(text)):
        return True
    if _URL.match(text) is None:
        return False
    try:
        url = urlsplit(text)
    except ValueError:
        return "@" in text
    if url.password is not None or (url.username and url.scheme in {"http", "https", "dav"}):
        return True
    pairs = (*parse_qsl(url.query), *parse_qsl(unquote(url.fragment)))
    return any(names_a_secret(name) for name, _ in pairs)


def read_secret(value: Any) -> str:
    """A reference, as it is; raises `Misspelt` for anything else."""
    if isinstance(value, str) and is_reference(value):
        return value
    if isinstance(value, str) and value.startswith("env:"):
        raise Misspelt(
            "bad-reference",
            "this is not the name of an environment variable",
            hint="a name has letters, digits and underscores, like env:CORE_DB_PASSWORD",
        )
    if isinstance(value, str) and value.startswith("file:"):
        raise Misspelt(
            "bad-reference",
            "the path of a secret's file has to be absolute",
            hint="for example file:/run/secrets/core",
        )
    if value is None or value == "":
        raise Misspelt("bad-reference", "a reference to a secret is expected here", hint=_HOW)
    raise Misspelt("inline-secret", "a plan never holds a secret itself", hint=_HOW)


def read_location(value: Any) -> str:
    """A URL without credentials, or a reference to one; raises `Misspelt` for anything else."""
    if not isinstance(value, str):
        raise Misspelt("wrong-type", "a URL or a reference to one is expected here")
    if is_reference(value):
        return value
    if holds_a_secret(value):
        raise Misspelt(
            "inline-secret", "a URL in a plan never holds a password or key itself", hint=_HOW
        )
    if value.startswith(("env:", "file:")):
        return read_secret(value)
    if _LOCATION.fullmatch(value) is None:
        raise Misspelt(
            "bad-url",
            "this is not a URL",
            hint="write scheme://host/… or a reference like env:CORE_DB_URL",
        )
    return value


Secret = Annotated[
    str,
    Spelling(
        read_secret,
        str,
        {"type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$"},
    ),
]
"""A password or key, by reference only."""

Location = Annotated[
    str,
    Spelling(
        read_location,
        str,
        {"type": "string", "pattern": "^[A-Za-z][A-Za-z0-9+.\\-]*:.+$"},
    ),
]
"""A URL without credentials, or a reference to one."""
