"""Four mapped tasks of Airflow (2.4 or newer) fetch one dataset together, each day at 5:30 UTC.

The workers write to one folder that all of them mount, and one PostgreSQL has the record. CAIEXPORT_DATABASE and the
credentials (CAIEXPORT_CLIENT_ID and so on, PGPASSFILE) are in the workers' environment. A run of the DAG is one job of
caiexport: tasks that are cleared, or run again after they were done, go on with it or find it done.
"""

import datetime

from airflow import DAG
from airflow.operators.bash import BashOperator

WORKERS = 4

with DAG(
    dag_id="caiexport",
    schedule="30 5 * * *",
    start_date=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
    catchup=False,
    max_active_runs=1,
):
    BashOperator.partial(
        task_id="fetch_scores",
        # In place of the shell, so that the signal by which Airflow ends a task reaches the program.
        bash_command="exec caiexport dataset --share '{{ dag.dag_id }} {{ run_id }}' --id 5f0000000000000000000001 "
                     "--output /shared/scores --max-age 24h --quiet",
        # No new scoring yet: nothing to wake anybody for. Airflow tries all other failures again; what another try can't
        # mend (docs/engines.md) fails again at once.
        skip_on_exit_code=12,
        retries=3,
        retry_delay=datetime.timedelta(minutes=2),
        append_env=True,
    ).expand(env=[{"WORKER": str(number)} for number in range(WORKERS)])
