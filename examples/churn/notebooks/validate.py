# Databricks notebook source
# MAGIC %md
# MAGIC # Validate
# MAGIC Three gates, on the holdout: good enough, better than knowing nothing, and no worse than what is in production. A model that passes is
# MAGIC `staging`. One that does not is a result, not a failure: the job's condition ends it there.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

import mlflow
from mlflow import MlflowClient
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

client = MlflowClient()
newest = max((int(each.version) for each in client.search_model_versions(f"name = '{MODEL}'")), default=0)
version = dbutils.jobs.taskValues.get("train", "version", debugValue=str(newest))
held = spark.table(HOLDOUT).toPandas()
X, y = held[COLUMNS], held["churned"]


def chances(number: str) -> list[float]:
    """What a version says about the holdout."""
    uri = f"models:/{MODEL}/{number}"
    is_trees = "xgboost" in mlflow.models.get_model_info(uri).flavors
    return (mlflow.xgboost if is_trees else mlflow.sklearn).load_model(uri).predict_proba(X)[:, 1]


# COMMAND ----------

# DBTITLE 1,Gates
chance = chances(version)
said = (chance >= 0.5).astype(int)
figures = {
    "accuracy": accuracy_score(y, said),
    "f1": f1_score(y, said),
    "roc_auc": roc_auc_score(y, chance),
    "log_loss": log_loss(y, chance),
}
limits = {"accuracy": 0.75, "f1": 0.60, "roc_auc": 0.80}
reasons = [f"{name} is {figures[name]:.3f}, under {least}" for name, least in limits.items() if figures[name] < least]
knowing_nothing = log_loss(y, [y.mean()] * len(y))
if figures["log_loss"] >= knowing_nothing:
    reasons.append(f"log-loss is {figures['log_loss']:.3f}, no better than {knowing_nothing:.3f} of the mean alone")
try:
    champion = client.get_model_version_by_alias(MODEL, "production").version
except mlflow.exceptions.MlflowException:
    champion = None  # there is none yet
if champion is not None and str(champion) != version:
    of_champion = log_loss(y, chances(champion))
    if figures["log_loss"] > of_champion * 1.01:
        reasons.append(f"log-loss is {figures['log_loss']:.3f}, version {champion} in production has {of_champion:.3f}")
passed = not reasons

# COMMAND ----------

# DBTITLE 1,Verdict
import pandas as pd

display(pd.DataFrame([figures]))
for reason in reasons or ["every gate is passed"]:
    print(reason)
client.set_model_version_tag(MODEL, version, "verdict", "; ".join(reasons) or "passed")
if passed:
    client.set_registered_model_alias(MODEL, "staging", version)

# COMMAND ----------

dbutils.jobs.taskValues.set("passed", "true" if passed else "false")
dbutils.jobs.taskValues.set("version", version)
dbutils.jobs.taskValues.set("reasons", reasons)
dbutils.notebook.exit("passed" if passed else "refused")
