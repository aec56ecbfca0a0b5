from uuid import UUID

from orchestrator.items import Digest, Ident, UserId
from workers.formats.idents import derived_ident, ident_beside

OWNER = UserId("ada@example.org")
DIGEST = Digest(bytes(range(32)))


def test_a_derived_ident_is_a_version_5_uuid():
    assert UUID(derived_ident(OWNER, "contacts", DIGEST)).version == 5


def test_a_derived_ident_never_changes():
    assert derived_ident(OWNER, "contacts", DIGEST) == "7009899d-7655-569e-9d7b-8be0ebde7f3c"
    assert ident_beside(Ident("abc"), "restored") == "c0d9c6e7-9f95-5f7c-b11c-07a40f476491"


def test_another_owner_category_or_content_gives_another_ident():
    idents = {
        derived_ident(OWNER, "contacts", DIGEST),
        derived_ident(UserId("bob"), "contacts", DIGEST),
        derived_ident(OWNER, "notes", DIGEST),
        derived_ident(OWNER, "contacts", Digest(bytes(32))),
        derived_ident(UserId("notes\nbob"), "contacts", DIGEST),
    }
    assert len(idents) == 5


def test_an_owner_that_is_not_valid_text_still_gets_an_ident():
    assert derived_ident(UserId("\udcff"), "contacts", DIGEST)


def test_the_ident_beside_depends_on_the_ident_and_the_mark_only():
    assert ident_beside(Ident("a"), "x") == ident_beside(Ident("a"), "x")
    assert ident_beside(Ident("a"), "x") != ident_beside(Ident("a"), "y")
    assert ident_beside(Ident("a"), "x") != ident_beside(Ident("b"), "x")
