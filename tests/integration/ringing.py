"""A worker that notes what reached it: `celery -A tests.integration.ringing worker`."""

import os
import time
from pathlib import Path

from celery import Celery

from orchestrator.doorbell import JOB
from orchestrator.settings import Settings
from workers.app import Job, configuration

app = Celery("ringing", task_cls=Job)
app.add_defaults(
    lambda: configuration(Settings.read(os.environ)) | {"imports": ("tests.integration.ringing",)}
)


@app.task(name=JOB)
def ring(batch: int, epoch: int) -> None:
    """Leave a file named after the batch; batch 13 takes its time, batch 14 until it is told."""
    folder = Path(os.environ["RINGING_FOLDER"])
    (folder / f"{batch}.begun").write_text(f"{os.getpid()} {epoch}")
    if batch == 13:
        time.sleep(600)
    while batch == 14 and not (folder / "14.go").exists():
        time.sleep(0.02)
    (folder / f"{batch}.done").touch()
