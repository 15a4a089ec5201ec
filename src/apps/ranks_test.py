#!/usr/bin/env python3
"""Tests of the program as several ranks: the same losses as one process under every strategy,
resuming on other numbers of ranks, signals, killed ranks, restarts, ranks that do not fit together.

    ranks_test.py PROGRAM [--long]

Needs nothing but Python's standard library. --long also tries every strategy with a SwinV2 whose
bands have tokens of their own, and kills ranks at random moments.
"""
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = sys.argv[1]
IS_LONG = "--long" in sys.argv
# Sums over ranks are ordered differently, nothing else.
TOLERANCE = 1e-5
TINY = ["--set", "model.name=vit_pico", "--set", "model.patch=4", "--set", "transform.size=16",
        "--set", "train.epochs=20", "--set", "optim.warmup_epochs=1", "--set", "train.log_every=1",
        "--set", "train.checkpoint_minutes=0", "--set", "loader.workers=1", "--threads", "1"]
BATCH = ["--set", "train.batch_size=24"]
# Two stages with windows of 4, shifted in the first. Without unit_mib=0 all blocks of so small a
# model would be one unit; the norm that clips is below that of every gradient.
SWIN_CLIP_NORM = 0.05
SWIN_STEPS = 20
SWIN = ["--set", "model.name=swin_v2_pico", "--set", "model.patch=2",
        "--set", "model.swin.window=4", "--set", "model.swin.mask_unit=4",
        "--set", "model.swin.drop_path=0.2", "--set", "optim.base_lr=1e-2",
        "--set", "sharding.unit_mib=0", "--set", f"train.clip_norm={SWIN_CLIP_NORM}"]
# Ranks, strategy, and how else they differ from one process.
STRATEGIES = [(2, "FULL_SHARD", ["--set", "train.accumulation=2"]),
              (3, "DDP", []),
              (4, "HYBRID_2GPUs", ["--prefetch", "BACKWARD_POST",
                                   "--set", "train.activation_checkpointing=true"]),
              (2, "SHARD_GRAD_OP", ["--set", "sharding.unit_mib=0"])]
OTHER_STRATEGIES = [(2, "NO_SHARD", []), (3, "HYBRID_1", []), (4, "HYBRID_2_SHARD_GRAD_OP", [])]


