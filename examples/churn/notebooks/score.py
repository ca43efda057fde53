# Databricks notebook source
# MAGIC %md
# MAGIC # Score
# MAGIC Every active customer of each Monday since the last run, by what is in production. The log of predictions is what the monitor watches. A row
# MAGIC of it has the model's inputs, its answer, the version, and the label as soon as that is known.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

# DBTITLE 1,Which Mondays
import mlflow
import pandas as pd
from databricks.feature_engineering import FeatureEngineeringClient
from mlflow import MlflowClient
from pyspark.sql import functions as F

version = str(MlflowClient().get_model_version_by_alias(MODEL, "production").version)
done = set()
if has_table(PREDICTIONS):
    done = {row.timestamp.date() for row in spark.table(PREDICTIONS).select("timestamp").distinct().collect()}
known = [row.at for row in spark.table(FEATURES).select("at").distinct().orderBy("at").collect()]
last_label = spark.table(LABELS).agg(F.max("at")).collect()[0][0]
wanted = [at for at in known if at > last_label and at.date() not in done]
uri = f"models:/{MODEL}/{version}"
flavor = mlflow.xgboost if "xgboost" in mlflow.models.get_model_info(uri).flavors else mlflow.sklearn
model = flavor.load_model(uri)


def answered(rows: pd.DataFrame, of: str) -> pd.DataFrame:
    """Rows of the log: inputs, answer, version."""
    chance = model.predict_proba(rows[COLUMNS])[:, 1]
    answer = {"model_version": of, "prediction": (chance >= 0.5).astype(int), "probability": chance}
    return rows[["customer_id", "timestamp", *COLUMNS]].assign(**answer)


# COMMAND ----------

# DBTITLE 1,Scored in batch, with the model's own lookups
if wanted:
    asked = spark.table(FEATURES).where(F.col("at").isin(wanted)).select("customer_id", "at")
    scored = FeatureEngineeringClient().score_batch(model_uri=uri, df=asked).toPandas()
    rows = answered(scored.rename(columns={"at": "timestamp"}), version)
    spark.createDataFrame(rows).write.mode("append").saveAsTable(PREDICTIONS)
    print(f"{len(rows):,} predictions of {len(wanted)} Mondays by version {version}")

# COMMAND ----------

# DBTITLE 1,What normal is: the holdout, as the model answers it
held = spark.table(HOLDOUT).toPandas().rename(columns={"at": "timestamp", "churned": "actual_label"})
normal = answered(held, version).assign(actual_label=held["actual_label"])
spark.createDataFrame(normal).write.mode("overwrite").saveAsTable(BASELINE)
dbutils.notebook.exit(len(wanted))
