"""Users, retries and quarantine over HTTP: by reference, with a reason, in the ledger."""

import base64
import json
from itertools import pairwise

import pytest

from tests.installed import (
    CARD,
    OBSTRUCTED,
    USERS,
    Furnished,
    clear_the_way,
    furnished,
    shared,
)

__all__ = ["furnished", "shared"]


def actions(site: Furnished) -> list[str]:
    return [row["action"] for row in site.ada.get("/api/v1/audit-log").json()["rows"]]


@pytest.mark.guarantee(9)
def test_no_answer_names_a_user_unless_somebody_says_why(shared):
    paths = shared.ada.get("/api/v1/openapi.json").json()["paths"]
    said = []
    for path, operations in paths.items():
        if "get" in operations and not path.endswith("/events"):
            shown = path.replace("{run}", shared.run).replace("{user}", "%230")
            said.append(shared.ada.get(shown).text)
    whole = "".join(said)
    assert "u_" in whole
    for mark in (*USERS[:1], "uid-", "a.vcf"):
        assert mark not in whole


def test_a_reference_is_revealed_with_a_reason_that_is_kept(shared):
    found = shared.mia.post(f"/api/v1/runs/{shared.run}/users/find", json={"user": USERS[0]}).json()
    path = f"/api/v1/runs/{shared.run}/users/{found['user']}/reveal"
    assert shared.mia.post(path, json={}).status_code == 422
    assert shared.mia.post(path, json={"reason": "  "}).status_code == 422
    revealed = shared.mia.post(path, json={"reason": "asked on the phone"}).json()
    assert revealed == {"user": USERS[0], "number": found["number"]}
    row = shared.ada.get("/api/v1/audit-log", params={"action": "reveal_user"}).json()["rows"][0]
    assert row["detail"] == {"user": found["number"], "reason": "asked on the phone"}
    assert row["who"] == "mia"


def test_support_answers_what_happened_to_one_user(shared):
    kim = shared.client("support", holder="kim")
    run = f"/api/v1/runs/{shared.run}"
    assert kim.get(f"{run}/units").status_code == 403
    ref = kim.post(f"{run}/users/find", json={"user": "bob"}).json()["user"]
    user = kim.get(f"{run}/users/{ref}").json()
    contacts = user["categories"][0]
    assert user["user"] == ref
    assert contacts["books"]["restored"] == 1
    assert contacts["quarantined"][0]["for_user"]
    assert contacts["items"][0]["ident"].startswith("i_")
    story = kim.get(f"{run}/users/{ref}/timeline").json()["rows"]
    assert next(part["what"] for part in story if part["category"] == "contacts") == "opened"
    assert "settled" in {part["what"] for part in story}


@pytest.mark.parametrize("name", ["nobody", "u_0000000000", "%2399", "u_1", "x" * 300])
def test_a_user_that_is_not_there_is_not_there(shared, name):
    for path in ("", "/timeline"):
        response = shared.mia.get(f"/api/v1/runs/{shared.run}/users/{name}{path}")
        assert response.status_code == 404
        assert name not in response.text


def test_a_banner_is_told_how_far_a_user_is(shared):
    found = shared.client("support").get("/api/v1/users/cat/status").json()
    assert found["finished"]
    assert {part["standing"] for part in found["categories"]} == {"attention", "done"}
    assert "in the way" not in json.dumps(found)
    assert found["text"] == "Back: your notes. We could not restore your contacts yet."
    assert (found["next_update"], found["status_page"]) == (None, None)


# Retries ------------------------------------------------------------------------------------------


def prepared(site: Furnished, **wish: object) -> dict:
    response = site.mia.post(f"/api/v1/runs/{site.run}/retries", json=wish)
    assert response.status_code == 201, response.text
    return response.json()


def test_a_retry_is_frozen_confirmed_and_followed(furnished):
    operation = prepared(furnished, query=f"cause:{furnished.cause['fingerprint']}")
    path = f"/api/v1/operations/{operation['id']}"
    assert operation["state"] == "prepared"
    assert operation["progress"]["not_begun"] == operation["units"] == len(OBSTRUCTED)
    assert furnished.service.status(furnished.run).run.state == "finished"  # nothing is done yet

    clear_the_way(furnished.service.folder)
    begun = furnished.mia.post(f"{path}/confirm", json={"units": operation["units"]})
    assert begun.status_code == 202
    assert begun.headers["Location"] == path
    furnished.service.go_on()
    found = furnished.mia.get(path).json()
    assert (found["state"], found["terminal"]) == ("started", True)
    assert found["progress"]["settled"] == len(OBSTRUCTED)
    assert furnished.mia.get(f"{path}/failed").json()["rows"] == []
    assert {"prepare_retry", "retry"} <= set(actions(furnished))


def test_everything_is_retried_only_by_who_says_how_much_that_is(furnished):
    operation = prepared(furnished)
    path = f"/api/v1/operations/{operation['id']}"
    for wrong in ({}, {"units": 0}, {"units": "all"}):
        assert furnished.mia.post(f"{path}/confirm", json=wrong).status_code == 422
    response = furnished.mia.post(f"{path}/confirm", json={"units": 99})
    assert response.json()["code"] == "refused"
    assert furnished.mia.get(path).json()["state"] == "prepared"


def test_what_fails_again_is_listed_with_the_reason(furnished):
    operation = prepared(furnished)
    path = f"/api/v1/operations/{operation['id']}"
    furnished.mia.post(f"{path}/confirm", json={"units": operation["units"]})
    furnished.service.go_on()
    rows = furnished.mia.get(f"{path}/failed").json()["rows"]
    assert len(rows) == operation["units"]
    assert {row["state"] for row in rows} == {"failed"}
    assert all(row["why"] and row["user"].startswith("u_") for row in rows)


