"""subprocess: pipes, statuses, signals, environment, timeouts."""

import os
import signal
import subprocess

done = subprocess.run(["sort", "-n"], input=b"3\n1\n2\n", capture_output=True, check=True)
print(done.stdout)
print(subprocess.run(["sh", "-c", "exit 7"], check=False).returncode)
print(subprocess.run(["sh", "-c", "kill -9 $$"], check=False).returncode)
first = subprocess.Popen(["seq", "1000"], stdout=subprocess.PIPE)
second = subprocess.Popen(["wc", "-l"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
print(second.communicate()[0], first.wait())
sleeper = subprocess.Popen(["sleep", "60"])
sleeper.send_signal(signal.SIGTERM)
print(sleeper.wait())
try:
    subprocess.run(["sleep", "60"], timeout=0.2, check=False)
except subprocess.TimeoutExpired:
    print("timed out")
print(subprocess.check_output(["env"], env={"ONLY": "this"}))
reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, b"from the fork")
    os._exit(3)
print(os.read(reader, 100), os.WEXITSTATUS(os.wait()[1]))
assert subprocess.getoutput("echo $PPID") == str(os.getpid())
