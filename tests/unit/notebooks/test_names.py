from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, InvalidInput, NotFound, PermissionDenied
from millrace.jobs.task_values import FILES
from millrace.notebooks.context import NotebookContext
from millrace.notebooks.kernel.sql_text import parameters_of, statements
from millrace.notebooks.names.dbutils import Dbutils
from millrace.notebooks.names.display import as_html, as_text, first_rows
from millrace.notebooks.names.files import Files
from millrace.notebooks.names.task_values import KernelValues, TaskValueMethods
from millrace.notebooks.names.widgets import Widgets
from millrace.notebooks.secrets import Redactor, Secrets


class TestWidgets:
    def test_a_given_value_comes_before_the_default(self) -> None:
        widgets = Widgets({"day": "friday"})
        widgets.text("day", "monday", "Which day")
        widgets.text("month", "may")
        assert (widgets.get("day"), widgets.get("month")) == ("friday", "may")
        assert widgets.getAll() == {"day": "friday", "month": "may"}

    def test_a_given_value_needs_no_widget(self) -> None:
        assert Widgets({"day": "friday"}).get("day") == "friday"

    def test_a_missing_widget_is_told_with_what_to_do(self) -> None:
        widgets = Widgets({})
        widgets.text("days", "1")
        with pytest.raises(NotFound, match="there is no widget 'day': did you mean 'days'") as error:
            widgets.get("day")
        assert "--param day=VALUE" in error.value.hint

    @pytest.mark.parametrize("kind", ["dropdown", "multiselect"])
    def test_only_what_there_is_to_choose(self, kind: str) -> None:
        with pytest.raises(InvalidInput, match="the widget 'size' can't be 'XL'") as error:
            getattr(Widgets({"size": "XL"}), kind)("size", "S", ["S", "M"])
        assert error.value.hint == "give one of: S, M"

    def test_a_combobox_takes_more_and_a_multiselect_several(self) -> None:
        widgets = Widgets({"a": "other", "b": "S,M"})
        widgets.combobox("a", "S", ["S"])
        widgets.multiselect("b", "S", ["S", "M", "L"])
        assert (widgets.get("a"), widgets.get("b")) == ("other", "S,M")

    def test_widgets_can_be_taken_away(self) -> None:
        widgets = Widgets({})
        widgets.text("a", "1")
        widgets.text("b", "2")
        widgets.remove("a")
        assert widgets.getAll() == {"b": "2"}
        with pytest.raises(NotFound):
            widgets.remove("a")
        widgets.removeAll()
        assert widgets.getAll() == {}

    def test_what_nobody_asked_for_is_known(self) -> None:
        widgets = Widgets({"seen": "1", "mistyped": "2", "made": "3"})
        widgets.get("seen")
        widgets.text("made")
        assert widgets.unread() == ["mistyped"]

    def test_an_include_gives_values(self) -> None:
        widgets = Widgets({})
        widgets.text("a", "1")
        widgets.give({"a": "2", "b": "3"})
        assert (widgets.get("a"), widgets.get("b")) == ("2", "3")


class TestTaskValues:
    def test_a_kernel_keeps_what_its_task_sets_and_knows_those_before(self) -> None:
        kept = KernelValues("score", {"train": {"auc": 0.9}})
        values = TaskValueMethods(kept)
        values.set("rows", (1, 2))
        values.set("rows", 3)
        assert kept.values == {"rows": 3}
        assert values.get("train", "auc") == 0.9

    def test_outside_a_job_what_is_set_is_in_the_result_and_what_is_read_has_its_debug_value(self) -> None:
        kept = KernelValues("", {})
        values = TaskValueMethods(kept)
        values.set("rows", 3)
        assert kept.values == {"rows": 3}
        assert values.get("train", "auc", debugValue=0.5) == 0.5

    @pytest.mark.parametrize("inside", [True, False])
    def test_help_names_what_it_can_do_in_a_notebook_and_in_a_program(
        self, capsys: pytest.CaptureFixture[str], *, inside: bool
    ) -> None:
        context = NotebookContext(home="nowhere")
        dbutils = Dbutils(context, KernelValues("a", {}) if inside else FILES)
        dbutils.jobs.taskValues.help()
        told = capsys.readouterr().out
        assert "set(key:" in told
        assert "get(taskKey:" in told


class TestSecrets:
    def write(self, home: Path, mode: int = 0o600) -> None:
        file = home / "secrets.json"
        file.write_text(json.dumps({"shop": {"key": 's3cret-&-"value"', "other": "öffnen"}}))
        file.chmod(mode)

    def test_the_environment_comes_before_the_file(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        secrets = Secrets(tmp_path, {"MILLRACE_SECRET_SHOP_KEY": "from-outside"})
        assert secrets.get("shop", "key") == "from-outside"
        assert secrets.get("shop", "other") == "öffnen"
        assert (secrets.scopes(), secrets.keys("shop")) == (["shop"], ["key", "other"])

    def test_a_missing_secret_says_where_it_would_be(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="there is no secret 'api-key' in the scope 'my shop'") as error:
            Secrets(tmp_path, {}).get("my shop", "api-key")
        assert "MILLRACE_SECRET_MY_SHOP_API_KEY" in error.value.hint

    def test_a_file_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        self.write(tmp_path, 0o640)
        with pytest.raises(PermissionDenied, match="others may read"):
            Secrets(tmp_path, {}).get("shop", "key")
        assert Secrets(tmp_path, {}).values() == []

    def test_a_broken_file_is_not_quoted(self, tmp_path: Path) -> None:
        (tmp_path / "secrets.json").write_text("{secret")
        (tmp_path / "secrets.json").chmod(0o600)
        with pytest.raises(InvalidInput) as error:
            Secrets(tmp_path, {}).scopes()
        assert "{secret" not in str(error.value)

    def test_what_is_too_short_to_hide_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInput, match="shorter than 4"):
            Secrets(tmp_path, {"MILLRACE_SECRET_A_B": "abc"}).get("a", "b")

    def test_every_way_to_show_a_secret_is_hidden(self, tmp_path: Path) -> None:
        self.write(tmp_path)
        redactor = Redactor(Secrets(tmp_path, {}).values())
        hidden = 's3cret-&-"value"'
        shown = [
            hidden,
            repr(hidden),
            json.dumps(hidden),
            "s3cret-&amp;-&quot;value&quot;",
            's3cret-&amp;-"value"',
            str("öffnen".encode()),
        ]
        for text in shown:
            assert "s3cret" not in redactor.text(text)
            assert "ffnen" not in redactor.text(text)
        assert redactor.inside({"a": [f"x{hidden}y", 1, None]}) == {"a": ["x[REDACTED]y", 1, None]}
        assert Redactor([]).text("as it is") == "as it is"


