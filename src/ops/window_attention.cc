#include "ops/window_attention.h"

#include <vector>

#include "core/error.h"
#include "core/tensor/torch.h"
#include "ops/fused.h"

namespace swath::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double kMasked = -100;
constexpr double kLeastNorm = 1e-12;

void check(const at::Tensor& qkv, const at::Tensor& scale, const at::Tensor& bias,
           const WindowGrid& g) {
  if (g.rows % g.window_rows != 0 || g.columns % g.window_columns != 0) {
    throw Error(fmt::format("window attention: windows of {} x {} do not tile {} x {} tokens.",
                            g.window_rows, g.window_columns, g.rows, g.columns));
  }
  if (qkv.dim() != 3 || qkv.size(1) != g.tokens() || bias.size(0) != scale.size(0) ||
      bias.size(1) != g.offsets() || qkv.size(2) % (3 * scale.size(0)) != 0) {
    throw Error(
        fmt::format("window attention: {} tokens of width {}, {} scales and a bias of {} x "
                    "{} for {} x {} tokens in windows of {} x {}.",
                    qkv.size(1), qkv.size(2), scale.size(0), bias.size(0), bias.size(1), g.rows,
                    g.columns, g.window_rows, g.window_columns));
  }
}

// (B, rows, columns, X) -> (B windows, n, X)
at::Tensor cut_windows(const at::Tensor& x, const WindowGrid& g) {
  return x.unflatten(2, {g.columns / g.window_columns, g.window_columns})
      .unflatten(1, {g.rows / g.window_rows, g.window_rows})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, g.window_tokens(), x.size(-1)});
}

// The inverse, to (B, rows, columns, X).
at::Tensor join_windows(const at::Tensor& x, const WindowGrid& g) {
  return x
      .view({-1, g.rows / g.window_rows, g.columns / g.window_columns, g.window_rows,
             g.window_columns, x.size(-1)})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({-1, g.rows, g.columns, x.size(-1)});
}

// Which of the three stretches of the rolled map a place lies in: tokens of different ones were no
// neighbours.
int64_t stretch_of(int64_t place, int64_t length, int64_t window, int64_t shift) {
  if (shift == 0) return 0;
  return place < length - window ? 0 : place < length - shift ? 1 : 2;
}

// (windows, n, n), -100 between tokens of different regions; made on the device, without a sync.
at::Tensor shift_mask(const WindowGrid& g, const at::TensorOptions& options) {
  const auto stretches = [&](int64_t length, int64_t window, int64_t shift) {
    const at::Tensor place = at::arange(length, options.dtype(at::kLong));
    if (shift == 0) return at::zeros_like(place);
    return (place >= length - window).to(at::kLong) + (place >= length - shift).to(at::kLong);
  };
  const at::Tensor regions = 3 * stretches(g.rows, g.window_rows, g.shift_rows).unsqueeze(1) +
                             stretches(g.columns, g.window_columns, g.shift_columns);
  const at::Tensor of_windows = cut_windows(regions.view({1, g.rows, g.columns, 1}), g);
  return (of_windows != of_windows.transpose(1, 2)).to(options.dtype()) * kMasked;
}

at::Tensor unit_length(const at::Tensor& x) {
  return x / x.norm(2, {-1}, true).clamp_min(kLeastNorm);
}

