// Which version of the operators runs: plain ATen, or the fused ones where measurement shows that
// they pay. Both compute the same functions; tests hold them against each other.
//
// Thread rule: set once at start, before the first operator; read from any thread.
#pragma once

#include <string>

namespace swath::ops {

enum class Backend { kReference, kFused };

// "reference" or "fused" (the default). Throws UsageError for any other name, and for "fused" with
// an instruction set in SWATH_ISA that is unknown or that this processor lacks.
void set_backend(const std::string& name);
Backend backend();
// For the log line at start: "fused (kernels avx512, products oneDNN)".
std::string backend_description();

// What the fused operators use for float32 matrix products on the CPU. oneDNN's are 10-15 % faster
// than MKL's on AMD processors, and the reverse holds on Intel's, so the vendor decides: a choice
// by timing could differ between two runs and make a resumed run differ from an unbroken one.
bool products_use_onednn();
// For measurements: "auto", "mkl" or "onednn".
void set_product_library(const std::string& name);

}  // namespace swath::ops
