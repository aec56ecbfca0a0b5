"""Contacts in every format."""

from tests.conformance.category_example import Example, Series


def card(uid, *lines, version=b"3.0"):
    return (
        b"BEGIN:VCARD\r\nVERSION:" + version + b"\r\nUID:" + uid + b"\r\nFN:Anna " + uid + b"\r\n"
        b"N:"
        + uid
        + b";Anna;;;\r\n"
        + b"".join(line + b"\r\n" for line in lines)
        + b"END:VCARD\r\n"
    )


EXAMPLE = Example(
    whole={
        "vCard 3.0": {
            "a.vcf": card(b"a", b"TEL;TYPE=HOME:+49 30 123", b"NOTE:milk\\, eggs\\; bread"),
            "b.vcf": card(b"b", b"REV:20230101T000000Z", b"ORG:Company;Unit"),
        },
        "vCard 4.0": {"four.vcf": card(b"f", b"EMAIL:a@example.org", version=b"4.0")},
        "address book": {
            "contacts.vcf": card(b"a", b"TEL:1") + b"\r\n" + card(b"b", b"NOTE:folded te\r\n xt")
        },
        "LF and lower case": {
            "l.vcf": card(b"l", b"TEL:1").replace(b"\r\n", b"\n").replace(b"TEL", b"tel")
        },
        "jCard": {
            "j.json": b'["vcard",[["version",{},"text","4.0"],["uid",{},"text","j"],'
            b'["fn",{},"text","Anna"],["n",{},"text",["J","Anna","","",""]]]]'
        },
    },
    series=(
        Series(
            name="contacts.vcf",
            records=tuple(card(b"c%d" % number, b"TEL:1") for number in range(4)),
            damaged=b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:cut\r\nFN:Cu\r\n",
        ),
        Series(
            name="contacts.vcf",
            records=tuple(card(b"c%d" % number, b"TEL:1") for number in range(4)),
            damaged=card(b"cx", b"PHOTO;ENCODING=b;TYPE=JPEG:not base64!"),
        ),
    ),
    repairable={},
    foreign=("people.gpx", b"<gpx><wpt/></gpx>"),
)
