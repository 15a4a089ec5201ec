// LibTorch brings headers of fmt in a version of its own, without the library that belongs to them;
// files with tensors see these headers before the system's. Here is that library, compiled once
// instead of in every file.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template auto thousands_sep_impl(locale_ref) -> thousands_sep_result<char>;
template auto decimal_point_impl(locale_ref) -> char;
}  // namespace detail
FMT_END_NAMESPACE
