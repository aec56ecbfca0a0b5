"""What deploy/ ships: it parses, is complete in itself, and names only what exists.

The Helm chart is not rendered here: no renderer may be assumed. Its templates are held to their
values, and, with their actions taken out, to YAML.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import orchestrator
from orchestrator.cli.main import COMMANDS
from orchestrator.settings import KNOWN
from workers.app import DRAIN_SECONDS

DEPLOY = Path(__file__).parents[2] / "deploy"
CHART = DEPLOY / "helm" / "reinstate"
SERVICE_KEYS = {
    *("image", "build", "environment", "depends_on", "restart", "read_only", "tmpfs", "cap_drop"),
    *("security_opt", "command", "volumes", "healthcheck", "shm_size", "entrypoint", "deploy"),
    *("stop_grace_period", "profiles"),
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def compose():
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_services_have_known_keys_and_await_services_that_exist():
    services = compose()["services"]
    for name, service in services.items():
        assert set(service) <= SERVICE_KEYS, name
        assert "image" in service, name
        for awaited, how in service.get("depends_on", {}).items():
            assert how["condition"] in CONDITIONS
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[awaited]


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
            if source.startswith("./"):
                assert (DEPLOY / source).is_file(), source
            elif not source.startswith("${"):
                assert source in found["volumes"]


def test_every_secret_that_compose_asks_for_is_in_the_example():
    text = (DEPLOY / "compose.yaml").read_text()
    example = (DEPLOY / "environment.example").read_text()
    for name in re.findall(r"\$\{([A-Z_]+):\?", text):
        assert f"\n{name}=\n" in example, name


def variables(path):
    return set(re.findall(r"\bREINSTATE_[A-Z_]+", path.read_text()))


@pytest.mark.parametrize(
    "path", [path for path in sorted(DEPLOY.rglob("*")) if path.is_file()], ids=str
)
def test_only_variables_that_exist_are_named(path):
    assert variables(path) <= set(KNOWN) | {"REINSTATE_MATERIAL"}


def test_every_process_that_is_started_is_a_command():
    started = {
        service["command"][0]
        for service in compose()["services"].values()
        if service.get("image") == "reinstate" and "command" in service
    }
    for unit in (DEPLOY / "systemd").glob("*.service"):
        started |= set(re.findall(r"^ExecStart=\S+ (\w+)", unit.read_text(), re.MULTILINE))
    for template in (CHART / "templates").glob("*.yaml"):
        started |= set(re.findall(r"args: \[(\w+)", template.read_text()))
    assert started == {"migrate", "conductor", "worker"}
    assert started <= set(COMMANDS)


def test_workers_get_time_to_hand_back_what_they_hold():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    unit = (DEPLOY / "systemd" / "reinstate-worker@.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)", unit, re.MULTILINE)[1]) > DRAIN_SECONDS
    assert values["worker"]["terminationGracePeriodSeconds"] > DRAIN_SECONDS
    grace = compose()["services"]["worker"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > DRAIN_SECONDS


def test_the_image_is_built_from_files_that_exist_and_runs_as_nobody_in_particular():
    text = (DEPLOY / "Dockerfile").read_text()
    instructions = {line.split(" ")[0] for line in text.replace("\\\n", "").splitlines() if line}
    known = {"#", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert instructions <= known
    assert re.search(r"^USER 10001", text, re.MULTILINE)
    assert "--require-hashes" in text
    allowed = (DEPLOY.parent / ".dockerignore").read_text().splitlines()
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert f"!{name}" in allowed
            assert (DEPLOY.parent / name).exists() or name == "README.md", name


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


TEMPLATES = sorted((CHART / "templates").iterdir())
ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_action_of_a_template_is_closed(template):
    text = template.read_text()
    assert text.count("{{") == text.count("}}") == len(ACTION.findall(text))
    depth = 0
    for action in ACTION.findall(text):
        word = action.split()[0]
        depth += (word in {"if", "with", "range", "define"}) - (word == "end")
        assert depth >= 0
    assert depth == 0


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_value_that_a_template_asks_for_is_in_values(template):
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    asked = set(re.findall(r"\.Values\.([A-Za-z.]+)", template.read_text()))
    for path in asked:
        at = values
        for word in path.split("."):
            assert word in at, f"{path} is not in values.yaml"
            at = at[word]


def test_every_value_is_asked_for():
    text = "".join(template.read_text() for template in TEMPLATES)

    def leaves(at, path):
        if isinstance(at, dict) and at and not re.search(rf"\.Values{path}\b[^.]", text):
            for word, below in at.items():
                yield from leaves(below, f"{path}.{word}")
        else:
            yield path

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for path in leaves(values, ""):
        assert f".Values{path}" in text, path


def test_every_named_template_is_defined_once_and_used():
    text = "".join(template.read_text() for template in TEMPLATES)
    defined = re.findall(r'define "([^"]+)"', text)
    assert len(defined) == len(set(defined))
    assert set(defined) == set(re.findall(r'include "([^"]+)"', text))


@pytest.mark.parametrize(
    "template", [path for path in TEMPLATES if path.suffix == ".yaml"], ids=lambda path: path.name
)
def test_a_template_without_its_actions_is_yaml(template):
    kept = [
        ACTION.sub("x", line)
        for line in template.read_text().splitlines()
        if not re.fullmatch(r"\s*\{\{.*\}\}", line)
    ]
    found = yaml.safe_load("\n".join(kept))
    assert {"apiVersion", "kind", "metadata", "spec"} <= set(found)


def test_the_chart_is_of_this_release():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == chart["version"] == orchestrator.VERSION
