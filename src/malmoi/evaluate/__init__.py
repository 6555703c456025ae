"""How good a model is: bits per byte, classes, and the controls that every figure stands beside."""
