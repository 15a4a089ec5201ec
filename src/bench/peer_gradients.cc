#include "bench/peer_gradients.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/tensor/tensor_io.h"

namespace swath::bench {
namespace {

double difference_of(const at::Tensor& ours, const ParamSegment& segment,
                     const std::filesystem::path& path) {
  // Opened anew for each parameter, so that never the whole file counts as this process' memory.
  const at::Tensor theirs = read_tensor(SafetensorsFile(path), segment.name);
  if (theirs.sizes() != at::IntArrayRef(segment.shape)) {
    throw Error(fmt::format("bench peer: {} has the shape [{}] here, [{}] in Python.", segment.name,
                            fmt::join(segment.shape, ", "), fmt::join(theirs.sizes(), ", ")));
  }
  const at::Tensor part = theirs.flatten().narrow(0, segment.start, segment.length);
  const double scale = theirs.abs().max().item<double>();
  const double difference = (ours - part).abs().max().item<double>();
  return difference == 0 ? 0 : difference / scale;
}

}  // namespace

double check_same_gradients(const std::vector<ParamView>& views, const std::filesystem::path& file,
                            double tolerance) {
  const at::NoGradGuard no_grad;
  double largest = 0;
  bool is_any = false;
  for (const ParamView& view : views) {
    for (const ParamSegment& segment : view.segments) {
      if (segment.length == 0) continue;
      is_any = true;
      const at::Tensor ours = view.grad.narrow(0, segment.offset, segment.length).cpu();
      const double difference = difference_of(ours, segment, file);
      if (!(difference <= tolerance)) {
        throw Error(fmt::format(
            "bench peer: the gradient of {} differs by {:.3g} of its largest element from the "
            "peer's, more than {:.3g}: not the same work.",
            segment.name, difference, tolerance));
      }
      largest = std::max(largest, difference);
    }
  }
  if (!is_any) throw Error("bench peer: this rank holds no gradient to compare.");
  return largest;
}

}  // namespace swath::bench
