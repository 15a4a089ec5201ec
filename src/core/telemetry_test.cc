#include "core/telemetry.h"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "core/error.h"
#include "core/files.h"
#include "core/telemetry_fakes.h"

namespace swath {
namespace {
namespace fs = std::filesystem;

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

EnvironmentLookup variables(const std::map<std::string, std::string>& values) {
  return [values](const std::string& name) -> std::optional<std::string> {
    const auto found = values.find(name);
    if (found == values.end()) return std::nullopt;
    return found->second;
  };
}

// The script inside a fake library.
template <typename Script>
Script& script_of(const char* library, const char* function) {
  void* handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) throw Error(dlerror());
  return *reinterpret_cast<Script* (*)()>(dlsym(handle, function))();
}

class TelemetryDirectory : public testing::Test {
 protected:
  TelemetryDirectory()
      : directory_(fs::temp_directory_path() / ("swath_telemetry_" + std::to_string(getpid()))) {
    fs::create_directories(directory_);
  }
  ~TelemetryDirectory() override { fs::remove_all(directory_); }
  fs::path directory_;
};

TelemetryReading reading_of(std::optional<double> watts, std::optional<double> joules = {}) {
  TelemetryReading reading;
  reading.watts = watts;
  reading.joules = joules;
  return reading;
}

// --- the trace -----------------------------------------------------------------------------------

TEST(TelemetryTrace, PowerIsIntegratedByTrapezoids) {
  TelemetryTrace trace;
  trace.add(1.0, {100.0, 0.5, 700, {}});
  trace.add(2.0, {200.0, 1.0, 900, {}});
  trace.add(4.0, {300.0, {}, 800, {}});
  const TelemetrySummary summary = trace.summary();
  EXPECT_EQ(summary.samples, 3);
  EXPECT_DOUBLE_EQ(summary.seconds, 3.0);
  EXPECT_DOUBLE_EQ(summary.joules.value(), 150.0 * 1 + 250.0 * 2);
  EXPECT_EQ(summary.joules_from, "integrated");
  EXPECT_DOUBLE_EQ(summary.mean_watts.value(), 650.0 / 3);
  EXPECT_DOUBLE_EQ(summary.max_watts.value(), 300.0);
  EXPECT_DOUBLE_EQ(summary.mean_utilisation.value(), 0.75);
  EXPECT_EQ(summary.max_memory_bytes, 900);
}

TEST(TelemetryTrace, TheCountersDifferenceGoesBeforeTheIntegral) {
  TelemetryTrace trace;
  trace.add(0.0, reading_of(100.0, 5000.0));
  trace.add(1.0, reading_of(100.0));  // missing in between: start and end decide
  trace.add(2.0, reading_of(100.0, 5300.0));
  const TelemetrySummary summary = trace.summary();
  EXPECT_DOUBLE_EQ(summary.joules.value(), 300.0);
  EXPECT_EQ(summary.joules_from, "counter");
  EXPECT_DOUBLE_EQ(summary.mean_watts.value(), 150.0);
  EXPECT_DOUBLE_EQ(summary.max_watts.value(), 100.0);
}

TEST(TelemetryTrace, ACounterThatIsSetBackIsNotUsed) {
  TelemetryTrace trace;
  trace.add(0.0, reading_of(100.0, 50.0));
  trace.add(1.0, reading_of(100.0, 10.0));
  trace.add(2.0, reading_of(100.0, 90.0));
  EXPECT_EQ(trace.summary().joules_from, "integrated");
  EXPECT_DOUBLE_EQ(trace.summary().joules.value(), 200.0);

  TelemetryTrace without_power;
  without_power.add(0.0, reading_of({}, 50.0));
  without_power.add(1.0, reading_of({}, 10.0));
  EXPECT_FALSE(without_power.summary().joules.has_value());
  EXPECT_FALSE(without_power.summary().mean_watts.has_value());
}

TEST(TelemetryTrace, PowerFollowsFromACounterAlone) {
  TelemetryTrace trace;
  trace.add(0.0, reading_of({}, 10.0));
  trace.add(0.5, reading_of({}, 40.0));
  trace.add(1.5, reading_of({}, 60.0));
  EXPECT_FALSE(trace.samples()[0].watts.has_value());
  EXPECT_DOUBLE_EQ(trace.samples()[1].watts.value(), 60.0);
  EXPECT_DOUBLE_EQ(trace.samples()[2].watts.value(), 20.0);
  EXPECT_DOUBLE_EQ(trace.summary().joules.value(), 50.0);
  EXPECT_DOUBLE_EQ(trace.summary().mean_watts.value(), 50.0 / 1.5);
  EXPECT_DOUBLE_EQ(trace.summary().max_watts.value(), 60.0);
}

TEST(TelemetryTrace, GapsInThePowerLeaveTheEnergyUnknown) {
  TelemetryTrace trace;
  trace.add(0.0, reading_of(100.0));
  trace.add(1.0, reading_of(200.0));
  trace.add(2.0, reading_of({}));
  trace.add(3.0, reading_of(900.0));
  EXPECT_FALSE(trace.summary().joules.has_value());
  EXPECT_EQ(trace.summary().joules_from, "");
  EXPECT_DOUBLE_EQ(trace.summary().mean_watts.value(), 150.0);  // of the second that is known
  EXPECT_DOUBLE_EQ(trace.summary().max_watts.value(), 900.0);
}

TEST(TelemetryTrace, OneSampleHasPowerButNoEnergy) {
  TelemetryTrace trace;
  trace.add(0.0, reading_of(120.0, 7.0));
  EXPECT_DOUBLE_EQ(trace.summary().mean_watts.value(), 120.0);
  EXPECT_FALSE(trace.summary().joules.has_value());
}

TEST(TelemetryTrace, MeansAreOfTheSamplesSinceTheyWereTaken) {
  TelemetryTrace trace;
  EXPECT_FALSE(trace.take_means().watts.has_value());
  trace.add(0, {100.0, 0.5, {}, {}});
  trace.add(1, {200.0, {}, {}, {}});
  TelemetryMeans means = trace.take_means();
  EXPECT_DOUBLE_EQ(means.watts.value(), 150);
  EXPECT_DOUBLE_EQ(means.utilisation.value(), 0.5);
  trace.add(2, {400.0, {}, {}, {}});
  means = trace.take_means();
  EXPECT_DOUBLE_EQ(means.watts.value(), 400);
  EXPECT_FALSE(means.utilisation.has_value());
  // The totals forget nothing.
  EXPECT_DOUBLE_EQ(trace.summary().mean_utilisation.value(), 0.5);
  EXPECT_DOUBLE_EQ(trace.summary().joules.value(), 450);
}

TEST(TelemetryTrace, TheListStaysBoundedAndTheTotalsExact) {
  TelemetryTrace trace(8);
  for (int i = 0; i <= 100; ++i) {
    trace.add(i, reading_of(i == 51 ? 1000.0 : 10.0));
    EXPECT_LE(trace.samples().size(), 8U);
  }
  // Every 16th is left: 0, 16 ... 96.
  ASSERT_EQ(trace.samples().size(), 7U);
  for (size_t i = 0; i < 7; ++i) EXPECT_DOUBLE_EQ(trace.samples()[i].seconds, 16.0 * i);
  EXPECT_EQ(trace.summary().samples, 101);
  EXPECT_DOUBLE_EQ(trace.summary().max_watts.value(), 1000.0);
  EXPECT_DOUBLE_EQ(trace.summary().joules.value(), 98 * 10.0 + 2 * 505.0);
  EXPECT_THROW(TelemetryTrace(1), Error);
}

TEST(TelemetryJson, AbsentValuesAreAbsentKeys) {
  EXPECT_EQ(to_json(TelemetrySummary{}).dump(), R"({"samples":0,"seconds":0.0})");
  TelemetrySummary summary;
  summary.source = "fake";
  summary.samples = 2;
  summary.seconds = 0.5;
  summary.mean_watts = 80.0;
  summary.max_watts = 90.0;
  summary.joules = 40.0;
  summary.joules_from = "counter";
  summary.mean_utilisation = 0.25;
  summary.max_memory_bytes = 1024;
  summary.failure = "gone";
  EXPECT_EQ(to_json(summary).dump(),
            R"({"source":"fake","samples":2,"seconds":0.5,"mean_watts":80.0,"max_watts":90.0,)"
            R"("joules":40.0,"joules_from":"counter","mean_utilisation":0.25,)"
            R"("max_memory_bytes":1024,"failure":"gone"})");
}

// --- the recorder --------------------------------------------------------------------------------

// Power 10, 20, 30 ... W; fails at read number `last` + 1.
class ScriptedSource final : public TelemetrySource {
 public:
  explicit ScriptedSource(int64_t last = INT64_MAX) : last_(last) {}
  std::string description() const override { return "scripted"; }
  TelemetryReading read() override {
    if (num_reads_ == last_) throw Error("scripted: the device is gone.", "look for it.");
    ++num_reads_;
    return {10.0 * static_cast<double>(num_reads_),
            {},
            num_reads_ == 1 ? std::optional(5) : std::nullopt,
            {}};
  }

