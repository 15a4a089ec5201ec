#include "bench/peer_gradients.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/error.h"
#include "core/tensor/tensor_io.h"

namespace swath::bench {
namespace {

// Opened anew for each parameter, so that never the whole file counts as this process' memory.
at::Tensor read_gradient(const std::filesystem::path& path, const std::string& name) {
  return read_tensor(SafetensorsFile(path), name);
}

void check_shape(const std::string& name, at::IntArrayRef shape, const at::Tensor& exact) {
  if (exact.sizes() == shape) return;
  throw Error(fmt::format("bench peer: {} has the shape [{}], in float64 [{}].", name,
                          fmt::join(shape, ", "), fmt::join(exact.sizes(), ", ")));
}

// Of a part that begins at `start` in the whole; throws when it is more than `tolerance`.
double difference_of(const std::string& whose, const std::string& name, const at::Tensor& gradient,
                     int64_t start, const at::Tensor& exact, double tolerance) {
  const at::Tensor part = exact.flatten().narrow(0, start, gradient.numel());
  const double difference = (gradient.flatten() - part).abs().max().item<double>();
  const double relative = difference == 0 ? 0 : difference / exact.abs().max().item<double>();
  if (relative <= tolerance) return relative;
  throw Error(fmt::format(
      "bench peer: {} gradient of {} differs by {:.3g} of its largest element from that in "
      "float64, more than {:.3g}: not the same work.",
      whose, name, relative, tolerance));
}

}  // namespace

double check_our_gradients(const std::vector<ParamView>& views, const std::filesystem::path& exact,
                           double tolerance) {
  const at::NoGradGuard no_grad;
  double largest = 0;
  bool is_any = false;
  for (const ParamView& view : views) {
    for (const ParamSegment& segment : view.segments) {
      if (segment.length == 0) continue;
      is_any = true;
      const at::Tensor whole = read_gradient(exact, segment.name);
      check_shape(segment.name, segment.shape, whole);
      const at::Tensor ours = view.grad.narrow(0, segment.offset, segment.length).cpu();
      largest = std::max(largest,
                         difference_of("our", segment.name, ours, segment.start, whole, tolerance));
    }
  }
  if (!is_any) throw Error("bench peer: this rank holds no gradient to compare.");
  return largest;
}

double check_peer_gradients(const std::filesystem::path& file, const std::filesystem::path& exact,
                            double tolerance) {
  const at::NoGradGuard no_grad;
  double largest = 0;
  bool is_any = false;
  const SafetensorsFile header(exact);
  for (const TensorEntry& entry : header.entries()) {
    const std::string& name = entry.name;
    is_any = true;
    const at::Tensor whole = read_gradient(exact, name);
    const at::Tensor theirs = read_gradient(file, name);
    check_shape(name, theirs.sizes(), whole);
    largest = std::max(largest, difference_of("the peer's", name, theirs, 0, whole, tolerance));
  }
  if (!is_any) throw Error("bench peer: the peer wrote no gradient to compare.");
  return largest;
}

}  // namespace swath::bench
