//! Small tools, shells, and what runs on a terminal.

use crate::compat::row::{Row, row};

const LINES: &str = "cp $INPUTS/lines .";
const TREE: &str = "cp -a $INPUTS/tree .";

const REPOSITORY: &str = "mkdir r && cd r && git init -q -b main && for i in 1 2 3 4 5 6 7 8 9 10; do seq $((i * 1000)) >f$i; git add . && git commit -qm \"number $i\"; done";

const SCRIPT: &str = "i=0; while read -r line && [ $i -lt 2000 ]; do i=$((i + 1)); case $line in a*) n=$((${n:-0} + 1));; *) last=${line%%[0-9]*};; esac; done <lines; echo $i $n; \
    for f in tree/*/file-1*; do echo \"${f##*/}\"; done | sort | uniq -c | sort -rn | head -3; (exit 7); echo $?; x=$(echo one two | cut -d' ' -f2); echo $x; trap 'echo ended' EXIT; kill -0 $$ && sleep 0.05 & wait";

/// The rows.
pub fn rows() -> Vec<Row> {
    vec![
        row("sort --parallel=4", "coreutils", "sorts 24 MB with four threads", &["sort", "--parallel=4", "-S", "50M", "big", "-o", "out"])
            .setup("cat $INPUTS/lines $INPUTS/lines $INPUTS/lines >big")
            .files(&["out"]),
        row("sort", "coreutils", "sorts 8 MB with one thread", &["sort", "--parallel=1", "lines", "-o", "out"])
            .setup(LINES)
            .files(&["out"]),
        row("ls", "coreutils", "lists a large tree", &["ls", "-lR", "/usr/share/doc", "/usr/include"]),
        row("cp", "coreutils", "copies, moves and removes a tree", &["sh", "-c", "cp -a tree copy && mv copy moved && rm -r tree && ls -R moved | cksum"])
            .setup(TREE),
        row("dd", "coreutils", "copies 8 MB in small blocks", &["dd", "if=lines", "of=out", "bs=512", "status=none"])
            .setup(LINES)
            .files(&["out"]),
        row("grep", "grep", "searches a large tree", &["grep", "-rlw", "pthread_mutex_t", "/usr/include"]),
        row("find", "findutils", "walks a large tree and runs commands", &["sh", "-c", "find /usr/share -type f -size +20k | sort | cksum; find tree -name 'file-1*' -exec cat {} + | cksum; find tree -name file-2 -exec basename {} ';' | sort | uniq -c"])
            .setup(TREE),
        row("sed", "sed", "edits 8 MB in place", &["sed", "-i", "-e", "s/a\\([0-9]\\)/A\\1/g", "-e", "7d", "lines"])
            .setup(LINES)
            .files(&["lines"]),
        row("mawk", "mawk", "counts 8 MB", &["mawk", "{ n[substr($1, 1, 2)]++ } END { for (k in n) print k, n[k] | \"sort\" }", "lines"])
            .version("mawk -W version")
            .setup(LINES),
        row("gawk", "gawk", "counts 8 MB", &["gawk", "{ n[substr($1, 1, 2)]++ } END { for (k in n) print k, n[k] | \"sort\" }", "lines"])
            .setup(LINES),
        row("diff", "diffutils", "compares 8 MB with a changed copy", &["sh", "-c", "diff lines changed; diff -r tree tree"])
            .setup("cp -a $INPUTS/lines $INPUTS/tree . && sed '500,520d;9000s/a/b/g' lines >changed"),
        row("bc", "bc", "four hundred digits of pi", &["sh", "-c", "echo 'scale=400; 4*a(1); 2^3000' | bc -l"]),
        row("jq", "jq", "transforms a list", &["jq", "-n", "[range(100000) | {a: ., b: (. * 7 % 11)}] | group_by(.b) | map({b: .[0].b, n: length, s: map(.a) | add})"]),
        row("busybox", "busybox", "its own shell and tools", &["busybox", "sh", "-c", "sort lines | uniq | busybox md5sum; busybox find tree | busybox wc -l; busybox gzip -c lines | busybox gunzip | busybox sha256sum"])
            .version("busybox")
            .setup("cp -a $INPUTS/lines $INPUTS/tree ."),
        row("bash", "bash", "a script of loops, pipes, traps and jobs", &["bash", "-c", SCRIPT])
            .setup("cp -a $INPUTS/lines $INPUTS/tree ."),
        row("dash", "dash", "the same", &["dash", "-c", SCRIPT])
            .version("dpkg-query -W dash")
            .setup("cp -a $INPUTS/lines $INPUTS/tree ."),
        row("git log", "git", "history, differences and a check", &["sh", "-c", "cd r && git log --stat --format='%H %an %s' && git diff HEAD~3 --stat && git status --short && git fsck"])
            .setup(REPOSITORY),
        row("git gc", "git", "packs a repository", &["sh", "-c", "cd r && git gc -q && git fsck && git count-objects -v | grep -E 'count|packs' && git rev-list --objects --all | cksum"])
            .setup(REPOSITORY),
        row("git commit", "git", "adds, commits, branches and merges", &["sh", "-c", "cd r && git checkout -qb b && seq 77 >n && git add . && git commit -qm b && git checkout -q main && seq 99 >m && git add . && git commit -qm m && git merge -q -m both b && git log --graph --oneline && git stash list"])
            .setup(REPOSITORY),
        row("file", "file", "tells the kinds of files", &["sh", "-c", "file -b lines noise /bin/ls /usr/bin/* | cksum"])
            .setup("cp $INPUTS/lines $INPUTS/noise ."),
        row("strings", "binutils", "looks into programs", &["sh", "-c", "strings /bin/bash | cksum; objdump -d /bin/ls | cksum; nm -D /bin/bash | tail -3"]),
        row("xargs -P4", "findutils", "four processes at once", &["sh", "-c", "seq 40 | xargs -P4 -n5 sh -c 'echo $(($1 + $5))' sh | sort -n"]),
        row("vim", "vim", "edits a file on a terminal", &["vim", "-u", "NONE", "-N", "-i", "NONE", "short"])
            .setup("printf 'one\\ntwo\\n' >short")
            .on_terminal(&["expect:two", "send:Othree\\x1b:%s/o/0/g\\r", "expect:tw0", "send::wq\\r", "eof"])
            .files(&["short"])
            .status_only(),
        row("less", "less", "shows a file on a terminal", &["less", "short"])
            .version("dpkg-query -W less | tr - .")
            .setup("printf 'one\\ntwo\\n' >short")
            .on_terminal(&["expect:(END)", "send:q", "eof"]),
        row("nano", "nano", "edits a file on a terminal", &["nano", "-I", "short"])
            .setup("printf 'one\\ntwo\\n' >short")
            .on_terminal(&["expect:two", "send:three ", "expect:three", "send:\\x0f", "expect:Name", "send:\\r", "expect:Wrote", "send:\\x18", "eof"])
            .files(&["short"])
            .status_only(),
        row("tmux", "tmux", "a session without a terminal", &["sh", "-c", "tmux -S s -f /dev/null new-session -d 'echo inside >out; tmux -S s wait-for -S done; sleep 9' && tmux -S s wait-for done && tmux -S s list-windows -F '#{window_index}' && tmux -S s kill-server; cat out"])
            .version("tmux -V"),
    ]
}
