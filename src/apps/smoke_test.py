#!/usr/bin/env python3
"""Smoke tests of the program: every command answers --help, errors have the right exit code, and a
tiny pretraining run can be killed, resumed bit by bit, probed, exported and reported.

    smoke_test.py PROGRAM

Needs nothing but Python's standard library.
"""
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = sys.argv[1]
COMMANDS = ["demo", "models", "recipes", "data", "pretrain", "probe", "finetune", "embed",
            "reconstruct", "import", "export", "bench", "report", "doctor"]


def run(*words, expect=0, cwd=None):
    result = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, cwd=cwd,
                            check=False)
    if result.returncode != expect:
        sys.exit(f"swath {' '.join(map(str, words))}: exit code {result.returncode}, expected "
                 f"{expect}\n{result.stdout}\n{result.stderr}")
    return result


def last_json(result):
    return json.loads(result.stdout.strip().splitlines()[-1])


def write_chips(folder, classes=3, count=24, size=16):
    """Two-band .npy chips whose brightness tells the class."""
    for label in range(classes):
        for index in range(count):
            directory = folder / f"class_{label}"
            directory.mkdir(parents=True, exist_ok=True)
            pixels = bytes(((40 * label + 7 * index + 3 * i * (i % (label + 2))) % 251)
                           for i in range(size * size * 2))
            header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size}, {size}, 2), }}"
            header += " " * (63 - (10 + len(header)) % 64) + "\n"
            (directory / f"{index:03d}.npy").write_bytes(
                b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + pixels)


def pretrain_words(chips, output, *more):
    return ["pretrain", "--root", chips, "--output", output, "--model", "vit_pico",
            "--model.width", 32, "--model.depth", 2, "--model.heads", 2, "--model.decoder_width", 16,
            "--model.decoder_depth", 1, "--model.decoder_heads", 2, "--transform.kind", "none",
            "--size", 16, "--transform.dihedral", "true", "--batch_size", 8, "--epochs", 3,
            "--threads", 1, "--log_every", 1, "--base_lr", 1e-2, "--warmup_epochs", 1,
            "--json", *more]


def losses(run_directory):
    found = {}
    for line in (run_directory / "log.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["kind"] == "step":
            found[entry["step"]] = entry["loss"]
    return found


def check_help_and_errors(folder):
    for command in COMMANDS:
        text = run(command, "--help").stdout
        assert "Example" in text, f"{command} --help shows no example"
    run("no-such-command", expect=2)
    run("pretrain", "--set", "no.such=1", expect=2)
    run("pretrain", "--set", "train.batch_size=-1", expect=2)
    run("pretrain", "--root", folder / "missing", expect=2)
    assert len(last_json(run("models", "--json"))["models"]) >= 13
    assert {"demo", "ucm_vit_tiny", "millionaid_vit_3b"} <= {
        recipe["name"] for recipe in last_json(run("recipes", "--json"))["recipes"]}


def check_full_size_recipes_parse(chips, folder):
    """Each named recipe, scaled down by settings alone, makes a step."""
    os.environ["MILLIONAID"] = str(folder)
    os.environ.setdefault("SWATH_DATA", str(folder))
    (folder / "probe_images.txt").write_text("class_0/000.npy class_0 0\n")
    for recipe in last_json(run("recipes", "--json"))["recipes"]:
        if recipe["name"] == "demo":
            continue
        run("pretrain", recipe["name"], *pretrain_words(chips, folder / recipe["name"])[1:],
            "--model.patch", 4, "--model.image_size", 16, "--model.channels", 2, "--model.mlp", 64,
            "--max_steps", 1, "--fit_minutes", 0)


def check_kill_and_resume(chips, folder):
    whole = last_json(run(*pretrain_words(chips, folder / "whole", "--checkpoint_steps", 1)))
    # Killed without warning somewhere in the middle, then resumed to the end.
    process = subprocess.Popen(
        [PROGRAM, *map(str, pretrain_words(chips, folder / "killed", "--checkpoint_steps", 1))],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while not list((folder / "killed").glob("checkpoints/step_*[1-9]")):
        assert time.time() < deadline, "no checkpoint appeared"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = last_json(run(*pretrain_words(chips, folder / "killed", "--checkpoint_steps", 1)))
    assert resumed["resumed_from"], "the killed run did not resume"
    assert resumed["steps"] == whole["steps"]
    assert losses(folder / "killed") == losses(folder / "whole"), "losses differ after resume"
    name = f"checkpoints/step_{whole['steps']:08d}/rank_00000.safetensors"
    assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes(), \
        "weights or moments differ after resume"
    # Another run's settings are refused, another model's too.
    run(*pretrain_words(chips, folder / "killed", "--optim.beta2", 0.5), expect=2)
    run(*pretrain_words(chips, folder / "killed", "--model.depth", 3), expect=2)
    return folder / "whole"


def check_signal(chips, folder):
    process = subprocess.Popen(
        [PROGRAM, *map(str, pretrain_words(chips, folder / "stopped", "--epochs", 100000))],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "stopped" / "log.jsonl").exists() or not losses(folder / "stopped"):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert list((folder / "stopped").glob("checkpoints/step_*/COMPLETE"))


def check_use(chips, folder, trained):
    report = last_json(run("probe", trained, "--root", chips, "--output", folder / "probe",
                           "--methods", "linear,knn", "--image_size", -1, "--evaluation", "none",
                           "--probe.linear.epochs", 3, "--probe.linear.batch_size", 12, "--json"))
    assert 0 <= report["top1"] <= 1 and report["classes"] == 3 and report["baselines"]
    embedded = last_json(run("embed", trained, "--root", chips, "--output", folder / "embed",
                             "--evaluation", "none", "--json"))
    assert (embedded["rows"], embedded["dim"]) == (72, 32)
    run("reconstruct", trained, "--root", chips, "--output", folder / "pictures")
    run("export", trained, "--output", folder / "model.safetensors")
    run("export", trained, "--output", folder / "model.safetensors", expect=2)
    run("finetune", trained, "--root", chips, "--output", folder / "finetune", "--epochs", 1,
        "--evaluation", "none", "--batch_size", 12)
    assert last_json(run("data", "inspect", "--root", chips, "--json"))["images"] == 72
    run("data", "pack", "--root", chips, "--output", folder / "shards")
    assert last_json(run("data", "verify", "--root", folder / "shards", "--json"))["bad"] == 0


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chips = folder / "chips"
        write_chips(chips)
        check_help_and_errors(folder)
        trained = check_kill_and_resume(chips, folder)
        check_signal(chips, folder)
        check_use(chips, folder, trained)
        check_full_size_recipes_parse(chips, folder)
    print("smoke test passed")


main()
