// What we use of LibTorch's C++ side: tensors, their factories, autograd and modules.
//
// Not <torch/torch.h>: its layers, optimizers and data loaders bring templates that the compiler
// instantiates anew in every file, ten seconds each, precompiled or not.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>
