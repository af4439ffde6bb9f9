#!/bin/sh
# Within a booted systemd (boot.sh): a node with the units that `chameleon init --systemd` writes. Each step must
# succeed; daemon and starter are killed and stopped, and are there again.
set -eux
# The watchdog's usual time is long for a test.
mkdir -p /etc/systemd/system/chameleon-daemon.service.d
printf '[Service]\nWatchdogSec=1s\n' >/etc/systemd/system/chameleon-daemon.service.d/watchdog.conf
chameleon init --systemd
systemd-analyze verify --man=no /etc/systemd/system/chameleon-daemon.service /etc/systemd/system/chameleon-ftm.service
systemctl daemon-reload
systemctl start chameleon-daemon chameleon-ftm
chameleon status
test "$(stat -c %a /var/lib/chameleon)" = 711
main() { systemctl show --value --property MainPID "$1"; }
again() { # SERVICE PID: waits until another process is the service's, and it is ready
	for _ in $(seq 300); do
		now=$(main "$1")
		if [ "$now" != 0 ] && [ "$now" != "$2" ] && systemctl is-active --quiet "$1"; then
			return 0
		fi
		sleep 0.1
	done
	return 1
}
# Tracing and notifications work within the unit's confines.
printf '[app]\nname = "three"\ncommand = ["/bin/sh", "-c", "exit 3"]\n[dependability]\nintegrity = "masked"\n' >/three.toml
status=0
chameleon submit --wait /three.toml || status=$?
test $status = 3
ftm=$(pgrep -f 'armor ftm')
for signal in KILL STOP; do
	daemon=$(main chameleon-daemon)
	kill -$signal "$daemon"
	again chameleon-daemon "$daemon"
	chameleon status
	test "$(pgrep -f 'armor ftm')" = "$ftm"
done
# Who heard nothing while the daemon was stopped blamed nobody else.
chameleon status | grep '^epoch  *1$'
starter=$(main chameleon-ftm)
kill -KILL "$starter"
again chameleon-ftm "$starter"
test "$(pgrep -f 'armor ftm')" = "$ftm"
systemctl stop chameleon-daemon chameleon-ftm
test "$(pgrep -f 'armor ftm')" = "$ftm"
