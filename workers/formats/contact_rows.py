"""A contact as a JSON object of plain fields: what a row of a database becomes."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from orchestrator.errors import ItemRejected
from orchestrator.items import UserId
from orchestrator.reasons import Reason
from workers.formats.contact_drafts import ContactDraft
from workers.formats.ownership import OWNER_FIELDS, check_owner, plain_key
from workers.formats.record_times import read_time
from workers.formats.vcard import Property
from workers.formats.vcard_properties import fact_of

_NAME_PARTS: Final = (
    ("family", "familyname", "lastname", "surname"),
    ("given", "givenname", "firstname", "forename"),
    ("additional", "additionalname", "middle", "middlename"),
    ("prefix", "nameprefix", "honorificprefix"),
    ("suffix", "namesuffix", "honorificsuffix"),
)
_FULL: Final = ("fn", "formattedname", "displayname", "fullname", "name")
_ORGANISATION: Final = ("org", "organization", "organisation", "company")
_DEPARTMENT: Final = ("department", "unit")
_ADDRESS_PARTS: Final = (
    ("pobox", "box"),
    ("extended", "extendedaddress", "apartment"),
    ("street", "streetaddress", "address", "line1"),
    ("city", "locality", "town"),
    ("region", "state", "province"),
    ("postalcode", "zip", "zipcode", "postcode", "code"),
    ("country", "countryname"),
)
_VALUES: Final = ("value", "address", "email", "number", "phone", "url", "text")
_LABELS: Final = ("type", "label", "kind", "rel")
_SINGLE: Final = {
    "uid": "UID",
    "nickname": "NICKNAME",
    "title": "TITLE",
    "jobtitle": "TITLE",
    "role": "ROLE",
    "note": "NOTE",
    "notes": "NOTE",
    "comment": "NOTE",
}
_DATES: Final = {
    "birthday": "BDAY",
    "bday": "BDAY",
    "birthdate": "BDAY",
    "dateofbirth": "BDAY",
    "anniversary": "X-ANNIVERSARY",
}
_MANY: Final = {
    **dict.fromkeys(("emails", "email", "emailaddress", "emailaddresses", "mail"), "EMAIL"),
    **dict.fromkeys(("phones", "phone", "tel", "telephone", "phonenumber", "phonenumbers"), "TEL"),
    **dict.fromkeys(("mobile", "cell", "cellphone", "mobilephone"), "TEL mobile"),
    **dict.fromkeys(("fax",), "TEL fax"),
    **dict.fromkeys(("urls", "url", "website", "websites", "homepage"), "URL"),
}
_LISTS: Final = ("categories", "labels", "tags", "groups")
_ADDRESSES: Final = ("addresses", "address", "adr")
_PHOTOS: Final = ("photo", "picture", "avatar", "photourl")
_REVISED: Final = (
    "revised",
    "rev",
    "modified",
    "updated",
    "updatedat",
    "modifiedat",
    "lastmodified",
)

_TELLING: Final = frozenset(
    (*_FULL, *_NAME_PARTS[0], *_NAME_PARTS[1], *_MANY, *_ORGANISATION, "nickname")
)


def is_contact(keys: Collection[str]) -> bool:
    """Whether an object with these keys is a contact: it has a name, a number or an address."""
    return any(plain_key(key) in _TELLING for key in keys)


def contact_of(row: Mapping[str, Any], owner: UserId) -> list[Property]:
    """The row as properties of a vCard 3.0; fields that vCard does not know under X- names.

    Raises:
        ItemRejected: it is another user's, or a field is of a type that it cannot be of.
    """
    check_owner(row, owner)
    left: dict[str, tuple[str, Any]] = {
        plain_key(key): (key, value)
        for key, value in row.items()
        if value is not None and plain_key(key) not in OWNER_FIELDS
    }
    draft = ContactDraft()

    def take(*keys: str) -> Any:
        for key in keys:
            if key in left:
                return left.pop(key)[1]
        return ""

    name = take(*_FULL)
    parts = _flat(name) if isinstance(name, dict) else {}
    if parts:
        name = _text(parts.get("full", parts.get("formatted", "")))
    draft.text("FN", _text(name))
    named = [_text(_first(parts, keys) or take(*keys)) for keys in _NAME_PARTS]
    draft.fields("N", named)
    draft.fields("ORG", [_text(take(*_ORGANISATION)), _text(take(*_DEPARTMENT))])
    _singles(draft, left)
    for key in list(left):
        if key in _MANY:
            target, _, label = _MANY[key].partition(" ")
            _many(draft, target, left.pop(key)[1], label)
    for value in _each(take(*_ADDRESSES)):
        if isinstance(value, dict):
            fields = _flat(value)
            parts_of = [_text(_first(fields, keys)) for keys in _ADDRESS_PARTS]
            draft.fields("ADR", parts_of, _text(_first(fields, _LABELS)))
        else:
            draft.fields("ADR", ["", "", _text(value)])
    draft.texts("CATEGORIES", map(_text, _each(take(*_LISTS))))
    photo = _text(take(*_PHOTOS))
    draft.properties.extend(_photo(photo))
    _revised(draft, take(*_REVISED))
    for key, value in left.values():
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        draft.unknown(key, _text(value) if plain else json.dumps(value, ensure_ascii=False))
    return draft.properties


def _singles(draft: ContactDraft, left: dict[str, tuple[str, Any]]) -> None:
    for key in list(left):
        if key in _SINGLE:
            draft.text(_SINGLE[key], _text(left.pop(key)[1]))
        elif key in _DATES:
            draft.raw(_DATES[key], _text(left.pop(key)[1]))


def _many(draft: ContactDraft, name: str, values: Any, label: str) -> None:
    """One value, a list of them, or a list of objects that label them."""
    for value in _each(values):
        write: Callable[[str, str, str], None] = draft.raw if name == "URL" else draft.text
        if isinstance(value, dict):
            fields = _flat(value)
            write(name, _text(_first(fields, _VALUES)), _text(_first(fields, _LABELS)) or label)
        else:
            write(name, _text(value), label)


def _photo(value: str) -> Iterable[Property]:
    """A URI, left as it is; never fetched."""
    if value:
        yield fact_of("PHOTO", (("VALUE", ("uri",)),)), value.encode("utf-8", "surrogateescape")


def _revised(draft: ContactDraft, value: Any) -> None:
    if value == "":
        return
    at = read_time(value)
    if at is None:
        draft.unknown("REV", _text(value))
    else:
        draft.raw("REV", at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _text(value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | dict() | list():
            raise ItemRejected(Reason.VALUE, "a field of a type that it cannot be of")
        case _:
            return str(value)


def _each(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [each for each in value if each is not None]  # pyright: ignore[reportUnknownVariableType] # JSON
    return [] if value == "" else [value]


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    return {plain_key(key): each for key, each in value.items() if each is not None}


def _first(fields: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((fields[key] for key in keys if key in fields), "")
