"""Operators in C++ and the whole step they make up, for float32 activations on a CPU."""
