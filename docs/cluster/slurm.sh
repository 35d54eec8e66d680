#!/usr/bin/env bash
# One run on the nodes of a Slurm job, in a Ray cluster that is made for it and ends with it (docs/cluster.md):
#   BIN=/shared/venv/bin sbatch docs/cluster/slurm.sh manifest=/shared/videos.jsonl request.model=light output=/shared/out
# The words are those of birefnet-batch; BIN has the programs of an environment with birefnet-batch[ray], if PATH has not.
# That, the inputs and the output are on a file system that all nodes mount, or the last two in a bucket.
# To be adapted to the nodes; each option of sbatch's own command line wins over its line here:
#SBATCH --job-name=birefnet
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
# Three minutes before the time is over the run is stopped, and the job queued again: it goes on where it was. Segments
# that are being done have executor.grace_s to finish.
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
# A node that fails costs what it worked on: the others go on.
#SBATCH --no-kill
set -euo pipefail

ray=${BIN:+$BIN/}ray
cpus=${SLURM_CPUS_PER_TASK:?is not set: this is for sbatch, with --cpus-per-task}
# Other jobs on these nodes have ports of their own, and not this one's token.
port=$((20000 + 2 * (SLURM_JOB_ID % 6000)))
address=$(hostname):$port
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
# Short, and not TMPDIR's: names of sockets below it have a limit.
scratch=/tmp/bb-$SLURM_JOB_ID
node="$ray start --num-cpus=$cpus --disable-usage-stats --block"
export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_TMPDIR=$scratch
# What is the job's of a node, its workers share.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cpus / ${SLURM_GPUS_ON_NODE:-1}))}

over='' told=''
trap 'told=yes over=yes; kill -TERM "$run" 2>/dev/null || true' USR1
trap 'told=yes; kill -TERM "$run" 2>/dev/null || true' TERM INT
run=''

$node --head --port="$port" --ray-client-server-port=$((port + 1)) --temp-dir="$scratch" --include-dashboard=false &
head=$!
until "$ray" status --address "$address" >/dev/null 2>&1; do
    kill -0 "$head" || exit 1
    sleep 1
done
others=$((SLURM_JOB_NUM_NODES - 1))
if [ "$others" -gt 0 ]; then
    # The folder's trap lets the shell outlive the signal that ends Ray.
    srun --nodes="$others" --ntasks="$others" --ntasks-per-node=1 --cpus-per-task="$cpus" --exclude="$SLURMD_NODENAME" \
        --no-kill --kill-on-bad-exit=0 bash -c "trap : TERM; $node --address=$address; rm -rf $scratch" &
fi

"${BIN:+$BIN/}birefnet-batch" executor=ray executor.address="$address" "$@" &
run=$!
while :; do
    status=0
    wait "$run" || status=$?
    # A signal ends the wait, not the run.
    [ -n "$told" ] || break
    told=''
done
jobs -p | xargs -r kill -TERM 2>/dev/null || true
wait
rm -rf "$scratch"
if [ -n "$over" ] && [ "$status" = 130 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
