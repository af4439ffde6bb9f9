# What shell scripts do: pipelines, substitution, functions, traps, jobs, here-documents.
trap 'echo leaving with $?' EXIT
trap 'echo got USR1' USR1
count() { wc -l | tr -d ' '; }
echo "lines: $(sort words | uniq | count)"
kill -USR1 $$
for i in 1 2 3 4 5; do (exit $i) & done
wait
echo "background done"
(sleep 0.1; exit 9) &
wait $!
echo "status of the last job: $?"
cat <<EOF | sed 's/document/DOCUMENT/'
a here document with $((6 * 7))
EOF
grep -c fault words && echo "found" || echo "not found"
false | true; echo "pipeline $?"
n=0
while read -r line; do n=$((n + ${#line})); done <words
echo "characters $n"
seq 1 300 | while read -r x; do [ $((x % 100)) -eq 0 ] && echo "at $x"; done
umask 077; echo private >private; umask 022; mkdir -p a/b/c; echo x >a/b/c/x
find . -type f | sort
exec 5>five; echo to five >&5; exec 5>&-; cat five
test -t 0 || echo "no terminal"
sh -c 'kill -TERM $$'; echo "killed: $?"
/missing/program 2>/dev/null; echo "missing: $?"
exit 3
