"""Conformance suites for adapters, shipped with the package.

Each suite is a class of tests for one port. An adapter runs it by a subclass that gives it one fixture, `opened`:

    class TestMyCatalog(CatalogSuite):
        @pytest.fixture
        def opened(self, tmp_path):
            return lambda: MyCatalog(tmp_path)

`opened()` opens the store of this test, empty at its start; called again it opens the same store once more, as another
process would. Let pytest rewrite the suites' assertions with `pytest.register_assert_rewrite("millrace.testing")`
before they are imported.
"""

from __future__ import annotations
