"""Notes in every format."""

import base64
import hashlib
import json

from tests.conformance.category_example import Example, Series

PICTURE = b"\x89PNG\r\n\x1a\n a picture"
PICTURE_64 = base64.b64encode(PICTURE)
PICTURE_MD5 = hashlib.md5(PICTURE).hexdigest().encode()


def keep(**fields):
    return json.dumps(
        {
            "color": "DEFAULT",
            "isTrashed": False,
            "isPinned": False,
            "isArchived": False,
            "title": "Shopping",
            "textContent": "milk, eggs; bread\nand \\ tea",
            "userEditedTimestampUsec": 1690866317287000,
            "createdTimestampUsec": "1690514858197000",
            **fields,
        }
    ).encode()


def enml(title, text, extra=b""):
    return (
        b"<note><title>" + title + b"</title><content><![CDATA["
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<!DOCTYPE en-note SYSTEM "http://xml.evernote.com/pub/enml2.dtd">'
        b"<en-note><div>" + text + b"</div></en-note>]]></content>"
        b"<created>20230121T235548Z</created><updated>20230121T235625Z</updated>"
        b"<tag>home</tag>" + extra + b"</note>"
    )


ENEX_HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<!DOCTYPE en-export SYSTEM "http://xml.evernote.com/pub/evernote-export4.dtd">\n'
    b'<en-export export-date="20230201T000000Z" application="Evernote" version="10.19.2">\n'
)

JOURNALS = (
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//EN\r\n"
    b"BEGIN:VTIMEZONE\r\nTZID:Here\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\n"
    b"TZOFFSETFROM:+0100\r\nTZOFFSETTO:+0100\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
)


def journal(uid, summary):
    return (
        b"BEGIN:VJOURNAL\r\nUID:" + uid + b"\r\nDTSTAMP:20230101T000000Z\r\n"
        b"DTSTART;TZID=Here:20230101T120000\r\nSUMMARY:" + summary + b"\r\n"
        b"DESCRIPTION:First\\nsecond\\, with a comma\r\n"
        b"CATEGORIES:work,home\r\nLAST-MODIFIED:20230102T000000Z\r\nEND:VJOURNAL\r\n"
    )


EXAMPLE = Example(
    whole={
        "Keep with a picture": {
            "Takeout/Keep/Shopping.json": keep(
                attachments=[{"filePath": "1.png", "mimetype": "image/png"}],
                labels=[{"name": "home"}, {"name": "food"}],
            ),
            "Takeout/Keep/Shopping.html": b'<html><body><div class="note">x</div></body></html>',
            "Takeout/Keep/1.png": PICTURE,
            "Takeout/Keep/Labels.txt": b"home\nfood\nunused\n",
        },
        "Keep list in the trash": {
            "list.json": keep(
                isTrashed=True,
                textContent=None,
                listContent=[{"text": "a", "isChecked": True}, {"text": "b", "isChecked": False}],
            ).replace(b'"textContent": null, ', b""),
        },
        "Keep picture that two notes show": {
            "a.json": keep(attachments=[{"filePath": "p.jpeg", "mimetype": "image/jpeg"}]),
            "b.json": keep(title="B", attachments=[{"filePath": "p.jpeg", "mimetype": "x"}]),
            "p.jpg": PICTURE,
        },
        "ENEX": {
            "notebook.enex": ENEX_HEAD
            + enml(b"One &amp; two", b"text <b>bold</b>&nbsp;")
            + b"\n"
            + enml(
                b"Picture",
                b'<en-media type="image/png" hash="' + PICTURE_MD5 + b'"/>',
                b"<note-attributes><author>me</author></note-attributes>"
                b'<resource><data encoding="base64">' + PICTURE_64 + b"</data>"
                b"<mime>image/png</mime></resource>",
            )
            + b"\n</en-export>\n"
        },
        "Markdown": {
            "journal/a note.md": "# Überschrift\n\nText ![[pic.png]]\n".encode(),
            "journal/pic.png": PICTURE,
            "front.md": b'---\ntitle: "A: b"\ntags: [x, "y z"]\nid: 5\n'
            b"created: 2023-01-01\n---\nBody\n",
            "rule.md": b"---\n\nno front matter, a rule\n",
        },
        "HTML": {
            "page.html": b"<!DOCTYPE html>\n<html><head><title>Page &amp; more</title></head>"
            b'<body><p>Text <img src="files/a%20b.png"></p></body></html>\n',
            "files/a b.png": PICTURE,
        },
        "journals": {
            "journal.ics": JOURNALS
            + journal(b"j1", b"One")
            + journal(b"j2", b"Two")
            + b"END:VCALENDAR\r\n"
        },
        "plain text": {
            "plain.txt": b"\xef\xbb\xbfjust text\r\nand more",
            "braces.txt": b"{ no JSON",
        },
        "rows": {
            "n-1": b'{"id":"n-1","title":"T","body":"B","created":"2023-01-01T00:00:00Z",'
            b'"revised":1690866317,"labels":["a"],"owner":"anna","pinned":1}',
            "n-2": b'{"id":2,"title":"","text":"only text","labels":null}',
        },
    },
    series=(
        Series(
            name="notes.json",
            head=b'{"notes": [\n',
            records=tuple(keep(title=f"note {number}") for number in range(4)),
            between=b" ,\n",
            tail=b"\n]}\n",
            damaged=b'{"title": "x", "textContent": 7}',
        ),
        Series(
            name="broken.json",
            head=b"[",
            records=tuple(keep(title=f"note {number}") for number in range(4)),
            between=b",",
            tail=b"]",
            damaged=b'{"title": "x", "textContent": "lost qu}',
        ),
        Series(
            name="notebook.enex",
            head=ENEX_HEAD,
            records=tuple(enml(b"Note %d" % number, b"text") for number in range(4)),
            between=b"\n",
            tail=b"\n</en-export>\n",
            damaged=b"<note><title>Cut</title><content><![CDATA[<en-note><div>tex",
        ),
        Series(
            name="journal.ics",
            head=JOURNALS,
            records=tuple(journal(b"j%d" % number, b"text") for number in range(4)),
            tail=b"END:VCALENDAR\r\n",
            damaged=b"BEGIN:VJOURNAL\r\nUID:jx\r\nSUMMARY:no end\r\n",
        ),
    ),
    repairable={
        "accept-undated": {
            "undated.json": b'{"title":"a","textContent":"b",'
            b'"createdTimestampUsec":1690514858197000}'
        },
        "derive-uid": {
            "j.ics": b"BEGIN:VCALENDAR\nBEGIN:VJOURNAL\nDTSTAMP:20230101T000000Z\nSUMMARY:x\n"
            b"END:VJOURNAL\nEND:VCALENDAR\n"
        },
        "fix-dtstamp": {
            "j.ics": b"BEGIN:VCALENDAR\nBEGIN:VJOURNAL\nUID:j\nSUMMARY:x\n"
            b"END:VJOURNAL\nEND:VCALENDAR\n"
        },
    },
    foreign=("recording.3gp", b"\0\0\0\x18ftyp3gp4 not a note"),
)
