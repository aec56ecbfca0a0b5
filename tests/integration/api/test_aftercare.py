"""What comes after a run, over HTTP: verify, undo, choose, forget, close."""

from tests.installed import approve, furnished

__all__ = ["furnished"]


def matched(client, path: str):
    return {"If-Match": client.get(path).headers["ETag"]}


def test_a_run_is_verified_and_undone_by_two_people(furnished):
    run = f"/api/v1/runs/{furnished.run}"
    begun = furnished.mia.post(f"{run}/verify", json={})
    assert begun.status_code == 202
    furnished.service.go_on()
    found = furnished.mia.get(f"{begun.headers['Location']}/findings").json()
    assert found["terminal"]
    assert found["places"]["places"] == found["places"]["as_left"] == 2
    assert found["undo"]["removed"] == 2

    hurried = furnished.mia.post(f"{run}/undo", json={"reason": "wrong people"})
    assert hurried.json()["code"] == "if-match-missing"
    undone = furnished.mia.post(
        f"{run}/undo", json={"reason": "wrong people"}, headers=matched(furnished.mia, run)
    )
    furnished.service.go_on()
    number = undone.json()["run"]["id"]
    assert approve(furnished.client("approver", holder="mia"), number).status_code == 409
    assert approve(furnished.jo, number).status_code == 200
    furnished.service.go_on()
    found = furnished.mia.get(f"/api/v1/runs/{number}/findings").json()
    assert found["places"] == {
        "places": 2, "removed": 2, "put_back": 0, "left": 0, "already": 0,
    }  # fmt: skip
    assert furnished.mia.get(f"{run}/findings").json()["code"] == "refused"


def test_who_sees_a_run_sees_what_is_about_it(furnished):
    own = furnished.client("operator", holder="mia", runs=[furnished.run])
    begun = own.post(f"/api/v1/runs/{furnished.run}/verify", json={"sample": 1})
    assert own.get(begun.headers["Location"]).status_code == 200
    assert len(own.get("/api/v1/runs").json()["rows"]) == 2
    foreign = furnished.client("operator", runs=["ffffffff"])
    assert foreign.get(begun.headers["Location"]).status_code == 404


def test_a_user_chooses_and_is_forgotten(furnished):
    user = f"/api/v1/runs/{furnished.run}/users/bob"
    chosen = furnished.client("support").post(f"{user}/choice", json={"choice": "keep-mine"})
    assert chosen.json() == {"again": 0}
    erased = furnished.mia.post(f"{user}/forget", json={"reason": "asked to be erased"}).json()
    assert erased["keys"] >= 1
    found = furnished.mia.get(user).json()
    assert found["declined"]
    assert found["categories"][0]["items"] == []
    reveal = furnished.mia.post(f"{user}/reveal", json={"reason": "who was it"})
    assert reveal.json()["code"] == "refused"


def test_a_run_is_closed_by_an_administrator_only(furnished):
    run = f"/api/v1/runs/{furnished.run}"
    headers = matched(furnished.ada, run)
    early = furnished.ada.post(f"{run}/close", json={"reason": "all is well"}, headers=headers)
    assert early.json()["code"] == "refused"
    body = {"reason": "all is well", "early": True}
    assert furnished.mia.post(f"{run}/close", json=body, headers=headers).status_code == 403
    assert furnished.ada.post(f"{run}/close", json=body, headers=headers).status_code == 200
    retry = furnished.mia.post(f"{run}/retries", json={}).json()
    confirmed = furnished.mia.post(
        f"/api/v1/operations/{retry['id']}/confirm", json={"units": retry["units"]}
    )
    assert confirmed.json()["code"] == "refused"
