import pytest

from orchestrator.errors import ItemRejected
from orchestrator.items import UserId
from orchestrator.reasons import Reason
from workers.formats.ownership import check_owner

ANNA = UserId("anna")


@pytest.mark.parametrize("key", ["owner", "OWNER", "user_id", "userId", "Player-ID", "account id"])
@pytest.mark.parametrize("named", ["bert", "Anna", "anna ", 7, {"id": "bert"}])
def test_a_record_of_somebody_else_is_refused(key, named):
    with pytest.raises(ItemRejected) as caught:
        check_owner({key: named}, ANNA)
    assert caught.value.reason is Reason.WRONG_OWNER
    assert str(named) not in caught.value.message


@pytest.mark.parametrize("named", ["anna", None, "", {"id": "anna"}, {"name": "Anna"}])
def test_a_record_of_the_owner_or_of_nobody_is_taken(named):
    check_owner({"owner": named, "name": "bert"}, ANNA)


def test_a_numeric_id_names_its_user():
    check_owner({"user_id": 17}, UserId("17"))
