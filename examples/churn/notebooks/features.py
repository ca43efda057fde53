# Databricks notebook source
# MAGIC %md
# MAGIC # Features
# MAGIC What was known of each active customer on each Monday. Only Mondays that the table does not have yet are computed.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

from databricks.feature_engineering import FeatureEngineeringClient
from pyspark.sql import functions as F

fe = FeatureEngineeringClient()
known = set()
if has_table(FEATURES):
    known = {row.at.date() for row in fe.read_table(name=FEATURES).select("at").distinct().collect()}
wanted = [day for day in mondays(FIRST_MONDAY, today) if day not in known]
print(f"{len(wanted)} of {len(known) + len(wanted)} Mondays are to be computed")
if not wanted:
    dbutils.notebook.exit("up to date")

# COMMAND ----------

# DBTITLE 1,Ninety days before each Monday
days = spark.createDataFrame([(datetime(day.year, day.month, day.day),) for day in wanted], ["at"])
bought = spark.table(TRANSACTIONS)
seen = bought.join(
    days,
    (F.col("transaction_date") <= F.col("at"))
    & (F.col("transaction_date") > F.col("at") - F.expr(f"INTERVAL {ACTIVE.days} DAYS")),
)
is_recent = F.col("transaction_date") > F.col("at") - F.expr("INTERVAL 30 DAYS")
spent = seen.groupBy("customer_id", "at").agg(
    F.count("*").alias("purchases"),
    F.sum("amount").cast("double").alias("spend"),
    F.avg("amount").cast("double").alias("mean_spend"),
    F.countDistinct("product_category").alias("categories"),
    F.max("transaction_date").alias("last"),
    (F.sum(is_recent.cast("double")) / F.count("*")).alias("recent_share"),
)
features = spent.join(spark.table(CUSTOMERS), "customer_id").select(
    "customer_id",
    "at",
    "purchases",
    F.round("spend", 2).alias("spend"),
    F.round("mean_spend", 2).alias("mean_spend"),
    "categories",
    F.datediff("at", "last").alias("days_since_last"),
    F.round("recent_share", 6).alias("recent_share"),
    F.datediff("at", "signup_date").alias("days_since_signup"),
)

# COMMAND ----------

# DBTITLE 1,Into the feature table
if has_table(FEATURES):
    fe.write_table(name=FEATURES, df=features)
else:
    fe.create_table(
        name=FEATURES,
        primary_keys=["customer_id"],
        timeseries_column="at",
        df=features,
        description="What is known of each active customer, each Monday",
        tags={"team": "data-science"},
    )
fe.publish_table(source_table_name=FEATURES)
dbutils.jobs.taskValues.set("mondays", len(wanted))

# COMMAND ----------

# DBTITLE 1,The newest
# MAGIC %sql
# MAGIC SELECT at, count(*) AS customers, round(avg(spend), 2) AS spend, round(avg(days_since_last), 1) AS days_since_last
# MAGIC FROM ml.features.customer_churn GROUP BY at ORDER BY at DESC LIMIT 5
