from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.path_parts import escape
from workers.material.file_trees import Tree
from workers.material.user_folders import ID_BYTES, OWNER_FILE, Nobody, owner_of, part_of

USERS = st.text(max_size=40)


def whose(part, *, others=(), root=Path("/nowhere")):
    tree = Tree(root, called="here")
    return owner_of(
        part,
        lambda name: name in others,
        lambda name: tree.head(name, OWNER_FILE, limit=ID_BYTES),
    )


@given(USERS)
@settings(deadline=None, max_examples=300)
def test_an_escaped_user_id_is_that_users_folder(user):
    part = escape(user).encode()
    if b"%~" not in part:
        assert whose(part) == user
    assert part_of(user, lambda name: name == part) == part


@given(st.sets(st.binary(min_size=1, max_size=30).filter(lambda name: b"/" not in name)), USERS)
@settings(deadline=None, max_examples=300)
def test_a_user_is_found_exactly_where_the_folder_says_so(parts, user):
    part = part_of(user, lambda name: name in parts)
    if part is not None:
        assert whose(part, others=parts) == user
    for other in parts - {part}:
        assert whose(other, others=parts) != user


def test_a_plain_name_that_was_never_escaped_is_taken_as_it_is():
    assert whose(b"anna.smith") == "anna.smith"
    assert whose("zoë b".encode()) == "zoë b"
    assert part_of("anna.smith", lambda name: name == b"anna.smith") == b"anna.smith"


def test_a_folder_that_may_be_two_users_is_nobodys():
    assert isinstance(whose(b"anna.smith", others={b"anna%2Esmith"}), Nobody)
    assert part_of("anna.smith", lambda _: True) == b"anna%2Esmith"
    for name in (b"50%", b"a%2eb", b"a%2", b"%41nna", b"caf\xe9", b".hidden", b"a\nb", b"a\x85b"):
        assert isinstance(whose(name), Nobody)


def test_a_cut_name_is_read_from_its_owner_file_and_nothing_else(tmp_path):
    user = "ä" * 300
    part = escape(user)
    folder = tmp_path / part
    folder.mkdir()
    root = tmp_path
    assert isinstance(whose(part.encode(), root=root), Nobody)
    (folder / ".owner").write_bytes(b"somebody else")
    assert isinstance(whose(part.encode(), root=root), Nobody)
    (folder / ".owner").write_bytes(user.encode())
    assert whose(part.encode(), root=root) == user
    (tmp_path / "elsewhere").write_bytes(user.encode())
    (folder / ".owner").unlink()
    (folder / ".owner").symlink_to(tmp_path / "elsewhere")
    assert isinstance(whose(part.encode(), root=root), Nobody)
