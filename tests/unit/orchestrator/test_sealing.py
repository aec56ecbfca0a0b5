import base64
import os
from multiprocessing import get_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import Refused
from orchestrator.sealing import Sealer, load_sealer
from orchestrator.settings import Settings

KEY = bytes(range(32))
SEALER = Sealer(KEY)


@given(st.binary(max_size=2000) | st.text(max_size=600).map(str.encode), st.binary(max_size=40))
@settings(deadline=None, max_examples=100)
def test_what_was_sealed_opens_again(data, context):
    assert SEALER.open(SEALER.seal(data, context), context) == data


@pytest.mark.guarantee(9)
@given(st.binary(min_size=8, max_size=400))
@settings(deadline=None, max_examples=50)
def test_the_sealed_form_does_not_hold_the_content(data):
    assert data not in SEALER.seal(data, b"")


@given(st.binary(max_size=600), st.data())
@settings(deadline=None, max_examples=100)
def test_any_changed_byte_is_found(data, draw):
    sealed = bytearray(SEALER.seal(data, b"journal"))
    at = draw.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= draw.draw(st.integers(1, 255))
    with pytest.raises(Refused):
        SEALER.open(bytes(sealed), b"journal")


@given(st.binary(max_size=300), st.integers(0, 400))
@settings(deadline=None, max_examples=50)
def test_a_cut_value_is_found(data, length):
    sealed = SEALER.seal(data, b"")
    with pytest.raises(Refused):
        SEALER.open(sealed[: min(length, len(sealed) - 1)], b"")


def test_a_value_opens_only_in_its_context():
    sealed = SEALER.seal(b"milk", b"journal:1")
    with pytest.raises(Refused, match="moved"):
        SEALER.open(sealed, b"journal:2")


@pytest.mark.guarantee(18)
def test_another_key_opens_nothing_and_says_what_to_do():
    with pytest.raises(Refused) as refused:
        Sealer(bytes(32)).open(SEALER.seal(b"milk", b""), b"")
    assert "REINSTATE_KEY" in refused.value.hint
    assert Sealer(bytes(32)).check != SEALER.check


def test_long_repetitive_content_gets_smaller():
    assert len(SEALER.seal(b"NOTE:milk\r\n" * 1000, b"")) < 500


def test_incompressible_content_grows_by_29_bytes_only():
    data = os.urandom(5000)
    assert len(SEALER.seal(data, b"")) == len(data) + 29


def test_the_same_content_is_never_sealed_alike():
    assert SEALER.seal(b"milk", b"") != SEALER.seal(b"milk", b"")


def test_many_open_as_they_do_one_by_one():
    sealer = Sealer(bytes(32))
    key, other = sealer.new_key(0), sealer.new_key(1)
    short, long = [b"a", b"", b"user-1"], b"x" * 1_000  # the long one is deflated
    assert key.open_all([key.seal(one, b"c") for one in short], b"c") == short
    assert key.open_all([key.seal(one, b"c") for one in (*short, long)], b"c") == [*short, long]
    assert key.open_all([], b"c") == []
    for foreign in (other.seal(b"a", b"c"), key.seal(b"a", b"d"), b"", b"\x03\x00\x00short"):
        with pytest.raises(Refused):
            key.open_all([key.seal(b"a", b"c"), foreign], b"c")


def test_with_given_nonces_sealing_is_repeatable():
    fixed = Sealer(KEY, nonce=lambda: bytes(12))
    assert fixed.seal(b"milk", b"") == fixed.seal(b"milk", b"")


def test_users_are_found_by_hash_and_shown_by_reference_under_their_key_only():
    other = Sealer(bytes(32))
    assert SEALER.user_hash("ann") == Sealer(KEY).user_hash("ann") != other.user_hash("ann")
    assert len(SEALER.user_hash("ann")) == 16
    assert SEALER.user_ref("ann") != other.user_ref("ann")
    low, high = SEALER.hashes_of(SEALER.user_ref("ann")) or (b"", b"")
    assert low <= SEALER.user_hash("ann") <= high
    assert SEALER.hashes_of("ann") is None


def home(tmp_path, **more):
    return Settings.read({"REINSTATE_HOME": str(tmp_path / "home"), **more})


def test_the_key_file_is_made_once_for_its_owner_alone(tmp_path):
    first = load_sealer(home(tmp_path))
    assert home(tmp_path).key_file.stat().st_mode & 0o777 == 0o600
    assert load_sealer(home(tmp_path)).check == first.check
    assert [path.name for path in home(tmp_path).home.iterdir()] == ["key"]


def _check(folder):
    return load_sealer(Settings.read({"REINSTATE_HOME": folder})).check


def test_processes_that_start_at_once_get_the_same_key(tmp_path):
    with get_context("spawn").Pool(3) as pool:
        assert len(set(pool.map(_check, [str(tmp_path / "home")] * 6))) == 1


def test_the_environment_goes_before_the_file(tmp_path):
    given_key = base64.b64encode(KEY).decode()
    assert load_sealer(home(tmp_path, REINSTATE_KEY=given_key)).check == SEALER.check
    assert not home(tmp_path).home.exists()


@pytest.mark.guarantee(18)
@pytest.mark.parametrize("key", ["abc", "é" * 44, base64.b64encode(bytes(31)).decode()])
def test_a_malformed_key_is_refused(tmp_path, key):
    with pytest.raises(Refused, match="base64"):
        load_sealer(home(tmp_path, REINSTATE_KEY=key))


@pytest.mark.guarantee(18)
def test_a_key_file_that_others_can_read_is_refused(tmp_path):
    load_sealer(home(tmp_path))
    home(tmp_path).key_file.chmod(0o644)
    with pytest.raises(Refused, match="others"):
        load_sealer(home(tmp_path))


@pytest.mark.guarantee(18)
def test_a_shared_ledger_never_gets_a_key_made_up_by_one_host(tmp_path):
    with pytest.raises(Refused, match="no key"):
        load_sealer(home(tmp_path, REINSTATE_LEDGER_URL="postgresql://db/x"))
