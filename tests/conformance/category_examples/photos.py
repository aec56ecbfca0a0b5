"""Pictures with and without sidecars."""

import io
import json

from PIL import Image

from tests.conformance.category_example import Example


def picture(form, shade=120):
    image = Image.linear_gradient("L").resize((24, 16)).point(lambda level: (level + shade) % 256)
    written = io.BytesIO()
    image.convert("RGB").save(written, form)
    return written.getvalue()


def sidecar(title):
    return json.dumps(
        {
            "title": title,
            "description": "at home",
            "photoTakenTime": {"timestamp": "1672531200"},
            "creationTime": {"timestamp": "1672531300"},
        }
    ).encode()


EXAMPLE = Example(
    whole={
        "pictures": {"a.jpg": picture("JPEG"), "b.png": picture("PNG"), "c.gif": picture("GIF")},
        "with a sidecar": {
            "Photos/a.jpg": picture("JPEG"),
            "Photos/a.jpg.json": sidecar("a.jpg"),
            "Photos/b.jpg": picture("JPEG", 7),
        },
        "with two sidecars": {
            "a.jpg": picture("JPEG"),
            "a.jpg.json": sidecar("a.jpg"),
            "a.jpg.supplemental-metadata.json": sidecar("A.jpg"),
        },
        "with a row of a table": {
            "Photos/a.jpg": picture("JPEG"),
            "Photos/Photo Details.csv": b"imgName,favorite\r\na.jpg,yes\r\n",
        },
        "WebP": {"w.webp": picture("WEBP")},
    },
    series=(),
    repairable={
        "retype-wrong-suffix": {"wrong.png": picture("JPEG")},
        "trim-junk-after-end": {"junk.jpg": picture("JPEG") + b"junk that is no picture at all"},
    },
    foreign=("notes.txt", b"not a picture"),
)
