#!/usr/bin/env python3
"""Smoke tests of the program: every command answers --help, errors have the right exit code, a tiny
pretraining run can be killed, resumed bit by bit, moved, probed, exported and reported, a full disk
and a damaged checkpoint lose nothing, and every recipe trains scaled down with the losses it had.

    smoke_test.py PROGRAM [--write-golden]

Needs nothing but Python's standard library, and the demo's data in $SWATH_HOME/.deps/demo-data
(`./swath test` fetches it). --write-golden stores the losses of this run instead of comparing.
"""
import csv
import json
import math
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

PROGRAM = sys.argv[1]
HOME = Path(os.environ["SWATH_HOME"])
GOLDEN_FILE = HOME / "testdata" / "apps" / "golden_losses.json"
# Losses of float32 on another processor: sums are ordered differently, nothing else.
GOLDEN_TOLERANCE = 1e-4
golden = {}
COMMANDS = ["demo", "models", "recipes", "data", "chips", "pretrain", "probe", "finetune", "clouds",
            "embed", "reconstruct", "import", "export", "bench", "report", "launch",
            "doctor"]


def run(*words, expect=0, largest_file=None, directory=None):
    def limit_files():
        if largest_file is not None:  # beyond it, writing fails as on a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    result = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True,
                            check=False, preexec_fn=limit_files, restore_signals=False,
                            cwd=directory)
    if expect is not None and result.returncode != expect:
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


def check_switches(chips, folder):
    """A switch may stand alone, before another argument, or have a value."""
    broken = folder / "broken"
    shutil.copytree(chips, broken)
    (broken / "class_0" / "000.npy").write_bytes(b"")
    run("data", "verify", "--root", broken, expect=1)
    for words in (["--skip-bad"], ["--skip-bad", "true"], ["--data.skip_bad=true"]):
        inspected = last_json(run("data", "inspect", "--root", broken, *words, "--json"))
        assert inspected["images"] == 72, inspected
    run(*pretrain_words(broken, folder / "no_switch"), expect=1)
    trained = last_json(run(*pretrain_words(broken, folder / "switch", "--skip-bad")))
    assert trained["skipped_samples"] == 1 and Path(trained["report"]).exists()


def check_bad_input(chips, folder, trained):
    """Unusable files stop a command by name, or are listed in its skipped.txt."""
    broken = folder / "mixed"
    shutil.copytree(chips, broken)
    (broken / "class_0" / "000.npy").write_bytes(b"")
    whole = (broken / "class_1" / "003.npy").read_bytes()
    (broken / "class_1" / "003.npy").write_bytes(whole[:300])
    (broken / "class_2" / "005.npy").rename(broken / "class_2" / "005.png")
    (broken / "class_2" / "007.npy").write_bytes(whole.replace(b"(16, 16, 2)", b"(8, 16, 4) "))
    bad = ["class_0/000.npy", "class_1/003.npy", "class_2/005.png", "class_2/007.npy"]

    def check_list(directory, result):
        lines = (directory / "skipped.txt").read_text().splitlines()
        assert sorted(line.split("\t")[0] for line in lines) == bad, lines
        assert result["skipped_samples"] == len(bad), result
        assert "holds NPY data under the extension .png" in "".join(lines), lines

    stopped = run(*pretrain_words(broken, folder / "stopped"), expect=1).stderr
    assert any(name in stopped for name in bad) and "HINT" in stopped, stopped
    check_list(folder / "listed",
               last_json(run(*pretrain_words(broken, folder / "listed", "--skip-bad"))))
    probe = ["probe", trained, "--evaluation", "none", "--image_size", -1, "--methods", "knn",
             "--json", "--output"]
    stopped = run(*probe, folder / "probe_stopped", "--root", broken, expect=1).stderr
    assert any(name in stopped for name in bad) and "HINT" in stopped, stopped
    check_list(folder / "probe_listed",
               last_json(run(*probe, folder / "probe_listed", "--root", broken, "--skip-bad")))
    check_list(folder / "pictures_listed",
               last_json(run("reconstruct", trained, "--root", broken, "--samples", 72, "--skip-bad",
                             "--json", "--output", folder / "pictures_listed")))
    assert not (trained / "skipped.txt").exists()


def check_stored_split(chips, folder, trained):
    """A list or file changed after the split is refused, also where the list is given directly."""
    images, split = folder / "split_chips", folder / "stored_split"
    shutil.copytree(chips, images)
    run("data", "split", "--root", images, "--preset", "ucm", "--repeats", 1, "--output", split)
    train, test = split / "train_labels_55_0.txt", split / "valid_labels_55_0.txt"
    outputs = iter(range(100))

    def commands():
        probe = ["probe", trained, "--root", images, "--evaluation", "none", "--image_size", -1,
                 "--methods", "knn", "--output", folder / f"of_split_{next(outputs)}"]
        yield [*probe, "--train_list", train, "--test_list", test]
        yield [*probe[:-1], folder / f"of_split_{next(outputs)}", "--split", split]
        yield pretrain_words(images, folder / f"of_split_{next(outputs)}", "--data.list", train,
                             "--epochs", 2, "--warmup_epochs", 0)

    for words in commands():
        run(*words)
    name = train.read_text().split()[0]
    whole = (images / name).read_bytes()
    (images / name).write_bytes(whole[:-1] + b"x")
    for words in commands():
        text = run(*words, expect=2).stderr
        assert f"{name} was changed after the split" in text and "HINT: restore" in text, text
    (images / name).write_bytes(whole)
    train.write_text(train.read_text().replace("class_0 0", "class_1 1", 1))
    for words in commands():
        text = run(*words, expect=2).stderr
        assert f"{train} was changed after the split" in text and "HINT: restore" in text, text


