//! Languages: interpreters, virtual machines, compilers.

use crate::compat::row::{Row, row};

const JAVA: &str = r#"cat >W.java <<'END'
import java.util.*;
import java.util.concurrent.*;
public class W {
  public static void main(String[] a) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    List<Future<Long>> all = new ArrayList<>();
    for (int i = 0; i < 20; i++) {
      final int n = i;
      all.add(pool.submit(() -> { long x = n; for (int k = 0; k < 1000000; k++) x = (x * 31 + k) % 1000003; return x; }));
    }
    for (Future<Long> f : all) System.out.println(f.get());
    pool.shutdown();
  }
}
END
"#;

macro_rules! go_source {
    () => {
        r#"cat >w.go <<'END'
package main

import (
	"fmt"
	"sync"
)

func main() {
	var all sync.WaitGroup
	sums := make([]int, 16)
	for i := range sums {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for k := 0; k < 1000000; k++ {
				sums[i] = (sums[i]*31 + k + i) % 1000003
			}
		}(i)
	}
	all.Wait()
	fmt.Println(sums)
}
END
"#
    };
}

const GO: &str = go_source!();

const GO_BUILT: &str = concat!(
    go_source!(),
    "HOME=$PWD/home go build -o prog w.go && chmod -R u+w home && rm -r home"
);

const NODE: &str = r#"cat >w.js <<'END'
const {Worker, isMainThread, parentPort, workerData} = require('worker_threads');
if (isMainThread) {
  let left = 4, sum = 0;
  for (let i = 0; i < 4; i++)
    new Worker(__filename, {workerData: i}).on('message', m => { sum += m; if (--left == 0) console.log(sum); });
} else {
  let x = workerData;
  for (let i = 0; i < 3e6; i++) x = (x * 31 + i) % 1000003;
  parentPort.postMessage(x);
}
END
"#;

const SOURCES: &str = r#"mkdir p; for i in 1 2 3 4 5 6 7 8; do printf '#include <stdio.h>\nint f%d(int x) { for (int i = 0; i < 9; i++) x = x * 31 + i; return x; }\n' $i >p/f$i.c; done
printf '#include <stdio.h>\n' >p/main.c; for i in 1 2 3 4 5 6 7 8; do echo "int f$i(int);"; done >>p/main.c
echo 'int main(void) { printf("%d\n", f1(f2(f3(f4(f5(f6(f7(f8(1))))))))); return 0; }' >>p/main.c
printf 'prog: main.o f1.o f2.o f3.o f4.o f5.o f6.o f7.o f8.o\n\t@$(CC) -o $@ $^\n%%.o: %%.c\n\t@$(CC) -O2 -c -o $@ $<\n' >p/Makefile"#;

/// Without variables that change with addresses of memory or the clock.
const PYTHON_THREADS: &str = "import threading, queue
work, done = queue.Queue(), queue.Queue()
def serve():
    while (n := work.get()) is not None:
        done.put((n, sum(i * n for i in range(30000))))
threads = [threading.Thread(target=serve) for _ in range(4)]
for t in threads: t.start()
for n in range(40): work.put(n)
for t in threads: work.put(None)
for t in threads: t.join()
print(sorted(done.get() for _ in range(40)))";

const PYTHON_PROCESSES: &str = "import multiprocessing
def square(x): return x * x
if __name__ == '__main__':
    with multiprocessing.Pool(3) as pool:
        print(pool.map(square, range(200)))";

const PYTHON_ASYNCIO: &str = "import asyncio
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def ask(port, n):
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    out = []
    for i in range(20):
        writer.write(b'line %d of %d\\n' % (i, n))
        out.append(await reader.readline())
    writer.close()
    return out
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 0)
    port = server.sockets[0].getsockname()[1]
    answers = await asyncio.gather(*(ask(port, n) for n in range(10)))
    process = await asyncio.create_subprocess_exec('echo', 'child', stdout=asyncio.subprocess.PIPE)
    print(answers, await process.communicate())
    server.close()
asyncio.run(main())";

