# Databricks notebook source
# MAGIC %md
# MAGIC # Train
# MAGIC Three candidates, each a run of MLflow: boosted trees, a straight line, and one that knows nothing. The last four weeks with
# MAGIC labels are held out; of the weeks before, only those whose labels were known when the holdout began are trained on.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

# DBTITLE 1,Rows
import mlflow
import numpy as np
from databricks.feature_engineering import FeatureEngineeringClient, FeatureLookup
from pyspark.sql import functions as F

fe = FeatureEngineeringClient()
labels = spark.table(LABELS)
newest = labels.agg(F.max("at")).collect()[0][0]
border = newest - timedelta(weeks=4)
lookup = FeatureLookup(FEATURES, lookup_key="customer_id", timestamp_lookup_key="at")
whole = fe.create_training_set(
    df=labels, feature_lookups=[lookup], label="churned", exclude_columns=["customer_id", "at"]
)
training, holdout = whole.split_by_time(at=border, known_after=HORIZON)
X, y = training.inputs(), training.to_pandas()["churned"]
X_held, y_held = holdout.inputs(), holdout.to_pandas()["churned"]
assert list(X) == COLUMNS, list(X)
print(f"{len(X):,} rows to train on, {len(X_held):,} held out from {border:%Y-%m-%d} on")

# COMMAND ----------

# DBTITLE 1,Candidates
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier

candidates = {
    "xgboost": XGBClassifier(n_estimators=100, max_depth=4, learning_rate=0.05, n_jobs=2, random_state=0),
    "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
    "dummy": DummyClassifier(),
}
metrics, runs = {}, {}
for name, model in candidates.items():
    with mlflow.start_run(run_name=f"{name} {today}") as run:
        model.fit(X, y)
        chance = model.predict_proba(X_held)[:, 1]
        said = (chance >= 0.5).astype(int)
        metrics[name] = {
            "accuracy": accuracy_score(y_held, said),
            "f1": f1_score(y_held, said),
            "roc_auc": roc_auc_score(y_held, chance),
            "log_loss": log_loss(y_held, chance),
        }
        mlflow.log_params({"candidate": name, "rows": len(X), "border": str(border)})
        mlflow.log_metrics(metrics[name])
        runs[name] = run.info.run_id

# COMMAND ----------

# DBTITLE 1,How they did
import pandas as pd

display(pd.DataFrame(metrics).T.rename_axis("candidate").sort_values("log_loss"))

# COMMAND ----------

# DBTITLE 1,Calibration of the best
import matplotlib.pyplot as plt

best = min(metrics, key=lambda name: metrics[name]["log_loss"])
chance = candidates[best].predict_proba(X_held)[:, 1]
groups = np.array_split(np.argsort(chance), 10)
plt.figure(figsize=(4, 4))
plt.plot([0, 1], [0, 1], color="#bbb")
plt.plot([chance[group].mean() for group in groups], [y_held.to_numpy()[group].mean() for group in groups], "o-")
plt.xlabel("predicted share that churns")
plt.ylabel("share that did")
plt.title(best)
plt.show()

# COMMAND ----------

# DBTITLE 1,Registered with its lookups
with mlflow.start_run(run_id=runs[best]):
    flavor = mlflow.xgboost if best == "xgboost" else mlflow.sklearn
    logged = fe.log_model(model=candidates[best], flavor=flavor, training_set=training, registered_model_name=MODEL)
held = fe.create_training_set(df=labels.where(F.col("at") >= border), feature_lookups=[lookup], label="churned")
held.load_df().write.mode("overwrite").saveAsTable(HOLDOUT)
print(f"{best} is version {logged.version} of {MODEL}")

# COMMAND ----------

dbutils.jobs.taskValues.set("version", str(logged.version))
dbutils.jobs.taskValues.set("candidate", best)
dbutils.jobs.taskValues.set(
    "metrics", {name: {key: float(one) for key, one in all_.items()} for name, all_ in metrics.items()}
)
dbutils.notebook.exit(best)
