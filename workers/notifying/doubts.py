"""Why somebody may not hear of a run, as far as inspection can tell; no reason to stop."""

from collections.abc import Callable, Collection
from importlib.util import find_spec

from orchestrator.errors import Unavailable
from orchestrator.plan import Notify
from workers.notifying.addresses import Forbidden, Resolve, destination, looked_up
from workers.notifying.calling import BadSecret, signing


def doubts(
    notify: Notify,
    secret: Callable[[str], str],
    *,
    trusted: Collection[str],
    resolve: Resolve = looked_up,
) -> list[str]:
    """Sentences; none where everybody named will be told. Nobody is called."""
    found: list[str] = []
    if notify.webhook is not None and notify.webhook_secret is not None:
        try:
            signing(secret(notify.webhook_secret))
            destination(secret(notify.webhook), trusted=trusted, resolve=resolve)
        except Unavailable as error:
            found.append(f"the webhook is not called: {error.message}")
        except BadSecret:
            found.append(
                "the webhook is not called: its secret is none of Standard Webhooks "
                "(whsec_ and at least 24 random bytes in base64)"
            )
        except Forbidden as error:
            found.append(
                "the webhook is not called: its URL is not one of https without name and password"
                if error.bad
                else "the webhook is not called: its host is not public, and not in "
                "REINSTATE_HOOK_HOSTS of the workers"
            )
        except OSError:
            found.append("the webhook is not called: nobody knows its host")
    if notify.operators is not None:
        try:
            secret(notify.operators)
        except Unavailable as error:
            found.append(f"operators are not told: {error.message}")
        if find_spec("apprise") is None:
            found.append(
                "operators are not told: the workers lack `apprise`; install reinstate[apprise]"
            )
    return found
