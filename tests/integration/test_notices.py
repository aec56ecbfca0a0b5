"""What happens to a run is told outside: signed, at least once, to nobody it should not reach."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from orchestrator.embedded.one_machine import Engine
from orchestrator.ledger import announcing, outbox
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.flow import cell_facts
from orchestrator.ledger.schema import bulletin, delivery, delivery_attempt, notice
from orchestrator.metrics.listening import exposed
from orchestrator.notices import ATTEMPTS, DeliveryEnd, DeliveryState, NoticeKind
from orchestrator.planner import read_plan
from orchestrator.runs import Runs
from orchestrator.sealing import load_sealer
from orchestrator.settings import Settings
from orchestrator.submitting import Submission
from tests.hook_receiver import receiver
from tests.in_process import Service
from tests.site import Site
from workers.notifying.addresses import Destination
from workers.notifying.calling import call
from workers.notifying.delivering import deliver
from workers.notifying.doubts import doubts
from workers.sources import memory as source
from workers.targets import memory as target

SECRET = "whsec_" + "QUJD" * 8
PLAN = """
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {core: {kind: memory, name: told}}
targets: {live: {kind: memory, name: told}}
waves: [{name: canary, users: 1}, {name: everyone}]
defaults: {gate: {failed: 100%}}
phases: [{restore: contacts, to: live, gate: {approve: 1}}]
approvals: 1
notify: {webhook: {url: env:HOOK_URL, secret: env:HOOK_SECRET}}
"""
CARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:%d\r\nN:B;A;;;\r\nFN:canary-name\r\nEND:VCARD\r\n"
BAD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:cut"


@pytest.fixture
def service(tmp_path, monkeypatch):
    source.put(
        "told",
        {
            f"canary-user-{n}": {"contacts": {"1.vcf": CARD % n, "2.vcf": BAD if n else CARD % 9}}
            for n in range(3)
        },
    )
    target.forget("told")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HOOK_URL", "https://hooks.invalid/")
    made = Service(tmp_path)
    made.clock.now = datetime.now(UTC)
    yield made
    made.ledger.close()


def at(service, monkeypatch, port, path="/hook"):
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{port}{path}")
    service.work.hook_hosts = frozenset({f"127.0.0.1:{port}"})


def errands(service):
    """Let the worker come to what was knocked for."""
    while service.rings.knocks:
        deliver(service.work, service.rings.knocks.pop(0))


def carried_out(service):
    run_id = service.submit(PLAN)
    service.go_on()
    service.runs.approve(run_id, who="jo", reason="canary-reason")
    service.go_on()
    while not service.status(run_id).over:
        service.runs.promote(run_id, who="jo", reason="canary-reason")
        service.go_on()
    return run_id


def rows(service, table):
    with service.ledger.read() as connection:
        return connection.execute(select(table)).all()


def states(service):
    return [row.state for row in sorted(rows(service, delivery), key=lambda row: row.id)]


EVERYTHING = [
    "run.awaiting_approval",
    "run.approved",
    "run.started",
    "gate.opened",
    "gate.held",
    "wave.settled",
    "gate.opened",
    "gate.held",
    "run.finished",
    "run.losses_to_accept",
]


def test_a_receiver_hears_of_all_that_happens_and_can_tell_that_it_was_us(
    service, tmp_path, monkeypatch
):
    with receiver(tmp_path / "got") as hook:
        at(service, monkeypatch, hook.port)
        service.work.clock = lambda: datetime.now(UTC)  # what checks signatures has no other
        carried_out(service)
        errands(service)
        got = hook.await_requests(len(EVERYTHING))
    bodies = []
    for one in got:
        bodies.append(Webhook(SECRET).verify(one["body"], one["headers"]))
        assert one["headers"]["webhook-id"] == bodies[-1]["id"]
        assert one["headers"]["content-type"] == "application/cloudevents+json"
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + "QUJE" * 8).verify(one["body"], one["headers"])
    bodies.sort(key=lambda body: EVERYTHING.index(body["type"].removeprefix("reinstate.")))
    kinds = sorted(body["type"].removeprefix("reinstate.") for body in bodies)
    assert kinds == sorted(EVERYTHING)
    finished = next(body for body in bodies if body["type"] == "reinstate.run.finished")
    assert finished["data"] | {"settled": 3, "quarantined": 2, "lost": 0} == finished["data"]
    assert "canary" not in json.dumps(got).replace('"wave": "canary"', "").replace(
        '\\"wave\\": \\"canary\\"', ""
    ).replace("contacts for canary", "")
    assert set(states(service)) == {DeliveryState.DELIVERED}
    told = exposed(service.measured.collect).decode()
    assert 'delivery_attempts_total{channel="webhook",end="delivered"} 10.0' in told
    assert len({body["id"] for body in bodies}) == len(bodies)


@pytest.mark.guarantee(6)
def test_what_was_committed_is_delivered_whoever_is_killed(service, tmp_path, monkeypatch):
    with receiver(tmp_path / "got") as hook:
        at(service, monkeypatch, hook.port)
        service.submit(PLAN)
        service.go_on()
        service.rings.knocks.clear()  # the conductor died after its commit, before it could knock
        service.clock.advance(milliseconds=outbox.LEASE_MS + 1_000)
        service.another_conductor("second")
        service.clock.advance(minutes=1)
        service.go_on()
        knock = service.rings.knocks[-1]
        with service.ledger.begin() as connection:  # the worker dies in the middle of it
            assert outbox.claim(connection, knock, now=service.ledger.clock(connection))
        service.clock.advance(milliseconds=outbox.LEASE_MS + 1_000)
        service.rings.knocks.clear()
        service.conductor.tick()
        deliver(service.work, knock)  # what was sent before comes late
        assert hook.requests() == []
        errands(service)
        (got,) = hook.await_requests(1)
        errands(service)
    assert json.loads(got["body"])["type"] == "reinstate.run.awaiting_approval"
    ends = [row.end for row in rows(service, delivery_attempt)]
    assert ends == [DeliveryEnd.CUT_OFF, DeliveryEnd.DELIVERED]


def test_what_does_not_arrive_is_tried_again_later_and_later_under_the_same_id(
    service, tmp_path, monkeypatch
):
    with receiver(tmp_path / "got", 500, 503, 302, 404, 204) as hook:
        at(service, monkeypatch, hook.port)
        service.submit(PLAN)
        service.go_on()
        waits = []
        while states(service) == [DeliveryState.WAITING]:
            errands(service)
            (row,) = rows(service, delivery)
            now = int(service.clock.now.timestamp() * 1000)
            waits.append(row.not_before - now)
            service.conductor.tick()
            assert not service.rings.knocks or row.state != DeliveryState.WAITING
            service.clock.now += timedelta(milliseconds=row.not_before - now + 1)
            service.conductor.tick()
        got = hook.requests()
    assert states(service) == [DeliveryState.DELIVERED]
    assert len({one["headers"]["webhook-id"] for one in got}) == 1
    assert len({one["body"] for one in got}) == 1
    assert {one["path"] for one in got} == {"/hook"}
    attempts = rows(service, delivery_attempt)
    assert [row.end for row in attempts] == [
        *("declined", "declined", "redirect", "declined", "delivered")
    ]
    assert [row.status for row in attempts] == [500, 503, 302, 404, 204]
    assert waits[1] >= 119_000, "it said when to come again"
    assert waits[0] < waits[2] < waits[3]


def test_who_is_gone_is_told_nothing_more_until_somebody_sends_again(
    service, tmp_path, monkeypatch
):
    with receiver(tmp_path / "got", 410, 204) as hook:
        at(service, monkeypatch, hook.port)
        run_id = service.submit(PLAN)
        service.go_on()
        errands(service)
        service.runs.approve(run_id, who="jo", reason="x")
        service.go_on()
        errands(service)
        assert set(states(service)) == {DeliveryState.GONE}
        assert len(hook.requests()) == 1
        first = min(row.id for row in rows(service, delivery))
        with service.ledger.begin() as connection:
            outbox.send_again(connection, first, now=service.ledger.clock(connection))
        service.conductor.tick()
        errands(service)
        assert states(service)[0] == DeliveryState.DELIVERED
        assert set(states(service)[1:]) == {DeliveryState.FAILED}
        service.runs.pause(run_id, who="jo", reason="canary-reason")
        service.conductor.tick()
        errands(service)
        assert json.loads(hook.requests()[-1]["body"])["type"] == "reinstate.run.paused"


@pytest.mark.parametrize(
    ("url", "end"),
    [
        ("http://127.0.0.1:{port}/", DeliveryEnd.BAD_ADDRESS),
        ("https://127.0.0.1:{port}/", DeliveryEnd.FORBIDDEN_ADDRESS),
        ("https://localhost:{port}/", DeliveryEnd.FORBIDDEN_ADDRESS),
        ("https://[::ffff:127.0.0.1]:{port}/", DeliveryEnd.FORBIDDEN_ADDRESS),
        ("https://2130706433:{port}/", DeliveryEnd.BAD_ADDRESS),
        ("https://169.254.169.254/latest/meta-data", DeliveryEnd.FORBIDDEN_ADDRESS),
        ("https://hooks.invalid/", DeliveryEnd.UNREACHABLE),
    ],
)
def test_nobody_inside_is_reached(service, tmp_path, monkeypatch, url, end):
    with receiver(tmp_path / "got") as hook:
        monkeypatch.setenv("HOOK_URL", url.format(port=hook.port))
        service.submit(PLAN)
        service.go_on()
        errands(service)
        assert hook.requests() == []
    assert [row.end for row in rows(service, delivery_attempt)] == [end]


def test_a_secret_that_is_missing_or_none_is_said_before_and_after(service, monkeypatch):
    monkeypatch.setenv("HOOK_SECRET", "hunter2")
    run_id = service.submit(PLAN)
    service.go_on()
    warnings = " ".join(service.status(run_id).warnings)
    assert "its secret is none of Standard Webhooks" in warnings
    errands(service)
    monkeypatch.delenv("HOOK_SECRET")
    service.clock.advance(hours=1)
    service.conductor.tick()
    errands(service)
    assert {row.end for row in rows(service, delivery_attempt)} == {DeliveryEnd.SECRET_MISSING}
    plan = service.progress.plan(run_id)
    said = doubts(plan.notify, service.work.secret, trusted=())
    assert said == ["the webhook is not called: the environment of the workers has no HOOK_SECRET"]


def test_attempts_are_used_up_and_then_it_has_failed(service):
    service.submit(PLAN)
    service.go_on()
    for _ in range(ATTEMPTS):
        errands(service)
        service.clock.advance(hours=9)
        service.conductor.tick()
    assert service.rings.knocks == []
    assert states(service) == [DeliveryState.FAILED]
    assert len(rows(service, delivery_attempt)) == ATTEMPTS


def test_a_plan_without_notify_keeps_no_notice_and_a_preview_neither(service):
    quiet = PLAN.partition("notify:")[0]
    service.submit(quiet)
    service.submit(PLAN, preview=True)
    service.go_on()
    assert rows(service, notice) == []
    assert rows(service, delivery) == []


def test_a_stall_and_a_promise_are_told_once(service):
    run_id = service.submit(PLAN)
    service.go_on()
    service.runs.approve(run_id, who="jo", reason="x")
    service.conductor.tick()
    service.conductor.tick()  # batches are out, and nobody works
    now = int(service.clock.now.timestamp() * 1000)
    due = now + announcing.STALLED_MS
    with service.ledger.begin() as connection:
        said = {"run": run_id, "at": now, "text": "wait", "who": "jo", "next_due": due}
        connection.execute(insert(bulletin).values(id=1, **said))
    for _ in range(90):
        service.clock.advance(seconds=15)
        service.conductor.tick()
    kinds = [row.kind for row in sorted(rows(service, notice), key=lambda row: row.at)]
    wanted = [NoticeKind.PROMISE_DUE, NoticeKind.STALLED, NoticeKind.PROMISE_MISSED]
    assert [kind for kind in kinds if kind in wanted] == sorted(wanted, key=kinds.index)
    assert set(wanted) <= set(kinds)
    with service.ledger.begin() as connection:
        facts = cell_facts(connection, run_id)
        announcing.tell_stall(connection, run_id, facts, now=now + 10**9)
    assert len(rows(service, notice)) == len(kinds)


def test_circuits_are_told_when_they_open_and_close(service):
    run_id = service.submit(PLAN.replace("{gate:", "{attempts: 100, gate:"))
    service.go_on()
    service.runs.approve(run_id, who="jo", reason="x")
    target.store("told").away = True
    while NoticeKind.CIRCUIT_OPENED not in {row.kind for row in rows(service, notice)}:
        service.conductor.tick()
        service.answer()
        service.clock.advance(seconds=10)
    target.store("told").away = False
    service.go_on()
    kinds = {row.kind: json.loads(row.data) for row in rows(service, notice)}
    assert kinds[NoticeKind.CIRCUIT_OPENED]["of"] == "live"
    assert kinds[NoticeKind.CIRCUIT_CLOSED]["of"] == "live"


def test_what_is_rolled_back_is_told_to_nobody(service):
    run_id = service.submit(PLAN)

    class Rolled(Exception):
        pass

    def told_and_rolled_back():
        with service.ledger.begin() as connection:
            outbox.tell(connection, run_id, NoticeKind.PAUSED, now=1)
            raise Rolled

    with pytest.raises(Rolled):
        told_and_rolled_back()
    assert rows(service, notice) == []


def test_the_same_is_told_once_however_often_it_is_said(service):
    run_id = service.submit(PLAN)
    for _ in range(3):
        with service.ledger.begin() as connection:
            outbox.tell(connection, run_id, NoticeKind.TEST, now=1, subject="same")
    assert len(rows(service, notice)) == len(rows(service, delivery)) == 1


# The call itself ----------------------------------------------------------------------------------


def reached(port, *, scheme="http", host="127.0.0.1", **how):
    to = Destination(scheme=scheme, host=host, port=port, target="/x", address="127.0.0.1")
    return call(to, {}, b"{}", **how)


def test_an_answer_that_does_not_come_is_not_waited_for(tmp_path):
    with receiver(tmp_path / "got", "slow") as hook:
        began = datetime.now(UTC)
        assert reached(hook.port, seconds=0.5).end is DeliveryEnd.TOO_SLOW
        assert datetime.now(UTC) - began < timedelta(seconds=10)


def test_a_redirect_is_not_followed_and_a_refused_connection_is_said(tmp_path):
    with receiver(tmp_path / "got", 302) as hook:
        assert reached(hook.port).end is DeliveryEnd.REDIRECT
    assert reached(hook.port).end is DeliveryEnd.UNREACHABLE


def test_the_certificate_has_to_be_the_names_although_the_address_is_called(tmp_path):
    pem, trust = certificate(tmp_path, "hooks.example.org")
    with receiver(tmp_path / "got", certificate=pem) as hook:
        came = reached(hook.port, scheme="https", host="hooks.example.org", trust=trust)
        assert came.end is DeliveryEnd.DELIVERED
        (got,) = hook.requests()
        assert got["headers"]["host"] == f"hooks.example.org:{hook.port}"
        assert got["server_name"] == "hooks.example.org"
        for host in ("other.example.org", "127.0.0.1"):
            came = reached(hook.port, scheme="https", host=host, trust=trust)
            assert came.end is DeliveryEnd.UNREACHABLE
        came = reached(hook.port, scheme="https", host="hooks.example.org")
        assert came.end is DeliveryEnd.UNREACHABLE, "nobody vouches for it"
        assert len(hook.requests()) == 1


def certificate(folder, name):
    """A file with key and certificate of a name, and what believes it."""
    import ssl  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    text = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "server.pem").write_bytes(private + text)
    (folder / "authority.pem").write_bytes(text)
    return folder / "server.pem", ssl.create_default_context(cafile=str(folder / "authority.pem"))


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # apprise asks for it
def test_operators_are_told_by_whatever_apprise_knows(service, tmp_path, monkeypatch):
    with receiver(tmp_path / "got", 200) as hook:
        monkeypatch.setenv("APPRISE_URL", f"json://127.0.0.1:{hook.port}/people")
        service.submit(PLAN.partition("notify:")[0] + "notify: {operators: env:APPRISE_URL}\n")
        service.go_on()
        errands(service)
        (got,) = hook.await_requests(1)
    assert "awaits approval" in got["body"]
    assert states(service) == [DeliveryState.DELIVERED]


def test_without_apprise_that_is_said(service, monkeypatch):
    monkeypatch.setenv("APPRISE_URL", "json://127.0.0.1:1/people")
    monkeypatch.setitem(__import__("sys").modules, "apprise", None)
    run_id = service.submit(PLAN.partition("notify:")[0] + "notify: {operators: env:APPRISE_URL}\n")
    service.go_on()
    assert "install reinstate[apprise]" in " ".join(service.status(run_id).warnings)
    errands(service)
    assert [row.end for row in rows(service, delivery_attempt)] == [DeliveryEnd.NOT_INSTALLED]


@pytest.mark.long
def test_the_processes_of_one_machine_deliver(tmp_path, monkeypatch):
    with receiver(tmp_path / "got") as hook:
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{hook.port}/hook")
        variables = {
            "REINSTATE_HOME": str(tmp_path / "home"),
            "REINSTATE_WORKERS": "2",
            "REINSTATE_HOOK_HOSTS": f"127.0.0.1:{hook.port}",
        }
        settings = Settings.read(variables)
        (tmp_path / "cache" / "ann" / "contacts").mkdir(parents=True)
        (tmp_path / "cache" / "ann" / "contacts" / "1.vcf").write_bytes(CARD % 1)
        (tmp_path / "pim").mkdir()
        text = PLAN.replace("memory, name: told", "vdir, path: cache", 1)
        text = text.replace("memory, name: told", "vdir, path: pim", 1)
        with Engine(settings):
            ledger = Ledger(settings.ledger_url)
            plan = read_plan(text.encode(), path="plan.yaml", base=tmp_path)
            given = Submission(plan=plan, text=text, folder=str(tmp_path), author="mia")
            Runs(ledger, load_sealer(settings)).submit(given)
            (got,) = hook.await_requests(1, seconds=60)
            ledger.close()
    assert Webhook(SECRET).verify(got["body"], got["headers"])["type"] == (
        "reinstate.run.awaiting_approval"
    )


# Seeing and sending again -------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path, monkeypatch):
    """A site with a run whose webhook is away."""
    source.put("told", {"ann": {"contacts": {"1.vcf": CARD % 1}}})
    target.forget("told")
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    monkeypatch.setenv("HOOK_URL", "https://127.0.0.1/")
    site = Site(tmp_path)
    run = site.service.submit(PLAN)
    site.service.go_on()
    errands(site.service)
    yield site, run
    site.close()


def test_the_log_has_every_attempt_and_nothing_of_the_answer(told):
    site, run = told
    (row,) = site.client("viewer").get(f"/api/v1/runs/{run}/deliveries").json()["rows"]
    assert (row["kind"], row["channel"], row["state"]) == (
        *("run.awaiting_approval", "webhook", "waiting"),
    )
    (attempt,) = row["attempts"]
    assert (attempt["end"], attempt["status"]) == ("forbidden_address", None)
    assert set(attempt) == {"attempt", "at", "end", "status", "duration_ms"}


def test_an_operator_sends_again_and_tries_out_and_the_audit_log_has_it(
    told, tmp_path, monkeypatch
):
    site, run = told
    mia = site.client("operator", holder="mia")
    path = f"/api/v1/runs/{run}/deliveries"
    (row,) = mia.get(path).json()["rows"]
    with receiver(tmp_path / "got") as hook:
        at(site.service, monkeypatch, hook.port)
        assert mia.post(f"{path}/{row['id']}/resend").json() == {"deliveries": 1}
        assert mia.post(f"{path}/test").json() == {"deliveries": 1}
        site.service.conductor.tick()
        errands(site.service)
        got = [json.loads(one["body"]) for one in hook.await_requests(2)]
    assert {one["type"] for one in got} == {"reinstate.run.awaiting_approval", "reinstate.test"}
    assert row["notice"] in {one["id"] for one in got}
    first = mia.get(path, params={"limit": 1}).json()
    second = mia.get(path, params={"cursor": first["next"]}).json()
    assert [len(one["attempts"]) for one in (*first["rows"], *second["rows"])] == [1, 2]
    lines = mia.get("/api/v1/audit-log", params={"run": run}).json()["rows"]
    assert {"send_again", "try_out_notices"} <= {line["action"] for line in lines}
    assert mia.post(f"{path}/999/resend").status_code == 404
    assert site.client("viewer").post(f"{path}/{row['id']}/resend").status_code == 403


def test_a_run_that_names_nobody_says_how(told):
    site, _ = told
    quiet = site.service.submit(PLAN.partition("notify:")[0])
    answer = site.client("operator").post(f"/api/v1/runs/{quiet}/deliveries/test")
    assert (answer.status_code, "notify:" in answer.json()["hint"]) == (409, True)


def test_the_page_shows_the_log_and_sends_again(told):
    site, run = told
    browser = site.anonymous()
    secret = site.client("operator", holder="mia").headers["Authorization"].removeprefix("Bearer ")
    origin = {"Sec-Fetch-Site": "same-origin"}
    assert browser.post("/login", data={"token": secret}, headers=origin).status_code == 303
    text = browser.get(f"/runs/{run}/deliveries").text
    assert "run.awaiting_approval" in text
    assert "forbidden address" in text
    number = re.search(r"deliveries/(\d+)/resend", text)[1]
    form = {**origin, "Content-Type": "application/x-www-form-urlencoded"}
    answer = browser.post(f"/runs/{run}/deliveries/{number}/resend", headers=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{run}/deliveries")