 private:
  int64_t last_;
  int64_t num_reads_ = 0;
};

class TelemetryRecorderTest : public TelemetryDirectory {};

void wait_until(const std::function<bool()>& is_done) {
  for (int i = 0; i < 5000 && !is_done(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(is_done());
}

TEST_F(TelemetryRecorderTest, SamplesAtTheStartTheIntervalsAndTheEnd) {
  TelemetryRecorder recorder(std::make_unique<ScriptedSource>(), std::chrono::milliseconds(2));
  EXPECT_EQ(recorder.summary().samples, 0);
  recorder.start();
  recorder.start();  // changes nothing
  wait_until([&] { return recorder.summary().samples >= 4; });
  recorder.stop();
  recorder.stop();
  const TelemetrySummary summary = recorder.summary();
  const auto samples = recorder.samples();
  EXPECT_GE(summary.samples, 5);
  ASSERT_EQ(std::ssize(samples), summary.samples);
  EXPECT_EQ(summary.source, "scripted");
  EXPECT_EQ(summary.failure, "");
  EXPECT_DOUBLE_EQ(summary.max_watts.value(), 10.0 * static_cast<double>(summary.samples));
  EXPECT_DOUBLE_EQ(summary.seconds, samples.back().seconds - samples.front().seconds);
  EXPECT_GE(samples[3].seconds, 3 * 0.002);
  for (size_t i = 1; i < samples.size(); ++i) {
    EXPECT_GT(samples[i].seconds, samples[i - 1].seconds);
  }
}

TEST_F(TelemetryRecorderTest, AnIntervalIsNotWaitedForAtTheEnd) {
  TelemetryRecorder recorder(std::make_unique<ScriptedSource>(), std::chrono::hours(1));
  recorder.start();
  wait_until([&] { return recorder.summary().samples == 1; });
  recorder.stop();
  EXPECT_EQ(recorder.summary().samples, 2);
  recorder.start();  // a trace of its own
  recorder.stop();
  EXPECT_EQ(recorder.summary().samples, 2);
  EXPECT_GE(recorder.samples().front().watts.value(), 30.0);
  EXPECT_LT(recorder.summary().seconds, 60.0);
}

TEST_F(TelemetryRecorderTest, AFailingReadEndsTheTraceWithAMark) {
  TelemetryRecorder recorder(std::make_unique<ScriptedSource>(3), std::chrono::milliseconds(1));
  testing::internal::CaptureStderr();
  recorder.start();
  wait_until([&] { return !recorder.summary().failure.empty(); });
  recorder.stop();
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, AllOf(HasSubstr("warning"), HasSubstr("scripted: the device is gone.")));
  EXPECT_EQ(recorder.summary().samples, 3);
  EXPECT_DOUBLE_EQ(recorder.summary().max_watts.value(), 30.0);
  EXPECT_EQ(recorder.summary().failure, "scripted: the device is gone.");
  recorder.write_csv(directory_ / "trace.csv");
  EXPECT_EQ(std::ranges::count(read_file(directory_ / "trace.csv"), '\n'), 4);
}

TEST_F(TelemetryRecorderTest, TheCsvLeavesUnknownCellsEmpty) {
  TelemetryRecorder recorder(std::make_unique<ScriptedSource>(), std::chrono::hours(1));
  recorder.start();
  wait_until([&] { return recorder.summary().samples == 1; });
  recorder.stop();
  recorder.write_csv(directory_ / "new" / "trace.csv");
  EXPECT_THAT(read_file(directory_ / "new" / "trace.csv"),
              testing::MatchesRegex("seconds,watts,utilisation,memory_bytes\n"
                                    "[0-9.]+,10.000,,5\n"
                                    "[0-9.]+,20.000,,\n"));
  EXPECT_THROW(recorder.write_csv(directory_ / "new"), Error);
}

TEST_F(TelemetryRecorderTest, ManyThreadsMayAskStartAndStop) {
  TelemetryRecorder recorder(std::make_unique<ScriptedSource>(), std::chrono::milliseconds(1), 16);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&recorder, thread, this] {
      for (int i = 0; i < 20; ++i) {
        if (thread == 0) recorder.start();
        if (thread == 1) recorder.stop();
        EXPECT_LE(recorder.samples().size(), 16U);
        if (thread == 2) recorder.write_csv(directory_ / "trace.csv");
        recorder.summary();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}  // the destructor ends what is still being recorded

// --- NVML ----------------------------------------------------------------------------------------

class TelemetryNvml : public testing::Test {
 protected:
  TelemetryNvml() : nvml_(script_of<FakeNvml>(SWATH_FAKE_NVML, "swath_fake_nvml")) {
    nvml_.init_status = 0;
    nvml_.devices.assign(3, {});
    nvml_.devices[0].uuid = "GPU-aa00";
    nvml_.devices[1].uuid = "GPU-aa11";
    nvml_.devices[2].uuid = "GPU-bb22";
    for (unsigned int i = 0; i < 3; ++i) {
      nvml_.devices[i].pci_bus_id = "0000:0" + std::to_string(i + 1) + ":00.0";
      nvml_.devices[i].milliwatts = 1000 * (i + 1);
    }
    options_.nvml_library = SWATH_FAKE_NVML;
    options_.rocm_smi_libraries = {"libswath_absent.so"};
    options_.environment = variables({});
  }
  ~TelemetryNvml() override { EXPECT_EQ(nvml_.num_initialised, 0); }

  // The watts of the device that is found, which number it; or the reason why none is.
  std::string found(int64_t index, const std::map<std::string, std::string>& environment = {}) {
    options_.environment = variables(environment);
    std::string reason;
    const auto source = open_telemetry("cuda", index, &reason, options_);
    return source ? std::to_string(static_cast<int>(source->read().watts.value())) : reason;
  }

  FakeNvml& nvml_;
  TelemetryOptions options_;
};

TEST_F(TelemetryNvml, UnitsAreConverted) {
  nvml_.devices[0].milliwatts = 412345;
  nvml_.devices[0].millijoules = 98765432109ULL;
  nvml_.devices[0].gpu_percent = 87;
  nvml_.devices[0].used_bytes = 600;
  const auto source = open_telemetry("cuda", 0, nullptr, options_);
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->description(), "NVML: GPU A (GPU-aa00)");
  const TelemetryReading reading = source->read();
  EXPECT_DOUBLE_EQ(reading.watts.value(), 412.345);
  EXPECT_DOUBLE_EQ(reading.joules.value(), 98765432.109);
  EXPECT_DOUBLE_EQ(reading.utilisation.value(), 0.87);
  EXPECT_EQ(reading.memory_bytes, 600);
  EXPECT_EQ(nvml_.num_initialised, 1);
}

TEST_F(TelemetryNvml, WhatTheGpuDoesNotTellIsEmpty) {
  nvml_.devices[0].power_status = 3;        // not supported
  nvml_.devices[0].energy_status = 3;       // not supported
  nvml_.devices[0].utilisation_status = 4;  // no permission
  nvml_.devices[0].used_bytes = 7;
  const auto source = open_telemetry("cuda", 0, nullptr, options_);
  const TelemetryReading reading = source->read();
  EXPECT_FALSE(reading.watts.has_value());
  EXPECT_FALSE(reading.joules.has_value());
  EXPECT_FALSE(reading.utilisation.has_value());
  EXPECT_EQ(reading.memory_bytes, 7);
}

TEST_F(TelemetryNvml, ALostGpuIsAnError) {
  const auto source = open_telemetry("cuda", 0, nullptr, options_);
  nvml_.devices[0].utilisation_status = 15;
  try {
    source->read();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("nvmlDeviceGetUtilizationRates"),
                                    HasSubstr("GPU is lost (status 15)")));
  }
}

