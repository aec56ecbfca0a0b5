"""A few of the points at which `make sweep` kills a worker, of either pair of ledger and target."""

import pytest

from tests.faults.syscall_sweep import Files, NoTracer, Tables, sweep


@pytest.mark.long
@pytest.mark.guarantee(3)
@pytest.mark.guarantee(6)
def test_killed_at_a_write_to_files_or_sqlite_nothing_is_lost_and_nothing_is_there_twice(tmp_path):
    check(Files(tmp_path), tmp_path)


@pytest.mark.long
@pytest.mark.guarantee(3)
@pytest.mark.guarantee(6)
def test_killed_while_it_talks_to_postgresql_nothing_is_lost_and_nothing_is_there_twice(
    tmp_path, postgres
):
    check(Tables(postgres), tmp_path)


def check(place, folder):
    try:
        toll = sweep(place, folder, every=13)
    except NoTracer as error:
        pytest.skip(str(error))
    assert toll.wrongs == []
    assert toll.points.total() >= 8
