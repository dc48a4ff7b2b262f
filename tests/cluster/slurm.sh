#!/usr/bin/env bash
# A Slurm of one node on the loopback interface, from Debian's packages, for tests/cluster/test_slurm.py; as root.
#
#   tests/cluster/slurm.sh start [FOLDER]   install what is missing, start it, say which variables reach it
#   tests/cluster/slurm.sh stop [FOLDER]    end it, and all its jobs
#
# Everything it writes lies in FOLDER (/tmp/cpr-slurm); the system's own configuration is left alone. It has no accounting
# database, as many a small cluster.
set -euo pipefail

verb=${1:?start or stop}
folder=${2:-/tmp/cpr-slurm}
export SLURM_CONF=$folder/slurm.conf

stop() {
    if [ -f "$SLURM_CONF" ]; then
        timeout 10 scancel --user=root 2>/dev/null || true
        for _ in $(seq 50); do
            [ -n "$(timeout 5 squeue --noheader 2>/dev/null)" ] || break
            sleep 0.2
        done
    fi
    for name in slurmd slurmctld munged; do
        if [ -f "$folder/$name.pid" ]; then
            local pid
            pid=$(cat "$folder/$name.pid")
            kill "$pid" 2>/dev/null || true
            for _ in $(seq 100); do
                kill -0 "$pid" 2>/dev/null || break
                sleep 0.1
            done
        fi
    done
    rm -rf "$folder"
}

install_missing() {
    if ! command -v slurmctld slurmd sbatch munged >/dev/null; then
        # policy-rc.d or systemd may start services of the packages; these are not used.
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
            slurmctld slurmd slurm-client munge >"$folder/apt.log"
    fi
}

configure() {
    local name=$1
    mkdir -p "$folder"/{state,spool,log}
    chmod 700 "$folder/state"
    head --bytes=1024 /dev/urandom >"$folder/munge.key"
    chmod 400 "$folder/munge.key"
    cat >"$SLURM_CONF" <<END
ClusterName=loopback
SlurmctldHost=$name(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=300
SchedulerParameters=sched_interval=2,batch_sched_delay=1
NodeName=$name NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=$name Default=YES MaxTime=INFINITE State=UP
END
}

start() {
    [ "$(id -u)" = 0 ] || { echo "slurm.sh: it must be started as root." >&2; exit 2; }
    [ ! -e "$folder" ] || { echo "slurm.sh: $folder is there already; stop it first." >&2; exit 2; }
    mkdir -p "$folder"
    chmod 755 "$folder"
    install_missing
    configure "$(hostname -s)"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/log/munged.log" --seed-file="$folder/munged.seed" 2>"$folder/log/munged.err"
    slurmctld
    slurmd
    for _ in $(seq 60); do
        if [ "$(timeout 5 sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then
            echo "export CPR_TEST_SLURM=1 SLURM_CONF=$SLURM_CONF"
            return
        fi
        sleep 0.5
    done
    echo "slurm.sh: the node does not come up; see $folder/log." >&2
    exit 1
}

case $verb in
    start) start ;;
    stop) stop ;;
    *) echo "slurm.sh: start or stop, not $verb." >&2; exit 2 ;;
esac