TEST_F(TelemetryNvml, VisibleDevicesAreFollowed) {
  EXPECT_EQ(found(0), "1");
  EXPECT_EQ(found(2), "3");
  EXPECT_EQ(found(0, {{"CUDA_VISIBLE_DEVICES", "2,0"}}), "3");
  EXPECT_EQ(found(1, {{"CUDA_VISIBLE_DEVICES", "2, 0"}}), "1");
  EXPECT_EQ(found(0, {{"CUDA_VISIBLE_DEVICES", "GPU-aa11"}}), "2");
  EXPECT_EQ(found(1, {{"CUDA_VISIBLE_DEVICES", "GPU-aa11,GPU-b"}}), "3");
  nvml_.devices[1].uuid = "MIG-7c";
  EXPECT_EQ(found(0, {{"CUDA_VISIBLE_DEVICES", "MIG-7c"}}), "2");
}

TEST_F(TelemetryNvml, DevicesThatAreNotThereHaveAReason) {
  EXPECT_EQ(found(3), "NVML: there is no GPU number 3: the machine has 3.");
  EXPECT_EQ(found(2, {{"CUDA_VISIBLE_DEVICES", "2,0"}}),
            "NVML: CUDA_VISIBLE_DEVICES=2,0 names no device number 2.");
  // The runtime stops at the first entry that is none.
  EXPECT_THAT(found(1, {{"CUDA_VISIBLE_DEVICES", "0,-1,2"}}), HasSubstr("no device number 1"));
  EXPECT_THAT(found(2, {{"CUDA_VISIBLE_DEVICES", "0,-1,2"}}), HasSubstr("no device number 2"));
  EXPECT_THAT(found(0, {{"CUDA_VISIBLE_DEVICES", "7"}}), HasSubstr("no GPU number 7"));
  EXPECT_THAT(found(0, {{"CUDA_VISIBLE_DEVICES", "GPU-aa"}}), HasSubstr("2 GPUs have a UUID"));
  EXPECT_THAT(found(0, {{"CUDA_VISIBLE_DEVICES", "GPU-cc"}}), HasSubstr("0 GPUs have a UUID"));
}

