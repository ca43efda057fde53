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


@mr.feature_table("ml.features.customer_churn_features", keys=["customer_id"], every=WEEK, start=START)
def customer_churn_features(as_of: datetime, tx: DataFrame = transactions, people: DataFrame = customers) -> DataFrame:
    """What was known of each active customer, each Monday."""
    when, amount = F.col("transaction_date"), F.col("amount")
    is_recent = when > F.lit(as_of - RECENT)
    spend = (
        tx.where(when > F.lit(as_of - ACTIVE))
        .groupBy("customer_id")
        .agg(
            F.sum("amount").alias("total_spend"),
            F.avg("amount").alias("mean_spend"),
            F.count("*").alias("transaction_count"),
            F.stddev("amount").alias("spend_volatility"),
            F.count_distinct("product_category").alias("distinct_categories"),
            F.datediff(F.lit(as_of), F.max("transaction_date")).alias("days_since_last_purchase"),
            (F.count(F.when(is_recent, 1)) * 3 / F.count("*")).alias("recent_activity"),
            F.sum(F.when(is_recent, amount)).alias("recent_spend"),
        )
    )
    regions = [(F.col("region") == region).cast("int").alias(f"in_{region}") for region in REGIONS]
    signed_up = F.datediff(F.lit(as_of), "signup_date").alias("days_since_signup")
    return spend.join(people.select("customer_id", signed_up, *regions), "customer_id")


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