const PYTHON_MMAP: &str = "import mmap, os
with open('map', 'w+b') as f:
    f.truncate(65536)
    with mmap.mmap(f.fileno(), 65536) as m:
        for i in range(0, 65536, 256): m[i:i + 4] = i.to_bytes(4, 'big')
        m.flush()
        print(m.find(b'\\x00\\x00\\x7f\\x00'))
shared = mmap.mmap(-1, 4096)
if os.fork() == 0:
    shared[:5] = b'child'
    os._exit(0)
os.wait()
print(shared[:5])";

const PERL_THREADS: &str = "use threads; use threads::shared; my $all :shared = 0; \
    my @t = map { my $n = $_; threads->create(sub { my $s = 0; $s += $_ * $n for 1 .. 100000; { lock($all); $all += $s } $s }) } 1 .. 4; \
    print $_->join, qq(\\n) for @t; print qq($all\\n)";

/// The rows.
pub fn rows() -> Vec<Row> {
    vec![
        row("python3", "python3", "hashes, sorts, parses", &["python3", "-c", crate::bench::inputs::PYTHON]),
        row("python3 threading", "python3", "four threads with queues", &["python3", "-c", PYTHON_THREADS]),
        row("python3 multiprocessing", "python3", "a pool of three processes", &["python3", "-c", PYTHON_PROCESSES]),
        row("python3 asyncio", "python3", "a server, ten clients and a child", &["python3", "-c", PYTHON_ASYNCIO]),
        row("python3 mmap", "python3", "shared mappings of a file and between processes", &["python3", "-c", PYTHON_MMAP])
            .files(&["map"]),
        row("perl", "perl", "counts words", &["perl", "-ne", "$n{substr $_, 0, 2}++; END { print qq($_ $n{$_}\\n) for sort keys %n }", "lines"])
            .setup("cp $INPUTS/lines ."),
        row("perl ithreads", "perl", "four interpreter threads and a lock", &["perl", "-e", PERL_THREADS]),
        row("ruby", "ruby", "sorts and hashes", &["ruby", "-e", "n = (1..200000).map { |i| i * 2654435761 % 1000003 }; p n.sort.each_slice(7).sum { |a| a[0] }, n.uniq.size"]),
        row("ruby Thread", "ruby", "four threads", &["ruby", "-e", "p 4.times.map { |i| Thread.new { (1..100000).sum { |k| k * i } } }.map(&:value)"]),
        row("lua", "lua5.4", "builds a table", &["lua", "-e", "local t = {} for i = 1, 500000 do t[i] = i * i % 1009 end table.sort(t) print(#t, t[1000], t[400000])"])
            .version("lua -v"),
        row("node", "nodejs", "computes, reads a file, sets timers", &["node", "-e", "const c = require('crypto'); require('fs').readFile('noise', (e, b) => { console.log(c.createHash('sha256').update(b).digest('hex')); setTimeout(() => console.log('late'), 20) })"])
            .setup("cp $INPUTS/noise ."),
        row("node workers", "nodejs", "four worker threads", &["node", "w.js"]).setup(NODE),
        row("java", "default-jre-headless", "a pool of four threads", &["java", "W.java"])
            .setup(JAVA)
            .also(&["javac"]),
        row("go build", "golang-go", "compiles and links a program", &["sh", "-c", "HOME=$PWD GOFLAGS=-trimpath go build -o prog w.go && ./prog"])
            .version("go version")
            .setup(GO),
        row("go program", "golang-go", "sixteen goroutines", &["sh", "-c", "exec ./prog"])
            .version("go version")
            .setup(GO_BUILT),
        row("gcc", "gcc", "compiles nine files and links them", &["sh", "-c", "cd p && gcc -O2 -g0 -o prog *.c && ./prog"])
            .setup(SOURCES)
            .files(&["p/prog"]),
        row("make -j4", "make", "the same with four jobs of gcc", &["make", "-C", "p", "-j4"])
            .setup(SOURCES)
            .also(&["gcc"])
            .files(&["p/prog"]),
        row("make", "make", "the same with one job", &["make", "-C", "p"])
            .setup(SOURCES)
            .also(&["gcc"])
            .files(&["p/prog"]),
    ]
}
