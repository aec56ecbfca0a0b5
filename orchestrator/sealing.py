"""What is stored of people is sealed: AES-256-GCM, under keys of their own or one master key.

A sealed value is bound to its context (which table, row, purpose): moved elsewhere it does not
open. Its first byte says how it is written and under what: keys derived from the master key, or a
`DataKey`, which the ledger keeps wrapped by the master key and forgets when it shall be unreadable.
`user_hash` finds a user without naming them; `user_ref` shows one in logs and lists.

Not promised: sealed values do not hide their length, and whoever holds the key and the database
reads everything. One master key is good for about four thousand million seals (random nonces).
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import stat
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from orchestrator.errors import Refused, Unavailable
from orchestrator.settings import Settings

KEY_BYTES = 32
NONCE_BYTES = 12
_PLAIN, _DEFLATED = b"\x01", b"\x02"  # under the master key
UNDER_MASTER = (_PLAIN, _DEFLATED)
"""First bytes of what no key of its own can make unreadable."""
_OWN_PLAIN, _OWN_DEFLATED = b"\x03", b"\x04"  # under a data key, whose maker follows
_MAKER_BYTES = 2
HEAD_BYTES = 1 + _MAKER_BYTES
"""So much of a sealed value says how it is written and under what."""
_WORTH_DEFLATING = 200
_MALFORMED = "a sealed value is cut or of an unknown version"


class Sealer:
    """Seals and opens under one master key. May be shared between threads and across a fork."""

    def __init__(
        self, key: bytes, *, nonce: Callable[[], bytes] = lambda: os.urandom(NONCE_BYTES)
    ) -> None:
        """`key`: 32 random bytes. `nonce` must never give the same 12 bytes twice."""
        if len(key) != KEY_BYTES:
            raise Refused(f"a master key has {KEY_BYTES} bytes, this one has {len(key)}")
        self._aead = AESGCM(_derived(key, b"seal"))
        self._hash_key = _derived(key, b"user-hash")
        self._sign_key = _derived(key, b"sign")
        self._nonce = nonce
        self.check = _derived(key, b"check")[:8]
        """Tells keys apart without telling the key: kept in the ledger, compared at start."""

    def seal(self, data: bytes, context: bytes) -> bytes:
        """`data`, readable only under the same key and with the same `context`.

        Why deflating first tells nobody anything here: guessing a secret from compressed lengths
        needs someone who mixes chosen text with the secret, many times, in one value, and sees
        each length. One value holds one user's own data, is sealed once per attempt by us, and
        its length is seen only by who may read the ledger.
        """
        smaller = _deflated(data)
        version = _PLAIN if smaller is None else _DEFLATED
        return version + _encrypted(self._aead, self._nonce(), smaller or data, version + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed. Raises `Refused` for another key or context, or a changed value."""
        version = sealed[:1]
        if version not in {_PLAIN, _DEFLATED}:
            raise Refused(_MALFORMED, hint="restore the ledger from its backup")
        data = _decrypted(self._aead, sealed[1:], version + context)
        return zlib.decompress(data) if version == _DEFLATED else data

    def new_key(self, maker: int) -> "DataKey":
        """A key at random; `maker` tells apart several that one user may have."""
        return DataKey(os.urandom(KEY_BYTES), maker, nonce=self._nonce)

    def wrapped(self, key: "DataKey", context: bytes) -> bytes:
        """The key as the ledger may keep it: without the master key it is of no use."""
        return self.seal(key.secret, b"key:" + context)

    def unwrapped(self, wrapped: bytes, maker: int, context: bytes) -> "DataKey":
        """The key again. Raises `Refused` like `open`."""
        return DataKey(self.open(wrapped, b"key:" + context), maker, nonce=self._nonce)

    def user_hash(self, user_id: str) -> bytes:
        """16 bytes by which a user is found, the same for the same key; tells nothing without."""
        return hmac.digest(self._hash_key, user_id.encode(), hashlib.sha256)[:16]

    def user_ref(self, user_id: str) -> str:
        """How logs, lists and pages name the user: `u_` and the first digits of the hash."""
        return reference(self.user_hash(user_id))

    def sign(self, purpose: bytes, data: bytes) -> bytes:
        """32 bytes that only who has the key can make of `data`; another one each `purpose`."""
        parts = len(purpose).to_bytes(2) + purpose + data
        return hmac.digest(self._sign_key, parts, hashlib.sha256)

    def hashes_of(self, ref: str) -> tuple[bytes, bytes] | None:
        """The least and the greatest hash that a reference stands for; None where it is none."""
        digits = ref.removeprefix("u_")
        if not _REF.fullmatch(ref):
            return None
        return bytes.fromhex(digits + "0" * (32 - len(digits))), bytes.fromhex(
            digits + "f" * (32 - len(digits))
        )


