"""What the tasks of a job do: a module for each kind of work, and the program that does one attempt."""

from __future__ import annotations
