#include "core/tensor/unit_runner.h"

#include <torch/csrc/autograd/autograd.h>

#include "core/tensor/torch.h"

namespace swath {
namespace {

// The unit's parameters are leaves that `forward` reaches by itself: a nested backward adds their
// gradients where they belong, and only the gradient of x is returned here.
struct RecomputedUnit : torch::autograd::Function<RecomputedUnit> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            const at::Tensor& /*keeps_the_graph*/, const UnitForward* unit) {
    context->save_for_backward({x});
    // The model's closure lives on its caller's stack: keep a copy until backward.
    auto kept = std::make_shared<UnitForward>(*unit);
    context->saved_data["unit"] =
        c10::IValue::make_capsule(c10::make_intrusive<Holder>(std::move(kept)));
    at::AutoGradMode no_grad(false);
    return (*unit)(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const at::Tensor x = context->get_saved_variables()[0];
    const auto holder =
        c10::static_intrusive_pointer_cast<Holder>(context->saved_data["unit"].toCapsule());
    at::AutoGradMode with_grad(true);
    const at::Tensor input = x.detach().requires_grad_();
    const at::Tensor output = (*holder->unit)(input);
    torch::autograd::backward({output}, {grads[0]});
    return {input.grad(), at::Tensor(), at::Tensor()};
  }

  struct Holder : torch::CustomClassHolder {
    explicit Holder(std::shared_ptr<UnitForward> held) : unit(std::move(held)) {}
    std::shared_ptr<UnitForward> unit;
  };
};

}  // namespace

at::Tensor CheckpointingRunner::run(const std::string& name, const UnitForward& forward,
                                    const at::Tensor& x) {
  if (!at::GradMode::is_enabled()) return forward(x);
  // An input that needs no gradient itself must still give the unit a backward.
  const at::Tensor keeps_the_graph = at::empty({0}, x.options()).requires_grad_();
  return RecomputedUnit::apply(x, keeps_the_graph, &forward);
}

}  // namespace swath
