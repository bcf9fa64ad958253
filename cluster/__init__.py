"""How to get a Dask client: one YAML says which kind of cluster, and its options go on verbatim.

    cluster:
      kind: local | address | kubernetes | slurm | pbs | lsf | sge | htcondor | slurm-runner | class
      workers: 4              # or minimum and maximum: the cluster grows and shrinks between them
      options: {}             # keyword arguments of that cluster's class, untouched

What `options` leaves out comes from Dask's own configuration (`jobqueue.slurm`, `kubernetes`, …).
"""
