"""The ConvNet that ships.

It follows Korean notes on a first PyTorch network, with their mistakes mended.  Each of these
has a test (tests/convnet/test_convnet.py):

1. `self.model` and `self.fc` stood outside `__init__`; they are made inside it.
2. Commas were missing behind `MaxPool2d((2,2))` and the second `Conv2d(...)`, and
   `self.fc == nn.Linear(...)` compared where it should assign.
3. `args` was never used; it is gone.
4. `x.view(x.size(0), -1)` raises for a channels_last tensor; `nn.Flatten` does not.
5. `Linear(1600, ...)` held for 224×224 images alone; it is computed from `image_size`, and an
   image that is too small is refused with the smallest size that works.
6. "96 = 8×8 (kernel) × 32 (channels)": one filter has 8·8·3 = 192 weights, the layer
   32·192 + 32 = 6 176 parameters.
7. `torch.nn.BatchNorm2d(N, C, H, W)` is not its signature; it takes the number of channels.
8. (N, C, H, W) was called "number, channel, width, height"; it is height, then width.
"""
