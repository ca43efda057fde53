# Databricks notebook source
# MAGIC %md
# MAGIC # Monitor
# MAGIC Each week of predictions is held against the holdout of the version that made them.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

import millrace as mr
from millrace.monitoring.types import MonitorSpec
from millrace.pipeline.monitors import create_monitor, refresh_monitor

spec = MonitorSpec(PREDICTIONS, MONITORING, granularity="1 week", feature_cols=tuple(COLUMNS))
workspace = mr.open_workspace()
monitor = create_monitor(workspace, spec, BASELINE)
refreshed = refresh_monitor(workspace, monitor)
for verdict in refreshed.verdicts:
    if verdict.kind == "drift":
        print(f"{verdict.start:%Y-%m-%d} {verdict.status}: {verdict.reason}")

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT date, model_version, round(drift_score, 3) AS drift_score, status, reason
# MAGIC FROM ml.monitoring.customer_churn_drift_summary WHERE status IS NOT NULL ORDER BY date DESC LIMIT 10
