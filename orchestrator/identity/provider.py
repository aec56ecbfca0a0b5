"""An OpenID Connect provider, asked over the network: what it says of itself, its keys, a token.

Nothing that it says is believed here beyond its form; `orchestrator.identity.sign_on` judges.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, cast
from urllib.parse import quote_plus, urlsplit

import httpx

from orchestrator.errors import Refused, Unavailable
from orchestrator.settings import OpenIdConnect

SECONDS = 10.0
LARGEST = 512 * 1024
KEPT_SECONDS = 3_600.0
"""How long what a provider says of itself is believed."""
FETCHED_AGAIN = 10.0
"""Keys are looked for anew at most so often, whoever sends tokens of keys that nobody knows."""
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Provider:
    """Shared by the threads of one process; asks the provider as little as possible."""

    def __init__(
        self, settings: OpenIdConnect, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._document: tuple[float, Mapping[str, Any]] | None = None
        self._keys: tuple[float, dict[str, Any]] | None = None

    def document(self) -> Mapping[str, Any]:
        """What it says of itself. Raises `Refused` where that is not as it must be."""
        with self._lock:
            found = self._document
            if found is None or self._clock() - found[0] > KEPT_SECONDS:
                issuer = self._settings.issuer
                address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
                document = _asked("GET", address)
                _check(document, issuer)
                found = self._document = self._clock(), document
        return found[1]

    def keys(self, *, but_not: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Its keys, as a JWK set; `but_not`: those that were just tried in vain, if it has others.

        A provider may take new keys at any time.
        """
        address = str(self.document()["jwks_uri"])
        with self._lock:
            found = self._keys
            age = None if found is None else self._clock() - found[0]
            tried = found is not None and found[1] is but_not
            if age is None or age > KEPT_SECONDS or (tried and age > FETCHED_AGAIN):
                found = self._keys = self._clock(), _asked("GET", address)
        if found is None or not isinstance(found[1].get("keys"), list):
            raise _odd("its keys are no JWK set")
        return found[1]

    def token(self, *, code: str, verifier: str, callback: str) -> str:
        """The ID token that a code stands for. Raises `Refused` where the provider says no."""
        document = self.document()
        data = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": callback,
            "code_verifier": verifier,
        }
        how: dict[str, Any] = {"data": data}
        client, secret = self._settings.client, secret_of(self._settings)
        ways = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        if secret and "client_secret_basic" in ways:  # RFC 6749, 2.3.1: encoded as in forms
            how["auth"] = (quote_plus(client), quote_plus(secret))
        else:
            data["client_id"] = client
            if secret:
                data["client_secret"] = secret
        answer = _asked("POST", str(document["token_endpoint"]), **how)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise _odd("it gave no ID token")
        return token


def secret_of(settings: OpenIdConnect) -> str:
    """The client's secret. Raises `Refused` where its file cannot be read."""
    if not settings.secret.startswith("file:"):
        return settings.secret
    try:
        with open(settings.secret[5:], encoding="utf-8") as file:  # noqa: PTH123
            return file.read().strip()
    except (OSError, UnicodeDecodeError):
        raise Refused(
            "the file of REINSTATE_OIDC_SECRET cannot be read", hint="file:/path, readable for us"
        ) from None


def _check(document: Mapping[str, Any], issuer: str) -> None:
    if document.get("issuer") != issuer:
        raise _odd("it is another issuer than REINSTATE_OIDC_ISSUER names")
    secure = issuer.startswith("https:")
    for name in ENDPOINTS:
        parts = urlsplit(str(document.get(name, "")))
        if not parts.hostname or (secure and parts.scheme != "https"):
            raise _odd(f"its {name} is no address by https")


def _asked(method: str, address: str, **how: Any) -> dict[str, Any]:
    """A JSON object from an address of the provider: bounded in size and time, no redirects."""
    body = bytearray()
    deadline = time.monotonic() + SECONDS
    try:
        with (
            httpx.Client(timeout=SECONDS / 2, follow_redirects=False) as client,
            client.stream(method, address, headers={"Accept": "application/json"}, **how) as answer,
        ):
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST or time.monotonic() > deadline:
                    raise _odd("its answer does not end")
    except (httpx.HTTPError, httpx.InvalidURL):
        raise Unavailable(
            "the identity provider does not answer", retry_in=5.0, hint="log in with a token"
        ) from None
    if answer.is_server_error:
        raise Unavailable("the identity provider is out of order", retry_in=5.0)
    if not answer.is_success:
        if method == "POST":
            raise Refused("the identity provider did not take the login", hint="log in once more")
        raise _odd("it says no where it describes itself")
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise _odd("its answer is no JSON object")
    return cast("dict[str, Any]", value)


def _odd(what: str) -> Refused:
    return Refused(
        f"the identity provider is not usable: {what}",
        hint="an administrator looks at it with: reinstate doctor",
    )