def check_refusals(chips, folder, trained):
    """What would mix or lose results is refused before it starts."""
    other = folder / "other"
    run(*pretrain_words(chips, other, "--seed", 1, "--max_steps", 2))
    newest = max(trained.glob("checkpoints/step_*"))
    oldest = min(trained.glob("checkpoints/step_*"))
    run(*pretrain_words(chips, other, "--resume", newest), expect=2)
    run(*pretrain_words(chips, other, "--resume", newest, "--overwrite"), expect=2)
    run(*pretrain_words(chips, trained, "--resume", oldest), expect=2)
    log = (trained / "log.jsonl").read_bytes()
    again = last_json(run(*pretrain_words(chips, trained)))
    assert again["checkpoint"] == str(newest) and again["loss"] > 0
    assert (trained / "log.jsonl").read_bytes() == log
    run(*pretrain_words(chips, folder / "odd", "--accumulation", 3), expect=2)
    run(*pretrain_words(chips, folder / "warm", "--warmup_epochs", 30), expect=2)
    run("probe", trained, "--root", chips, "--test_root", chips, "--repeats", 2, expect=2)
    text = run("probe", trained, "--root", chips, "--test_root", chips,
               "--output", folder / "same_roots", expect=2).stderr
    assert "no test" in text, text
    for name, image in (("learned.txt", "001"), ("tested.txt", "001")):
        (folder / name).write_text("".join(f"class_{c}/{image}.npy class_{c} {c}\n" for c in range(3)))
    text = run("probe", trained, "--root", chips, "--train_list", folder / "learned.txt",
               "--test_list", folder / "tested.txt", "--output", folder / "same_images",
               expect=2).stderr
    assert "class_0/001.npy is in the training data" in text, text
    # Only pretrain and bench work as ranks (ranks_test.py); half a description of one is refused.
    os.environ["WORLD_SIZE"] = "2"
    assert "WORLD_SIZE=2" in run(*pretrain_words(chips, folder / "ranks"), expect=2).stderr
    os.environ["RANK"] = "0"
    text = run("probe", trained, "--root", chips, "--output", folder / "ranks", expect=2).stderr
    assert "one of 2 processes (torchrun)" in text, text
    del os.environ["WORLD_SIZE"], os.environ["RANK"]


def check_cuda_plugin_is_found():
    """The program looks for its plugin where the build put it; loading it takes a CUDA LibTorch."""
    plugin = Path(PROGRAM).resolve().parent.parent / "lib" / "libswath_cuda.so"
    if plugin.exists():
        text = run("pretrain", "--device", "cuda", "--root", "/", expect=2).stderr
        assert "libswath_cuda.so: cannot open" not in text, text


def check_help_and_errors(folder):
    for command in COMMANDS:
        text = run(command, "--help").stdout
        assert "Example" in text, f"{command} --help shows no example"
    run("no-such-command", expect=2)
    run("pretrain", "--set", "no.such=1", expect=2)
    run("pretrain", "--set", "train.batch_size=-1", expect=2)
    run("pretrain", "--root", folder / "missing", expect=2)
    refused = run("pretrain", "demo", "--scale-down", expect=2).stderr
    assert "recipe demo has no scaled-down form" in refused, refused
    run("pretrain", "--scale-down", expect=2)
    assert "--set output=x" in run("pretrain", "demo", "output=x", expect=2).stderr
    assert len(last_json(run("models", "--json"))["models"]) >= 13
    check_memory_table()
    assert {"demo", "ucm_vit_tiny", "millionaid_vit_3b"} <= {
        recipe["name"] for recipe in last_json(run("recipes", "--json"))["recipes"]}


def check_memory_table():
    """The table in docs/swin.md is the program's, and near the poster's where its sizes could be
    decoded: gradients of all four, the total of the two large ones."""
    text = (HOME / "docs/swin.md").read_text()
    command = re.search(r"^`swath (models --memory .*?)`", text, re.M)
    rows = {row["name"]: row for row in last_json(run(*command[1].split(), "--json"))["memory"]}
    columns = ("model", "batch", "gradients", "optimizer", "total", "total_adamw", "activations")
    compared = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 2 + len(columns) or cells[0] not in rows:
            continue
        name = cells[0]
        assert cells[1] == f"{rows[name]['parameters'] / 1e6:.2f}", line
        for cell, column in zip(cells[2:], columns):
            gib = rows[name][column] / 2**30
            assert cell == f"{gib:.{2 if column == 'activations' else 3}f}", (line, column, gib)
        compared.add(name)
    for size, column, gib, tolerance in (
            ("100m", "gradients", 381.47 / 1024, 0.08), ("600m", "gradients", 2.27, 0.11),
            ("1_4b", "gradients", 5.28, 0.01), ("3_6b", "gradients", 13.51, 0.001),
            ("1_4b", "total", 16.3, 0.04), ("3_6b", "total", 41.6, 0.03)):
        name = f"swin_v2_{size}"
        assert name in compared, compared
        found = rows[name][column] / 2**30
        assert math.isclose(found, gib, rel_tol=tolerance), (name, column, found)


