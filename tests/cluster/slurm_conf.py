"""The slurm.conf of a virtual cluster."""


def slurm_conf(folder, hosts, cpus, more):
    """`local` is another folder on each host; `more` replaces or adds settings."""
    local = folder + "/local"
    settings = {
        "ClusterName": "manta",
        "SlurmctldHost": "head(10.77.0.254)",
        "SlurmUser": "root",
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={local}/munge/socket",
        "CredType": "cred/munge",
        "StateSaveLocation": local + "/state",
        "SlurmdSpoolDir": local + "/spool",
        "TmpFS": local + "/tmp",
        "SlurmctldPidFile": local + "/slurmctld.pid",
        "SlurmdPidFile": local + "/slurmd.pid",
        "SlurmctldLogFile": folder + "/log/slurmctld.log",
        "SlurmdLogFile": folder + "/log/slurmd-%n.log",
        # No cgroups: those of the machine are not ours, and none may be there.
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "MailProg": "/bin/true",
        "MpiDefault": "none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        # The hosts have as many cores as we say, whatever the machine has.
        "SlurmdParameters": "config_overrides",
        "SchedulerParameters": "batch_sched_delay=0,sched_min_interval=0",
        "ReturnToService": "2",
        "KillWait": "2",
        "SlurmdTimeout": "30",
        "SlurmctldTimeout": "30",
        "MessageTimeout": "20",
        "UnkillableStepTimeout": "20",
    }
    settings.update(more)
    lines = [f"{name}={value}" for name, value in settings.items()]
    for index in range(hosts):
        lines.append(f"NodeName=n{index} NodeAddr=10.77.0.{index + 1} Sockets=1 CoresPerSocket={cpus} ThreadsPerCore=1 "
                     "RealMemory=4000")
    lines.append(f"PartitionName=hosts Nodes=n[0-{hosts - 1}] Default=YES State=UP MaxTime=INFINITE")
    return "\n".join(lines) + "\n"
