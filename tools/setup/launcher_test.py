#!/usr/bin/env python3
"""Tests of the launcher ./swath and of tools/setup, without network, build or rights.

    launcher_test.py [-v] [LauncherTest.test_...]

Each test runs a copy of the launcher in a temporary folder. Its PATH holds the plain tools of the
system and, for everything that would install or build, launcher_test_tool.
"""
import os
import shutil
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
PLAIN_TOOLS = """awk bash cat chmod cut dirname env find flock grep head mkdir mv paste readlink rm
                 sed seq sha256sum sleep sort tail tee touch tr uname""".split()
FAKE_TOOLS = """apt-get cmake ctest dpkg dpkg-query g++ id ninja nproc pip3 pkg-config
                python3""".split()
RANKS = {
    "srun": {"SLURM_PROCID": "3", "SLURM_STEP_ID": "0"},
    "torchrun": {"RANK": "3", "WORLD_SIZE": "8"},
    "mpirun of Open MPI": {"OMPI_COMM_WORLD_RANK": "3"},
    "mpirun of MPICH": {"PMI_RANK": "3"},
}


def packages(*groups):
    rows = (line.split() for line in (HOME / "deps/apt.txt").read_text().splitlines())
    return [row[0] for row in rows if row and row[0] != "#" and row[1] in groups]


def wheels(name):
    lines = (HOME / "deps" / f"{name}.txt").read_text().splitlines()
    return [line.split("==")[0] for line in lines if line[:1].isalnum()]


class LauncherTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="swath-launcher-")
        self.addCleanup(folder.cleanup)
        self.home = Path(folder.name).resolve() / "checkout"
        self.fake = self.home.parent / "fake"
        self.bin = self.home.parent / "bin"
        self.deps = self.home / ".deps"
        self.build = self.home / "build/cpu"
        for made in (self.home / "tools", self.home / "src", self.fake, self.bin):
            made.mkdir(parents=True)
        shutil.copy2(HOME / "swath", self.home)
        shutil.copy2(HOME / "CMakeLists.txt", self.home)
        shutil.copytree(HOME / "tools/setup", self.home / "tools/setup")
        shutil.copytree(HOME / "deps", self.home / "deps")
        (self.home / "src/main.cc").touch()
        for tool in PLAIN_TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool))
        for tool in FAKE_TOOLS:
            self.add_tool(tool)
        self.machine("installed", "\n".join(packages("build", "gdal", "test")))
        self.machine("uid", "0")

    def add_tool(self, name):
        (self.bin / name).symlink_to(self.home / "tools/setup/launcher_test_tool")

    def machine(self, name, text):
        """States a fact about the machine: see launcher_test_tool."""
        (self.fake / name).write_text(text + "\n")

    def environment(self, variables):
        return {"PATH": str(self.bin), "FAKE": str(self.fake), "HOME": str(self.home.parent),
                "SWATH_CUDA": "0", **variables}

    def swath(self, *words, expect=0, **variables):
        """Runs the launcher; the result has `calls`, what it called meanwhile."""
        (self.fake / "calls").write_text("")
        result = subprocess.run([str(self.home / "swath"), *words], capture_output=True, text=True,
                                check=False, env=self.environment(variables), timeout=60)
        self.assertEqual(result.returncode, expect, result.stderr)
        if words[0] == "build":  # nothing but set-up, whose place is standard error
            self.assertEqual(result.stdout, "")
        result.calls = (self.fake / "calls").read_text().splitlines()
        return result

    def assert_called(self, result, start):
        found = [call for call in result.calls if call.startswith(start)]
        self.assertTrue(found, f"no call of '{start}' in {result.calls}")
        return found[-1]

    def assert_not_called(self, result, *starts):
        found = [call for call in result.calls if call.startswith(starts)]
        self.assertEqual(found, [])

    # --- What set-up does ---------------------------------------------------------------------

    def test_first_call_sets_up_and_standard_output_is_the_programs(self):
        result = self.swath("pretrain", "demo", "--steps", "3")
        self.assertEqual(result.stdout, "program: pretrain demo --steps 3\n")
        self.assertIn("is done", result.stderr)  # what the tools say is not lost
        for wheel in ["pip", *wheels("torch-cpu"), "plotly"]:
            self.assertIn(f"downloaded {wheel}", result.calls)
        self.assertFalse((self.deps / "torch-cpu/torch/python_only").exists())

    def test_second_call_does_nothing_and_is_fast(self):
        self.swath("build")
        seconds = []
        for _ in range(3):  # the fastest: others may be using the processor
            started = time.monotonic()
            result = self.swath("models")
            seconds.append(time.monotonic() - started)
            self.assertEqual((result.stdout, result.stderr), ("program: models\n", ""))
            self.assertEqual(result.calls, [])
        self.assertLess(min(seconds), 1)

    def test_changes_build_again(self):
        self.swath("build")
        time.sleep(0.01)  # the clock of the file system
        (self.home / "src/new.cc").touch()
        result = self.swath("models")
        self.assert_called(result, "cmake --build")
        self.assert_not_called(result, "cmake --fresh", "python3")

    def test_settings_that_come_back_build_again(self):
        self.swath("test")
        self.swath("build", SWATH_GDAL="0")
        result = self.swath("build")
        self.assertIn("-DSWATH_WITH_GDAL=ON", self.assert_called(result, "cmake --fresh"))
        self.assert_called(result, "cmake --build")

    def test_wrong_settings_stop_before_any_work(self):
        for name in ("SWATH_BUILD_TYPE", "SWATH_GDAL", "SWATH_CUDA", "SWATH_CUDA_COMPILE"):
            with self.subTest(name):
                result = self.swath("build", expect=2, **{name: "fast"})
                self.assertIn(f"{name} is 'fast'", result.stderr)
                self.assertEqual(result.calls, [])

    def test_two_calls_at_once_build_once(self):
        def start():
            return subprocess.Popen([str(self.home / "swath"), "models"], env=self.environment({}),
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

        calls = self.fake / "calls"
        calls.touch()
        self.machine("slow", "")
        first = start()
        deadline = time.monotonic() + 60
        while "compiling starts" not in calls.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = start()
        self.assertIn("another swath is setting up or building here", second.stderr.readline())
        (self.fake / "slow").unlink()
        for process in (first, second):
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out), (0, "program: models\n"), err)
        self.assertEqual(calls.read_text().count("compiling ends"), 1)

    # --- Ranks --------------------------------------------------------------------------------

    def test_rank_never_installs_or_builds(self):
        self.machine("installed", "")
        for starter, variables in RANKS.items():
            for command in (["build"], ["test"], ["demo"], ["pretrain", "demo"]):
                with self.subTest(starter, command=command):
                    result = self.swath(*command, expect=1, **variables)
                    self.assertIn("=3)", result.stderr)
                    self.assertIn("HINT: run './swath build' once in a plain shell", result.stderr)
                    self.assertEqual((result.stdout, result.calls), ("", []))
        self.assertFalse(self.deps.exists() or self.build.exists())

    def test_rank_is_told_of_the_settings_it_runs_with(self):
        result = self.swath("pretrain", expect=1, **{**RANKS["srun"], "SWATH_CUDA": "1"})
        self.assertIn("HINT: run 'SWATH_CUDA=1 ./swath build'", result.stderr)

    def test_rank_runs_what_is_there(self):
        self.swath("build")
        time.sleep(0.01)
        (self.home / "src/new.cc").touch()
        for starter, variables in RANKS.items():
            with self.subTest(starter):
                result = self.swath("pretrain", "demo", **variables)
                self.assertEqual((result.stdout, result.calls), ("program: pretrain demo\n", []))

    def test_shell_of_a_slurm_allocation_is_no_rank(self):
        for step in ("", "4294967290", "4294967291"):  # batch script, interactive step
            with self.subTest(step):
                variables = {"SLURM_PROCID": "0", "SLURM_STEP_ID": step}
                self.assertIn("ready", self.swath("build", **variables).stderr)

    # --- Interruptions ------------------------------------------------------------------------

    def assert_complete(self):
        result = self.swath("models")
        self.assertEqual(result.stdout, "program: models\n")
        for name in ("pip", "torch-cpu", "report"):
            self.assertTrue((self.deps / name / "second_half").exists())
        self.assertEqual(list(self.deps.glob("*.partial")), [])
        self.assertEqual(list(self.deps.glob("downloads/*")), [])
        return result

    def test_broken_download_goes_on_where_it_stopped(self):
        downloads = [call.split()[1] for call in self.swath("build").calls
                     if call.startswith("downloaded ")]
        *complete, broken = [wheel for wheel in downloads if wheel in wheels("torch-cpu")]
        for how, status in (("fail", 1), ("kill", -9)):
            with self.subTest(how):
                shutil.rmtree(self.deps, ignore_errors=True)
                shutil.rmtree(self.build, ignore_errors=True)
                self.machine("break", f"{how} {broken}==")
                result = self.swath("build", expect=status)
                for wheel in complete:
                    self.assertIn(f"downloaded {wheel}", result.calls)
                if how == "fail":
                    self.assertIn("HINT: check network and disk, then run the same command again: "
                                  "complete downloads are kept", result.stderr)
                self.assertFalse((self.deps / "torch-cpu").exists())
                result = self.assert_complete()
                self.assertIn(f"downloaded {broken}", result.calls)
                self.assert_not_called(result, *(f"downloaded {wheel}" for wheel in complete))

    def test_half_unpacked_set_is_unpacked_anew(self):
        self.machine("break", "kill torch-cpu.partial")
        self.swath("build", expect=-9)
        partial = self.deps / "torch-cpu.partial"
        self.assertTrue((partial / "first_half").exists())
        (partial / "stray").touch()
        result = self.assert_complete()
        self.assert_not_called(result, "downloaded torch")
        self.assertFalse((self.deps / "torch-cpu/stray").exists())

    def test_damaged_download_is_fetched_anew(self):
        self.machine("break", "fail torch-cpu.partial")
        result = self.swath("build", expect=1)
        self.assertIn("all is downloaded anew", result.stderr)
        self.assertIn("downloaded torch", self.assert_complete().calls)

    def test_changed_pin_installs_anew(self):
        self.swath("build")
        pins = self.home / "deps/torch-cpu.txt"
        pins.write_text(pins.read_text().replace("torch==2.11.0", "torch==2.11.1"))
        result = self.assert_complete()
        self.assertIn("downloaded torch", result.calls)
        self.assertNotIn("downloaded plotly", result.calls)

    def test_interrupted_configuration_starts_anew(self):
        for how, status in (("fail", 1), ("kill", -9)):
            with self.subTest(how):
                self.machine("break", f"{how} cmake --fresh")
                self.swath("build", expect=status, SWATH_BUILD_TYPE="Debug")
                self.assertTrue((self.build / "CMakeCache.txt").exists())
                result = self.swath("build", SWATH_BUILD_TYPE="Debug")
                self.assertIn("did not finish: starting it anew", result.stderr)
                self.assert_called(result, "cmake --fresh")
                self.assert_called(result, "compiling ends")
                self.swath("build")  # with other settings: the next turn configures again

    def test_broken_build_goes_on(self):
        for how, status in (("fail", 1), ("kill", -9)):
            with self.subTest(how):
                shutil.rmtree(self.build, ignore_errors=True)
                self.machine("break", f"{how} cmake --build")
                result = self.swath("models", expect=status)
                self.assertEqual(result.stdout, "")
                self.assertIn("cmake broke on purpose", result.stderr)
                result = self.swath("models")
                self.assertEqual(result.stdout, "program: models\n")
                self.assert_not_called(result, "cmake --fresh", "python3")

    # --- System packages ----------------------------------------------------------------------

    def without(self, *missing):
        there = [name for name in packages("build", "gdal") if name not in missing]
        self.machine("installed", "\n".join(there))

    def test_without_root_the_command_to_run_is_printed(self):
        self.machine("uid", "1000")
        self.without("libpng-dev", "libgdal-dev")
        result = self.swath("build", expect=1)
        self.assertIn("\n    sudo apt-get update && sudo apt-get install -y "
                      "--no-install-recommends libpng-dev libgdal-dev\n", result.stderr)
        self.assertIn("'export SWATH_GDAL=0' builds without", result.stderr)
        self.assert_not_called(result, "apt-get", "dpkg ", "cmake", "python3")

    def test_without_root_nothing_optional_is_demanded(self):
        self.machine("uid", "1000")
        self.without()  # neither ccache nor GoogleTest
        result = self.swath("build")
        self.assertIn("-DSWATH_BUILD_TESTS=OFF", self.assert_called(result, "cmake --fresh"))
        self.assert_not_called(result, "apt-get")
        result = self.swath("test", expect=1)
        self.assertIn("--no-install-recommends libgtest-dev libgmock-dev\n", result.stderr)

    def test_root_installs_what_is_missing_and_ccache_with_it(self):
        self.without("libpng-dev")
        result = self.swath("build")
        installs = [call for call in result.calls if call.startswith(("apt-get", "dpkg "))]
        self.assertEqual(installs, [
            "dpkg --configure -a", "apt-get update",
            "apt-get install -y --no-install-recommends libpng-dev libnetcdf-dev ccache"])

    def test_sudo_without_password_is_used(self):
        self.machine("uid", "1000")
        self.add_tool("sudo")
        self.without("libpng-dev")
        self.assert_called(self.swath("build"), "apt-get install")

    def test_broken_package_manager_is_an_error(self):
        self.without("libpng-dev")
        self.machine("break", "fail apt-get update")
        result = self.swath("build", expect=1)
        self.assertIn("apt-get broke on purpose", result.stderr)
        self.assertIn("HINT: check the network and the package sources", result.stderr)
        self.assertIn("ready", self.swath("build").stderr)

    def test_tests_come_without_starting_anew(self):
        self.without()
        self.swath("build")
        result = self.swath("test")
        self.assert_called(result, "apt-get install -y --no-install-recommends libnetcdf-dev ccache "
                                   "libgtest-dev libgmock-dev")
        configured = self.assert_called(result, "cmake --no-warn-unused-cli")
        self.assertIn("-DSWATH_BUILD_TESTS=ON", configured)
        self.assert_not_called(result, "cmake --fresh")
        self.assertIn("-L ^quick$", self.assert_called(result, "ctest"))
        self.assert_not_called(self.swath("test"), "cmake", "apt-get")

    def test_ccache_is_used_when_there(self):
        result = self.swath("build")
        self.assertNotIn("ccache", self.assert_called(result, "cmake --fresh"))
        shutil.rmtree(self.build)
        self.add_tool("ccache")
        result = self.swath("build")
        self.assertIn("LAUNCHER=ccache", self.assert_called(result, "cmake --fresh"))

    def test_without_gdal(self):
        self.machine("uid", "1000")
        self.without("libgdal-dev")
        result = self.swath("build", SWATH_GDAL="0")
        self.assertIn("-DSWATH_WITH_GDAL=OFF", self.assert_called(result, "cmake --fresh"))

    # --- LibTorch of the user's own -----------------------------------------------------------

    def test_installed_torch_is_used(self):
        torch = self.home.parent / "module/torch"
        for file in ("include/torch/csrc/api/include/torch/torch.h", "lib/libtorch_cpu.so"):
            (torch / file).parent.mkdir(parents=True, exist_ok=True)
            (torch / file).touch()
        result = self.swath("build", SWATH_TORCH_DIR=str(torch))
        self.assertIn(f"-DSWATH_TORCH_DIR={torch} ", self.assert_called(result, "cmake --fresh"))
        self.assert_not_called(result, "downloaded torch", "downloaded nvidia")
        self.assertFalse((self.deps / "torch-cpu").exists())

        (torch / "lib/libtorch_cpu.so").unlink()
        result = self.swath("build", expect=2, SWATH_TORCH_DIR=str(torch))
        self.assertIn(f"SWATH_TORCH_DIR is '{torch}', which has no lib/libtorch_cpu.so",
                      result.stderr)
        self.assertEqual(result.calls, [])

    def test_wrong_torch_is_named(self):
        for wrong in ("/nowhere/torch", str(self.home)):
            with self.subTest(wrong):
                result = self.swath("build", expect=2, SWATH_TORCH_DIR=wrong)
                self.assertIn(f"SWATH_TORCH_DIR is '{wrong}', which has no include/torch",
                              result.stderr)
                self.assertIn("HINT: python3 -c 'import torch;", result.stderr)
                self.assertEqual(result.calls, [])

    # --- What needs no program ----------------------------------------------------------------

    def test_version_help_and_doctor_never_set_up(self):
        self.without("libpng-dev")
        self.assertRegex(self.swath("--version").stdout, r"^swath \d+\.\d+\.\d+ \(not built yet")
        self.assertIn("usage: ./swath COMMAND", self.swath("--help").stdout)
        result = self.swath("doctor", "--json")
        self.assertRegex(result.stdout, r'^{"version": "[\d.]+", "built": false, .*}\n$')
        self.assertIn("missing: libpng-dev; for ./swath test missing: libgtest-dev libgmock-dev\n",
                      result.stderr)
        self.assertIn("not built: ./swath build", result.stderr)
        self.assertFalse(self.deps.exists() or self.build.exists())

    def test_build_takes_no_arguments(self):
        self.assertIn("got '--fast'", self.swath("build", "--fast", expect=2).stderr)


if __name__ == "__main__":
    unittest.main()
