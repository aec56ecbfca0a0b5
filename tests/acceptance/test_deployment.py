"""What deploy/ ships: it renders, passes the linters of its makers, and names only what exists.

The chart goes through Helm's own library, in a process of its own; what it renders goes through the
schemas of Kubernetes. Nothing is installed into a cluster, no image is built, no container runs.
"""

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

import orchestrator
from orchestrator.cli.main import COMMANDS
from orchestrator.metrics.families import FAMILIES
from orchestrator.settings import KNOWN
from workers.app import DRAIN_SECONDS

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "reinstate"
PROCESSES = {"migrate", "conductor", "worker", "api"}


def needs(module):
    """Wheels of these are made for Linux on two processors only."""
    return pytest.mark.skipif(find_spec(module) is None, reason=f"no {module} for this machine")


# Compose ------------------------------------------------------------------------------------------


def example(text):
    """The variables of the example, filled in."""
    return {
        name: f"{name.lower()}-filled-in" for name in re.findall(r"^([A-Z_]+)=", text, re.MULTILINE)
    }


def compose():
    """The file as `docker compose` sees it: variables are filled in, merges are done."""
    known = example((DEPLOY / "environment.example").read_text())

    def filled(match):
        name, how, word = match["name"], match["how"], match["word"]
        assert name in known or how == ":-", f"{name} is not in the example"
        return known.get(name) or word

    found = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    text = json.dumps({key: part for key, part in found.items() if not key.startswith("x-")})
    pattern = r"(?<!\$)\$\{(?P<name>[A-Z_]+)(?:(?P<how>:[?-])(?P<word>[^}]*))?\}"
    return json.loads(re.sub(pattern, filled, text).replace("$$", "$"))


@needs("compose_spec")
def test_compose_renders_with_the_example_to_what_the_specification_allows():
    from compose_spec import PyCompose  # noqa: PLC0415  not on every machine

    rendered = compose()
    read = PyCompose.from_yaml(yaml.safe_dump(rendered))
    assert set(read.service_names()) == set(rendered["services"])
    for bad in ({"restrat": "always"}, {"stop_grace_period": "soon"}, {"deploy": {"replica": 2}}):
        worker = {**rendered["services"]["worker"], **bad}
        wrong = {**rendered, "services": {**rendered["services"], "worker": worker}}
        with pytest.raises(ValueError):
            PyCompose.from_yaml(yaml.safe_dump(wrong))


def test_compose_awaits_services_that_exist_and_can_say_that_they_are_healthy():
    services = compose()["services"]
    for service in services.values():
        for awaited, how in service.get("depends_on", {}).items():
            assert how["condition"] != "service_healthy" or "healthcheck" in services[awaited]


