"""What the AutoML benchmark is about: five tables of features and a target `y`, cut into training and test rows by seeds.

Three come with scikit-learn. `shop` is the shop of the quickstart: who of a day's active customers buys nothing in the 90 days after? `cdnow` asks
the same of a real shop's customers (CDNOW_master.txt, named by MILLRACE_CDNOW). Each customer is one row of one day, so a random cut shows no row the future.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from peers import ROOT

if TYPE_CHECKING:
    import pandas as pd

TEST_SHARE = 0.3
_CDNOW = Path(os.environ.get("MILLRACE_CDNOW") or ROOT / ".." / "shared" / "data" / "cdnow" / "CDNOW_master.txt")
_EIGHT = 8
_HORIZON, _RECENT = timedelta(days=90), timedelta(days=30)
_SHOP_DAY, _CDNOW_DAY = datetime(2025, 6, 1, tzinfo=UTC), datetime(1997, 9, 29, tzinfo=UTC)


@dataclass(frozen=True)
class Cut:
    """One table, cut by one seed.

    Attributes:
        train: Parquet of the training rows: features, and `y` with classes 0 to k - 1.
        test: Parquet of the test rows' features.
        answers: Parquet of the test rows' `y`, which no contender is told.
        print: hash of all three, a key of what was measured on them.
    """

    name: str
    seed: int
    train: Path
    test: Path
    answers: Path
    print: str


def is_there(name: str) -> bool:
    """Whether a table can be made: CDNOW's file comes from elsewhere."""
    return name != "cdnow" or _CDNOW.is_file()


def cut(name: str, seed: int, folder: Path) -> Cut:
    """Cut a table into training and test rows, stratified by class, unless that is done."""
    from sklearn.model_selection import train_test_split

    place = folder / f"{name}-{seed}"
    files = [place / f"{part}.parquet" for part in ("train", "test", "answers")]
    if not all(file.exists() for file in files):
        place.mkdir(parents=True, exist_ok=True)
        frame = TABLES[name]()
        train, test = train_test_split(frame, test_size=TEST_SHARE, random_state=seed, stratify=frame["y"])
        for file, rows in zip(files, (train, test.drop(columns="y"), test[["y"]]), strict=True):
            rows.reset_index(drop=True).to_parquet(file.with_suffix(".part"))
            file.with_suffix(".part").rename(file)
    found = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
    return Cut(name, seed, *files, found)


def _breast_cancer() -> pd.DataFrame:
    from sklearn.datasets import load_breast_cancer

    return _bundled(load_breast_cancer(as_frame=True).frame)


def _eights() -> pd.DataFrame:
    from sklearn.datasets import load_digits

    frame = load_digits(as_frame=True).frame
    return _bundled(frame.assign(target=(frame["target"] == _EIGHT).astype("int64")))


def _wine() -> pd.DataFrame:
    from sklearn.datasets import load_wine

    return _bundled(load_wine(as_frame=True).frame)


def _bundled(frame: pd.DataFrame) -> pd.DataFrame:
    named = {name: "_".join(name.replace("/", " ").split()) for name in frame}
    return frame.rename(columns=named | {"target": "y"})


def _shop() -> pd.DataFrame:
    from millrace.quickstart.shop import ShopPlan
    from millrace.quickstart.simulate import open_shop

    shop = open_shop(ShopPlan(signups_per_day=12.0))
    sales = shop.sales.to_pandas().rename(columns={"transaction_date": "time"})
    sales["amount"] = sales["amount"].astype(float)
    frame = _habits(sales, _SHOP_DAY, _HORIZON)
    before = sales[sales["time"] <= _SHOP_DAY]
    bought = before.groupby(["customer_id", "product_category"]).size().rename("times").reset_index()
    bought = bought.sort_values(["customer_id", "times", "product_category"], ascending=[True, False, True])
    people = shop.people.to_pandas().set_index("customer_id")
    frame["categories"] = bought.groupby("customer_id").size()
    frame["favourite"] = bought.groupby("customer_id")["product_category"].first()
    frame["favourite_share"] = bought.groupby("customer_id")["times"].max() / frame["orders"]
    frame["region"] = people["region"]
    frame["days_since_signup"] = (_SHOP_DAY - people["signup_date"]).dt.days
    return _last(frame)


def _cdnow() -> pd.DataFrame:
    import pandas as pd

    fields = (line.split() for line in _CDNOW.read_text().splitlines())
    rows = [each for each in fields if len(each) == len(("customer", "day", "items", "amount")) and each[0].isdigit()]
    sales = pd.DataFrame(rows, columns=["customer_id", "day", "items", "amount"])
    sales["time"] = pd.to_datetime(sales["day"], format="%Y%m%d", utc=True)
    sales = sales.astype({"customer_id": "int64", "items": float, "amount": float})
    frame = _habits(sales, _CDNOW_DAY, since=None)
    before = sales[sales["time"] <= _CDNOW_DAY].groupby("customer_id")
    frame["items"], frame["items_mean"] = before["items"].sum(), before["items"].mean()
    return _last(frame)


def _habits(sales: pd.DataFrame, day: datetime, since: timedelta | None) -> pd.DataFrame:
    """A row for each customer who bought by a day, and within `since` of it; `y` is 1 for who buys nothing in the 90 days after."""
    known = sales[sales["time"] <= day].sort_values(["customer_id", "time"])
    by = known.groupby("customer_id")
    frame = by["amount"].agg(orders="size", spend="sum", mean_amount="mean", largest_amount="max", last_amount="last")
    frame["days_since_first"], frame["days_since_last"] = (
        (day - by["time"].agg(which)).dt.total_seconds() / 86_400 for which in ("min", "max")
    )
    gaps = by["time"].diff().dt.total_seconds() / 86_400
    frame["mean_gap"] = gaps.groupby(known["customer_id"]).mean()
    frame["sd_gap"] = gaps.groupby(known["customer_id"]).std()
    recent = known[known["time"] > day - _RECENT].groupby("customer_id")["amount"].agg(["size", "sum"])
    frame[["recent_orders", "recent_spend"]] = recent.reindex(frame.index).fillna(0.0)
    after = sales[(sales["time"] > day) & (sales["time"] <= day + _HORIZON)]
    frame["y"] = (~frame.index.isin(after["customer_id"])).astype("int64")
    return frame if since is None else frame[frame["days_since_last"] <= since / timedelta(days=1)].copy()


def _last(frame: pd.DataFrame) -> pd.DataFrame:
    """Features as float64 or text, then the target, without the customer."""
    numbers = {name: "float64" for name, kind in frame.dtypes.items() if kind.kind in "fiu" and name != "y"}
    return frame.astype(numbers)[[*(name for name in frame if name != "y"), "y"]].reset_index(drop=True)


TABLES = {"breast cancer": _breast_cancer, "digits": _eights, "wine": _wine, "shop": _shop, "cdnow": _cdnow}
SAYS = {
    "breast cancer": "scikit-learn's",
    "digits": "scikit-learn's, an 8 or not",
    "wine": "scikit-learn's",
    "shop": "churn in the quickstart's shop",
    "cdnow": "churn of CDNOW's customers",
}
