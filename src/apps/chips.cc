#include "apps/commands.h"
#include "core/error.h"
#include "core/files.h"
#include "core/launch_environment.h"
#include "core/log.h"
#ifdef SWATH_WITH_HDF4
#include "data/modis/chip_job.h"
#endif

namespace swath::apps {

#ifdef SWATH_WITH_HDF4

Outcome run_chips(const CommandSyntax& syntax, const Words& words) {
  data::modis::ChipJobOptions options;
  FieldTable fields = make_field_table(options);
  const Arguments arguments = parse_arguments(syntax, words, fields);
  Outcome outcome;
  if (arguments.help) return outcome;
  options.overwrite |= arguments.overwrite;
  for (std::string* folder : {&options.root, &options.masks, &options.geolocation}) {
    *folder = expand_environment(*folder);
  }
  const LaunchEnvironment environment = read_launch_environment();
  if (environment.rank != 0) keep_to_warnings();
  outcome.json = data::modis::make_chips(options, environment);
  if (!outcome.json.is_null()) outcome.text = outcome.json.dump(2);
  return outcome;
}

#else

Outcome run_chips(const CommandSyntax& syntax, const Words& words) {
  throw UsageError("chips: swath was built without HDF4, which MODIS granules are stored in.",
                   "install libhdf4-alt-dev and libdeflate-dev, then `swath build`.");
}

#endif

}  // namespace swath::apps