def test_compose_keeps_what_the_guarantees_need():
    services = compose()["services"]
    assert "--synchronous_commit=on" in services["postgres"]["command"]
    assert services["conductor"]["deploy"]["replicas"] == 2
    assert services["migrate"]["restart"] == "no"
    settings = dict(
        line.split(" ", 1)
        for line in (DEPLOY / "redis" / "redis.conf").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert settings["maxmemory-policy"] == "noeviction"
    assert "user default off" in (DEPLOY / "redis" / "start.sh").read_text()


def test_compose_mounts_only_files_that_are_there_and_volumes_that_are_declared():
    found = compose()
    for service in found["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./") and source != "./material":
                assert (DEPLOY / source).is_file(), source
            elif not source.startswith("./"):
                assert source in found["volumes"]


# Every way of starting it -------------------------------------------------------------------------


def variables(path):
    return set(re.findall(r"\bREINSTATE_[A-Z_]+", path.read_text()))


@pytest.mark.parametrize(
    "path", [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()], ids=str
)
def test_only_variables_that_exist_are_named(path):
    assert variables(path) <= set(KNOWN) | {"REINSTATE_MATERIAL"}


@needs("helm_python")
def test_every_process_that_is_started_is_a_command():
    by_compose = {
        service["command"][0]
        for service in compose()["services"].values()
        if service["image"] == "reinstate" and "command" in service
    }
    by_systemd = {
        word
        for unit in (DEPLOY / "systemd").glob("*.service")
        for word in re.findall(r"^ExecStart=\S+ (\w+)", unit.read_text(), re.MULTILINE)
    }
    by_chart = {container["args"][0] for _, container in containers(rendered())}
    assert by_compose == by_chart == by_systemd | {"migrate"} == PROCESSES
    assert set(COMMANDS) >= PROCESSES


@needs("helm_python")
def test_workers_get_time_to_hand_back_what_they_hold():
    unit = (DEPLOY / "systemd" / "reinstate-worker@.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)[1]) > DRAIN_SECONDS
    (pod,) = (pod for pod, container in containers(rendered()) if container["name"] == "worker")
    assert pod["terminationGracePeriodSeconds"] > DRAIN_SECONDS
    grace = compose()["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > DRAIN_SECONDS


# What Prometheus and Grafana are given -----------------------------------------------------------


RULES = DEPLOY / "prometheus" / "rules.yaml"
DASHBOARD = DEPLOY / "grafana" / "reinstate.json"


def queries():
    """Every expression of the rules and of the dashboard."""
    rules = yaml.safe_load(RULES.read_text())
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("query", list(queries()))
def test_what_is_asked_of_prometheus_is_exported_with_these_labels(query):
    names = re.findall(r"\breinstate_\w+", query)
    families = [FAMILIES.get(name) or FAMILIES[re.sub(SUFFIX, "", name)] for name in names]
    known = {label for family in families for label in family.labels} | {"le"}
    by = {
        label
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
        for label in group.split(", ")
    }
    asked = {
        label
        for group in re.findall(r"\{([^}]*)\}", query)
        for label in re.findall(r"(\w+)=", group)
    }
    assert families
    assert by | asked <= known
    for name in names:
        histogram = re.search(SUFFIX, name) is not None
        assert histogram == (name not in FAMILIES)


SUFFIX = r"_(bucket|count|sum)$"


def test_the_dashboard_has_panels_that_do_not_cover_each_other():
    panels = json.loads(DASHBOARD.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    seen = set()
    for panel in panels:
        at = panel["gridPos"]
        spots = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not spots & seen, panel["title"]
        assert max(x for x, _ in spots) < 24
        seen |= spots


PROMTOOL = shutil.which("promtool")
ALERTS = """
rule_files: [RULES]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'reinstate_unbalanced_books{run="7f3a", job="api"}', values: '0x5 1x30'}
      - {series: 'reinstate_unbalanced_books{run="7f3a", job="conductor"}', values: '0x5 1x30'}
      - {series: 'reinstate_leaders', values: '1x5 0x30'}
      - {series: 'reinstate_build_info{version="1"}', values: '1x40'}
      - {series: 'reinstate_progress_timestamp_seconds{run="7f3a"}', values: '0x40'}
      - {series: 'reinstate_open_units{run="7f3a"}', values: '12x40'}
      - {series: 'reinstate_run_info{run="7f3a", state="running"}', values: '1x40'}
      - {series: 'reinstate_progress_timestamp_seconds{run="beef"}', values: '0x40'}
      - {series: 'reinstate_open_units{run="beef"}', values: '0x40'}
      - {series: 'reinstate_run_info{run="beef", state="running"}', values: '1x40'}
      - {series: 'reinstate_oldest_ready_unit_seconds{run="7f3a"}', values: '50000x40'}
      - {series: 'reinstate_circuit_open{run="7f3a", of="pim"}', values: '1x40'}
      - {series: 'reinstate_cells{run="7f3a", state="held"}', values: '1x40'}
      - {series: 'reinstate_promise_missed{run="7f3a"}', values: '0x5 1x30'}
      - {series: 'reinstate_oldest_delivery_seconds', values: '4000x40'}
      - {series: 'reinstate_ledger_clock_skew_seconds{job="api"}', values: '-9x40'}
      - {series: 'reinstate_conductor_tick_seconds_bucket{le="1"}', values: '0x40'}
      - {series: 'reinstate_conductor_tick_seconds_bucket{le="5"}', values: '0+60x40'}
      - {series: 'reinstate_conductor_tick_seconds_bucket{le="+Inf"}', values: '0+60x40'}
    alert_rule_test: [EXPECTED]
  - interval: 1m
    input_series: [{series: 'reinstate_leaders', values: '1x40'}]
    alert_rule_test: [{eval_time: 30m, alertname: ReinstateNothingExported, exp_alerts: [{}]}]
"""


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine: see tests/machine.sh")
def test_each_alert_fires_once_for_what_it_is_about_and_for_nothing_else(tmp_path):
    checked = subprocess.run(
        [PROMTOOL, "check", "rules", RULES], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    text = yaml.safe_load(ALERTS)
    text["rule_files"] = [str(RULES)]
    about = {"ReinstateCircuitOpen": {"run": "7f3a", "of": "pim"}}
    for name in ("NoLeader", "NoticesDoNotArrive", "LedgerClockSkew", "LedgerSlow"):
        about[f"Reinstate{name}"] = {}
    expected = []
    for rule in rules:
        name = rule["alert"]
        labels = {**about.get(name, {"run": "7f3a"}), **rule["labels"]}
        alerts = [] if name == "ReinstateNothingExported" else [{"exp_labels": labels}]
        expected.append({"eval_time": "30m", "alertname": name, "exp_alerts": alerts})
        calm = name in {"ReinstateBooksUnbalanced", "ReinstateNoLeader", "ReinstatePromiseMissed"}
        if calm:
            expected.append({"eval_time": "3m", "alertname": name, "exp_alerts": []})
    text["tests"][0]["alert_rule_test"] = expected
    (silent,) = (rule for rule in rules if rule["alert"] == "ReinstateNothingExported")
    text["tests"][1]["alert_rule_test"][0]["exp_alerts"] = [{"exp_labels": silent["labels"]}]
    for test in text["tests"]:  # what an alert says is for people
        for one in test["alert_rule_test"]:
            for alert in one["exp_alerts"]:
                alert["exp_annotations"] = said(rules, one["alertname"], alert["exp_labels"])
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump(text))
    tested = subprocess.run(
        [PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def said(rules, name, labels):
    (rule,) = (rule for rule in rules if rule["alert"] == name)
    filled = {
        key: re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
        for key, text in rule["annotations"].items()
    }
    return {
        key: text.replace("{{ $value | humanizeDuration }}", "9s") for key, text in filled.items()
    }


# The image ----------------------------------------------------------------------------------------


LINTER = Path(sys.executable).with_name("hadolint")


@pytest.mark.skipif(not LINTER.exists(), reason="no hadolint for this machine")
def test_the_dockerfile_has_no_fault_that_hadolint_knows():
    linted = subprocess.run(
        [LINTER, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (linted.returncode, linted.stdout + linted.stderr) == (0, "")


def test_the_image_is_built_from_files_that_exist_and_runs_as_nobody_in_particular():
    text = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert "--require-hashes" in text
    allowed = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert f"!{name}" in allowed
            assert (DEPLOY.parent / name).exists() or name == "README.md", name


# systemd ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_systemd_takes_the_units(unit, tmp_path):
    text = unit.read_text()
    assert re.findall(r"^\[(\w+)\]", text, re.MULTILINE)[0] == "Unit"
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("no systemd-analyze: only the sections were looked at")
    for other in unit.parent.iterdir():
        lines = other.read_text().replace("/opt/reinstate/bin/reinstate", "/bin/true")
        (tmp_path / other.name.replace("@.", "@1.")).write_text(lines)
    named = tmp_path / unit.name.replace("@.", "@1.")
    checked = subprocess.run(
        [verify, "verify", "--man=no", str(named)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "reinstate" in line]
    assert ours == []


# The chart ----------------------------------------------------------------------------------------

# Helm's library is Go: it stays out of this process, which other tests fork.
HELM = """
import json, sys
from helm_python import Chart, lint
chart, values = sys.argv[1], json.loads(sys.argv[2])
with Chart.load(chart) as loaded:
    rendered = loaded.render(values, name="ours", namespace="here", is_install=True)
print(json.dumps({"lint": lint(chart, values, strict=True), "rendered": rendered}))
"""
EVERYTHING = {
    "image": {"tag": "1.2.3"},
    "credentials": ["sources", "targets"],
    "api": {"url": "https://restore.example.org"},
    "worker": {
        "replicas": 9,
        "processes": 2,
        "volumes": [{"name": "material", "persistentVolumeClaim": {"claimName": "material"}}],
        "volumeMounts": [{"name": "material", "mountPath": "/material", "readOnly": True}],
    },
    "migrate": {"enabled": False},
}
"""Values that take each way through the templates that the defaults do not."""


@cache
def helm(values):
    done = subprocess.run(
        [sys.executable, "-c", HELM, str(CHART), values], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def rendered(values=None):
    """Every object that the chart makes."""
    texts = helm(json.dumps(values or {}))["rendered"].values()
    return [found for text in texts for found in yaml.safe_load_all(text) if found]


def containers(objects):
    for found in objects:
        if "template" in found["spec"]:
            pod = found["spec"]["template"]["spec"]
            yield from ((pod, container) for container in pod["containers"])


@needs("helm_python")
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
def test_helm_has_nothing_to_say_against_the_chart(values):
    report = helm(json.dumps(values))["lint"]
    worse = [message for message in report["messages"] if message["severity"] > 1]
    assert (report["total_charts_linted"], report["errors"], worse) == (1, [], [])


@needs("helm_python")
@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("release", ["1.27", "latest"])
def test_kubernetes_takes_what_the_chart_renders(values, release):
    release = kubernetes_validate.latest_version() if release == "latest" else release
    for found in rendered(values):
        kubernetes_validate.validate(found, release, strict=True)
    found = next(made for made in rendered(values) if "template" in made["spec"])
    found["spec"]["template"]["spec"]["contaners"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(found, release, strict=True)


@needs("helm_python")
def test_what_is_asked_of_the_chart_is_in_what_it_renders():
    by_name = {container["name"]: (pod, container) for pod, container in containers(rendered())}
    assert set(by_name) == PROCESSES
    for _, container in by_name.values():
        assert container["image"] == f"reinstate:{orchestrator.VERSION}"
        assert container["securityContext"]["runAsNonRoot"] is True
        names = [source["secretRef"]["name"] for source in container["envFrom"]]
        assert names == ["reinstate"]
    objects = rendered(EVERYTHING)
    ((pod, worker),) = (
        (pod, container) for pod, container in containers(objects) if container["name"] == "worker"
    )
    assert worker["args"] == ["worker", "--processes", "2"]
    environment = {entry["name"]: entry["value"] for entry in worker["env"]}
    assert environment["REINSTATE_WORKERS"] == "18"
    assert {entry["secretRef"]["name"] for entry in worker["envFrom"]} == {
        *("reinstate", "sources", "targets")
    }
    mounted = {mount["name"] for mount in worker["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]} == {"home", "tmp", "material"}
    assert {found["kind"] for found in objects} == {"Deployment", "Service"}


TEMPLATES = "".join(path.read_text() for path in sorted((CHART / "templates").iterdir()))


def test_every_value_that_a_template_asks_for_is_in_values():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in set(re.findall(r"\.Values\.([A-Za-z.]+)", TEMPLATES)):
        at = values
        for word in path.split("."):
            assert word in at, f"{path} is not in values.yaml"
            at = at[word]


def test_every_value_is_asked_for():
    def leaves(at, path):
        if isinstance(at, dict) and at and not re.search(rf"\.Values{path}\b[^.]", TEMPLATES):
            for word, below in at.items():
                yield from leaves(below, f"{path}.{word}")
        else:
            yield path

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in leaves(values, ""):
        assert f".Values{path}" in TEMPLATES, path


def test_the_chart_is_of_this_release():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == orchestrator.VERSION
