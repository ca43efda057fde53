"""The quickstart's pipeline, as a team would write its own: sources, features, labels, candidates, gates, policy."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812, TID253 - a pipeline's page is Spark code, and is loaded by its path

import millrace as mr

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

WEEK, HORIZON = timedelta(days=7), timedelta(days=90)
ACTIVE = timedelta(days=90)  # a customer is active who bought in the last 90 days
RECENT = timedelta(days=30)
START = datetime(2024, 4, 1, tzinfo=UTC)  # a Monday, from which on the shop's records go back far enough
REGIONS = ("north", "east", "south", "west")

transactions = mr.Source("bronze.transactions", event_time="transaction_date")
customers = mr.Source("bronze.customers", event_time="signup_date")


spend = mr.Windows(
    transactions,
    keys=["customer_id"],
    total_spend=mr.Sum("amount", over=ACTIVE),
    mean_spend=mr.Mean("amount", over=ACTIVE),
    transaction_count=mr.Count(over=ACTIVE),
    spend_volatility=mr.Stddev("amount", over=ACTIVE),
    distinct_categories=mr.CountDistinct("product_category", over=ACTIVE),
    last_purchase=mr.Last("transaction_date", over=ACTIVE),
    recent_count=mr.Count(over=RECENT),
    recent_spend=mr.Sum("amount", over=RECENT),
)


@mr.feature_table("ml.features.customer_churn_features", keys=["customer_id"], every=WEEK, start=START)
def customer_churn_features(as_of: datetime, spent: DataFrame = spend, people: DataFrame = customers) -> DataFrame:
    """What was known of each active customer, each Monday."""
    features = spent.select(
        *("customer_id", "total_spend", "mean_spend", "transaction_count", "spend_volatility", "distinct_categories"),
        F.datediff(F.lit(as_of), "last_purchase").alias("days_since_last_purchase"),
        (F.col("recent_count") * 3 / F.col("transaction_count")).alias("recent_activity"),
        "recent_spend",
    )
    regions = [(F.col("region") == region).cast("int").alias(f"in_{region}") for region in REGIONS]
    signed_up = F.datediff(F.lit(as_of), "signup_date").alias("days_since_signup")
    return features.join(people.select("customer_id", signed_up, *regions), "customer_id")


@mr.label_table(
    "ml.labels.churn_labels", keys=["customer_id"], column="churned", horizon=HORIZON, every=WEEK, start=START
)
def churn_labels(time: datetime, end: datetime, tx: DataFrame = transactions) -> DataFrame:  # noqa: ARG001 - tx ends at `end`
    """Of the customers who were active at a time: who bought nothing in the 90 days after?"""
    when = F.col("transaction_date")
    bought = tx.where(when > F.lit(time - ACTIVE)).groupBy("customer_id")
    seen = bought.agg(F.min(when).alias("first"), F.max(when).alias("last")).where(F.col("first") <= F.lit(time))
    return seen.select("customer_id", (F.col("last") <= F.lit(time)).cast("int").alias("churned"))


pipeline = mr.Pipeline(
    name="customer_churn",
    features=[customer_churn_features],
    label=churn_labels,
    split=mr.Split(holdout=timedelta(days=28), train=timedelta(days=91)),
    candidates=[mr.XGBoost(n_estimators=100, max_depth=6, learning_rate=0.1), mr.Linear(), mr.Dummy()],
    gates=[mr.AtLeast(accuracy=0.75, f1=0.60, roc_auc=0.80), mr.BeatsBaselines(), mr.BeatsChampion()],
    monitor=mr.Monitor(granularity="1 day", false_alarms_per_year=1),
    alerts=mr.Alert(on=("drift", "performance"), breaches=2, out_of=3),
    retrain=mr.Retrain(on=("drift", "performance"), cooldown=timedelta(days=14), min_new_labels=1300),
)
