"""A site with something in it: a finished run with a failure, a loss, a damaged copy; and more."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.site import Client, Site

PLAN = """\
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00Z}
users: {from: users.csv, decline: erased.csv}
sources: {phones: {kind: vdir, path: material}}
targets: {live: {kind: vdir, path: restored, exclusive: true}}
defaults: {attempts: 1, gate: {failed: 100%}}
phases: [{restore: contacts, to: live}, {restore: notes, to: live}]
approvals: 1
"""
CARD = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{}\r\nFN:A\r\nN:A;;;;\r\nEND:VCARD\r\n"
USERS = ("ann@example.org", "bob", "cat", "dan")
OBSTRUCTED = ("cat", "dan")
FILES = {"users.csv": "user\n" + "".join(f"{user}\n" for user in USERS), "erased.csv": "user\n"}


def material(folder: Path) -> None:
    """Contacts of everybody; one of bob's is cut, and something stands in the way of two."""
    for user in USERS:
        contacts = folder / "material" / user.replace(".", "%2E") / "contacts"
        contacts.mkdir(parents=True)
        (contacts / "a.vcf").write_text(CARD.format(f"uid-{user}"), newline="")
    (folder / "material" / "bob" / "contacts" / "b.vcf").write_text("BEGIN:VCARD\r\nUID:cut")
    (folder / "restored").mkdir()
    for user in OBSTRUCTED:
        (folder / "restored" / user).write_text("in the way")


def clear_the_way(folder: Path) -> None:
    """What stood in the way is gone."""
    for user in OBSTRUCTED:
        (folder / "restored" / user).unlink()


def submission(folder: Path, text: str = PLAN) -> dict[str, object]:
    """The body of a POST of a run or preview."""
    return {"text": text, "folder": str(folder), "files": FILES}


class Furnished(Site):
    """A site and what is in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, batch_users=1)
        material(folder)
        self.mia = self.client("operator", holder="mia")
        self.jo = self.client("approver", holder="jo")
        self.ada = self.client("admin", holder="ada")
        self.run = self.finished()
        self.cause = self.mia.get(f"/api/v1/runs/{self.run}/failures").json()["rows"][0]

    def submitted(self) -> str:
        """A run that awaits approval."""
        body = submission(self.service.folder)
        made = self.mia.post("/api/v1/runs", json=body)
        assert made.status_code == 201, made.text
        self.service.go_on()
        return made.json()["run"]["id"]

    def finished(self) -> str:
        """A run that was carried out."""
        run = self.submitted()
        assert approve(self.jo, run).status_code == 200
        self.service.go_on()
        return run


def approve(client: Client, run: str) -> object:
    """Look at a run and approve it."""
    seen = client.get(f"/api/v1/runs/{run}")
    return client.post(
        f"/api/v1/runs/{run}/approve",
        json={"digest": seen.json()["digest"]},
        headers={"If-Match": seen.headers["ETag"]},
    )


@pytest.fixture
def furnished(tmp_path: Path) -> Iterator[Furnished]:
    """A furnished site of this test's own."""
    made = Furnished(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    """A furnished site for tests that do not mind each other."""
    made = Furnished(tmp_path_factory.mktemp("site"))
    yield made
    made.close()
