"""The kernels by stage, twins of fem-cupy's `.cu` files; `fem_core.device.reference` states what each does."""
