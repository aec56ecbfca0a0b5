import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.material.bag_manifests import BagManifest

NAMES = st.binary(min_size=1, max_size=8).filter(
    lambda name: not set(name) & set(b"/\0\r\n") and name not in {b".", b".."}
)
PATHS = st.tuples(st.sampled_from([b"anna", b"a%2Fb", b"a%252Fb", b"x"]), NAMES, NAMES)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    root = tmp_path_factory.mktemp("bag")
    (root / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    return root


def manifest(bag, lines):
    (bag / "manifest-md5.txt").write_bytes(b"".join(lines))
    return BagManifest(bytes(bag))


@given(st.sets(PATHS, max_size=20), st.randoms(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_every_line_is_found_below_its_folder_whatever_the_order(bag, paths, random, escapes):
    listed = sorted(paths)
    random.shuffle(listed)
    lines = []
    digests = {}
    for path in listed:
        name = b"/".join(path)
        digest = hashlib.md5(name).hexdigest()
        digests[path] = digest
        spelled = name.replace(b"%", b"%25") if escapes else name
        lines.append(digest.encode() + b"  data/" + spelled + random.choice([b"\n", b"\r\n"]))
    if not escapes:  # what tells a reader so: a percent sign that escapes nothing
        lines.insert(0, b"0" * 32 + b"  data/other/contacts/100%\n")
    read = manifest(bag, lines)
    for first in {path[0] for path in listed} | {b"nobody"}:
        expected = {b"/".join(path[1:]): digests[path] for path in listed if path[0] == first}
        assert read.below(first) == expected
        assert read.names(first) == bool(expected)
        for second in {path[1] for path in listed}:
            below = {path[2]: digests[path] for path in listed if path[:2] == (first, second)}
            assert read.below(first, second) == below
    firsts = set(read.firsts()) - {b"other"}
    assert firsts == {path[0] for path in listed}
    assert read.listed == len(lines)
    read.close()


def test_lines_of_one_folder_that_stand_together_cost_one_note(bag):
    users = [b"user%d" % number for number in range(50)]
    lines = [
        b"0" * 32 + b"  data/" + user + b"/contacts/%d\n" % number
        for user in users
        for number in range(100)
    ]
    read = manifest(bag, lines)
    assert len(list(read.firsts())) == len(users)
    assert len(read.below(users[7], b"contacts")) == 100
    read.close()


@given(st.binary(max_size=300))
@settings(deadline=None, max_examples=150)
def test_no_bytes_of_a_manifest_raise(bag, content):
    read = manifest(bag, [content, b"0" * 32 + b"  data/anna/contacts/a\n"])
    read.below(b"anna", b"contacts")
    list(read.firsts())
    list(read.paths())
    read.close()