at::Tensor reference_window_attention(const at::Tensor& qkv_BLE, const at::Tensor& scale_h,
                                      const at::Tensor& bias_hT, const WindowGrid& g) {
  const int64_t heads = scale_h.size(0);
  const int64_t width = qkv_BLE.size(2) / 3;
  const bool is_shifted = g.shift_rows > 0 || g.shift_columns > 0;
  const at::ScalarType type = qkv_BLE.scalar_type();
  at::Tensor map = qkv_BLE.view({-1, g.rows, g.columns, 3 * width});
  if (is_shifted) map = map.roll({-g.shift_rows, -g.shift_columns}, {1, 2});
  // (3, B windows, heads, n, d)
  const auto parts = cut_windows(map, g)
                         .view({-1, g.window_tokens(), 3, heads, width / heads})
                         .permute({2, 0, 3, 1, 4})
                         .unbind(0);
  const at::ScalarType wide = arithmetic_type(type);
  const at::Tensor q = unit_length(parts[0].to(wide)).to(type);
  const at::Tensor k = unit_length(parts[1].to(wide)).to(type);
  const at::Tensor index = relative_position_index(g, bias_hT.options()).flatten();
  // Not index_select: the sums of its gradient have no fixed order on a GPU.
  const at::Tensor bias = bias_hT.index({at::indexing::Slice(), index})
                              .view({heads, g.window_tokens(), g.window_tokens()});
  at::Tensor scores =
      at::matmul(q, k.transpose(-2, -1)).to(wide) * scale_h.view({heads, 1, 1}) + bias;
  if (is_shifted) {
    scores = scores.unflatten(0, {-1, g.windows()}) +
             shift_mask(g, scores.options()).view({1, g.windows(), 1, g.window_tokens(), -1});
    scores = scores.flatten(0, 1);
  }
  const at::Tensor out = at::matmul(at::softmax(scores, -1).to(type), parts[2]);
  map = join_windows(out.transpose(1, 2).flatten(2), g);
  if (is_shifted) map = map.roll({g.shift_rows, g.shift_columns}, {1, 2});
  return map.reshape({-1, g.tokens(), width});
}

bool runs_own_kernel(const at::Tensor& x) {
  return runs_fused(x) && x.scalar_type() != at::kBFloat16;
}

// Where the tokens of each window stand on the map, and their regions.
struct Places {
  std::vector<int64_t> rows;      // (windows, n)
  std::vector<int32_t> regions;   // (windows, n); empty: nothing is masked
  std::vector<int64_t> position;  // (n, n): relative_position_index
};

Places places_of(const WindowGrid& g) {
  Places places;
  const bool is_shifted = g.shift_rows > 0 || g.shift_columns > 0;
  for (int64_t window = 0; window < g.windows(); ++window) {
    const int64_t top = window / (g.columns / g.window_columns) * g.window_rows;
    const int64_t left = window % (g.columns / g.window_columns) * g.window_columns;
    for (int64_t i = 0; i < g.window_tokens(); ++i) {
      const int64_t y = top + i / g.window_columns;
      const int64_t x = left + i % g.window_columns;
      places.rows.push_back((y + g.shift_rows) % g.rows * g.columns +
                            (x + g.shift_columns) % g.columns);
      if (!is_shifted) continue;
      places.regions.push_back(
          static_cast<int32_t>(3 * stretch_of(y, g.rows, g.window_rows, g.shift_rows) +
                               stretch_of(x, g.columns, g.window_columns, g.shift_columns)));
    }
  }
  const at::Tensor index = relative_position_index(g);
  const auto* values = index.const_data_ptr<int64_t>();
  places.position.assign(values, values + index.numel());
  return places;
}

struct Problem {
  const WindowGrid& grid;
  const Places& places;
  int64_t batch;
  int64_t heads;
  int64_t width;
  int64_t tasks() const { return batch * grid.windows() * heads; }

  WindowShape shape_of(int64_t window) const {
    const int64_t n = grid.window_tokens();
    return {n,
            width / heads,
            3 * width,
            width,
            places.rows.data() + window * n,
            places.regions.empty() ? nullptr : places.regions.data() + window * n};
  }
};

// function(shape, sample, head, task) for the tasks of [begin, end); heads of one window follow
// each other, so that its rows are read while they are in the cache.
template <class Function>
void for_tasks(const Problem& problem, int64_t begin, int64_t end, const Function& function) {
  for (int64_t task = begin; task < end; ++task) {
    const int64_t window = task / problem.heads;
    function(problem.shape_of(window % problem.grid.windows()), window / problem.grid.windows(),
             task % problem.heads, task);
  }
}

