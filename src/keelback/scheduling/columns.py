"""Columns of numbers, one row for each node: they grow together, and a removed row is filled by the last one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_FIRST_CAPACITY: Final = 64


class Column:
    """One number for each row. `values` is the part in use; writers go through `data`."""

    __slots__ = ("_rows", "data")

    def __init__(self, rows: Rows, dtype: npt.DTypeLike) -> None:
        self._rows = rows
        self.data: npt.NDArray[Any] = np.zeros(rows.capacity, dtype)

    @property
    def values(self) -> npt.NDArray[Any]:
        """The rows in use, as a view."""
        return self.data[: self._rows.count]


class Rows:
    """How many rows there are, and the columns that have them."""

    def __init__(self) -> None:
        self.count = 0
        self.capacity = _FIRST_CAPACITY
        self._columns: dict[int, Column] = {}

    def column(self, dtype: npt.DTypeLike) -> Column:
        """A new column, zero in every row."""
        column = Column(self, dtype)
        self._columns[id(column)] = column
        return column

    def drop(self, column: Column) -> None:
        """Stop keeping a column."""
        del self._columns[id(column)]

    def add(self) -> int:
        """A new last row, zero in every column; its index."""
        if self.count == self.capacity:
            self.capacity *= 2
            for column in self._columns.values():
                grown = np.zeros(self.capacity, column.data.dtype)
                grown[: self.count] = column.data
                column.data = grown
        self.count += 1
        return self.count - 1

    def remove(self, row: int) -> None:
        """Move the last row to `row` and forget it there."""
        last = self.count - 1
        for column in self._columns.values():
            column.data[row] = column.data[last]
            column.data[last] = 0
        self.count = last


class LabelColumn:
    """The values of one label as small numbers, 0 where a node lacks it: also the topology domains of that key."""

    __slots__ = ("_present", "column", "distinct", "holders", "names", "numbers", "users")

    def __init__(self, rows: Rows) -> None:
        self.column = rows.column(np.int32)
        self.names: list[str] = [""]
        self.numbers: dict[str, int] = {}
        self.holders: list[int] = [0]
        """How many nodes have each value."""
        self.users = 0
        """How many nodes have the label."""
        self.distinct = 0
        """How many different values they have."""
        self._present: npt.NDArray[np.bool_] | None = None

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """Each row's value, as its index in `names`; 0 for none."""
        return self.column.values

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """For each value, by its number, whether a node has it; False for none. Not to be changed."""
        if self._present is None:
            self._present = np.array(self.holders) > 0
        return self._present

    def sums(self, by_node: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """For each value, by its number, the sum over the nodes that have it."""
        sums = np.bincount(self.ids, weights=by_node, minlength=len(self.names))
        return sums.astype(np.float64, copy=False)

    def forget_present(self) -> None:
        """Values are numbered anew."""
        self._present = None

    def intern(self, value: str) -> int:
        """The number of a value, new or known."""
        number = self.numbers.get(value)
        if number is None:
            number = self.numbers[value] = len(self.names)
            self.names.append(value)
            self.holders.append(0)
        return number

    def assign(self, row: int, value: str | None) -> None:
        """Give a row a value, or (None) take the one it has."""
        old = int(self.column.data[row])
        if old:
            self.holders[old] -= 1
            self.distinct -= not self.holders[old]
            self.users -= 1
        number = 0 if value is None else self.intern(value)
        if number:
            self.distinct += not self.holders[number]
            self.holders[number] += 1
            self.users += 1
        self.column.data[row] = number
        self._present = None


class LabelColumns:
    """A column for each label key that a node has."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._keys: dict[str, LabelColumn] = {}

    def get(self, key: str) -> LabelColumn | None:
        """The column of a key, or None where no node has it."""
        return self._keys.get(key)

    def put(self, row: int, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Bring a row from its old labels to its new ones."""
        for key in old:
            if key not in new:
                label = self._keys[key]
                label.assign(row, None)
                if not label.users:
                    self._rows.drop(label.column)
                    del self._keys[key]
        for key, value in new.items():
            if old.get(key) == value:
                continue
            label = self._keys.get(key) or self._add(key)
            label.assign(row, value)
            if len(label.names) > 2 * self._rows.count + 64:
                self._compact(label)

    def _add(self, key: str) -> LabelColumn:
        label = self._keys[key] = LabelColumn(self._rows)
        return label

    def _compact(self, label: LabelColumn) -> None:
        # Values come and go (host names of short-lived nodes): those in use are numbered anew, to keep counts short.
        names = label.names
        label.names, label.numbers, label.holders = [""], {}, [0]
        label.forget_present()
        data = label.column.data
        for row in range(self._rows.count):
            if data[row]:
                data[row] = number = label.intern(names[data[row]])
                label.holders[number] += 1
