"""Who of a music shop's customers will not come back? Real purchases of 1997 and 1998, and a pipeline to try policies on.

CDNOW was an early online shop for music. The file CDNOW_master.txt has the 69,659 purchases, from January 1997 to June 1998, of the
23,570 customers who bought there for the first time in the first quarter of 1997. So it is one cohort that grows older, and nobody
new joins it: with each week all of them have been customers for a week longer, and most for a week longer without a purchase. `docs/backtest.md` says what a backtest makes of that.

    millrace table import bronze.purchases purchases.csv --type "amount=decimal(10,2)"
    millrace backtest pipeline.py --from 1997-07-07 --to 1998-06-29 --step 7d
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

import millrace as mr

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WEEK, QUARTER = timedelta(days=7), timedelta(days=90)
START = datetime(1997, 3, 31, tzinfo=UTC)  # a Monday; all first purchases are before it

purchases = mr.Source("bronze.purchases", event_time="date")


@mr.feature_table("ml.features.cdnow", keys=["customer_id"], every=WEEK, start=START)
def habits(as_of: datetime, bought: DataFrame = purchases) -> DataFrame:
    """What each customer had bought by a Monday, and how long ago."""
    today = F.lit(as_of.date())
    age, silence = F.datediff(today, F.min("date")), F.datediff(today, F.max("date"))
    return bought.groupBy("customer_id").agg(
        F.count("*").alias("orders"),
        F.sum("items").alias("items"),
        F.avg("amount").alias("mean_amount"),
        F.max("amount").alias("largest_amount"),
        age.alias("days_since_first"),
        (silence / age).alias("silence"),  # as a share of their time as customers
    )


@mr.label_table("ml.labels.cdnow", keys=["customer_id"], column="lost", horizon=QUARTER, every=WEEK, start=START)
def lost(time: datetime, end: datetime, bought: DataFrame = purchases) -> DataFrame:
    """Of the customers of a Monday: who bought nothing in the 90 days after?"""
    before = F.col("date") < F.lit(time.date())
    seen = bought.groupBy("customer_id").agg(
        F.min((~before).cast("int")).alias("is_new"), F.max((~before).cast("int")).alias("came_back")
    )
    return seen.where(F.col("is_new") == 0).select("customer_id", (1 - F.col("came_back")).alias("lost"))


pipeline = mr.Pipeline(
    name="cdnow",
    features=[habits],
    label=lost,
    split=mr.Split(holdout=timedelta(days=35), train=timedelta(days=91)),
    candidates=[mr.XGBoost(n_estimators=50, max_depth=4), mr.Linear(), mr.Dummy()],
    gates=[mr.BeatsBaselines(), mr.BeatsChampion()],
    monitor=mr.Monitor(
        granularity="1 week", effect_floor=0.2
    ),  # a week has 23,570 rows: what moved by less is nothing to act on
    retrain=mr.Retrain(on=("performance", "drift"), cooldown=timedelta(days=28), min_new_labels=5000),
)