class TestFiles:
    def test_a_file_lives_its_life(self, tmp_path: Path) -> None:
        files = Files(tmp_path / ".millrace", tmp_path)
        files.put("dbfs:/data/a.txt", "hello")
        assert files.head("dbfs:/data/a.txt", 4) == "hell"
        assert (tmp_path / ".millrace" / "files" / "data" / "a.txt").is_file()
        with pytest.raises(AlreadyExists):
            files.put("dbfs:/data/a.txt", "again")
        files.put("dbfs:/data/a.txt", "again", overwrite=True)
        files.cp("dbfs:/data/a.txt", "copy.txt")
        files.mkdirs("/Volumes/ml/raw/files")
        files.mv("copy.txt", "/Volumes/ml/raw/files/b.txt")
        assert [(each.name, each.size) for each in files.ls("/Volumes/ml/raw/files")] == [("b.txt", 5)]
        with pytest.raises(InvalidInput, match="is a folder"):
            files.rm("/Volumes/ml")
        assert files.rm("/Volumes/ml", recurse=True)
        assert not files.rm("/Volumes/ml")
        assert [each.name for each in files.ls("dbfs:/")] == ["Volumes/", "data/"]

    @pytest.mark.parametrize("path", ["/etc/passwd", "../x", "file:/etc/passwd", ".millrace/token", "dbfs:/../token"])
    def test_nothing_elsewhere(self, tmp_path: Path, path: str) -> None:
        project = tmp_path / "project"
        with pytest.raises(PermissionDenied, match="is outside the project and the home's files"):
            Files(project / ".millrace", project).put(path, "x")

    def test_no_way_out_by_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "link").symlink_to("/etc")
        with pytest.raises(PermissionDenied):
            Files(tmp_path / "home", tmp_path / "project").head("link/passwd")

    def test_the_whole_is_not_removed(self, tmp_path: Path) -> None:
        with pytest.raises(PermissionDenied):
            Files(tmp_path / "home", tmp_path / "project").rm("dbfs:/", recurse=True)


class TestSqlText:
    def test_statements_end_at_semicolons_that_count(self) -> None:
        text = "SELECT ';' AS a; -- a; remark\nSELECT `x;y` /* ; */ ;\n; "
        assert statements(text) == ["SELECT ';' AS a", "-- a; remark\nSELECT `x;y` /* ; */"]
        assert statements(" -- nothing\n") == []

    def test_parameters_are_names_behind_colons(self) -> None:
        text = "SELECT :day, ':no', a::int, :day, t:field FROM x WHERE y = :other_1 -- :never"
        assert parameters_of(text) == ["day", "other_1"]


class TestDisplay:
    def test_a_table_says_how_much_it_shows(self) -> None:
        table = pa.table({"a<b": list(range(30)), "t": [None] * 30, "f": [1 / 3] * 30})
        assert "20 of 30 rows" in as_text(table)
        assert "a&lt;b" in as_html(table)
        assert as_html(table).count("<tr>") == 32
        assert "0.333333" in as_text(table)
        assert "the first 1,000 rows" in as_html(pa.table({"a": range(1001)}))
        assert "0 rows" in as_text(pa.table({"a": pa.array([], pa.int64())}))

    def test_frames_of_all_kinds_and_nothing_else(self) -> None:
        import pandas as pd
        import polars as pl

        frame = pd.DataFrame({"a": [1, 2, 3], "o": [{1}, "x", 2.5]})
        rows = first_rows(frame, 2)
        assert rows is not None
        assert rows.to_pydict() == {"a": [1, 2], "o": ["{1}", "x"]}
        assert first_rows(pl.DataFrame({"a": [1]}), 2) == pa.table({"a": [1]})
        assert first_rows(pa.table({"a": [1, 2, 3]}), 2) == pa.table({"a": [1, 2]})
        assert first_rows("text", 2) is None


def test_dbutils_outside_of_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dbutils = Dbutils(NotebookContext(home=str(tmp_path), parameters={"a": "1"}))
    dbutils.help()
    assert "taskValues" in capsys.readouterr().out
    for part, method in ((dbutils.fs, "mkdirs"), (dbutils.widgets, "multiselect"), (dbutils.secrets, "getBytes")):
        part.help()
        assert method in capsys.readouterr().out
    (tmp_path / "secrets.json").write_text('{"shop": {"key": "long enough"}}')
    (tmp_path / "secrets.json").chmod(0o600)
    assert [scope.name for scope in dbutils.secrets.listScopes()] == ["shop"]
    assert [secret.key for secret in dbutils.secrets.list("shop")] == ["key"]
    assert dbutils.widgets.get("a") == "1"
    with pytest.raises(SystemExit) as ended:
        dbutils.notebook.exit("done")
    assert ended.value.code == 0
