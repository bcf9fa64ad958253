"""Work that is submitted: `python -m jobs.NAME --help`. Each job may be repeated at any time.

Exit codes: 0 done; 1 something that repeating won't cure; 2 drift; 3 lag alone; 75 try again
(database away, scheduler lost, deadline reached with work left); 78 configuration; 130, 143
interrupted, with its state kept.
"""
