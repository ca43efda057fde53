# Databricks notebook source
# MAGIC %md
# MAGIC # What all notebooks of the job share
# MAGIC Names of tables and of the model, and the day that the run is about.

# COMMAND ----------

from datetime import UTC, date, datetime, timedelta

TRANSACTIONS, CUSTOMERS = "bronze.transactions", "bronze.customers"
FEATURES, LABELS, HOLDOUT = "ml.features.customer_churn", "ml.labels.customer_churn", "ml.validation.customer_churn"
MODEL, STAGING, ENDPOINT = "ml.models.customer_churn", "customer-churn-staging", "customer-churn"
PREDICTIONS, BASELINE, MONITORING = "ml.inference_logs.customer_churn", "ml.monitoring.churn_baseline", "ml.monitoring"

HORIZON = timedelta(days=90)  # who buys nothing for so long has churned
ACTIVE = timedelta(days=90)  # and is a customer who has bought in that time
FIRST_MONDAY = date(2024, 4, 1)  # from here on the shop's records go back far enough
COLUMNS = ["purchases", "spend", "mean_spend", "categories", "days_since_last", "recent_share", "days_since_signup"]

# COMMAND ----------

# DBTITLE 1,The day
dbutils.widgets.text("today", "2025-01-06", "The day that the run is about, where it is not part of a job")
today = date.fromisoformat(dbutils.jobs.taskValues.get("land", "today", debugValue=dbutils.widgets.get("today")))
now = datetime(today.year, today.month, today.day, tzinfo=UTC)


def mondays(first: date, last: date) -> list[date]:
    """The Mondays from first to last."""
    day = first + timedelta(days=-first.weekday() % 7)
    return [day + timedelta(weeks=week) for week in range(max((last - day).days // 7 + 1, 0))]


def has_table(name: str) -> bool:
    """Whether the lake has a table of that name."""
    return spark.catalog.tableExists(name)
