// See gloo/transport/device.h; nothing of this header is used.
#pragma once
#include <gloo/transport/device.h>
