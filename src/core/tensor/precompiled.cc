// Exists so that the precompiled header has a target that owns it.
#include "core/tensor/precompiled.h"