class DataKey:
    """Seals and opens as a `Sealer` does, until nobody keeps this key any more."""

    def __init__(self, secret: bytes, maker: int, *, nonce: Callable[[], bytes]) -> None:
        self.secret = secret
        self.maker = maker
        self._aead = AESGCM(secret)
        self._nonce = nonce

    def seal(self, data: bytes, context: bytes) -> bytes:
        """`data`, readable only under this key and with the same `context`."""
        smaller = _deflated(data)
        head = _OWN_PLAIN if smaller is None else _OWN_DEFLATED
        head += self.maker.to_bytes(_MAKER_BYTES)
        return head + _encrypted(self._aead, self._nonce(), smaller or data, head + context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """What was sealed. Raises `Refused` for another key or context, or a changed value."""
        head = sealed[:HEAD_BYTES]
        data = _decrypted(self._aead, sealed[HEAD_BYTES:], head + context)
        return zlib.decompress(data) if sealed[:1] == _OWN_DEFLATED else data

    def open_all(self, sealed: Sequence[bytes], context: bytes) -> list[bytes]:
        """The same of many short values of one context, at a lower price each."""
        head = sealed[0][:HEAD_BYTES] if sealed else b""
        decrypt, bound = self._aead.decrypt, head + context
        end = HEAD_BYTES + NONCE_BYTES
        if head[:1] == _OWN_PLAIN and {one[:HEAD_BYTES] for one in sealed} == {head}:
            with contextlib.suppress(InvalidTag, ValueError):  # then one by one: each says why
                return [decrypt(one[HEAD_BYTES:end], one[end:], bound) for one in sealed]
        return [self.open(one, context) for one in sealed]


def maker_of(sealed: bytes) -> int | None:
    """Which data key a value is sealed under; None: under the master key itself."""
    if sealed[:1] not in {_OWN_PLAIN, _OWN_DEFLATED}:
        return None
    return int.from_bytes(sealed[1:HEAD_BYTES])


def _deflated(data: bytes) -> bytes | None:
    """The data made smaller, where that is worth it."""
    if len(data) < _WORTH_DEFLATING:
        return None
    deflated = zlib.compress(data, 1)
    return deflated if len(deflated) < len(data) else None


def _encrypted(aead: AESGCM, nonce: bytes, data: bytes, context: bytes) -> bytes:
    return nonce + aead.encrypt(nonce, data, context)


def _decrypted(aead: AESGCM, sealed: bytes, context: bytes) -> bytes:
    nonce, rest = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
    if len(nonce) != NONCE_BYTES:
        raise Refused(_MALFORMED, hint="restore the ledger from its backup")
    try:
        return aead.decrypt(nonce, rest, context)
    except InvalidTag as error:
        raise Refused(
            "a sealed value does not open: another key, or it was altered or moved",
            hint="use the key that this ledger was made with: REINSTATE_KEY or <home>/key",
        ) from error


def reference(user_hash: bytes) -> str:
    """How a user is named where nobody needs to know who it is."""
    return f"u_{user_hash.hex()[:10]}"


_REF = re.compile(r"u_[0-9a-f]{10,32}")


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(
        algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"reinstate/1/" + purpose
    ).derive(key)


def load_sealer(settings: Settings) -> Sealer:
    """The sealer of these settings.

    Makes the key file on first use, for an embedded ledger only: a shared ledger with a key that
    one host made up would be unreadable for the others. Raises `Refused` where the key is missing,
    malformed or readable by others.
    """
    if settings.key is not None:
        return Sealer(_decoded(settings.key, "REINSTATE_KEY"))
    text = _read(settings.key_file)
    if text is None:
        if not settings.ledger_url.startswith("sqlite"):
            raise Refused(
                "there is no key, and a shared ledger must not get one that only this host knows",
                hint="set REINSTATE_KEY to the same value everywhere; a new one: "
                "openssl rand -base64 32",
            )
        settings.ensure_home()
        text = _make(settings.key_file)
    return Sealer(_decoded(text, "the key file"))


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Refused(
            f"{where} does not hold {KEY_BYTES} bytes in base64",
            hint="make a new one with: openssl rand -base64 32",
        )
    return key


def _read(path: Path) -> str | None:
    try:
        with path.open(encoding="ascii", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise Refused(
                    "the key file may be read by others", hint="chmod 600 the file `key` in home"
                )
            return file.read(1024)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"the key file cannot be read ({error.strerror})") from error


def _make(path: Path) -> str:
    """A new key file. Of several processes that try at once, all get the same key."""
    text = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    draft = path.with_name(f".key-{os.getpid()}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            text = _read(path) or text
        finally:
            draft.unlink()
    except OSError as error:
        raise Unavailable(f"the key file cannot be made ({error.strerror})") from error
    return text
