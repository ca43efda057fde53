"""Start a kernel: `python -m millrace.notebooks.kernel -f CONNECTION_FILE`."""

from __future__ import annotations

import os

# Before anything asks for the time zone: Spark's collect() would convert to it.
os.environ["TZ"] = "UTC"

from ipykernel.kernelapp import IPKernelApp

from millrace.notebooks.kernel.machine import MillraceKernel

if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=MillraceKernel)
