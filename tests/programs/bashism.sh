# What bash adds: arrays, process substitution, coprocesses, pipefail, jobs, mapfile, regular expressions.
set -o pipefail
declare -A map=([one]=1 [two]=2)
echo "${map[one]} ${map[two]} ${#map[@]}"
diff <(seq 1 5) <(seq 2 6)
echo "diff says $?"
mapfile -t lines <words
echo "${#lines[@]} lines, first ${lines[0]}"
false | true; echo "pipefail $?"
RANDOM=7; echo $RANDOM $RANDOM
coproc upper { tr a-z A-Z; }
echo "through the coprocess" >&"${upper[1]}"
eval "exec ${upper[1]}>&-"
cat <&"${upper[0]}"
wait
[[ "call 57 of 60" =~ ([0-9]+)\ of\ ([0-9]+) ]] && echo "${BASH_REMATCH[1]}/${BASH_REMATCH[2]}"
trap 'echo debug: child ended' CHLD
sleep 0.05 &
wait $!
echo "waited $?"
trap - CHLD
for i in {1..3}; do sleep 0.0$i & done
wait -n; echo "first of three: $?"
wait
printf '%s\n' {a..e}{1..3} | sort -r | head -4
printf -v year "%(%Y)T" -1 && (( year > 2000 )) && echo "a year"
ulimit -c 0
{ ( kill -SEGV $BASHPID ); } 2>/dev/null; echo "segv $?"
trap 'echo term; exit 4' TERM
kill $$
echo "not reached"
