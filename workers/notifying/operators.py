"""Tells people, over whatever Apprise knows: mail, chat, SMS. Needs the extra `apprise`."""

import logging

from orchestrator.ledger.outbox import Held
from orchestrator.notices import DeliveryEnd, sentence
from workers.notifying.calling import Came


def tell_operators(held: Held, urls: str) -> Came:
    """Send the sentence to every one of these URLs; done where all of them took it."""
    try:
        import apprise  # noqa: PLC0415  an extra, and heavy
    except ImportError:
        return Came(end=DeliveryEnd.NOT_INSTALLED)
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its lines hold addresses
    told = apprise.Apprise()
    if not told.add(urls) or not len(told):
        return Came(end=DeliveryEnd.BAD_ADDRESS)
    text = sentence(held.kind, held.data)
    arrived = told.notify(title=f"Reinstate: {held.data['plan']}", body=text)
    return Came(end=DeliveryEnd.DELIVERED if arrived else DeliveryEnd.DECLINED)
