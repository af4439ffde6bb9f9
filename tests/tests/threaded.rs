//! Programs with threads or writable shared memory, in the modes that can run these: output, files
//! and status of the native run.
//!
//! Invariant: what the threads do comes to the same in whatever order they run. Run by `cargo test`.

use chameleon_tests::{Scenario, have, program, python, script, workload};

/// Tests of a program: what must be installed, the modes, and its scenario.
macro_rules! threaded {
    ($($name:ident [$($need:literal)*] [$($mode:ident)*] $scenario:expr;)*) => {$(
        mod $name {
            use super::*;
            fn scenario() -> Option<Scenario> {
                have(&[$($need),*]).then(|| $scenario)
            }
            #[test]
            fn native() {
                if let Some(scenario) = scenario() {
                    scenario.same(&scenario.native(), &scenario.native(), "native, twice");
                }
            }
            $(#[test]
            fn $mode() {
                if let Some(scenario) = scenario() {
                    scenario.check(stringify!($mode));
                }
            })*
        }
    )*};
}

/// A shell line, with 6 MB of text in `words`.
fn sh(line: &str) -> Scenario {
    program("sh").args(["-ec", line]).file("words", workload::text(1, 6_000_000))
}

const NODE: &str = "const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');
if (isMainThread) {
  let left = 4, sum = 0;
  for (let i = 0; i < 4; i++) new Worker(__filename, {workerData: i}).on('message', m => { sum += m; if (--left == 0) console.log(sum); });
  require('fs').readFile(__filename, (e, b) => require('fs').writeFileSync('copy', b));
} else {
  let x = workerData;
  for (let i = 0; i < 1e6; i++) x = (x * 31 + i) % 1000003;
  parentPort.postMessage(x);
}
";

const JAVA: &str = "import java.util.*; import java.util.concurrent.*;
public class W { public static void main(String[] a) throws Exception {
  ExecutorService pool = Executors.newFixedThreadPool(4);
  List<Future<Long>> all = new ArrayList<>();
  for (int i = 0; i < 20; i++) { final int n = i; all.add(pool.submit(() -> { long x = n; for (int k = 0; k < 300000; k++) x = (x * 31 + k) % 1000003; return x; })); }
  for (Future<Long> f : all) System.out.println(f.get());
  pool.shutdown();
} }
";

const GO: &str = "package main
import (\"fmt\"; \"os\"; \"sync\")
func main() {
\tvar all sync.WaitGroup
\tsums := make([]int, 16)
\tlines := make(chan string)
\tfor i := range sums { all.Add(1); go func(i int) { defer all.Done(); for k := 0; k < 300000; k++ { sums[i] = (sums[i]*31 + k + i) % 1000003 }; lines <- \"x\" }(i) }
\tgo func() { all.Wait(); close(lines) }()
\tn := 0
\tfor range lines { n++ }
\tfmt.Println(n, sums)
\tos.Exit(3)
}
";

const PERL: &str = "use threads; use threads::shared; my $all :shared = 0; \
    my @t = map { my $n = $_; threads->create(sub { my $s = 0; $s += $_ * $n for 1 .. 30000; { lock($all); $all += $s } $s }) } 1 .. 4; \
    print $_->join, qq(\\n) for @t; print qq($all\\n)";

const PYTHON_THREADS: &str = "import threading, queue
work, done = queue.Queue(), queue.Queue()
def serve():
    while (n := work.get()) is not None: done.put((n, sum(i * n for i in range(10000))))
threads = [threading.Thread(target=serve) for _ in range(4)]
for t in threads: t.start()
for n in range(40): work.put(n)
for t in threads: work.put(None)
for t in threads: t.join()
print(sorted(done.get() for _ in range(40)))";

const PYTHON_PROCESSES: &str = "import multiprocessing
def square(x): return x * x
if __name__ == '__main__':
    with multiprocessing.Pool(3) as pool: print(pool.map(square, range(100)))";

const PYTHON_MMAP: &str = "import mmap, os
with open('map', 'w+b') as f:
    f.truncate(65536)
    with mmap.mmap(f.fileno(), 65536) as m:
        for i in range(0, 65536, 256): m[i:i + 4] = i.to_bytes(4, 'big')
shared = mmap.mmap(-1, 4096)
if os.fork() == 0:
    shared[:5] = b'child'
    os._exit(0)
os.wait()
print(shared[:5])";

const WAL: &str = "PRAGMA journal_mode=wal; CREATE TABLE t(n INT); \
    WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 20000) INSERT INTO t SELECT x * 7919 % 10007 FROM c; \
    UPDATE t SET n = n + 1 WHERE n % 3 = 0; SELECT count(*), sum(n) FROM t; PRAGMA integrity_check";

threaded! {
    xz ["xz"] [simplex dual tmr] sh("xz -T2 -0 --block-size=1MiB -k words; xz -dc words.xz | cmp - words");
    zstd ["zstd"] [simplex dual tmr] sh("zstd -T2 -q words; zstd -dcq words.zst | cmp - words");
    pigz ["pigz"] [simplex dual tmr] sh("pigz -p2 -n -k words; pigz -dc words.gz | cmp - words");
    sort ["sort"] [simplex dual tmr] sh("sort --parallel=4 -S 40M words -o out");
    git_gc ["git"] [simplex dual tmr] sh("git init -q -b main; for i in 1 2 3 4 5 6; do seq ${i}000 >f; git add f; git commit -qm $i; done; git gc -q; git fsck; git rev-list --objects --all | cksum; rm -rf .git")
        .env("GIT_AUTHOR_NAME", "A").env("GIT_AUTHOR_EMAIL", "a@b").env("GIT_AUTHOR_DATE", "2020-01-01T00:00:00Z")
        .env("GIT_COMMITTER_NAME", "A").env("GIT_COMMITTER_EMAIL", "a@b").env("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z");
    ffmpeg ["ffmpeg"] [simplex dual tmr] program("ffmpeg").args(["-v", "error", "-f", "lavfi", "-i", "testsrc=duration=1:size=320x240:rate=25", "-c:v", "mpeg4", "-threads", "2", "-bitexact", "out.avi"]);
    node ["node"] [simplex dual tmr] program("node").args(["w.js"]).file("w.js", NODE);
    java ["javac"] [simplex dual tmr] program("java").args(["-XX:-UsePerfData", "W.java"]).file("W.java", JAVA);
    go ["go"] [simplex dual tmr] sh("HOME=$PWD go build -trimpath -o prog w.go; rm -r .cache; s=0; ./prog || s=$?; rm prog; exit $s").file("w.go", GO);
    perl ["perl"] [simplex dual tmr] program("perl").args(["-e", PERL]);
    python_threads ["python3"] [simplex dual tmr] program(python()).args(["-c", PYTHON_THREADS]);
    python_processes ["python3"] [simplex dual tmr] program(python()).args(["-c", PYTHON_PROCESSES]);
    python_mmap ["python3"] [simplex dual tmr] program(python()).args(["-c", PYTHON_MMAP]);
    sqlite_wal ["sqlite3"] [simplex dual tmr] program("sqlite3").args(["db", WAL]);
    vim ["python3" "vim"] [simplex dual tmr] program("vim").args(["-u", "NONE", "-N", "-i", "NONE", "-n", "short"]).file("short", "one\ntwo\n")
        .prefix([python(), script("drive.py").to_str().expect("a plain path"), "expect:two", "send:Othree\\x1b:%s/o/0/g|wq\\r", "eof", "--"]);
}
