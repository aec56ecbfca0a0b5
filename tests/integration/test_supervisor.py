import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from orchestrator.embedded.supervisor import Program, Supervisor

SLEEP = "import time; time.sleep(600)"
STUBBORN = f"import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); {SLEEP}"


def program(folder: Path, name: str, code: str = SLEEP, **more) -> Program:
    return Program(
        name=name,
        command=(sys.executable, "-c", code),
        environ={"PATH": os.environ["PATH"]},
        folder=folder,
        **more,
    )


def until(condition, seconds: float = 20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


def pids(supervisor: Supervisor) -> dict[str, int | None]:
    return {running.name: running.pid for running in supervisor.running()}


def test_a_killed_program_is_started_again_and_others_are_left_alone(tmp_path):
    supervisor = Supervisor(
        [program(tmp_path, "a"), program(tmp_path, "b")], log_folder=tmp_path / "log"
    )
    supervisor.start()
    before = pids(supervisor)
    os.kill(before["a"], signal.SIGKILL)
    until(lambda: supervisor.tend() and pids(supervisor)["a"] not in {None, before["a"]})
    assert pids(supervisor)["b"] == before["b"]
    assert {running.name: running.restarts for running in supervisor.running()} == {"a": 1, "b": 0}
    supervisor.stop()
    assert not any(psutil.pid_exists(pid) for pid in before.values())


def test_a_program_that_keeps_ending_is_started_ever_more_slowly(tmp_path):
    supervisor = Supervisor([program(tmp_path, "a", "")], log_folder=tmp_path)
    supervisor.start()
    ends = []
    until(lambda: supervisor.tend() and ends.append(time.monotonic()) is None and len(ends) == 7)
    supervisor.stop()
    pauses = [ends[1] - ends[0], ends[3] - ends[2], ends[5] - ends[4]]  # from end to next start
    assert pauses[0] < pauses[1] < pauses[2]


def test_programs_stop_last_started_first(tmp_path):
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        f"def note(*_): open({str(order)!r}, 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(15, note); open(sys.argv[1], 'w'); time.sleep(600)"
    )
    names = ["broker", "worker1", "conductor"]
    supervisor = Supervisor(
        [
            Program(
                name=name,
                command=(sys.executable, "-c", code, name),
                environ={},
                folder=tmp_path,
            )
            for name in names
        ],
        log_folder=tmp_path / "log",
    )
    supervisor.start()
    until(lambda: all((tmp_path / name).exists() for name in names))
    supervisor.stop()
    assert order.read_text().split() == ["conductor", "worker1", "broker"]


def test_a_program_that_does_not_stop_is_killed_with_its_children(tmp_path):
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN!r}])"
    supervisor = Supervisor(
        [program(tmp_path, "a", STUBBORN, patience=0.2), program(tmp_path, "b", parent)],
        log_folder=tmp_path,
    )
    supervisor.start()
    until(lambda: all("up" in (tmp_path / f"{name}.log").read_text() for name in "ab"))
    family = [psutil.Process(pid) for pid in pids(supervisor).values()]
    family += [child for process in family for child in process.children()]
    assert len(family) == 3
    supervisor.stop()
    until(lambda: not any(process.is_running() for process in family))


def test_programs_end_when_their_supervisor_is_killed(tmp_path):
    code = f"""
import os, sys, time
from pathlib import Path
from orchestrator.embedded.supervisor import Program, Supervisor
folder = Path({str(tmp_path)!r})
child = Program(name="a", command=(sys.executable, "-c", {SLEEP!r}), environ={{}}, folder=folder)
supervisor = Supervisor([child], log_folder=folder)
supervisor.start()
print(supervisor.running()[0].pid, flush=True)
time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        child = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
