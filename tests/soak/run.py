"""The long trials, one after the other: what takes minutes. `make soak`, or `make soak ONLY="writers bytes_kept"`.

Each shows its own progress and figures; what failed is said again at the end.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parents[1]
TRIALS: Final[dict[str, list[str]]] = {
    "fuzz": ["fuzz_decoder.py", "60"],
    "writers": ["-m", "soak.writers"],
    "bytes_kept": ["-m", "soak.bytes_kept"],
    **{path.stem: [str(path)] for path in sorted(TESTS.glob("soak/*.py"))},
}
PARTS: Final = {"run", "backends", "__init__"}


def main() -> int:
    names = sys.argv[1:] or [name for name in TRIALS if name not in PARTS]
    unknown = [name for name in names if name not in TRIALS]
    if unknown:
        print(f"There is no trial {unknown[0]!r}: expected some of {', '.join(name for name in TRIALS if name not in PARTS)}.")
        return 2
    paths = os.pathsep.join([str(TESTS.parent / "src"), str(TESTS), str(TESTS.parent)])
    failed: list[str] = []
    for name in names:
        print(f"\n── {name} " + "─" * (100 - len(name)), flush=True)
        began = time.monotonic()
        done = subprocess.run([sys.executable, *TRIALS[name]], cwd=TESTS, env=os.environ | {"PYTHONPATH": paths})
        print(f"{'passed' if done.returncode == 0 else 'FAILED'} in {time.monotonic() - began:.0f} s", flush=True)
        failed += [name] if done.returncode else []
    print(f"\n{len(names) - len(failed)} of {len(names)} passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
