"""The kernels, by stage: twins of fem-cupy's `.cu` files, function by function. `fem_core.device.reference` states them."""
