"""A process of an older version of the program; standard input tells it to go on.

It makes a catalog of two tables, opens one, begins to import new commits into the one and to
import the other anew, and says `ready`. After the next line it goes on with all, and says as JSON
what each came to.
"""

import json
import sys
import threading

import deltalake
import pyarrow as pa

import deltalakedb as dl
from deltalakedb.error import DeltaLakeError
from deltalakedb.importing import run

ANEW = {"t": False, "u": True}


def outcome(action):
    try:
        return ["done", action()]
    except DeltaLakeError as error:
        return [error.kind.name, str(error)]


def main(folder, database):
    uri = f"deltasql://{database}?table=t"
    for name in ANEW:
        place = f"{folder}/{name}"
        for n in (1, 2):
            deltalake.write_deltalake(place, pa.table({"x": [n]}), mode="append")
        dl.import_table(place, database=database)
        deltalake.write_deltalake(place, pa.table({"x": [3]}), mode="append")
    held = dl.connect_to_table(uri).snapshot()
    held.plan()
    begun, go_on = threading.Barrier(len(ANEW) + 1), threading.Event()
    clean_up = run.ledger.clean_up

    def clean_up_late(*arguments):
        # The catalog is open, and has been asked.
        clean_up(*arguments)
        begun.wait(60)
        go_on.wait(60)

    run.ledger.clean_up = clean_up_late
    said = {"package": dl.__file__}

    def import_(name):
        place = f"{folder}/{name}"
        said[name] = outcome(
            lambda: dl.import_table(place, database=database, rebuild=ANEW[name]).status
        )

    threads = [threading.Thread(target=import_, args=(name,)) for name in ANEW]
    for thread in threads:
        thread.start()
    begun.wait(60)
    print("ready", flush=True)
    sys.stdin.readline()
    go_on.set()
    for thread in threads:
        thread.join()
    run.ledger.clean_up = clean_up
    said["held"] = outcome(lambda: held.plan("x > 0").num_rows)
    said["opened"] = outcome(lambda: dl.connect_to_table(uri).version)
    said["begun later"] = outcome(lambda: dl.import_table(f"{folder}/t", database=database).status)
    print(json.dumps(said), flush=True)


main(*sys.argv[1:])