TEST_F(TelemetryNvml, DifferentGpusNeedAnOrderThatIsKnown) {
  nvml_.devices[1].name = "GPU B";
  EXPECT_THAT(found(0), AllOf(HasSubstr("GPU A, GPU B"), HasSubstr("CUDA_DEVICE_ORDER")));
  EXPECT_EQ(found(1, {{"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}}), "2");
  EXPECT_EQ(found(0, {{"CUDA_VISIBLE_DEVICES", "GPU-bb22"}}), "3");
  options_.pci_bus_id = "0000:02:00.0";
  EXPECT_EQ(found(0), "2");
  options_.pci_bus_id = "0000:09:00.0";
  EXPECT_THAT(found(0), HasSubstr("nvmlDeviceGetHandleByPciBusId_v2(0000:09:00.0): Not Found"));
}

TEST_F(TelemetryNvml, AnAbsentLibraryOrDriverHasAReason) {
  nvml_.init_status = 9;
  EXPECT_THAT(found(0),
              AllOf(HasSubstr("NVML: nvmlInit_v2: Driver Not Loaded (status 9)."),
                    HasSubstr("ROCm SMI: cannot load it"), HasSubstr("libswath_absent.so")));
  options_.nvml_library = "libswath_absent_too.so";
  EXPECT_THAT(found(0),
              AllOf(HasSubstr("NVML: cannot load it"), HasSubstr("libswath_absent_too.so")));
  // A library that is something else.
  options_.nvml_library = SWATH_FAKE_ROCM_SMI;
  EXPECT_THAT(found(0), HasSubstr("lacks the function nvml"));
  std::string reason;
  EXPECT_EQ(open_telemetry("mps", 0, &reason, options_), nullptr);
  EXPECT_THAT(reason, HasSubstr("'mps'"));
}

// --- ROCm SMI ------------------------------------------------------------------------------------

class TelemetryRocmSmi : public testing::Test {
 protected:
  TelemetryRocmSmi() : rocm_smi_(script_of<FakeRocmSmi>(SWATH_FAKE_ROCM_SMI, kScript)) {
    reset(rocm_smi_);
    options_.nvml_library = "libswath_absent.so";
    options_.rocm_smi_libraries = {"libswath_absent.so", SWATH_FAKE_ROCM_SMI};
    options_.environment = variables({});
  }
  ~TelemetryRocmSmi() override { EXPECT_EQ(rocm_smi_.num_initialised, 0); }

  static void reset(FakeRocmSmi& script) {
    script.init_status = 0;
    script.memory_reads_left = INT64_MAX;
    script.devices.assign(3, {});
    for (uint64_t i = 0; i < 3; ++i) {
      FakeRocmSmiDevice& device = script.devices[i];
      // Bus, device 1, function 2, and the number of a partition.
      device.pci_id = (0xc1 + i) << 8 | 1 << 3 | 2 | 0x30000000;
      device.unique_id = 0xabc0 + i;
      device.microwatts = 1'000'000 * (i + 1);
      device.average_microwatts = 500'000'000;
      device.energy_count = 1000;
      device.microjoules_per_count = 15.25F;
    }
  }

  std::string found(int64_t index, const std::map<std::string, std::string>& environment = {}) {
    options_.environment = variables(environment);
    std::string reason;
    const auto source = open_telemetry("cuda", index, &reason, options_);
    return source ? std::to_string(static_cast<int>(source->read().watts.value())) : reason;
  }

  static constexpr const char* kScript = "swath_fake_rocm_smi";
  FakeRocmSmi& rocm_smi_;
  TelemetryOptions options_;
};

TEST_F(TelemetryRocmSmi, UnitsAreConverted) {
  rocm_smi_.devices[1].microwatts = 456'700'000;
  rocm_smi_.devices[1].energy_count = 4'000'000'000'000ULL;
  rocm_smi_.devices[1].busy_percent = 100;
  rocm_smi_.devices[1].used_bytes = 68'702'699'520ULL;
  const auto source = open_telemetry("cuda", 1, nullptr, options_);
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->description(), "ROCm SMI: MI250X, number 1");
  const TelemetryReading reading = source->read();
  EXPECT_DOUBLE_EQ(reading.watts.value(), 456.7);
  EXPECT_DOUBLE_EQ(reading.joules.value(), 61'000'000.0);
  EXPECT_DOUBLE_EQ(reading.utilisation.value(), 1.0);
  EXPECT_EQ(reading.memory_bytes, 68'702'699'520);
}

TEST_F(TelemetryRocmSmi, AveragePowerStandsInForCurrent) {
  rocm_smi_.devices[0].power_status = 2;
  EXPECT_EQ(found(0), "500");
  auto& rocm_5 = script_of<FakeRocmSmi>(SWATH_FAKE_ROCM_SMI_5, kScript);
  ASSERT_NE(&rocm_5, &rocm_smi_);
  reset(rocm_5);
  options_.rocm_smi_libraries = {SWATH_FAKE_ROCM_SMI_5};
  EXPECT_EQ(found(1), "500");
}

TEST_F(TelemetryRocmSmi, WhatTheGpuDoesNotTellIsEmpty) {
  rocm_smi_.devices[0].power_status = 2;          // not supported
  rocm_smi_.devices[0].average_power_status = 3;  // no such file
  rocm_smi_.devices[0].energy_status = 9;         // not yet implemented
  rocm_smi_.devices[0].busy_status = 16;          // read by another process
  const auto source = open_telemetry("cuda", 0, nullptr, options_);
  const TelemetryReading reading = source->read();
  EXPECT_FALSE(reading.watts.has_value());
  EXPECT_FALSE(reading.joules.has_value());
  EXPECT_FALSE(reading.utilisation.has_value());
  EXPECT_EQ(reading.memory_bytes, 0);
}

TEST_F(TelemetryRocmSmi, TheSecondGcdOfACardTellsNoPower) {
  rocm_smi_.devices[1].energy_count = 0;
  rocm_smi_.devices[1].microwatts = 0;
  rocm_smi_.devices[1].busy_percent = 60;
  const auto source = open_telemetry("cuda", 1, nullptr, options_);
  EXPECT_THAT(source->description(), HasSubstr("first GCD of its card"));
  const TelemetryReading reading = source->read();
  EXPECT_FALSE(reading.watts.has_value());
  EXPECT_FALSE(reading.joules.has_value());
  EXPECT_DOUBLE_EQ(reading.utilisation.value(), 0.6);
  // Zero is no power of a GPU that counts its energy either.
  rocm_smi_.devices[0].microwatts = 0;
  EXPECT_FALSE(open_telemetry("cuda", 0, nullptr, options_)->read().watts.has_value());
}

TEST_F(TelemetryRocmSmi, VisibleDevicesAreFollowed) {
  EXPECT_EQ(found(2), "3");
  EXPECT_EQ(found(0, {{"HIP_VISIBLE_DEVICES", "2"}, {"CUDA_VISIBLE_DEVICES", "1"}}), "3");
  EXPECT_EQ(found(0, {{"CUDA_VISIBLE_DEVICES", "1"}}), "2");
  EXPECT_EQ(found(0, {{"ROCR_VISIBLE_DEVICES", "2,1"}, {"HIP_VISIBLE_DEVICES", "1"}}), "2");
  EXPECT_EQ(found(0, {{"ROCR_VISIBLE_DEVICES", "GPU-000000000000abc2"}}), "3");
  EXPECT_THAT(found(0, {{"ROCR_VISIBLE_DEVICES", "1"}, {"HIP_VISIBLE_DEVICES", "1"}}),
              HasSubstr("ROCm SMI: ROCR_VISIBLE_DEVICES=1 names no device number 1."));
  EXPECT_THAT(found(0, {{"ROCR_VISIBLE_DEVICES", "GPU-1"}}),
              HasSubstr("no GPU has the UUID GPU-1"));
  EXPECT_THAT(found(3), HasSubstr("there is no GPU number 3: the machine has 3."));
  options_.pci_bus_id = "0000:C2:01.2";
  EXPECT_EQ(found(0), "2");
  options_.pci_bus_id = "0001:c2:01.2";
  EXPECT_THAT(found(0), HasSubstr("no GPU has the PCI address 0001:c2:01.2"));
  for (const char* text : {"nonsense", "0000:c2:00", "0000:c2:00.0 ", "0000:c2:00:0"}) {
    options_.pci_bus_id = text;
    EXPECT_THAT(found(0), HasSubstr("is no PCI address")) << text;
  }
}

TEST_F(TelemetryRocmSmi, NvidiaGpusAreNotMistakenForAmds) {
  auto& nvml = script_of<FakeNvml>(SWATH_FAKE_NVML, "swath_fake_nvml");
  nvml.init_status = 0;
  options_.nvml_library = SWATH_FAKE_NVML;
  nvml.devices.clear();
  EXPECT_EQ(found(0), "1");
  nvml.devices.resize(1);
  EXPECT_THAT(found(1), AllOf(HasSubstr("NVML: there is no GPU number 1"), Not(HasSubstr("ROCm"))));
  rocm_smi_.init_status = 8;
  nvml.devices.clear();
  EXPECT_THAT(found(0), HasSubstr("ROCm SMI: rsmi_init: no amdgpu driver (status 8)."));
}

TEST_F(TelemetryRocmSmi, ADeviceThatIsLostInTheMiddleEndsTheTrace) {
  rocm_smi_.memory_reads_left = 2;
  {
    TelemetryRecorder recorder(open_telemetry("cuda", 0, nullptr, options_),
                               std::chrono::milliseconds(1));
    testing::internal::CaptureStderr();
    recorder.start();
    wait_until([&] { return !recorder.summary().failure.empty(); });
    recorder.stop();
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("device is gone (status 6)"));
    EXPECT_EQ(recorder.summary().samples, 2);
    EXPECT_EQ(recorder.summary().joules, 0.0);
    EXPECT_THAT(to_json(recorder.summary())["failure"].get<std::string>(),
                HasSubstr("rsmi_dev_memory_usage_get"));
  }
}

// --- RAPL ----------------------------------------------------------------------------------------

class TelemetryRapl : public TelemetryDirectory {
 protected:
  TelemetryRapl() {
    options_.powercap_directory = directory_;
    zone("intel-rapl:0", "package-0", 900'000, 1'000'000);
    zone("intel-rapl:1", "package-1", 5'000'000, 9'000'000);
    zone("intel-rapl:2", "psys", 1, 9'000'000);
    zone("intel-rapl:0:0", "core", 2, 9'000'000);
    zone("intel-rapl:0:1", "package-0-part", 2, 9'000'000);
    zone("intel-rapl-mmio:0", "package-0", 3, 9'000'000);
    fs::create_directories(directory_ / "intel-rapl");
  }

  void zone(const std::string& zone, const std::string& name, int64_t counter, int64_t range) {
    write_file_atomically(directory_ / zone / "name", name + "\n");
    write_file_atomically(directory_ / zone / "max_energy_range_uj", std::to_string(range) + "\n");
    set(zone, counter);
  }
  void set(const std::string& zone, int64_t counter) {
    write_file_atomically(directory_ / zone / "energy_uj", std::to_string(counter) + "\n");
  }
  std::string reason() {
    std::string reason;
    EXPECT_EQ(open_telemetry("cpu", 0, &reason, options_), nullptr);
    return reason;
  }

  TelemetryOptions options_;
};

TEST_F(TelemetryRapl, PackagesAreSummedAndWrapAroundIsTakenOut) {
  const auto source = open_telemetry("cpu", 0, nullptr, options_);
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->description(), "RAPL: whole machine, package-0, package-1");
  EXPECT_DOUBLE_EQ(source->read().joules.value(), 0.0);
  set("intel-rapl:0", 950'000);
  set("intel-rapl:1", 5'200'000);
  EXPECT_DOUBLE_EQ(source->read().joules.value(), 0.25);
  set("intel-rapl:0", 20'000);  // 50,000 to the end of its range, 20,000 after
  EXPECT_DOUBLE_EQ(source->read().joules.value(), 0.32);
  set("intel-rapl:0", 30'000);
  set("intel-rapl:1", 100'000);
  EXPECT_DOUBLE_EQ(source->read().joules.value(), 0.33 + 3.9);
  const TelemetryReading reading = source->read();
  EXPECT_FALSE(reading.watts.has_value());
  EXPECT_FALSE(reading.utilisation.has_value());
  EXPECT_FALSE(reading.memory_bytes.has_value());
}

TEST_F(TelemetryRapl, ACounterThatCannotBeReadIsAReason) {
  // A directory in its place: root reads every file.
  fs::remove(directory_ / "intel-rapl:1" / "energy_uj");
  fs::create_directory(directory_ / "intel-rapl:1" / "energy_uj");
  EXPECT_THAT(reason(), AllOf(HasSubstr("RAPL: cannot read"), HasSubstr("intel-rapl:1/energy_uj"),
                              HasSubstr("Only root may read it")));
}

TEST_F(TelemetryRapl, MachinesWithoutItHaveAReason) {
  set("intel-rapl:0", 1);
  write_file_atomically(directory_ / "intel-rapl:0" / "energy_uj", "much\n");
  EXPECT_THAT(reason(), HasSubstr("holds 'much', not a count"));
  for (const char* name : {"intel-rapl:0", "intel-rapl:1"}) fs::remove_all(directory_ / name);
  EXPECT_THAT(reason(), HasSubstr("shows no processor package"));
  options_.powercap_directory = directory_ / "nothing";
  EXPECT_THAT(reason(), AllOf(HasSubstr("RAPL: cannot list"), HasSubstr("No such file")));
}

TEST_F(TelemetryRapl, AReadThatFailsInTheMiddleIsAnError) {
  const auto source = open_telemetry("cpu", 0, nullptr, options_);
  fs::remove(directory_ / "intel-rapl:0" / "energy_uj");
  EXPECT_THROW(source->read(), Error);
}

}  // namespace
}  // namespace swath
