# Databricks notebook source
# MAGIC %md
# MAGIC # Alert
# MAGIC A rule over the monitor's table: it is evaluated here, and by `millrace alert evaluate`, and opens an episode that ends when the drift does.

# COMMAND ----------

# MAGIC %run ./settings

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT CASE WHEN status = 'drift' THEN 'DRIFT_DETECTED' ELSE 'NORMAL' END AS status, drift_score, reason
# MAGIC FROM ml.monitoring.customer_churn_drift_summary WHERE status IN ('ok', 'drift', 'explained') ORDER BY date DESC LIMIT 1

# COMMAND ----------

# DBTITLE 1,The rule
import millrace as mr
from millrace.alerts.evaluate_all import change, evaluate_all
from millrace.alerts.condition import Condition
from millrace.alerts.types import AlertRule

RULE = "churn-drift"
workspace = mr.open_workspace()
rule = AlertRule(
    RULE,
    breaches=1,
    out_of=1,
    resolve_after=1,
    condition=Condition(
        "=",
        "DRIFT_DETECTED",
        sql="""
        SELECT CASE WHEN status = 'drift' THEN 'DRIFT_DETECTED' ELSE 'NORMAL' END AS status
        FROM ml.monitoring.customer_churn_drift_summary WHERE status IN ('ok', 'drift', 'explained')
        ORDER BY date DESC LIMIT 1
        """,
        column="status",
    ),
    labels={"team": "data-science"},
)
change(workspace.alerts, rule)
report = evaluate_all(workspace.alerts, only=RULE)
is_open = any(episode.rule == RULE for episode in report.are_open)
print(report.states[RULE].reason)

# COMMAND ----------

dbutils.jobs.taskValues.set("status", "DRIFT_DETECTED" if is_open else "NORMAL")
dbutils.notebook.exit("DRIFT_DETECTED" if is_open else "NORMAL")
