#!/bin/bash
# Four workers of GNU parallel fetch one dataset together, here or on hosts that ssh reaches:
#
#   export CAIEXPORT_DATABASE=postgresql:///caiexport
#   parallel.sh --id 5f0000000000000000000001 --output /shared/scores
#   PARALLEL='-S host1,host2 --env _' parallel.sh --id 5f0000000000000000000001 --output /shared/scores
#
# A worker that fails, or is killed, is started three times at most, whatever its exit code: what another try can't mend
# fails again at once. The job's name is the day's, so that the same line later that day goes on with it;
# CAIEXPORT_SHARE gives it another. Ctrl-C lets the workers end in an orderly way.
set -euo pipefail

share=${CAIEXPORT_SHARE:-$(date +%F)}
# -N0: the numbers only say how many; exec: signals reach the program; --quote: arguments stay what they are.
seq 4 | parallel --will-cite -j4 -N0 --retries 3 --line-buffer --termseq TERM,10000,KILL,1000 --quote \
  exec caiexport dataset --share "$share" "$@"