def check_launch():
    """Ranks and their words behind `--`, the first failure, a signal passed on."""
    both = run("launch", "-n", 2, "--", "sh", "-c", "echo rank $RANK of $WORLD_SIZE", "--json")
    assert sorted(both.stdout.splitlines()) == ["rank 0 of 2", "rank 1 of 2"], both.stdout
    failed = run("launch", "-n", 2, "--json", "--", "sh", "-c",
                 "[ $RANK = 0 ] || { echo no memory >&2; exit 7; }; sleep 100", expect=7)
    failure = last_json(failed)["first_failure"]
    assert failure["rank"] == 1 and failure["exit_code"] == 7, failure
    assert failure["stderr"] == "no memory" and "rank 1 of 2 ended with" in failed.stderr
    for words in (["-n", 2], ["-n", 2, "true"], ["-n", 0, "--", "true"], ["--", "no-such-program"]):
        run("launch", *words, expect=2)
    launcher = subprocess.Popen([PROGRAM, "launch", "-n", "2", "--", "sh", "-c",
                                 "trap 'exit 143' TERM; echo ready; while true; do sleep 0.05; done"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert [launcher.stdout.readline() for _ in range(2)] == ["ready\n"] * 2
    launcher.terminate()
    assert launcher.wait(timeout=60) == 143, launcher.returncode


def check_golden(name, run_directory):
    found = [loss for _, loss in sorted(losses(run_directory).items())]
    if "--write-golden" in sys.argv:
        golden[name] = found
        return
    expected = golden[name]
    assert len(found) == len(expected), f"{name}: {len(found)} steps, expected {len(expected)}"
    for step, (loss, before) in enumerate(zip(found, expected), 1):
        assert math.isclose(loss, before, rel_tol=GOLDEN_TOLERANCE), \
            f"{name}: loss {loss} at step {step}, it was {before}"


def check_recipes(folder):
    """Each named recipe makes its first steps with a small model on small images: everything else
    (crops, masks, patch, losses, optimizer) is the recipe's own."""
    chips = folder / "large_chips"
    write_chips(chips, classes=2, count=8, size=96)
    test_chips = folder / "large_test_chips"
    shutil.copytree(chips, test_chips)
    (folder / "probe_images.txt").write_text("class_0/000.npy class_0 0\n")
    patches = {model["name"]: model["patch"] for model in last_json(run("models", "--json"))["models"]}
    os.environ["MILLIONAID"] = str(folder)
    os.environ["SWATH_DATA"] = str(folder)
    os.environ["MODIS_CHIPS"] = str(folder)
    num_poster_recipes = 0
    for recipe in last_json(run("recipes", "--json"))["recipes"]:
        name = recipe["name"]
        for field in ("summary", "command", "hardware", "time", "expect"):
            assert recipe[field], f"the head of {name} has no {field}"
        if (HOME / "recipes" / "scale_down" / f"{name}.toml").exists():
            trained = last_json(run(
                "pretrain", name, "--scale-down", "--root", chips, "--test_root", test_chips, "--output",
                folder / name, "--threads", 1, "--log_every", 1, "--max_steps", 3, "--json"))
            assert trained["test_loss"] > 0, trained
            if name.startswith(("modis_tokens", "modis_size")):
                check_poster_settings(name, (HOME / "recipes" / f"{name}.toml").read_text(),
                                      (folder / name / "config.toml").read_text())
                check_poster_runs(name, recipe, (HOME / "recipes" / f"{name}.toml").read_text())
                num_poster_recipes += 1
            check_golden(name, folder / name)
            continue
        text = (HOME / "recipes" / f"{name}.toml").read_text()
        patch = int((re.search(r"^patch = (\d+)", text, re.M) or [0, 0])[1])
        if patch == 0:
            patch = patches[re.search(r'^name = "(\w+)"', text, re.M)[1]]
        size = 3 * patch + patch // 4  # a remainder, as 512 px has with patches of 14
        if "random_crop" in text:
            size = 32
        run("pretrain", name, "--root", chips, "--output", folder / name, "--model.channels", 2,
            "--model.width", 32, "--model.mlp", 64, "--model.depth", 2, "--model.heads", 2,
            "--model.decoder_width", 16, "--model.decoder_depth", 1, "--model.decoder_heads", 2,
            "--model.image_size", size, "--transform.size", size, "--batch_size", 4,
            "--threads", 1, "--log_every", 1, "--fit_minutes", 0, "--epochs", 100,
            "--max_steps", 3)
        check_golden(name, folder / name)
        samples = json.loads((folder / name / "log.jsonl").open().readline())["data"]["samples"]
        if name.startswith("millionaid"):
            check_study_settings(text, epochs=400 if name.endswith("400") else 100)
            assert samples == 15, f"{name}: the probe image is among the {samples} samples"
        else:
            assert samples == 16, f"{name}: {samples} samples"
    assert num_poster_recipes == len(POSTER) == 6, num_poster_recipes


# The poster's experiments by recipe: model, patch, chips of a GPU.
POSTER = {"modis_tokens_1536": ("swin_v2_1_4b", 8, 32),
          "modis_tokens_6144": ("swin_v2_1_4b", 4, 32),
          "modis_tokens_24576": ("swin_v2_1_4b", 2, 4),
          "modis_size_100m": ("swin_v2_100m", 4, 64),
          "modis_size_600m": ("swin_v2_600m", 4, 64),
          "modis_size_1_4b": ("swin_v2_1_4b", 4, 64)}


def check_poster_settings(name, recipe, config):
    """What the poster states of its runs; a scaled-down run keeps rate, loss and the tokens of a
    pixel."""
    model, patch, _ = POSTER[name]
    recipe = tomllib.loads(recipe)
    is_of_tokens = name.startswith("modis_tokens")
    kept = {"model": {"patch": patch},
            "model.swin": {"tokens": "per_band" if is_of_tokens else "joint",
                           "loss": "l1" if is_of_tokens else "cross_entropy"},
            "optim": {"lr": 1e-4, "schedule": "constant", "warmup_epochs": 0}}
    stated = {**kept, "model": {"name": model, "patch": patch, "image_size": 128},
              "data": {"limit": 3000 if is_of_tokens else 2_000_000},
              "train": {"epochs": 15 if is_of_tokens else 1, "max_minutes": 20}}
    for settings, wanted in ((recipe, stated), (tomllib.loads(config), kept)):
        for section, values in wanted.items():
            found = settings
            for part in section.split("."):
                found = found[part]
            for key, value in values.items():
                assert found[key] == value, f"{name}: {section}.{key} is {found[key]}, not {value}"
    assert recipe.get("test_limit") == (1000 if is_of_tokens else None), recipe
    if is_of_tokens:
        assert (128 // patch)**2 * 6 == int(name.rsplit("_", 1)[1])


def check_poster_runs(name, head, recipe):
    """Each recipe stands for three runs. Their batches are those of a GPU times the GPUs, and make
    steps in every epoch; the head says how many where they leave chips out."""
    _, _, of_gpu = POSTER[name]
    settings = tomllib.loads(recipe)
    command = re.fullmatch(rf"MODIS_CHIPS=chips/ srun -n 8 swath pretrain {name}; "
                           r"16 and 32 GPUs: --train\.batch_size (\d+) and (\d+)", head["command"])
    assert command, head["command"]
    assert f"8, 16 or 32 GPUs with 64 GB each (1, 2, 4 Frontier nodes), {of_gpu} chips each" == \
        head["hardware"], head["hardware"]
    # HYBRID_8: a replica is a node.
    assert settings["sharding"]["strategy"] == "HYBRID_8", settings["sharding"]
    batches = {8: settings["train"]["batch_size"], 16: int(command[1]), 32: int(command[2])}
    chips = settings["data"]["limit"]
    steps = []
    for gpus, batch in batches.items():
        assert batch == of_gpu * gpus, f"{name}: {batch} chips on {gpus} GPUs"
        assert chips // batch >= 1, f"{name}: no step of {batch} in {chips} chips"
        steps.append(chips // batch)
    if name.startswith("modis_tokens"):
        seen = [f"{count * batch:,}" for count, batch in zip(steps, batches.values())]
        line = (f"# epoch: {steps[0]}, {steps[1]} or {steps[2]} whole steps on 8, 16 or 32 GPUs, "
                f"over {seen[0]}, {seen[1]} or {seen[2]} of the {chips:,} chips, others each time")
        assert line in recipe.splitlines(), f"{name}: no {line}"


def check_study_settings(recipe, epochs):
    """What the Frontier study states of its pretraining."""
    for line in ("mask_ratio = 0.75", "norm_pix_loss = true", "base_lr = 1.5e-4",
                 "weight_decay = 0.05", "size = 512", "batch_size = 2048", f"epochs = {epochs}",
                 'exclude_list = "${MILLIONAID}/probe_images.txt"'):
        assert re.search(f"^{re.escape(line)}$", recipe, re.M), f"{line} is not in the recipe"


def check_demo(folder):
    """The demo itself on its own data, with few chips and few steps."""
    packages = folder / "packages"
    packages.mkdir()
    for pattern in ("bmng.jpg", "MCD12C1*.tif"):
        found = list((HOME / ".deps" / "demo-data").rglob(pattern))
        assert found, f"no {pattern} below {HOME}/.deps/demo-data: ./swath test fetches it"
        (packages / found[0].name).symlink_to(found[0])
    result = last_json(run("demo", "--output", folder / "demo_run", "--chips_source", packages,
                           "--fit_minutes", 0, "--epochs", 1, "--max_steps", 3, "--batch_size", 32,
                           "--model.width", 32, "--model.depth", 2, "--model.heads", 2,
                           "--chips.most_train_chips", 30, "--chips.most_test_chips", 10,
                           "--log_every", 1, "--json"))
    assert result["report"] == str(folder / "demo_run" / "report.html")
    assert "untrained" in result["baselines"] and "band_statistics" in result["baselines"]
    page = (folder / "demo_run" / "report.html").read_text()
    assert "data:image/png;base64," in page and "swath demo" in page
    check_golden("demo run", folder / "demo_run")


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
    newest = max((folder / "killed").glob("checkpoints/step_*")).name
    assert newest < f"step_{whole['steps']:08d}", f"it was killed too late, after {newest}"
    resumed = last_json(run(*pretrain_words(chips, folder / "killed", "--checkpoint_steps", 1)))
    assert resumed["resumed_from"], "the killed run did not resume"
    assert resumed["steps"] == whole["steps"]
    assert losses(folder / "killed") == losses(folder / "whole"), "losses differ after resume"
    check_asynchronous_saves(chips, folder)
    name = f"checkpoints/step_{whole['steps']:08d}/rank_00000.safetensors"
    assert (folder / "killed" / name).read_bytes() == (folder / "whole" / name).read_bytes(), \
        "weights or moments differ after resume"
    check_golden("three epochs", folder / "whole")
    # Another run's settings are refused, another model's too.
    run(*pretrain_words(chips, folder / "killed", "--optim.beta2", 0.5), expect=2)
    run(*pretrain_words(chips, folder / "killed", "--model.depth", 3), expect=2)
    return folder / "whole"


def check_asynchronous_saves(chips, folder):
    """Checkpoints written beside the training hold what those hold that training waited for."""
    outputs = []
    for beside in ("true", "false"):
        outputs.append(folder / f"beside_{beside}")
        result = last_json(run(*pretrain_words(chips, outputs[-1], "--checkpoint_steps", 2,
                                               "--keep_last", 100, "--async_checkpoint", beside)))
        stall, write = (result[f"checkpoint_{what}_seconds"] for what in ("stall", "write"))
        assert stall > 0 and write > 0, result
        assert beside == "true" or stall >= write, result
    files = [sorted(path.relative_to(output) for path in output.glob("checkpoints/*/*.safetensors"))
             for output in outputs]
    assert len(files[0]) >= 10 and files[0] == files[1], files
    for name in files[0]:
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes(), name


def check_test_loss(chips, folder):
    """A test set is measured beside the training, which goes the way it goes without one."""
    others = folder / "others"
    write_chips(others, count=5)
    for output, more in [("untested", []), ("tested", ["--test_root", others])]:
        trained = last_json(run(*pretrain_words(chips, folder / output, *more)))
    assert losses(folder / "tested") == losses(folder / "untested")
    lines = [json.loads(line) for line in (folder / "tested/log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    assert [line["epoch"] for line in epochs] == [1, 2, 3], epochs
    assert epochs[-1]["test_loss"] == trained["test_loss"] > 0, (epochs, trained)
    assert epochs[-1]["test_loss"] < epochs[0]["test_loss"], epochs
    names = folder / "names.txt"
    names.write_text("class_0/000.npy\n")
    leaked = run(*pretrain_words(chips, folder / "leaked", "--test_list", names), expect=2)
    assert "is in the training data" in leaked.stderr, leaked.stderr


def check_time_budget(chips, folder):
    """A run whose time is over ends well and says so; its checkpoint is whole."""
    output = folder / "budget"
    words = pretrain_words(chips, output, "--epochs", 100000, "--max_minutes", 0.01)
    ended = run(*[word for word in words if word != "--json"])
    assert ended.stdout.startswith("budget reached: "), ended.stdout
    line = re.search(r"budget reached: train\.max_minutes 0\.01 are over after step (\d+)\.",
                     ended.stderr)
    assert line and int(line[1]) == max(losses(output)) > 0, ended.stderr
    saved = output / "checkpoints" / f"step_{int(line[1]):08d}"
    assert (saved / "COMPLETE").exists(), list((output / "checkpoints").iterdir())
    # Another budget goes on from there.
    resumed = last_json(run(*words))
    assert resumed["reason"] == "max_minutes" and resumed["signal"] == 0, resumed
    assert resumed["resumed_from"] == str(saved) and resumed["steps"] > int(line[1]), resumed
    assert Path(resumed["checkpoint"]).name == f"step_{resumed['steps']:08d}", resumed
    assert (Path(resumed["checkpoint"]) / "COMPLETE").exists(), resumed


def check_unnamed_output(chips, folder):
    """A run without --output never takes the current directory for its own."""
    directory = folder / "elsewhere"
    directory.mkdir()
    (directory / "config.toml").write_text("title = 'of another program'\n")
    words = [word for word in pretrain_words(chips, "nowhere") if word not in ("--output", "nowhere")]
    trained = last_json(run(*words, directory=directory))
    assert sorted(path.name for path in directory.iterdir()) == ["config.toml", "runs"], trained
    assert len(list((directory / "runs").glob("*/config.toml"))) == 1, trained


def check_moved_run(chips, folder, trained):
    """A run goes on in another folder than it began."""
    copy = folder / "moved" / "run"
    shutil.copytree(trained, copy)
    newest = max(copy.glob("checkpoints/step_*"))
    shutil.rmtree(newest)
    resumed = last_json(run(*pretrain_words(chips, copy)))
    assert resumed["resumed_from"].startswith(str(copy)), resumed["resumed_from"]
    assert losses(copy) == losses(trained)


def check_damaged_checkpoint(chips, folder, trained):
    """The newest checkpoint has a flipped byte: an automatic resume takes the one before."""
    copy = folder / "damaged"
    shutil.copytree(trained, copy)
    newest = max(copy.glob("checkpoints/step_*"))
    shard = newest / "rank_00000.safetensors"
    data = bytearray(shard.read_bytes())
    header_size = struct.unpack("<Q", data[:8])[0]
    data[8 + header_size] ^= 1  # in the first weight
    shard.write_bytes(data)
    named = run(*pretrain_words(chips, folder / "from_damaged", "--resume", newest), expect=1)
    assert "checksum" in named.stderr and shard.name in named.stderr, named.stderr
    assert "checksum" in run("probe", copy, "--root", chips, "--output", folder / "not_probed",
                             expect=1).stderr
    result = run(*pretrain_words(chips, copy))
    assert f"passing over checkpoint {newest}" in result.stderr, result.stderr
    assert last_json(result)["resumed_from"] != str(newest)
    assert losses(copy) == losses(trained)
    assert shard.read_bytes() == (trained / "checkpoints" / newest.name / shard.name).read_bytes()


def check_full_disk(chips, folder):
    """A checkpoint that cannot be written is an error; the one before it serves."""
    output = folder / "full_disk"
    run(*pretrain_words(chips, output, "--max_steps", 4))
    before = sorted(path.name for path in (output / "checkpoints").iterdir())
    for more in ([], ["--checkpoint_steps", 2],
                 ["--checkpoint_steps", 2, "--async_checkpoint", "false"]):
        failed = run(*pretrain_words(chips, output, *more), expect=1, largest_file=20000)
        assert "rank_00000.safetensors" in failed.stderr, failed.stderr
        assert sorted(path.name for path in (output / "checkpoints").iterdir()) == before
    resumed = last_json(run(*pretrain_words(chips, output)))
    assert resumed["resumed_from"].endswith("step_00000004")


def check_signals(chips, folder):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        output = folder / f"stopped_{number.name}"
        process = subprocess.Popen(
            [PROGRAM, *map(str, pretrain_words(chips, output, "--epochs", 100000))],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not (output / "log.jsonl").exists() or not losses(output):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        _, text = process.communicate(timeout=60)
        assert process.returncode == 128 + number, f"{process.returncode}: {text[-2000:]}"
        assert list(output.glob("checkpoints/step_*/COMPLETE"))


def write_granules(folder, days=12, per_granule=12, size=16, product="MOD021KM", start="1015"):
    """Two-band .npy chips named after their granules, with wide and with fine structures."""
    for day in range(1, days + 1):
        for index in range(per_granule):
            directory = folder / f"{product}.A2012{day:03d}.{start}"
            directory.mkdir(parents=True, exist_ok=True)
            step = 1 + (day + index) % 4
            pixels = bytes(
                30 * (index % 5) + 60 * ((i // size // step + i % size // step) % 2) +
                (7 * index + 3 * day + i * i) % 9
                for i in range(size * size) for _ in range(2))
            header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({size}, {size}, 2), }}"
            header += " " * (63 - (10 + len(header)) % 64) + "\n"
            row, column = 128 * (index // 4), 128 * (index % 4)
            (directory / f"r{row:05d}c{column:05d}.npy").write_bytes(
                b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + pixels)


def check_clouds(folder, trained):
    """Labels derived from chips, joined with them, split by days, compared, reported, and marked as
    derived all the way."""
    chips = folder / "granules"
    write_granules(chips)
    root = ["--root", chips, "--data.labels", "none"]
    # Chips without coordinates are joined by row and column, which NetCDF labels have.
    derived = run("data", "derive-labels", *root, "--output", folder / "derived", "--form", "netcdf",
                  "--json", expect=None)
    if derived.returncode != 0:
        assert "built without" in derived.stderr, derived.stderr
        return
    assert last_json(derived)["files"] == 12
    label = ["data", "label", *root, "--labels", folder / "derived", "--split.by", "days",
             "--output", folder / "lists", "--fractions", "[0.25, 1]", "--draws", 2, "--json"]
    result = run(*label)
    labels = last_json(result)
    assert labels["join"]["matched"] == 144 and "chips themselves" in labels["derived"]
    assert "derived from known fields" in result.stderr, result.stderr
    assert "raw 5:" in result.stderr, result.stderr
    assert "holds lists already" in run(*label, expect=2).stderr
    words = ["clouds", trained, *root, "--lists", folder / "lists", "--logistic.num_c", 3,
             "--finetune.epochs", 1, "--finetune_draws", 1, "--json"]
    clouds = last_json(run(*words, "--output", folder / "clouds"))
    assert {row["method"] for row in clouds["rows"]} == {
        "probe", "untrained", "band_statistics", "majority", "finetune", "scratch"}
    assert clouds["test_granules"] == labels["parts"]["test"]["granules"]
    assert clouds["derived"] == labels["derived"] and clouds["test_chips_seen"] is None
    assert clouds["synthetic"] is None, clouds["synthetic"]
    row = clouds["rows"][0]
    assert "texture_mean" in row["physics"] and "season DJF" in row["subsets"], row
    report = last_json(run("report", folder / "clouds", "--json"))
    page = Path(report["report"]).read_text()
    assert "Cloud classes: clouds" in page and "derived from known fields" in page
    check_weights_of_clouds(folder, trained, root, labels["parts"]["test"]["chips"])
    check_seen_chips(folder, chips, root)
    check_terra_to_aqua(folder, trained, chips)
    test = folder / "lists/test.txt"
    test.write_text(test.read_text().replace(" derived_1 0", " derived_2 1"))
    assert "was changed after the split" in run(*words, "--output", folder / "no", expect=2).stderr


def check_weights_of_clouds(folder, trained, root, test_images):
    """Frozen rows of clouds are those of probe, the trained encoder's and the untrained one's.
    Fine-tuning and scratch, which do not move at a learning rate of 0, start from other weights."""
    # Another seed than that of the pretraining, whose first weights the untrained encoder would have.
    same = ["--seed", 3, "--threads", 1, "--json"]
    probed = last_json(run(
        "probe", trained, *root, "--train_list", folder / "lists/train.txt", "--test_list",
        folder / "lists/test.txt", "--method", "logistic", "--evaluation", "none", "--image_size", -1,
        "--probe.features.pooling", "mean", "--probe.logistic.num_c", 1, "--probe.logistic.c_min",
        0.01, *same, "--output", folder / "cloud_probe"))
    assert probed["test_images"] == test_images
    clouds = last_json(run(
        "clouds", trained, *root, "--lists", folder / "lists", "--methods",
        "probe,untrained,finetune,scratch", "--turns", "false", "--kmeans_seeds", 0,
        "--logistic.num_c", 1, "--logistic.c_min", 0.01, "--finetune.epochs", 1,
        "--finetune_min_steps", 0, "--finetune_draws", 1, "--finetune.optim.base_lr", 0,
        "--finetune.optim.min_lr", 0, *same, "--output", folder / "cloud_weights"))
    rows = {row["method"]: row for row in clouds["rows"] if row["fraction"] == 1}
    for method, report in (("probe", probed), ("untrained", probed["baselines"]["untrained"])):
        for score, value in report["logistic"]["standardized"].items():
            if score in ("top1", "top5", "balanced_accuracy"):
                assert math.isclose(rows[method][score], value, abs_tol=1e-9), (method, score, value)
    assert rows["probe"]["confusion"] != rows["untrained"]["confusion"], rows["probe"]
    assert probed["derived"] == clouds["derived"] != "", probed
    assert rows["finetune"]["history"][0]["lr"] == rows["scratch"]["history"][0]["lr"] == 0
    assert rows["finetune"]["history"][0]["train_loss"] != \
        rows["scratch"]["history"][0]["train_loss"], rows["scratch"]


def check_seen_chips(folder, chips, root):
    """Test chips that the encoder was pretrained on are counted, one by one."""
    lists = folder / "lists"
    names = {part: [line.split()[0] for line in (lists / f"{part}.txt").read_text().splitlines()]
             for part in ("train", "test")}
    (folder / "some.txt").write_text("\n".join(names["train"][:20] + names["test"][:5]) + "\n")
    for name, more, seen in (("list", ["--data.list", folder / "some.txt"], 5),
                             ("exclusion", ["--data.exclude_list", lists / "held_out.txt"], 0)):
        pretrained = folder / f"pretrained_by_{name}"
        run(*pretrain_words(chips, pretrained, "--max_steps", 1, *more))
        clouds = last_json(run("clouds", pretrained, *root, "--lists", lists, "--methods", "majority",
                               "--json", "--output", folder / f"clouds_by_{name}"))
        assert clouds["test_chips_seen"] == seen, (name, clouds["test_chips_seen"])


def check_terra_to_aqua(folder, trained, terra):
    """Training and test in folders of a platform each: one split of both, no day on both sides, and
    granules that are synthetic by the table beside their chips."""
    aqua = folder / "aqua_granules"
    write_granules(aqua, days=6, product="MYD021KM", start="1330")
    run("data", "derive-labels", "--root", aqua, "--data.labels", "none", "--output",
        folder / "aqua_derived", "--form", "netcdf")
    (aqua / "granules.csv").write_text(
        "granule,problem,positions,chips,rejected,mask,geolocation,synthetic,message\n" +
        "".join(f"MYD021KM.A2012{day:03d}.1330,,12,12,,1,0,{int(day != 5)},\n"
                for day in range(1, 7)))

    def label(chips, labels, name, by, parts):
        output = folder / f"{name}_by_{by}"
        parts_of = last_json(run(
            "data", "label", "--root", chips, "--data.labels", "none", "--labels", labels,
            "--split.by", by, "--split.salt", 4, "--split.parts", parts, "--fractions", "[1]",
            "--output", output, "--json"))["parts"]
        return output, parts_of

    def words(lists, test_lists, name):
        return ["clouds", trained, "--root", terra, "--data.labels", "none", "--lists", lists,
                "--test_root", aqua, "--test_lists", test_lists, "--methods", "majority", "--json",
                "--output", folder / name]

    # The hash of salt 4 has days 2, 5 and 11 in the test.
    lists, parts = label(terra, folder / "derived", "terra", "days", "train")
    assert parts["train"]["days"] == 9 and parts["test"]["chips"] == 0, parts
    test_lists, parts = label(aqua, folder / "aqua_derived", "aqua", "days", "test")
    assert parts["test"]["days"] == 2 and parts["train"]["chips"] == 0, parts
    clouds = last_json(run(*words(lists, test_lists, "terra_to_aqua")))
    assert clouds["rows"][0]["train_images"] == 108 and clouds["test_images"] == 24, clouds
    assert clouds["rows"][0]["subsets"]["platform Aqua"]["images"] == 24, clouds["rows"][0]
    assert clouds["synthetic"] == 1 and clouds["test_lists"] == str(test_lists), clouds
    # Both parts of few days are ranked within their folder.
    refused = run(*words(folder / "lists", test_lists, "no"), expect=2).stderr
    assert "ranked within their own folder" in refused, refused
    refused = run(*words(test_lists, test_lists, "no"), expect=2).stderr
    assert "holds no train list: --split.parts was test" in refused, refused
    # Granules of a day may be on both sides, which is the same weather.
    lists, _ = label(terra, folder / "derived", "terra", "granules", "train")
    test_lists, _ = label(aqua, folder / "aqua_derived", "aqua", "granules", "test")
    refused = run(*words(lists, test_lists, "no"), expect=2).stderr
    assert "3 days have training chips in one folder" in refused, refused
    assert "the first is 2012-01-01" in refused, refused


def check_use(chips, folder, trained):
    report = last_json(run("probe", trained, "--root", chips, "--output", folder / "probe",
                           "--methods", "linear,knn", "--image_size", -1, "--evaluation", "none",
                           "--probe.linear.epochs", 3, "--probe.linear.batch_size", 12, "--json"))
    assert 0 <= report["top1"] <= 1 and report["classes"] == 3 and report["baselines"]
    # Another size than in pretraining, several splits, an image that cannot be read.
    broken = folder / "broken_chips"
    shutil.copytree(chips, broken)
    (broken / "class_0" / "000.npy").write_bytes(b"")
    several = run("probe", trained, "--root", broken, "--output", folder / "probes", "--skip-bad",
                  "--image_size", 24, "--repeats", 2, "--method", "logistic", "--shots", 1)
    assert "pos_embed of a grid of" in several.stderr, several.stderr
    report = json.loads((folder / "probes" / "probe.json").read_text())
    assert "over 2 splits" in several.stdout, several.stdout
    assert report["image_size"] == 24 and len(report["seeds"]) == 2
    for path in ("top1", "baselines.untrained.top1", "few_shot.shots.1.logistic.mean",
                 "baselines.band_statistics.logistic.raw.top1"):
        assert report["repeats"][path]["count"] == 2, path
    embedded = last_json(run("embed", trained, "--root", chips, "--output", folder / "embed",
                             "--evaluation", "none", "--json"))
    assert (embedded["rows"], embedded["dim"]) == (72, 32)
    # Images without places have a table only for their clusters.
    assert "clusters" not in embedded and not (folder / "embed" / "places.csv").exists()
    words = ["embed", trained, "--root", chips, "--evaluation", "none", "--output"]
    run(*words, folder / "embed_clusters", "--clusters", 3)
    lines = (folder / "embed_clusters" / "places.csv").read_text().splitlines()
    assert lines[1].startswith("class_0/000.npy,,,,,,,") and len(lines) == 73, lines[:2]
    assert "73 clusters of 72 images" in run(*words, folder / "no", "--clusters", 73,
                                             expect=2).stderr
    run("reconstruct", trained, "--root", chips, "--output", folder / "pictures")
    run("export", trained, "--output", folder / "model.safetensors")
    run("export", trained, "--output", folder / "model.safetensors", expect=2)
    card = (folder / "model.md").read_text()
    for line in ("bands: [", "units: stored counts", "mean: [", "standard_deviation: [",
                 f"data: {chips}", "commit: "):
        assert f"\n- {line}" in card, f"{line} is not on the card:\n{card}"
    tuned = last_json(run("finetune", trained, "--root", chips, "--output", folder / "finetune",
                          "--epochs", 1, "--evaluation", "none", "--batch_size", 12, "--json"))
    some = last_json(run("finetune", trained, "--root", chips, "--output", folder / "last_block",
                         "--epochs", 2, "--evaluation", "none", "--batch_size", 12,
                         "--last_blocks", 1, "--layer_decay", 0.7, "--drop_path", 0.1,
                         "--label_smoothing", 0.1, "--mixup", 0.2, "--json"))
    assert 0 < some["trained_parameters"] < tuned["trained_parameters"]
    assert len(some["history"]) == 2 and some["best_top1"] >= some["top1"]
    assert last_json(run("data", "inspect", "--root", chips, "--json"))["images"] == 72
    run("data", "pack", "--root", chips, "--output", folder / "shards")
    assert last_json(run("data", "verify", "--root", folder / "shards", "--json"))["bad"] == 0


def check_swin(chips, folder):
    """Every command with a SwinV2: bands together, and each with tokens of its own."""
    for tokens, loss in (("joint", "l1"), ("per_band", "cross_entropy")):
        run_folder = folder / f"swin_{tokens}"
        words = ["pretrain", "--root", chips, "--output", run_folder, "--model", "swin_v2_pico",
                 "--model.patch", 2, "--model.swin.mask_unit", 4, "--model.swin.window", 4,
                 "--model.swin.tokens", tokens, "--model.swin.loss", loss, "--transform.kind", "none",
                 "--size", 16, "--batch_size", 8, "--threads", 1, "--log_every", 1, "--base_lr", 1e-2,
                 "--warmup_epochs", 1]
        run(*words, "--epochs", 3)
        found = losses(run_folder)
        assert found[max(found)] < found[1], found
        run(*words, "--epochs", 3, "--objective", "mae", expect=2)
        probed = last_json(run("probe", run_folder, "--root", chips, "--output",
                               folder / f"probe_{tokens}", "--image_size", 32, "--epochs", 2,
                               "--json"))
        assert 0 <= probed["top1"] <= 1
        embedded = last_json(run("embed", run_folder, "--root", chips, "--output",
                                 folder / f"embed_{tokens}", "--evaluation", "none", "--json"))
        assert (embedded["rows"], embedded["dim"]) == (72, 64), embedded
        pictures = last_json(run("reconstruct", run_folder, "--root", chips, "--output",
                                 folder / f"pictures_{tokens}", "--json"))
        assert pictures["mean_squared_error"] > 0
        tuned = last_json(run("finetune", run_folder, "--root", chips, "--output",
                              folder / f"finetune_{tokens}", "--epochs", 1, "--evaluation", "none",
                              "--batch_size", 12, "--last_blocks", 2, "--json"))
        assert tuned["trained_parameters"] > 0
        for layout in ("timm", "microsoft", "simmim"):
            run("export", run_folder, "--layout", layout, "--output",
                folder / f"{tokens}_{layout}.safetensors")
        run("export", run_folder, "--layout", "mae", "--output", folder / "no.safetensors", expect=2)
        imported = last_json(run(
            "import", folder / f"{tokens}_simmim.safetensors", "--output", folder / f"again_{tokens}",
            "--model", "swin_v2_pico", "--model.patch", 2, "--model.swin.mask_unit", 4,
            "--model.swin.window", 4, "--model.swin.tokens", tokens, "--model.swin.loss", loss,
            "--model.image_size", 16, "--model.channels", 2, "--json"))
        assert imported["unmatched"] == [] and imported["missing"] == [], imported
    wider = ["finetune", folder / "swin_joint", "--root", chips, "--output", folder / "wider",
             "--epochs", 1, "--evaluation", "none", "--batch_size", 12, "--json"]
    assert "which windows of 3 do not fill" in run(*wider, "--window", 3, expect=2).stderr
    shutil.rmtree(folder / "wider")
    assert last_json(run(*wider, "--window", 8))["trained_parameters"] > 0
    check_import_with_another_window(folder)


def check_import_with_another_window(folder):
    """Weights of windows of 4 with windows of 6, at a size that they fill; and docs/swin.md's line,
    whose settings fit together: it is another model's file that it stops at. The line's model is
    swapped for one with the same maps that is made sooner."""
    file = folder / "joint_simmim.safetensors"
    settings = ["--set", "model.patch=2", "--set", "model.channels=2", "--set",
                "model.swin.mask_unit=4", "--set", "model.swin.window=6"]
    words = ["import", file, "--model", "swin_v2_pico", *settings, "--output", folder / "window",
             "--json"]
    refused = run(*words, "--set", "model.image_size=16", expect=2).stderr
    assert "which windows of 6 do not fill" in refused, refused
    imported = last_json(run(*words, "--set", "model.image_size=24"))
    assert imported["unmatched"] == [] and imported["missing"] == [], imported
    line = re.search(r"^swath (import FILE\.safetensors .*)$",
                     (HOME / "docs/swin.md").read_text(), re.M)
    words = line[1].replace("swin_v2_base", "swin_v2_tiny").split()
    words[words.index("FILE.safetensors")] = file
    other = run(*words, expect=1).stderr
    assert f"error: {file}: " in other and "the model swin_v2_tiny wants" in other, other


def check_granules(folder):
    """Granules to chips to a model, whose unit is kept."""
    granules, chips = folder / "modis_granules", folder / "modis_chips"
    made = run("data", "synthesize", "--output", granules, "--granules", 2, "--platform", "terra",
               "--scans", 8, "--columns", 120, "--faults", "false", "--json", expect=None)
    if "unknown action" in made.stderr:
        print("not run: chips of granules; this program was built without HDF4")
        assert "libhdf4-alt-dev" in run("chips", "--root", granules, expect=2).stderr
        return
    assert last_json(made)["synthetic"] is True
    cut = ["chips", "--root", granules, "--output", chips, "--size", 16, "--json"]
    first = last_json(run(*cut))
    assert first["granules"] == 2 and first["chips"] > 0 and first["synthetic"] == 2, first
    assert first["chips"] + sum(first["rejected"].values()) == first["positions"], first
    again = last_json(run(*cut))
    assert again["sha256"] == first["sha256"] and again["resumed_shards"] == 2, again
    run(*cut, "--stride", 8, expect=2)
    assert last_json(run("data", "verify", "--root", chips, "--json"))["bad"] == 0
    ranks = last_json(run("launch", "-n", 2, "--", PROGRAM, "chips", "--root", granules, "--output",
                          folder / "rank_chips", "--size", 16, "--json"))
    assert ranks["sha256"] == first["sha256"], ranks
    labelled = last_json(run("data", "product-labels", "--root", chips, "--products", granules,
                             "--field", "Synthetic_Cloud_Regime", "--output", folder / "regimes",
                             "--json"))
    assert labelled["labels"] > 0 and "Synthetic_Cloud_Regime" in labelled["derived"], labelled
    trained = folder / "on_radiances"
    small = pretrain_words(chips, trained, "--max_steps", 2)
    small[small.index("--size") + 1] = 16
    run(*small)
    assert "units = 'radiance'" in (trained / "config.toml").read_text()
    refused = run("embed", trained, "--root", chips, "--data.units", "brightness_temperature",
                  "--output", folder / "wrong_unit", expect=2).stderr
    assert "trained on radiance" in refused, refused
    check_embeddings_map(chips, folder, trained, first["chips"])
    check_poster_on_chips(folder)


def check_poster_on_chips(folder):
    """Both groups of the poster on six bands with missing pixels: a mosaic of bands, and bins."""
    for name, seed in (("train", 1), ("test", 2)):
        run("data", "synthesize", "--output", folder / f"{name}_granules", "--granules", 1,
            "--platform", "terra", "--scans", 12, "--columns", 160, "--seed", seed)
        cut = last_json(run("chips", "--root", folder / f"{name}_granules", "--output",
                            folder / f"poster_{name}", "--size", 32, "--invalid", "mask", "--json"))
        assert cut["chips"] > 4 and cut["codes"]["29"]["dead_detector"] > 0, cut
    for recipe in ("modis_tokens_1536", "modis_size_100m"):
        output = folder / f"{recipe}_on_chips"
        trained = last_json(run(
            "pretrain", recipe, "--scale-down", "--root", folder / "poster_train", "--test_root",
            folder / "poster_test", "--limit", 4, "--transform.kind", "none", "--batch_size", 2,
            "--epochs", 2, "--output", output, "--threads", 1, "--log_every", 1, "--json"))
        assert trained["test_loss"] > 0, trained
        assert all(math.isfinite(loss) for loss in losses(output).values())
        assert len(losses(output)) == 4, losses(output)


def check_embeddings_map(chips, folder, trained, num_chips):
    """Features of synthetic granules with the places of their chips, and the map of their clusters."""
    output = folder / "embeddings"
    embedded = last_json(run("embed", trained, "--root", chips, "--output", output, "--clusters", 3,
                             "--seed", 5, "--json"))
    assert embedded == json.loads((output / "embed.json").read_text())
    assert embedded["rows"] == embedded["placed"] == num_chips and embedded["chip_size"] == 16
    assert embedded["synthetic"] == 2 and len(embedded["granules"]) == 2, embedded["granules"]
    sizes = embedded["clusters"]["sizes"]
    assert sizes == sorted(sizes, reverse=True) and sum(sizes) == num_chips, sizes
    with open(output / "places.csv", newline="") as file:
        places = list(csv.DictReader(file))
    assert [place["name"] for place in places] == (output / "names.txt").read_text().splitlines()
    for place in places:
        row, column = int(place["row"]), int(place["column"])
        assert place["name"] == f"{place['granule']}/r{row:05d}c{column:05d}", place
        assert place["platform"] == "Terra" and abs(float(place["latitude"])) <= 90, place
        assert abs(float(place["longitude"])) <= 180, place
    counts = [sum(place["cluster"] == str(cluster) for place in places) for cluster in range(3)]
    assert counts == sizes, counts
    again = last_json(run("embed", trained, "--root", chips, "--output", folder / "same_embeddings",
                          "--clusters", 3, "--seed", 5, "--json"))
    assert again["clusters"] == embedded["clusters"]
    assert (folder / "same_embeddings/places.csv").read_text() == (output / "places.csv").read_text()
    report = last_json(run("report", output, "--json"))
    assert report["charts"] == 3 and report["warnings"] == [], report
    page = Path(report["report"]).read_text()
    assert "Embeddings map: embeddings" in page and "Synthetic granules on this map: 2." in page
    assert page.count('"quick_look":{"source":"data:image/png;base64,') == 2


def main():
    if "--write-golden" not in sys.argv:
        golden.update(json.loads(GOLDEN_FILE.read_text()))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chips = folder / "chips"
        write_chips(chips)
        check_help_and_errors(folder)
        check_launch()
        check_switches(chips, folder)
        check_cuda_plugin_is_found()
        trained = check_kill_and_resume(chips, folder)
        check_refusals(chips, folder, trained)
        check_bad_input(chips, folder, trained)
        check_stored_split(chips, folder, trained)
        check_test_loss(chips, folder)
        check_time_budget(chips, folder)
        check_unnamed_output(chips, folder)
        check_moved_run(chips, folder, trained)
        check_damaged_checkpoint(chips, folder, trained)
        check_full_disk(chips, folder)
        check_signals(chips, folder)
        check_clouds(folder, trained)
        check_use(chips, folder, trained)
        check_swin(chips, folder)
        check_granules(folder)
        check_recipes(folder)
        check_demo(folder)
    if "--write-golden" in sys.argv:
        GOLDEN_FILE.parent.mkdir(exist_ok=True)
        GOLDEN_FILE.write_text(json.dumps(golden, indent=1) + "\n")
    print("smoke test passed")


main()
