# Databricks notebook source
# MAGIC %md
# MAGIC # Staging
# MAGIC The version behind an endpoint, asked as an application would ask, and held against the same model in batch.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

import millrace as mr
from databricks.feature_engineering import FeatureEngineeringClient
from millrace.targets.types import DeploymentSpec
from millrace.workspace import open_target
from mlflow import MlflowClient

version = str(MlflowClient().get_model_version_by_alias(MODEL, "staging").version)
newest = spark.table(FEATURES).agg({"at": "max"}).collect()[0][0]
some = [
    row.customer_id
    for row in spark.table(FEATURES).where(f"at = '{newest}'").orderBy("customer_id").limit(20).collect()
]
workspace = mr.open_workspace()

# COMMAND ----------

# DBTITLE 1,Asked
with open_target(workspace) as target:
    print(target.deploy(DeploymentSpec(STAGING, MODEL, version)))
    answers = target.query(STAGING, [{"customer_id": one, "at": newest.isoformat()} for one in some])

# COMMAND ----------

# DBTITLE 1,Held against the batch
import pandas as pd

asked = pd.DataFrame({"customer_id": some, "at": [newest] * len(some)})
in_batch = FeatureEngineeringClient().score_batch(model_uri=f"models:/{MODEL}/{version}", df=asked).toPandas()
assert answers.model_version == version
assert [int(one) for one in answers.predictions] == [int(one) for one in in_batch["prediction"]], "they differ"
dbutils.jobs.taskValues.set("version", version)
dbutils.notebook.exit(f"version {version} answers as the batch does")