// (h, T) -> (h, n, n)
at::Tensor spread_bias(const at::Tensor& bias_hT, const Places& places, int64_t n) {
  const int64_t heads = bias_hT.size(0);
  const at::Tensor spread = at::empty({heads, n, n}, bias_hT.options());
  with_arithmetic(bias_hT, [&]<class A>(A) {
    const A* from = data_of<A>(bias_hT);
    A* to = mutable_data_of<A>(spread);
    for (int64_t head = 0; head < heads; ++head, from += bias_hT.size(1), to += n * n) {
      for (int64_t i = 0; i < n * n; ++i) to[i] = from[places.position[static_cast<size_t>(i)]];
    }
  });
  return spread;
}

// The transpose of spread_bias: (h, n, n) -> (h, T) sums.
at::Tensor gather_bias(const at::Tensor& spread, const Places& places, int64_t offsets) {
  const int64_t heads = spread.size(0);
  const int64_t count = spread.size(1) * spread.size(2);
  const at::Tensor table = at::zeros({heads, offsets}, spread.options());
  with_arithmetic(spread, [&]<class A>(A) {
    const A* from = data_of<A>(spread);
    A* to = mutable_data_of<A>(table);
    for (int64_t head = 0; head < heads; ++head, from += count, to += offsets) {
      for (int64_t i = 0; i < count; ++i) to[places.position[static_cast<size_t>(i)]] += from[i];
    }
  });
  return table;
}

struct FusedWindowAttention : torch::autograd::Function<FusedWindowAttention> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv_any,
                            const at::Tensor& scale_any, const at::Tensor& bias_any,
                            const WindowGrid& grid) {
    const at::Tensor qkv = qkv_any.contiguous();
    const at::Tensor scale = scale_any.contiguous();
    const Places places = places_of(grid);
    const int64_t n = grid.window_tokens();
    const at::Tensor bias = spread_bias(bias_any.contiguous(), places, n);
    const Problem problem = {grid, places, qkv.size(0), scale.size(0), qkv.size(2) / 3};
    const at::Tensor out = at::empty({problem.batch, grid.tokens(), problem.width}, qkv.options());
    const at::Tensor log_sum = at::empty({problem.tasks(), n}, qkv.options());
    const int64_t head_size = problem.width / problem.heads;
    with_arithmetic(qkv, [&]<class A>(A) {
      const auto& kernels = window_kernels<A>(cpu_kernels());
      const A* values = data_of<A>(qkv);
      const A* scales = data_of<A>(scale);
      const A* biases = data_of<A>(bias);
      A* to = mutable_data_of<A>(out);
      A* sums = mutable_data_of<A>(log_sum);
      at::parallel_for(0, problem.tasks(), 1, [&](int64_t begin, int64_t end) {
        // A tensor, for its alignment: a vector that straddles cache lines costs twice.
        const at::Tensor scratch = at::empty({window_scratch(n, head_size)}, qkv.options());
        for_tasks(problem, begin, end,
                  [&](const WindowShape& shape, int64_t sample, int64_t head, int64_t task) {
                    const A* q =
                        values + sample * grid.tokens() * 3 * problem.width + head * head_size;
                    kernels.forward(shape, q, q + problem.width, q + 2 * problem.width,
                                    scales[head], biases + head * n * n,
                                    to + sample * grid.tokens() * problem.width + head * head_size,
                                    sums + task * n, mutable_data_of<A>(scratch));
                  });
      });
    });
    context->save_for_backward({qkv, scale, bias, log_sum});
    context->saved_data["grid"] =
        std::vector<int64_t>{grid.rows,           grid.columns,    grid.window_rows,
                             grid.window_columns, grid.shift_rows, grid.shift_columns};
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const variable_list saved = context->get_saved_variables();
    const auto kept = context->saved_data["grid"].toIntVector();
    const WindowGrid grid = {kept[0], kept[1], kept[2], kept[3], kept[4], kept[5]};
    const Places places = places_of(grid);
    const at::Tensor& qkv = saved[0];
    const at::Tensor& scale = saved[1];
    const at::Tensor& bias = saved[2];
    const at::Tensor grad_out = grads[0].contiguous();
    const Problem problem = {grid, places, qkv.size(0), scale.size(0), qkv.size(2) / 3};
    const int64_t n = grid.window_tokens();
    const int64_t head_size = problem.width / problem.heads;
    const at::Tensor grad_qkv = at::empty_like(qkv);
    const int64_t parts = at::get_num_threads();
    const at::Tensor grad_bias = at::zeros({parts, problem.heads, n, n}, bias.options());
    // Sums over all windows, of terms that all but cancel: in double.
    const at::Tensor grad_scale =
        at::zeros({parts, problem.heads}, scale.options().dtype(at::kDouble));
    with_arithmetic(qkv, [&]<class A>(A) {
      const auto& kernels = window_kernels<A>(cpu_kernels());
      const A* values = data_of<A>(qkv);
      const A* scales = data_of<A>(scale);
      const A* biases = data_of<A>(bias);
      const A* from = data_of<A>(grad_out);
      const A* sums = data_of<A>(saved[3]);
      A* to = mutable_data_of<A>(grad_qkv);
      A* bias_sums = mutable_data_of<A>(grad_bias);
      auto* scale_sums = mutable_data_of<double>(grad_scale);
      for_each_part(problem.tasks(), parts, [&](int64_t part, int64_t begin, int64_t end) {
        const at::Tensor scratch = at::empty({window_scratch(n, head_size)}, qkv.options());
        for_tasks(
            problem, begin, end,
            [&](const WindowShape& shape, int64_t sample, int64_t head, int64_t task) {
              const int64_t first = sample * grid.tokens() * 3 * problem.width + head * head_size;
              const int64_t out_first = sample * grid.tokens() * problem.width + head * head_size;
              const A* q = values + first;
              A* grad_q = to + first;
              const int64_t slot = part * problem.heads + head;
              kernels.backward(shape, q, q + problem.width, q + 2 * problem.width, scales[head],
                               biases + head * n * n, from + out_first, sums + task * n, grad_q,
                               grad_q + problem.width, grad_q + 2 * problem.width,
                               bias_sums + slot * n * n, scale_sums + slot,
                               mutable_data_of<A>(scratch));
            });
      });
    });
    return {grad_qkv, grad_scale.sum(0).to(scale.scalar_type()),
            gather_bias(grad_bias.sum(0), places, grid.offsets()), at::Tensor()};
  }
};

}  // namespace

