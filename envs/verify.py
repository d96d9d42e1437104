"""Compare the tasks with dm_control: `python -m envs.verify [task ...]`."""

import argparse
from pathlib import Path

import envs
from envs.checks import checked_device
from envs.verification import measured
from envs.verification.command import run
from envs.verification.table import (
    HEADER,
    empty_row,
    format_row,
    rows_on_c_engine,
    rows_on_warp_engine,
)


def main(argv: list[str]) -> int:
    """Print the table; return 1 if a task differs by more than allowed or starts elsewhere."""
    parser = argparse.ArgumentParser(prog="python -m envs.verify", description=__doc__)
    parser.add_argument("tasks", nargs="*", metavar="task", help="all by default")
    parser.add_argument("--engine", choices=("c", "warp"), default="c")
    parser.add_argument("--device", default="cpu", help="of the warp engine: cpu or cuda")
    parser.add_argument("--out", type=Path, help="CSV file for the table")
    options = parser.parse_args(argv)
    checked_device(options.device)
    measured.check(options.out, empty_row())
    print(HEADER)
    rows = []
    for name in options.tasks or envs.tasks():
        if options.engine == "c":
            new = rows_on_c_engine(name)
        else:
            new = rows_on_warp_engine(name, options.device)
            if not new:
                print(f"{name:25s} does not run on the warp engine")
        print(*map(format_row, new), sep="\n", flush=True)
        rows += new
    if options.out:
        command = " ".join(["python -m envs.verify", *options.tasks])
        if options.engine == "warp":
            command += f" --engine warp --device {options.device}"
        measured.write(options.out, rows, command, options.device)
    return int(not all(row["agrees"] for row in rows))


if __name__ == "__main__":
    run(main)