def write_chips(folder, count=96, size=16, overflowing=None):
    """Two-band chips; `overflowing` is the index of one that float32 cannot normalise."""
    folder.mkdir(parents=True)
    generator = random.Random(5)
    for index in range(count):
        base = generator.randrange(40, 200)
        pixels = bytes((base + 3 * (i % size) + 5 * (i // size % size) + generator.randrange(20)) % 256
                       for i in range(2 * size * size))
        kind = "|u1"
        if overflowing is not None:
            kind = "<f4"
            scale = 1e36 if index == overflowing else 1.0
            pixels = struct.pack(f"<{len(pixels)}f", *(scale * pixel for pixel in pixels))
        header = (f"{{'descr': '{kind}', 'fortran_order': False, 'shape': (2, {size}, {size}), }}")
        header = header.ljust(128 - 10 - 1) + "\n"
        (folder / f"chip_{index:03d}.npy").write_bytes(
            b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + pixels)


def environment(**extra):
    result = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", **extra)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        if name not in extra:
            result.pop(name, None)
    return result


def pretrain_words(chips, output, steps, *more):
    return ["pretrain", "--root", chips, "--output", output, "--set", f"train.max_steps={steps}",
            *TINY, *BATCH, *more]


def run(*words, expect=0, env=None):
    result = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True,
                            check=False, env=env or environment(), timeout=300)
    if result.returncode != expect:
        sys.exit(f"swath {' '.join(map(str, words))}: exit code {result.returncode}, expected "
                 f"{expect}\n{result.stdout}\n{result.stderr}")
    return result


def launch(ranks, *words, options=(), expect=0):
    return run("launch", "-n", ranks, *options, "--", PROGRAM, *words, expect=expect)


def losses(output, what="loss"):
    found = {}
    for line in (Path(output) / "log.jsonl").read_text().splitlines():
        line = json.loads(line)
        if line["kind"] == "step":
            found[line["step"]] = line[what]
    return found


def summary_of(result):
    return json.loads(result.stdout.strip().splitlines()[-1])


def demand(condition, what):
    if not condition:
        sys.exit(f"not so: {what}")


def demand_same_losses(output, expected, what):
    found = losses(output)
    demand(sorted(found) == sorted(expected), f"{what}: steps {sorted(found)}")
    for step, loss in expected.items():
        demand(abs(found[step] - loss) <= TOLERANCE * abs(loss),
               f"{what}: step {step}: loss {found[step]}, one process {loss}")


def test_same_losses(work, chips, expected, strategies=tuple(STRATEGIES), name="vit", model=()):
    for ranks, strategy, more in strategies:
        output = work / f"{name}_{strategy}"
        result = launch(ranks, *pretrain_words(chips, output, len(expected), "--strategy", strategy,
                                               "--json", *model, *more))
        summary = summary_of(result)
        demand(summary["ranks"] == ranks, summary)
        demand_same_losses(output, expected, f"{name}: {strategy} on {ranks} ranks")


def test_swin(work, chips):
    """Units of several widths, one for each block, masks that are no MAE's, clipped gradients."""
    for tokens, loss in [("joint", "l1"), ("per_band", "cross_entropy")]:
        model = [*SWIN, "--set", f"model.swin.tokens={tokens}", "--set", f"model.swin.loss={loss}"]
        alone = work / f"swin_{tokens}"
        run(*pretrain_words(chips, alone, SWIN_STEPS, *model))
        expected = losses(alone)
        demand(expected[SWIN_STEPS] < expected[1], f"the loss falls: {expected}")
        norms = losses(alone, "grad_norm")
        demand(min(norms.values()) > SWIN_CLIP_NORM, f"every gradient is clipped: {norms}")
        strategies = STRATEGIES + OTHER_STRATEGIES
        if tokens == "per_band" and not IS_LONG:
            strategies = [(4, "HYBRID_2", [])]
        test_same_losses(work, chips, expected, strategies, f"swin_{tokens}", model)
        if tokens == "joint":
            continue
        output = work / "swin_elastic"
        launch(3, *pretrain_words(chips, output, 4, "--strategy", "FULL_SHARD", *model))
        launch(2, *pretrain_words(chips, output, SWIN_STEPS, "--strategy", "DDP", *model))
        demand_same_losses(output, expected, "a SwinV2 on 3 ranks, then on 2")


def make_chips_with_gaps(work):
    """Six-band chips of synthetic granules, some of whose pixels have no value, to train on and to
    test on; whole ones of two bands where the program was built without HDF4."""
    folders = [work / "poster_train", work / "poster_test"]
    for seed, folder in enumerate(folders, 1):
        granules = work / f"{folder.name}_granules"
        made = subprocess.run([PROGRAM, "data", "synthesize", "--output", granules, "--granules",
                               "1", "--platform", "terra", "--scans", "12", "--columns", "160",
                               "--seed", str(seed)], capture_output=True, text=True, check=False,
                              env=environment(), timeout=300)
        if "unknown action" in made.stderr:
            print("not run: pixels without a value on ranks; this program was built without HDF4")
            write_chips(folder, count=8, size=32)
            continue
        demand(made.returncode == 0, made.stderr)
        cut = summary_of(run("chips", "--root", granules, "--output", folder, "--size", 32,
                             "--invalid", "mask", "--json"))
        demand(cut["chips"] >= 8 and cut["codes"]["29"]["dead_detector"] > 0, cut)
    return folders


def test_poster_recipes(work):
    """A recipe of each group of the poster, scaled down: losses of training and test on ranks are
    those of one process, by the recipe's strategy and with a unit for each block, also where what
    is valid differs from rank to rank."""
    train, test = make_chips_with_gaps(work)
    for recipe in ("modis_tokens_1536", "modis_size_100m"):
        def words(output, *more):
            return ["pretrain", recipe, "--scale-down", "--root", train, "--test_root", test,
                    "--data.limit", 8, "--test_limit", 8, "--transform.kind", "none",
                    "--batch_size", 4, "--epochs", 4, "--output", output, "--threads", 1,
                    "--loader.workers", 1, "--log_every", 1, "--json", *more]

        alone = work / recipe
        summary = summary_of(run(*words(alone)))
        expected = losses(alone)
        demand(len(expected) == 8 and summary["test_loss"] > 0, summary)
        for ranks, more in [(2, []), (3, ["--strategy", "FULL_SHARD", "--sharding.unit_mib", 0])]:
            output = work / f"{recipe}_{ranks}"
            on_ranks = summary_of(launch(ranks, *words(output, *more)))
            what = f"{recipe} on {ranks} ranks"
            demand(on_ranks["ranks"] == ranks, on_ranks)
            demand_same_losses(output, expected, what)
            difference = abs(on_ranks["test_loss"] - summary["test_loss"])
            demand(difference <= TOLERANCE * summary["test_loss"],
                   f"{what}: test loss {on_ranks['test_loss']}, one process {summary['test_loss']}")


def test_time_budget(work, chips):
    """Ranks whose time is over end together and well, with a checkpoint to go on from."""
    output = work / "budget"
    words = pretrain_words(chips, output, 0, "--set", "train.epochs=100000", "--strategy",
                           "FULL_SHARD")
    result = launch(2, *words, "--set", "train.max_minutes=0.02")
    demand(result.stdout.count("budget reached: ") == 1, result.stdout)
    demand("budget reached: train.max_minutes 0.02 are over after step" in result.stderr,
           result.stderr)
    end = json.loads((output / "log.jsonl").read_text().splitlines()[-1])
    demand(end["kind"] == "end" and end["reason"] == "max_minutes" and end["steps"] > 0, end)
    saved = output / "checkpoints" / f"step_{end['steps']:08d}"
    demand((saved / "COMPLETE").exists() and len(list(saved.glob("*.safetensors"))) == 2,
           f"{saved} is whole")
    steps = end["steps"] + 2
    summary = summary_of(launch(2, *words, "--set", f"train.max_steps={steps}", "--json"))
    demand(summary["resumed_from"] == str(saved) and summary["steps"] == steps, summary)
    demand(summary["reason"] == "max_steps", summary)


def test_resume_on_other_ranks(work, chips, expected):
    output = work / "elastic"
    launch(4, *pretrain_words(chips, output, 3, "--strategy", "FULL_SHARD"))
    files = sorted(file.name for file in
                   (output / "checkpoints" / "step_00000003").glob("*.safetensors"))
    demand(len(files) == 4, f"each rank writes its part: {files}")
    launch(3, *pretrain_words(chips, output, 5, "--strategy", "DDP"))
    launch(2, *pretrain_words(chips, output, 6, "--strategy", "HYBRID", "--shard-size", "2"))
    run(*pretrain_words(chips, output, 8))
    demand_same_losses(output, expected, "4, 3, 2 and 1 ranks")
    # One process reads what many wrote.
    run("export", output, "--output", work / "elastic.safetensors")


def test_uneven_ranks(work, chips, expected):
    output = work / "uneven"
    launch(5, *pretrain_words(chips, output, 8, "--strategy", "FULL_SHARD"))  # 24 samples: 4 and 5
    demand_same_losses(output, expected, "24 samples on 5 ranks")


def test_non_finite_on_one_rank(work):
    """One bad sample closes the gate on all ranks in the same step, and is named."""
    chips = work / "overflowing"
    write_chips(chips, overflowing=41)
    more = ["--strategy", "HYBRID_2", "--set", "normalization.mean=[100,100]",
            "--set", "normalization.standard_deviation=[0.1,0.1]"]
    stopped = launch(4, *pretrain_words(chips, work / "stopped", 8, *more), expect=1)
    named = re.search(r"step (\d+): the loss is not finite .* on rank (\d); samples (.*)\.$",
                      stopped.stderr, re.MULTILINE)
    demand(named and "chip_041.npy" in named[3].split(", "), stopped.stderr)
    demand(max(losses(work / "stopped"), default=0) < int(named[1]), "the run ended at that step")
    demand(not list((work / "stopped" / "checkpoints").glob("step*")), "nothing was published")
    # Skipped, it leaves no trace in what follows: as in one process.
    skip = ["--set", "train.non_finite=skip", "--json"]
    alone, on_ranks = work / "skipped_alone", work / "skipped"
    for result in (run(*pretrain_words(chips, alone, 8, *more[2:], *skip)),
                   launch(4, *pretrain_words(chips, on_ranks, 8, *more, *skip))):
        summary = summary_of(result)
        demand(summary["skipped_steps"] == 2, summary)  # once in each of two epochs
    demand_same_losses(on_ranks, losses(alone), "skipped on four ranks")


def start(ranks, *words, options=()):
    return subprocess.Popen([PROGRAM, "launch", "-n", str(ranks), *options, "--", PROGRAM,
                             *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env=environment())


def rank_processes(launcher):
    """Process numbers by rank, once all ranks are there."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) != launcher.pid:
                continue
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        for variable in variables:
            if variable.startswith(b"RANK="):
                found[int(variable[5:])] = int(entry.name)
    return found


def wait_for_step(output, step, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        if (Path(output) / "log.jsonl").exists() and max(losses(output), default=0) >= step:
            return
        time.sleep(0.05)
    sys.exit(f"{output}: no step {step} within {seconds} s")


def test_signal_to_one_rank(work, chips):
    output = work / "signal"
    launcher = start(3, *pretrain_words(chips, output, 100000, "--set", "train.epochs=100000",
                                        "--strategy", "FULL_SHARD"))
    wait_for_step(output, 4)
    os.kill(rank_processes(launcher)[2], signal.SIGTERM)
    _, errors = launcher.communicate(timeout=60)
    demand(launcher.returncode == 128 + signal.SIGTERM, f"{launcher.returncode}: {errors}")
    checkpoints = list((output / "checkpoints").glob("step_*/COMPLETE"))
    demand(len(checkpoints) == 1, f"all ranks save at the same step: {checkpoints}")


def test_killed_rank_and_restart(work, chips, expected):
    # The launcher starts again with one rank fewer, from the last complete checkpoint.
    output = work / "restart"
    launcher = start(3, *pretrain_words(chips, output, 8, "--strategy", "FULL_SHARD",
                                        "--set", "train.checkpoint_steps=1",
                                        "--set", "train.keep_last=100"),
                     options=["--restart", "1"])
    wait_for_step(output, 2)
    os.kill(rank_processes(launcher)[1], signal.SIGKILL)
    _, errors = launcher.communicate(timeout=120)
    demand(launcher.returncode == 0, f"{launcher.returncode}: {errors}")
    demand("rank 1 of 3" in errors, errors)
    demand_same_losses(output, expected, "killed and restarted")


def test_killed_before_the_first_checkpoint(work, chips, expected):
    # Nothing was saved, so nothing is lost: the restart begins again in the same place.
    output = work / "unsaved"
    words = pretrain_words(chips, output, 80, "--strategy", "FULL_SHARD")
    launcher = start(3, *words, options=["--restart", "1"])
    wait_for_step(output, 2)
    os.kill(rank_processes(launcher)[1], signal.SIGKILL)
    _, errors = launcher.communicate(timeout=120)
    demand(launcher.returncode == 0, f"{launcher.returncode}: {errors}")
    demand("has no checkpoint yet: the run starts again" in errors, errors)
    found = losses(output)
    for step, loss in expected.items():
        demand(abs(found[step] - loss) <= TOLERANCE * abs(loss), f"step {step}: {found[step]}")
    # Other settings would mix two runs.
    shutil.rmtree(output / "checkpoints")
    refused = run(*words, "--set", "optim.lr=0.5", expect=2)
    demand("already holds results" in refused.stderr, refused.stderr)


def test_wrong_settings(work, chips):
    bad_size = launch(3, *pretrain_words(chips, work / "bad", 3, "--strategy", "HYBRID_2"), expect=2)
    demand("HYBRID_2" in bad_size.stderr and "3" in bad_size.stderr, bad_size.stderr)
    few = launch(3, *pretrain_words(chips, work / "bad", 3, "--set", "train.batch_size=2"), expect=2)
    demand("a batch of 2 samples for 3 ranks" in few.stderr, few.stderr)
    shell = (f'exec "{PROGRAM}" ' + " ".join(f"'{word}'" for word in
             pretrain_words(chips, work / "bad", 3, "--strategy", "DDP")) +
             ' --set optim.lr=0.00$((RANK + 1))')
    different = run("launch", "-n", 2, "--", "sh", "-c", shell, expect=2)
    demand("the settings of rank 1 differ from those of rank 0" in different.stderr,
           different.stderr)
    contradiction = run(*pretrain_words(chips, work / "bad", 3), expect=2,
                        env=environment(RANK="0", WORLD_SIZE="2", MASTER_ADDR="127.0.0.1",
                                        MASTER_PORT="29555", SLURM_PROCID="3", SLURM_NTASKS="4",
                                        SLURM_STEP_ID="0", SLURM_STEP_NUM_TASKS="4",
                                        SLURM_LOCALID="0"))
    demand("RANK" in contradiction.stderr and "SLURM" in contradiction.stderr, contradiction.stderr)
    demand(not (work / "bad" / "checkpoints").exists(), "nothing was written")


def kill(process):
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        pass


def test_killed_at_random(work, chips, expected):
    """One rank or all of them, while saves run beside the training or hold it up: what was complete
    before is complete afterwards, and the run goes on from the newest of it."""
    generator = random.Random(time.time_ns())
    during_a_save = {"true": 0, "false": 0}
    for attempt in range(24):
        beside = ("true", "false")[attempt % 2]
        output = work / f"random_{attempt}"
        checkpoints = output / "checkpoints"
        words = pretrain_words(chips, output, 8, "--strategy", "FULL_SHARD",
                               "--set", "train.checkpoint_steps=1",
                               "--set", f"train.async_checkpoint={beside}",
                               "--set", "train.keep_last=100")
        launcher = start(3, *words)
        wait_for_step(output, 1)
        time.sleep(generator.uniform(0, 0.4))
        ranks = list(rank_processes(launcher).values())
        complete = {path.parent.name for path in checkpoints.glob("step_*/COMPLETE")}
        if attempt % 4 < 2:
            kill(launcher.pid)
            for process in ranks:
                kill(process)
            during_a_save[beside] += bool(list(checkpoints.glob(".partial*")))
        elif ranks:
            kill(generator.choice(ranks))
        launcher.communicate(timeout=60)
        left = sorted(path.parent.name for path in checkpoints.glob("step_*/COMPLETE"))
        demand(complete <= set(left), f"attempt {attempt}: {complete} were complete, then {left}")
        # Killed before its first checkpoint, a run starts again in its place.
        result = launch(2, *words, "--json")
        resumed_from = summary_of(result)["resumed_from"]
        demand(Path(resumed_from or "").name == (left[-1] if left else ""),
               f"attempt {attempt}: resumed from {resumed_from}, complete were {left}")
        demand_same_losses(output, expected, f"killed at random, attempt {attempt}")
    demand(min(during_a_save.values()) > 0, f"no kill came during a save: {during_a_save}")
    print(f"kills of all ranks during a save, of 6 each: {during_a_save}")


def main():
    with tempfile.TemporaryDirectory(prefix="swath_ranks_") as folder:
        work = Path(folder)
        chips = work / "chips"
        write_chips(chips)
        run(*pretrain_words(chips, work / "alone", 8))
        expected = losses(work / "alone")
        demand(len(expected) == 8, expected)
        test_same_losses(work, chips, expected)
        test_swin(work, chips)
        test_poster_recipes(work)
        test_time_budget(work, chips)
        test_resume_on_other_ranks(work, chips, expected)
        test_uneven_ranks(work, chips, expected)
        test_non_finite_on_one_rank(work)
        test_signal_to_one_rank(work, chips)
        test_killed_rank_and_restart(work, chips, expected)
        test_killed_before_the_first_checkpoint(work, chips, expected)
        test_wrong_settings(work, chips)
        if IS_LONG:
            test_killed_at_random(work, chips, expected)
    print("ok")


main()