at::Tensor relative_position_index(const WindowGrid& g, const at::TensorOptions& options) {
  const at::Tensor place = at::arange(g.window_tokens(), options.dtype(at::kLong));
  const at::Tensor y = at::div(place, g.window_columns, "floor");
  const at::Tensor x = place.remainder(g.window_columns);
  const at::Tensor dy = y.unsqueeze(1) - y + (g.window_rows - 1);
  const at::Tensor dx = x.unsqueeze(1) - x + (g.window_columns - 1);
  return dy * (2 * g.window_columns - 1) + dx;
}

at::Tensor window_attention(const at::Tensor& qkv_BLE, const at::Tensor& scale_h,
                            const at::Tensor& bias_hT, const WindowGrid& grid) {
  check(qkv_BLE, scale_h, bias_hT, grid);
  if (!runs_own_kernel(qkv_BLE)) {
    return reference_window_attention(qkv_BLE.contiguous(), scale_h, bias_hT, grid);
  }
  if (grid.window_tokens() == 1) {
    // A token alone sees itself, whatever the scores; they keep a gradient, of exactly 0.
    const int64_t width = qkv_BLE.size(2) / 3;
    return qkv_BLE.narrow(2, 2 * width, width) + 0 * (scale_h.sum() + bias_hT.sum());
  }
  return FusedWindowAttention::apply(qkv_BLE, scale_h, bias_hT, grid);
}

}  // namespace swath::ops
