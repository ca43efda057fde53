from __future__ import annotations

from pathlib import Path

import pytest

from millrace.api.supervisor import serve
from millrace.core.errors import InvalidInput


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_number_that_is_no_port_is_refused(tmp_path: Path, port: int) -> None:
    with pytest.raises(InvalidInput, match=f"{port} is not a port") as refused:
        serve(tmp_path / "home", port=port, announce=lambda _: None)
    assert "0 for a free port" in refused.value.hint
