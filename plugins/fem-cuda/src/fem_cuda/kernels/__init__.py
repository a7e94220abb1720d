"""The kernels by stage, twins of fem-cupy's `.cu` files. `fem_core.device.reference` defines each kernel."""
