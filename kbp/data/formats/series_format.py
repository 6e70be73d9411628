"""How a person's file holds series."""

import dataclasses
from dataclasses import dataclass

from kbp._utils.config import choice
from kbp.data.formats import covariates, frames
from kbp.data.formats.grid import MISSING
from kbp.errors import UserError

# Keys that say something about the times of a column.
_OF_TIMES = ("date_format", "time_zone", "resample", "calendar")


@dataclass(frozen=True)
class SeriesFormat:
    """How a file holds series: keys of `[data]`, options of `kbp forecast`.

    Attributes:
        time_column: column of times in ISO 8601 or as numbers; `""` if there is
            none, and rows are at equal distances.
        target: columns of values to forecast; by default all that are nothing
            else.
        id_column: column that says which series a row is of; `""` for one.
        past_covariates: columns of values that are known of the past alone.
        future_covariates: columns that are known ahead, too.
        calendar: what is known ahead of the local times, some of
            `covariates.CALENDAR`.
        static: columns of categories, each constant in a series.
        missing: what to do about missing values, those of missing rows too:
            `"refuse"` them; take the `"previous"` one; or `"interpolate"`
            linearly in time, which looks ahead, and beyond the ends of a column
            repeats its first or last value. Rows at the end without any value
            to forecast are left out.
        missing_values: what stands for missing numbers, such as `"-999"`.
        separator: of fields, see `frames.read_frame`.
        decimal: the decimal mark.
        encoding: of a CSV file.
        date_format: of the times, as `strptime` has it.
        time_zone: which local times are of, see `times.in_zone`.
        resample: step over which means are taken, see `grid.resampled`; one at
            an end that has part of its rows is left out. By default, times must
            be at equal distances.
    """

    time_column: str = ""
    target: tuple[str, ...] = ()
    id_column: str = ""
    past_covariates: tuple[str, ...] = ()
    future_covariates: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    missing: str = choice("refuse", MISSING)
    missing_values: tuple[str, ...] = ()
    separator: str = ""
    decimal: str = choice(".", frames.DECIMALS)
    encoding: str = "utf-8"
    date_format: str = ""
    time_zone: str = ""
    resample: str = ""

    @property
    def format(self) -> "SeriesFormat":
        """These keys alone, without those that a subclass adds."""
        names = [key.name for key in dataclasses.fields(SeriesFormat)]
        return SeriesFormat(**{name: getattr(self, name) for name in names})

    def check(self) -> None:
        """Raise a UserError for what contradicts itself."""
        covariates.check_calendar(self.calendar)
        for key in _OF_TIMES:
            if getattr(self, key) and not self.time_column:
                raise UserError(f"{key} needs a time_column.")
        if self.static and not self.id_column:
            raise UserError(
                "static needs an id_column: a category of one series is the "
                "same in all rows."
            )
        if self.separator and self.separator == self.decimal:
            raise UserError(
                f"separator and decimal cannot both be {self.decimal!r}."
            )
        named: dict[str, str] = {}
        for key in (
            *("time_column", "id_column", "target", "past_covariates"),
            *("future_covariates", "static"),
        ):
            value = getattr(self, key)
            for column in [value] if isinstance(value, str) else value:
                if column and column in named:
                    first = named[column]
                    raise UserError(
                        f"{key} names the column {column!r} again."
                        if first == key
                        else f"The column {column!r} cannot be both {first} "
                        f"and {key}."
                    )
                named[column] = key
