"""What a handler of a task works with: what the attempt is told, and the home, opened when it is needed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.errors import MillraceError, NotFound
from millrace.jobs.job_run import TaskContext
from millrace.jobs.task_values import VARIABLE

if TYPE_CHECKING:
    from millrace.pipeline.declare import Pipeline
    from millrace.workspace import Workspace


@dataclass(frozen=True)
class Given:
    """One attempt, as its handler sees it."""

    context: TaskContext

    @cached_property
    def workspace(self) -> Workspace:
        """The home."""
        from millrace.workspace import open_workspace

        return open_workspace(self.context.home)

    @cached_property
    def values(self) -> Mapping[str, Mapping[str, object]]:
        """What tasks of the run have set so far, by task and name."""
        return self.workspace.jobs.values.of(self.context.run_id)

    def hand_on(self, values: Mapping[str, object]) -> None:
        """Give values to the tasks after this one."""
        for name, value in values.items():
            self.workspace.jobs.values.set(self.context.run_id, self.context.task_key, name, value)

    @property
    def artifacts(self) -> Path:
        """The attempt's own folder, kept with the run."""
        return Path(self.context.artifacts)

    def path(self, text: str) -> Path:
        """A file, from the job's folder."""
        return Path(self.context.folder) / Path(text).expanduser()

    def file(self, text: str, what: str) -> Path:
        """The same, where there must be one.

        Raises:
            NotFound: there is none.
        """
        path = self.path(text)
        if not path.is_file():
            raise NotFound(
                f"the {what} {path} is not there any more",
                hint="put it back, or change the task and apply the job again: `millrace job apply FILE`",
            )
        return path

    def pipeline(self, text: str) -> Pipeline:
        """The pipeline that `FILE` or `FILE:NAME` names; the home remembers where it is declared.

        Raises:
            NotFound: the file is not there any more, or the pipeline is not in it.
            InvalidInput: the file does not run; the message has its line.
        """
        from millrace.pipeline.load import load_pipeline
        from millrace.workspace import remember_pipeline

        place, name = page_of(text)
        file = self.file(place, "pipeline's file")
        try:
            pipeline = load_pipeline(file, name)
        except MillraceError as error:
            raise type(error)(f"the pipeline can't be read: {error.message}", error.hint) from error
        remember_pipeline(self.workspace, pipeline.name, file)
        return pipeline

    def environment(self) -> Mapping[str, str]:
        """This process's environment, for a program of the user's: the home is this one, and it may ask for task values."""
        return {**os.environ, "MILLRACE_HOME": self.context.home, VARIABLE: self.context.artifacts}

    def close(self) -> None:
        """Close the home, if it was opened."""
        if "workspace" in self.__dict__:
            self.__dict__.pop("workspace").close()


def page_of(text: str) -> tuple[str, str | None]:
    """The file and the name of `FILE` or `FILE:NAME`."""
    file, colon, name = text.rpartition(":")
    is_named = colon and file and "/" not in name and "." not in name
    return (file, name or None) if is_named else (text, None)
