# Databricks notebook source
# MAGIC %md
# MAGIC # Production
# MAGIC The staging version takes over the endpoint, every request is captured, and the log says who moved the alias and why.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

import millrace as mr
from millrace.registry.promotion import promote
from millrace.registry.types import ModelName, ModelVersion
from millrace.targets.types import DeploymentSpec
from millrace.workspace import open_target
from mlflow import MlflowClient

version = str(MlflowClient().get_model_version_by_alias(MODEL, "staging").version)
workspace = mr.open_workspace()
with open_target(workspace) as target:
    print(target.deploy(DeploymentSpec(ENDPOINT, MODEL, version, capture=("ml", "inference_logs", "churn_requests"))))

# COMMAND ----------

# DBTITLE 1,The alias
done = promote(
    workspace.registry,
    workspace.promotions,
    workspace.events,
    workspace.clock,
    workspace.principal,
    ModelName(MODEL),
    ModelVersion(version),
    "production",
    why=f"passed its gates on {today}",
)
dbutils.notebook.exit(f"version {done.version} is in production")
