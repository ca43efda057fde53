"""A CSV file: comma-separated, UTF-8, a header, quotes as in RFC 4180. Every complaint names the line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.csv

from millrace.core.errors import InvalidInput
from millrace.lake.text_values import BadValue, convert, infer

_BLOCK_BYTES = 32 * 1024 * 1024


class CsvFile:
    """The content of a CSV file, not yet typed.

    Args:
        data: the file's bytes, decompressed; a byte order mark is skipped.
        path: how messages call the file.

    Raises:
        InvalidInput: no header, columns without or with the same name, or not separated by commas.
    """

    typed = False

    def __init__(self, data: bytes, path: str) -> None:
        self._data, self._path = data, path
        self.names = self._header()

    def table(self, types: Mapping[str, pa.DataType]) -> pa.Table:
        """The rows, in the given types; columns without one get the type that all their values have.

        Raises:
            InvalidInput: a row with more or fewer fields than the header, an open quote, a value that is not of its
                column's type.
        """
        text = self._text()
        columns = {}
        for name in self.names:
            column = text.column(name)
            done = convert(column, types.get(name) or infer(column))
            if isinstance(done, BadValue):
                line = self._line_of(done.row)
                raise InvalidInput(
                    f"{self._path}, line {line}: '{done.value[:60]}' in column '{name}' is not {done.expected}",
                    hint="correct the value, or choose another type for the column",
                    line=line,
                    column=name,
                )
            columns[name] = done
        return pa.table(columns)

    def _header(self) -> list[str]:
        _, names = next(self._records(), (1, []))
        if not names:
            raise InvalidInput(f"{self._path} is empty", hint="its first line must name the columns")
        wrong = [name for name in names if not name.strip() or names.count(name) > 1]
        if len(names) == 1:
            self._refuse_other_separators(names[0])
        if wrong:
            what = f"the column name '{wrong[0]}' is there twice" if wrong[0].strip() else "a column has no name"
            raise InvalidInput(
                f"{self._path}, line 1: {what}", hint="the first line must name each column once", line=1
            )
        return names

    def _refuse_other_separators(self, header: str) -> None:
        first = self._data.splitlines()[:2]
        for separator, called in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "spaces")):
            if separator in header.strip() and all(separator.encode() in line.strip() for line in first):
                raise InvalidInput(
                    f"{self._path}, line 1: no commas; the columns seem to be separated by {called}",
                    hint="convert it first, for example with pandas.read_csv(FILE, sep=...).to_csv(...)",
                    line=1,
                )

    def _text(self) -> pa.Table:
        if self._data.count(b'"') % 2:
            self._refuse_broken_rows()  # an open quote would swallow the rest of the file without a word
        convert_options = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.string()),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            null_values=[""],
        )
        try:
            return pyarrow.csv.read_csv(
                io.BytesIO(self._data + b"\n"),
                read_options=pyarrow.csv.ReadOptions(block_size=_BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
                convert_options=convert_options,
            )
        except pa.ArrowInvalid as error:
            self._refuse_broken_rows()
            raise InvalidInput(f"{self._path} can't be read: {error}", hint="is it a CSV file?") from error

    def _refuse_broken_rows(self) -> None:
        for line, fields in self._records():
            if len(fields) != len(self.names):
                raise InvalidInput(
                    f"{self._path}, line {line}: {len(fields)} fields, expected {len(self.names)}",
                    hint=f"the header has: {', '.join(self.names)}; quote fields that contain a comma",
                    line=line,
                )

    def _line_of(self, row: int) -> int:
        for index, (line, _) in enumerate(self._records()):
            if index == row + 1:
                return line
        return 0

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Line (from 1, where the record begins) and fields of each record, the header first; empty lines are skipped."""
        csv.field_size_limit(max(csv.field_size_limit(), len(self._data)))
        reader = csv.reader(io.StringIO(self._decoded(), newline=""), strict=True)
        line = 1
        try:
            for fields in reader:
                if fields:
                    yield line, fields
                line = reader.line_num + 1
        except csv.Error as error:
            what = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
            raise InvalidInput(
                f"{self._path}, line {line}: {what}", hint='write a quote inside a quoted field twice: ""', line=line
            ) from error

    def _decoded(self) -> str:
        try:
            return self._data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self._data.count(b"\n", 0, error.start) + 1
            raise InvalidInput(
                f"{self._path}, line {line}: not UTF-8", hint="save the file as UTF-8", line=line
            ) from error
