#!/usr/bin/env python3
"""`swath demo modis` on a folder of a few small granules: every step, and the page at the end.

    demo_modis_test.py PROGRAM
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = sys.argv[1]


def run(*words):
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr[-3000:]}"
    return done


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run("data", "synthesize", "--platform", "terra", "--granules", 6, "--scans", 26, "--columns",
            660, "--output", folder / "granules")
        done = run("demo", "modis", "--root", folder / "granules", "--minutes", 0.02, "--output",
                   folder / "demo", "--json")
        result = json.loads(done.stdout.splitlines()[-1])
        # 2 x 5 chips of each granule; none of those in the test were seen in pretraining.
        assert result["chips"]["chips"] == 60, result["chips"]
        methods = {row["method"] for row in result["table"]}
        assert methods == {"probe", "untrained", "band_statistics", "majority", "finetune",
                           "scratch"}, methods
        held_out = (folder / "demo/lists/held_out.txt").read_text().splitlines()
        assert 20 <= len(held_out) <= 40, len(held_out)
        config = (folder / "demo/pretrain/config.toml").read_text()
        assert f"exclude_list = '{folder}/demo/lists/held_out.txt'" in config, config
        assert "band 31" in result["derived"], result["derived"]
        page = Path(result["report"]).read_text()
        for text in ("Embeddings map", "Confusion", "Mean and deviation of each band",
                     "Synthetic granules on this map"):
            assert text.lower() in page.lower(), f"the page has no {text}"
    print("demo modis test passed")


main()
