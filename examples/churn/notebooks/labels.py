# Databricks notebook source
# MAGIC %md
# MAGIC # Labels
# MAGIC Of the customers that were active on a Monday: who bought nothing in the 90 days after? Known when these are over.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

from pyspark.sql import functions as F

over = now.replace(tzinfo=None) - HORIZON
asked = spark.table(FEATURES).where(F.col("at") <= F.lit(over)).select("customer_id", "at")
bought = spark.table(TRANSACTIONS).select(F.col("customer_id").alias("buyer"), "transaction_date")
came_back = asked.join(
    bought,
    (F.col("customer_id") == F.col("buyer"))
    & (F.col("transaction_date") > F.col("at"))
    & (F.col("transaction_date") <= F.col("at") + F.expr(f"INTERVAL {HORIZON.days} DAYS")),
    "left",
)
labels = came_back.groupBy("customer_id", "at").agg((F.count("buyer") == 0).cast("int").alias("churned"))
labels.write.mode("overwrite").saveAsTable(LABELS)

# COMMAND ----------

counts = spark.table(LABELS).groupBy("churned").count().orderBy("churned")
display(counts)
dbutils.jobs.taskValues.set("rows", sum(row["count"] for row in counts.collect()))
