# Databricks notebook source
# MAGIC %md
# MAGIC # Land
# MAGIC What arrives in the lake. Here a simulated shop stands in for it: with no `today` given, each run lets it live one week more.

# COMMAND ----------

from datetime import UTC, date, datetime, timedelta

from millrace.quickstart.shop import ShopPlan
from millrace.quickstart.simulate import open_shop

dbutils.widgets.text("today", "", "The day up to which rows arrive; empty: a week after the newest")
dbutils.widgets.text("seed", "7", "Of the simulation")
times = {"bronze.transactions": "transaction_date", "bronze.customers": "signup_date"}

# COMMAND ----------

# DBTITLE 1,Up to which day
landed = None
if spark.catalog.tableExists("bronze.landed"):
    landed = spark.sql("SELECT CAST(value AS DATE) FROM bronze.landed ORDER BY value DESC LIMIT 1").collect()[0][0]
if dbutils.widgets.get("today"):
    today = date.fromisoformat(dbutils.widgets.get("today"))
else:
    today = date(2025, 1, 6) if landed is None else landed + timedelta(weeks=1)
print(f"landed up to {landed}, to be landed up to {today}")

# COMMAND ----------

# DBTITLE 1,Rows


def midnight(day: date) -> datetime:
    """Its first instant."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def has_landed(name: str) -> bool:
    """Whether the rows are there already: a run that was ended before it could say so begins this notebook anew."""
    if not spark.catalog.tableExists(name):
        return False
    beyond = "true" if landed is None else f"{times[name]} > '{midnight(landed).isoformat()}'"
    return bool(spark.sql(f"SELECT 1 FROM {name} WHERE {beyond} LIMIT 1").collect())


shop = open_shop(ShopPlan(seed=int(dbutils.widgets.get("seed"))))
after = None if landed is None else midnight(landed)
arrived = {
    "bronze.transactions": shop.transactions(midnight(today), after),
    "bronze.customers": shop.customers(midnight(today), after),
}
for name, rows in arrived.items():
    if rows.num_rows and not has_landed(name):
        spark.createDataFrame(rows).write.mode("append").saveAsTable(name)
    print(f"{name}: {rows.num_rows:,} rows")
if landed is None or today > landed:
    spark.createDataFrame([(today.isoformat(),)], ["value"]).write.mode("append").saveAsTable("bronze.landed")

# COMMAND ----------

dbutils.jobs.taskValues.set("today", max(today, landed or today).isoformat())
dbutils.notebook.exit(sum(rows.num_rows for rows in arrived.values()))
