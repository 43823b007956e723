#!/bin/bash
#SBATCH --job-name=caiexport
#SBATCH --array=0-3
#SBATCH --ntasks=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=caiexport-%A_%a.log
# Four tasks of a Slurm array fetch one dataset together. All read and write one folder, and one PostgreSQL has the record:
#
#   export CAIEXPORT_DATABASE='postgresql://db.example.com/caiexport?sslmode=verify-full' PGPASSFILE=~/.pgpass
#   sbatch slurm.sh --id 5f0000000000000000000001 --output /shared/scores
#
# The settings of caiexport come along with the environment. With RequeueExit=7 in slurm.conf Slurm tries again what the
# platform or the database was not there for; `scontrol requeue` and a dead node do so by themselves.
# CAIEXPORT_SHARE in place of the array's number lets another array go on with the same job.

# In place of the shell, so that the signal by which Slurm ends or requeues a task reaches the program.
exec caiexport dataset --share "${CAIEXPORT_SHARE:-$SLURM_ARRAY_JOB_ID}" "$@"
