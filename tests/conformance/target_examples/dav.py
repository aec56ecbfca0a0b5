"""The `dav` target on real servers: what users do is done by their own calls.

Such servers take cards and calendar objects only, never just any bytes: `Enveloped` puts each
content of the suite into one, as a category would, and takes it out again.
"""

import base64
import itertools
import re
import uuid
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import httpx
import msgspec

from orchestrator.ports import Capabilities, Place
from tests.calls import CALLS
from tests.conformance.target_example import Example
from workers.categories import contacts, notes
from workers.storage.dav_accounts import addressable
from workers.targets.dav import Dav

NUMBERS = itertools.count(1)
CARRIED = re.compile(rb"X-CARRIED:=([A-Za-z0-9+/=]*)")
ADDRESS_BOOK = b"""<mkcol xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><set><prop>
<resourcetype><collection/><A:addressbook/></resourcetype></prop></set></mkcol>"""
CATEGORIES = {"contacts": contacts.KIND(), "notes": notes.KIND()}


def enveloped(category, name, content):
    """A card or journal that carries this content, never twice the same bytes."""
    carried = base64.b64encode(content).decode()
    uid = uuid.uuid5(uuid.NAMESPACE_URL, name)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", "FN:Carrier", "N:Carrier;;;;"]
    if category == "notes":
        lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:tests", "BEGIN:VJOURNAL", f"UID:{uid}"]
        lines += ["DTSTAMP:20091001T090000Z", "SUMMARY:Carrier"]
    lines += [f"X-SAVED:{next(NUMBERS)}", f"X-CARRIED:={carried}"]
    lines += ["END:VJOURNAL", "END:VCALENDAR"] if category == "notes" else ["END:VCARD"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def carried(content):
    unfolded = content.replace(b"\r\n", b"\n").replace(b"\n ", b"")
    return base64.b64decode(CARRIED.search(unfolded)[1])


class Enveloped:
    """The target with each content in an envelope."""

    def __init__(self, target):
        self._target = target

    def __getattr__(self, name):
        return getattr(self._target, name)

    def write(self, category, writes):
        return self._target.write(category, [self._wrapped(category, write) for write in writes])

    @staticmethod
    def _wrapped(category, write):
        content = enveloped(category, write.ref, write.item.content)
        seen = CATEGORIES[category].recognise(write.owner, content)
        item = msgspec.structs.replace(
            write.item, content=content, ident=seen.ident, digest=seen.digest
        )
        return msgspec.structs.replace(write, item=item)

    def fetch(self, category, places):
        return [
            live and msgspec.structs.replace(live, content=carried(live.content))
            for live in self._target.fetch(category, places)
        ]

    def survey(self, category, owners):
        """Sizes are those of what is carried, once the target told the envelope's."""
        entries = list(self._target.survey(category, owners))
        places = [Place(owner=entry.owner, ref=entry.ref) for entry in entries]
        for entry, live in zip(entries, self._target.fetch(category, places), strict=True):
            if live is None:
                yield entry
                continue
            assert entry.size in {0, len(live.content)}
            yield msgspec.structs.replace(entry, size=len(carried(live.content)))


class OnRadicale(Example):
    promises = Capabilities(create_only=True, compare_and_set=True, tombstones=False)
    attachments = False
    slowness = 5
    prepared_by_inspection = False
    fixture = "radicale_server"
    homes = MappingProxyType({"contacts": "", "notes": ""})

    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.server = request.getfixturevalue(self.fixture)
        self.server.start()
        self.prefix = f"t{uuid.uuid4().hex[:8]}-"

    def kind(self):
        return Dav(
            url=self.server.url,
            username=self.prefix + "{user}",
            probe_user="probe",
            timeout=timedelta(seconds=20),
        )

    def open(self):
        return Enveloped(super().open())

    def call(self, method, category, ref, owner, **given):
        """What a user's own program asks of the server."""
        user = self.prefix + owner
        path = f"/{user}/{self.homes[category]}{category}/{ref}"
        url = httpx.URL(self.server.url).copy_with(path=path)
        return CALLS.request(method, url, auth=(user, ""), **given)

    def put(self, category, place, content):
        mime = "text/calendar" if category == "notes" else "text/vcard"
        given = {
            "content": enveloped(category, place.ref, content),
            "headers": {"Content-Type": mime},
        }
        answer = self.call("PUT", category, place.ref, place.owner, **given)
        if answer.status_code in {404, 409}:
            self.make(category, place.owner)
            answer = self.call("PUT", category, place.ref, place.owner, **given)
        assert answer.is_success, answer.text

    def make(self, category, owner):
        kind, body = ("MKCALENDAR", b"") if category == "notes" else ("MKCOL", ADDRESS_BOOK)
        headers = {"Content-Type": "application/xml"} if body else {}
        answer = self.call(kind, category, "", owner, content=body, headers=headers)
        assert answer.is_success, answer.text

    def delete(self, category, place):
        assert self.call("DELETE", category, place.ref, place.owner).is_success

    def foreign(self):
        return "Annas sister (new).vcf"

    def accounts(self, users):
        """What the target has an address for, and Radicale takes."""
        return [user for user in users if addressable(user) and not set("*?,'\"") & set(user)]

    def take_away(self):
        self.server.stop()

    def trace(self):
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for path in Path(self.server.data).rglob(f"{self.prefix}*/**/*")
            if ".Radicale." not in str(path) and ".git" not in str(path)
        }


class OnXandikos(OnRadicale):
    fixture = "xandikos_server"
    dated = False
    exact = False  # it compares versions before it takes its lock, in threads
    besides = frozenset({"unknown"})  # it fails with 500 where another one was a moment faster
    homes = MappingProxyType({"contacts": "contacts/", "notes": "calendars/"})


EXAMPLES = {"dav-radicale": OnRadicale, "dav-xandikos": OnXandikos}