def test_what_has_not_failed_any_more_is_left_out_and_said(furnished):
    first, second = prepared(furnished), prepared(furnished)
    clear_the_way(furnished.service.folder)
    furnished.mia.post(f"/api/v1/operations/{first['id']}/confirm", json={"units": first["units"]})
    furnished.service.go_on()
    path = f"/api/v1/operations/{second['id']}"
    furnished.mia.post(f"{path}/confirm", json={"units": second["units"]})
    found = furnished.mia.get(path).json()
    assert found["progress"]["skipped"] == second["units"]
    assert found["terminal"]
    why = {row["why"] for row in furnished.mia.get(f"{path}/failed").json()["rows"]}
    assert why == {"it has not failed any more when its turn came"}


def test_a_canary_goes_first_and_the_rest_only_after_it_did_well(furnished):
    operation = prepared(furnished, canary=1)
    path = f"/api/v1/operations/{operation['id']}"
    assert furnished.mia.post(f"{path}/continue", json={}).json()["code"] == "refused"
    furnished.mia.post(f"{path}/confirm", json={"units": operation["units"]})
    assert furnished.mia.post(f"{path}/continue", json={}).json()["code"] == "refused"
    clear_the_way(furnished.service.folder)
    furnished.service.go_on()
    assert furnished.mia.get(path).json()["progress"]["not_begun"] == len(OBSTRUCTED) - 1
    assert furnished.mia.post(f"{path}/continue", json={}).status_code == 202
    furnished.service.go_on()
    assert furnished.mia.get(path).json()["progress"]["settled"] == len(OBSTRUCTED)


def test_an_operation_that_was_dropped_does_nothing(furnished):
    operation = prepared(furnished, query="user:cat")
    path = f"/api/v1/operations/{operation['id']}"
    assert furnished.mia.delete(path).status_code == 204
    again = furnished.mia.post(f"{path}/confirm", json={"units": operation["units"]})
    assert again.json()["code"] == "refused"
    assert furnished.service.status(furnished.run).run.state == "finished"


def test_an_operation_shows_users_by_reference_whoever_asked_by_id(furnished):
    operation = prepared(furnished, query="user:cat category:contacts")
    assert "cat " not in operation["query"]
    assert "user:u_" in operation["query"]
    listed = furnished.mia.get(f"/api/v1/runs/{furnished.run}/operations").json()["rows"]
    assert [row["id"] for row in listed] == [operation["id"]]


@pytest.mark.parametrize("query", ["user:nobody", "state:settled", "colour:red", "state:"])
def test_a_retry_of_nothing_is_refused(furnished, query):
    response = furnished.mia.post(f"/api/v1/runs/{furnished.run}/retries", json={"query": query})
    assert response.json()["code"] in {"refused", "invalid"}


# Quarantine ---------------------------------------------------------------------------------------


def test_a_copy_is_exported_mended_and_handed_back(furnished):
    run = f"/api/v1/runs/{furnished.run}"
    row = furnished.mia.get(f"{run}/quarantine").json()["rows"][0]
    assert not {"file", "detail", "data", "ident"} & set(row)
    raw = furnished.mia.post(f"{run}/quarantine/{row['number']}/raw", json={"reason": "to mend"})
    assert raw.content == b"BEGIN:VCARD\r\nUID:cut"
    assert raw.headers["content-disposition"].startswith("attachment")
    lines = furnished.mia.post(f"{run}/quarantine/export", json={"reason": "to mend"}).text
    exported = [json.loads(line) for line in lines.splitlines()]
    assert [base64.b64decode(one["data"]) for one in exported] == [raw.content]

    mended = base64.b64encode(CARD.format("cut").replace("FN:A", "FN:B").encode()).decode()
    copies = [{"number": row["number"], "data": mended}]
    released = furnished.mia.post(
        f"{run}/quarantine/release", json={"copies": copies, "reason": "mended by hand"}
    )
    assert released.json() == {"copies": 1}
    furnished.service.go_on()
    user = furnished.mia.get(f"{run}/users/bob").json()
    books = user["categories"][0]["books"]
    assert (books["items"], books["nameless"], books["quarantined"]) == (2, 0, 0)
    assert actions(furnished).count("export_quarantine") == 2


def test_a_copy_that_is_not_there_is_not_there(shared):
    path = f"/api/v1/runs/{shared.run}/quarantine"
    assert shared.mia.post(f"{path}/999/raw", json={"reason": "to look"}).status_code == 404
    assert shared.mia.post(f"{path}/0/raw", json={"reason": "to look"}).status_code == 422
    wrong = {"copies": [{"number": 1, "data": "no base64!"}]}
    assert shared.mia.post(f"{path}/release", json=wrong).json()["code"] == "invalid"


# Overseeing ---------------------------------------------------------------------------------------


@pytest.mark.guarantee(14)
def test_the_audit_log_is_paged_filtered_and_proven(shared):
    rows, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = shared.ada.get("/api/v1/audit-log", params=params).json()
        rows += page["rows"]
        cursor = page["next"]
        if cursor is None:
            break
    ids = [row["id"] for row in rows]
    assert ids == sorted(ids, reverse=True)
    assert all(older["hash"] == row["previous"] for row, older in pairwise(rows))
    proven = shared.ada.get("/api/v1/audit-log/verification").json()
    assert (proven["whole"], proven["broken"], proven["last"]) == (True, [], rows[0]["hash"])
    mine = shared.ada.get("/api/v1/audit-log", params={"run": shared.run, "by": "jo"}).json()
    assert {row["action"] for row in mine["rows"]} == {"approve"}


def test_who_works_is_shown(shared):
    found = shared.mia.get("/api/v1/workers").json()
    assert found["conductor"] == "first"
    assert found["workers"] == []
