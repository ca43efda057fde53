"""One job of an audit, in a process and a scratch home of its own: `python -m millrace.cli.features_audit_child FOLDER`."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main(folder: Path) -> None:
    """Do the job that lies in a folder, and put the answer beside it."""
    from millrace.core.settings import Settings
    from millrace.pipeline.audit.compute import do
    from millrace.pipeline.audit.job import Job
    from millrace.pipeline.audit.scratch import copy_facts
    from millrace.pipeline.audit.watch import Watch
    from millrace.workspace import open_workspace

    job, own = Job.load(folder), Settings.load()
    copy_facts(
        job.database_url, own.database_url
    )  # before the home is opened: whether its clock is virtual is asked once
    workspace = open_workspace()
    try:
        do(workspace, job, Watch(own.home)).save(folder)
    finally:
        workspace.close()


def _end_with_parent() -> None:
    # The parent holds the other end, and writes nothing: this returns when it is gone, however it went.
    # Not through sys.stdin, whose lock must be free when the interpreter ends.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    main(Path(sys.argv[1]))
