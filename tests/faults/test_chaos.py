import pytest

from tests.faults.chaos import chaos


@pytest.mark.guarantee(2)
@pytest.mark.guarantee(3)
@pytest.mark.guarantee(6)
def test_random_kills_freezes_wipes_and_partitions_lose_nothing_and_double_nothing(tmp_path):
    """Longer, and on PostgreSQL: `make chaos`."""
    toll = chaos(tmp_path, seconds=8, seed=20091002, users=200)
    assert toll.violations == []
    assert toll.units >= 400
    assert toll.faults
