#include "apps/version.h"

#include <fmt/format.h>
#include <torch/version.h>

#include <swath_commit.h>  // written by the build
#include "apps/commands.h"
#include "core/tensor/device.h"

namespace swath::apps {

std::string version() { return SWATH_VERSION; }

std::string commit() { return SWATH_COMMIT; }

std::string version_text() {
  return fmt::format("swath {} ({}), LibTorch {}, GCC {}, GDAL {}", version(), commit(),
                     TORCH_VERSION, __VERSION__,
#ifdef SWATH_WITH_GDAL
                     "yes"
#else
                     "no"
#endif
  );
}

Outcome run_doctor(const CommandSyntax& syntax, const Words& words) {
  FieldTable no_fields;
  const Arguments arguments = parse_arguments(syntax, words, no_fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  const c10::Device device = select_device("auto");
  const at::ScalarType precision = select_precision("auto", device);
  const double flops = measured_matmul_flops(device, precision);
  outcome.json = {{"version", version()},
                  {"commit", commit()},
                  {"libtorch", TORCH_VERSION},
                  {"device", device_description(device)},
                  {"precision", c10::toString(precision)},
                  {"matmul_gflops", flops / 1e9}};
  outcome.text = fmt::format(
      "{}\n  device     {}\n  precision  {}\n  matrix products  {:.0f} GFLOP/s", version_text(),
      device_description(device), c10::toString(precision), flops / 1e9);
  return outcome;
}

}  // namespace swath::apps
